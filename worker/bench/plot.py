"""Pictures of what was measured: throughput, where the CPU time goes, growth. Drawn with matplotlib, where it is."""

import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import Invalid
from worker.bench.report import figure
from worker.bench.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 110
_INK, _PALE, _GOAL = "#2f5d8a", "#9db8d2", "#b5462f"
# A dark and a pale one in turn: neighbours are told apart in grey, too.
_COLOURS = (
    "#2f5d8a",
    "#6d9ac4",
    "#3d7f6e",
    "#86b7a5",
    "#8a5a83",
    "#bd97b7",
    "#b07a2c",
    "#d9b273",
    "#6b6b6b",
    "#a8a8a8",
)
_LEAST_SHARE_WITH_A_FIGURE = 0.06
_LABEL_WIDTH = 46


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw every picture for which there are rows, and say where they are.

    Raises:
        Invalid: matplotlib is not installed; nothing here can be drawn; the folder cannot be written to.
    """
    pyplot = _pyplot()
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in PICTURES.items():
            picture = draw(pyplot, rows)
            if picture is None:
                continue
            path = folder / f"{name}.png"
            picture.savefig(path, dpi=_DPI, metadata={"Software": None})
            pyplot.close(picture)
            written.append(path)
    except OSError as error:
        raise Invalid(f"cannot write to {folder}: {error.strerror or error}", code="unwritable") from None
    if not written:
        raise Invalid("none of these rows belongs to a picture", code="no_rows")
    return written


def _pyplot() -> Any:  # noqa: ANN401 - a library that may be absent
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional part
    except ImportError:
        raise Invalid(
            "pictures need matplotlib: pip install 'trimtab[plot]', or 'make test' once", code="no_matplotlib"
        ) from None
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of where to draw

    plt.rcParams.update(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
        }
    )
    return plt


# ------------------------------------------------------------------------------------------------ throughput


def _throughput(pyplot: Any, rows: Sequence[Row]) -> Any:  # noqa: ANN401
    """Whatever is counted a second. A panel a suite and unit: they differ by orders of magnitude."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        if row.unit.endswith("/s"):
            panels.setdefault(f"{row.suite}, {row.unit}", []).append(row)
    if not panels:
        return None
    heights = [len(panel) + 1.5 for panel in panels.values()]
    picture, axes = pyplot.subplots(
        len(panels), 1, squeeze=False, figsize=(8, 0.32 * sum(heights) + 0.4), height_ratios=heights
    )
    for axis, (title, panel) in zip(axes[:, 0], panels.items(), strict=True):
        _bars(axis, panel)
        axis.set_title(title)
    return picture


def _bars(axis: "Axes", rows: Sequence[Row]) -> None:
    """Medians with their spread, and a mark at each goal."""
    places = range(len(rows))
    widest = max([row.value + row.spread for row in rows] + [row.goal or 0.0 for row in rows]) or 1.0
    axis.barh(
        places,
        [row.value for row in rows],
        xerr=[row.spread for row in rows],
        color=_INK,
        height=0.65,
        error_kw={"ecolor": "#333333", "capsize": 2, "linewidth": 0.8},
    )
    for place, row in zip(places, rows, strict=True):
        axis.text(row.value + row.spread + 0.01 * widest, place, figure(row.value), va="center")
        if row.goal is not None:
            axis.plot([row.goal, row.goal], [place - 0.4, place + 0.4], color=_GOAL, linewidth=2)
    axis.set_yticks(list(places), [_label(row.name) for row in rows])
    axis.invert_yaxis()
    axis.set_xlim(0, widest * 1.12)


def _label(name: str) -> str:
    """Without the note in brackets, and folded."""
    return textwrap.fill(name.partition(" (")[0].removeprefix("throughput, "), _LABEL_WIDTH)


# ------------------------------------------------------------------------------------------------ the cost


_COSTS = ("CPU by process, ", "worker CPU by part, ")


