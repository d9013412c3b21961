"""A frontier as a picture: what is spent to the right, the drift that is left upwards. Drawn with matplotlib, where it is."""

from pathlib import Path
from typing import Any

from adapters.inbound.answers import FrontierAnswer
from domain.errors import Invalid

_DPI = 110
_INK, _PALE = "#2f5d8a", "#6b6b6b"


def draw_frontier(frontier: FrontierAnswer, path: Path) -> None:
    """Write a PNG.

    Raises:
        Invalid: matplotlib is not installed, there is no point to draw, or the file cannot be written.
    """
    figure_of, ticks = _matplotlib()
    if not frontier.points:
        raise Invalid("no limit on turnover leaves an answer: there is no frontier to draw", code="no_points")
    picture = figure_of(figsize=(7, 4.2), dpi=_DPI, layout="constrained")
    axes = picture.add_subplot()
    spent = [float(point.spent) for point in frontier.points]
    drift = [float(point.drift) for point in frontier.points]
    # A step, not a slope: between two points nothing is known to be possible but the first.
    axes.step(spent, drift, where="post", color=_INK, linewidth=1.2, alpha=0.6)
    axes.plot(spent, drift, "o", color=_INK, markersize=5)
    if frontier.drift_before is not None:
        axes.axhline(float(frontier.drift_before), color=_PALE, linestyle=":", linewidth=1)
        axes.annotate(
            "as it stands",
            (1, float(frontier.drift_before)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color=_PALE,
        )
    axes.set_title(f"{frontier.portfolio_id}: drift against {frontier.spent}", loc="left")
    axes.set_xlabel(f"{frontier.spent} (money)")
    axes.set_ylabel("drift left (money)")
    axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticks.StrMethodFormatter("{x:,.0f}"))
    axes.spines[["top", "right"]].set_visible(False)
    try:
        picture.savefig(path, format="png", metadata={"Software": None})
    except OSError as error:
        raise Invalid(f"cannot write {path}: {error.strerror or error}", code="unwritable") from None


def _matplotlib() -> tuple[Any, Any]:
    """The figure and the ticks: without pyplot there is no global state, and nothing to choose to draw on."""
    try:
        from matplotlib import ticker  # noqa: PLC0415 - an optional part
        from matplotlib.figure import Figure  # noqa: PLC0415 - likewise
    except ImportError:
        raise Invalid("pictures need matplotlib: pip install 'trimtab[plot]'", code="no_matplotlib") from None
    return Figure, ticker
