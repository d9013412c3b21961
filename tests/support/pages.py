"""What the pages tell people to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^    ((?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?trimtab .*)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Za-z_]+=")
_ENDS_A_COMMAND = frozenset({";", "&", "&&", "|", "||", "(", ")", ">", "<", ">>"})


def shell_blocks(page: Path) -> list[str]:
    """The fenced blocks that are shell, as they stand."""
    return [match[1] for match in _FENCE.finditer(page.read_text())]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every simple command of the page, in words: fenced shell, and indented lines of ours."""
    text = page.read_text()
    for block in [*shell_blocks(page), *(match[1] for match in _INDENTED.finditer(text))]:
        for line in _lines(block):
            yield from _simple(line)


def _lines(block: str) -> Iterator[str]:
    """Logical lines: continued and quoted ones in one, the texts of here-documents left out."""
    waiting, end = "", None
    for line in block.splitlines():
        if end is not None:
            end = None if line.strip() == end else end
            continue
        waiting += line
        if here := re.search(r"<<-?'?(\w+)'?", line):
            end = here[1]
            waiting = waiting.replace(here[0], "")
        elif waiting.endswith("\\"):
            waiting = waiting[:-1] + " "
            continue
        elif _open_quote(waiting):
            waiting += "\n"
            continue
        yield waiting
        waiting = ""


def _open_quote(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _simple(line: str) -> Iterator[list[str]]:
    inner = re.findall(r"\$\((.+)\)", line)
    for text in (re.sub(r"\$\(.+\)", "X", line), *inner):
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()<>")
        lexer.commenters = "#"
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _ENDS_A_COMMAND:
                words.append(word)
                continue
            while words and (_ASSIGNMENT.match(words[0]) or words[0] == "export"):
                words.pop(0)
            if words:
                yield words
            words = []