def _cost(pyplot: Any, rows: Sequence[Row]) -> Any:  # noqa: ANN401
    """One bar a variant, cut into its parts; processes in the upper panel, the worker's parts in the lower."""
    panels = [found for prefix in _COSTS if (found := _stacks(rows, prefix))]
    if not panels:
        return None
    picture, axes = pyplot.subplots(
        len(panels), 1, squeeze=False, figsize=(8, sum(1.7 + 0.45 * len(panel) for panel in panels))
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _stacked(axis, panel)
        axis.set_xlabel("CPU ms a portfolio of 50 securities")
    for axis, title in zip(axes[:, 0], ("By process", "Within the worker, by part"), strict=False):
        axis.set_title(title)
    return picture


def _stacks(rows: Sequence[Row], prefix: str) -> Mapping[str, Mapping[str, float]]:
    """Values by part by variant, of rows named ``<prefix><variant>: <part>``; the sum of them is left out."""
    stacks: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.name.startswith(prefix):
            variant, _, part = row.name.removeprefix(prefix).partition(": ")
            if part != "all":
                stacks.setdefault(variant, {})[part] = row.value
    return stacks


def _stacked(axis: "Axes", stacks: Mapping[str, Mapping[str, float]]) -> None:
    """Parts side by side, in the order in which the rows name them; the sum at the end of each bar."""
    parts = list(dict.fromkeys(part for stack in stacks.values() for part in stack))
    colours = dict(zip(parts, itertools.cycle(_COLOURS), strict=False))
    inks = dict(zip(parts, itertools.cycle(("white", "black")), strict=False))
    widest = max(sum(stack.values()) for stack in stacks.values()) or 1.0
    for place, stack in enumerate(stacks.values()):
        end = 0.0
        for part, width in stack.items():
            axis.barh(place, width, left=end, color=colours[part], height=0.6)
            if width > _LEAST_SHARE_WITH_A_FIGURE * widest:
                axis.text(end + width / 2, place, figure(width), ha="center", va="center", color=inks[part])
            end += width
        axis.text(end + 0.01 * widest, place, figure(end), va="center", fontweight="bold")
    axis.set_yticks(range(len(stacks)), list(stacks))
    axis.invert_yaxis()
    axis.set_xlim(0, widest * 1.1)
    handles = [axis.barh(0, 0, color=colour) for colour in colours.values()]
    axis.legend(
        handles, parts, ncols=5, loc="upper left", bbox_to_anchor=(-0.12, -0.3), fontsize=8, frameon=False
    )


# ------------------------------------------------------------------------------------------------ growth


_SIZED = " portfolios"


def _growth(pyplot: Any, rows: Sequence[Row]) -> Any:  # noqa: ANN401
    """A panel for each figure that was measured at several sizes of a job."""
    series = _series(rows)
    if not series:
        return None
    columns = 2
    lines = -(-len(series) // columns)
    picture, axes = pyplot.subplots(lines, columns, squeeze=False, figsize=(8, 1.9 * lines))
    for axis, ((name, unit), points) in zip(axes.flat, series.items(), strict=False):
        sizes, values = zip(*sorted((size, row.value) for size, row in points.items()), strict=True)
        spreads = [points[size].spread for size in sizes]
        axis.errorbar(sizes, values, yerr=spreads, color=_INK, marker="o", markersize=4, capsize=2)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.set_ylim(0, 1.3 * max(map(sum, zip(values, spreads, strict=True))) or 1.0)
        for size, value, spread in zip(sizes, values, spreads, strict=True):
            above = (size, value + spread)
            axis.annotate(figure(value), above, xytext=(0, 5), textcoords="offset points", ha="center")
        axis.set_title(f"{name}, {unit}")
        axis.set_xlim(-0.05 * max(sizes), 1.1 * max(sizes))
    for axis in list(axes.flat)[len(series) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("portfolios in one job")
    return picture


def _series(rows: Sequence[Row]) -> Mapping[tuple[str, str], Mapping[int, Row]]:
    """Rows by size by figure and unit, of rows named ``<figure>, <size> portfolios``."""
    series: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows:
        name, _, size = row.name.removesuffix(_SIZED).rpartition(", ")
        digits = size.replace(",", "")
        if not (row.name.endswith(_SIZED) and digits.isdigit()):
            continue
        series.setdefault((name, row.unit), {})[int(digits)] = row
    return {key: points for key, points in series.items() if len(points) > 1}


PICTURES: Mapping[str, Callable[[Any, Sequence[Row]], Any]] = {
    "throughput": _throughput,
    "cost": _cost,
    "growth": _growth,
}
