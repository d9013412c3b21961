"""How Sphinx builds the site: `make docs`. The pages are plain Markdown; two of them are filled from the code."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from from_code import commands_page, http_page, openapi_document  # noqa: E402 - needs the path above
from sphinx.application import Sphinx  # noqa: E402

from worker import __version__  # noqa: E402

project = "Trimtab"
author = "the Trimtab authors"
copyright = author  # noqa: A001 - Sphinx's name for it
version = release = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # so that links to headings work as they do on a code host

html_theme = "pydata_sphinx_theme"
html_title = f"Trimtab {release}"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
smartquotes = False  # would make one dash of the two before an option
html_sidebars = {"**": ["globaltoc.html"]}  # every page under its heading, as the index has them
html_theme_options = {
    "globaltoc_includehidden": True,
    "navbar_center": [],
    "show_toc_level": 1,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}

_FILLED = {
    "cli": ("<!-- generated: commands -->", commands_page),
    "http-api": ("<!-- generated: calls -->", http_page),
}


def _fill(_app: Sphinx, page: str, source: list[str]) -> None:
    if page in _FILLED:
        place, write = _FILLED[page]
        before, after = source[0].split(place)
        source[0] = before + write() + after


def _add_document(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        (Path(app.outdir) / "openapi.json").write_text(openapi_document())


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill)
    app.connect("build-finished", _add_document)
