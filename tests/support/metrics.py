"""What a page of metrics says, and whether it keeps to the catalogue."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from adapters.metrics.catalogue import METRICS, OTHER, Label
from adapters.metrics.catalogue import Metric as CatalogueMetric

OURS = "trimtab_"
_PART_OF_HISTOGRAM = {"le"}


def read_page(page: str) -> list[Metric]:
    return list(text_string_to_metric_families(page))


def value(families: Iterable[Metric], sample: str, **labels: str) -> float:
    """The sum of all samples of this name that have these labels."""
    return sum(
        each.value
        for family in families
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    )


def catalogue_name(family: Metric) -> str:
    """Under which a family stands in the catalogue: the text format drops a counter's ending."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def strays(families: Iterable[Metric], *, open_labels: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Every label value of ours that the catalogue does not know. ``open_labels``: what those without a list may be."""
    for family in families:
        if not family.name.startswith(OURS):
            continue
        labels = {label.name: label for label in METRICS[catalogue_name(family)].labels}
        for sample in family.samples:
            for name, given in sample.labels.items():
                if name not in labels.keys() | _PART_OF_HISTOGRAM:
                    yield f"{sample.name}: label {name}"
                elif name in labels and given not in _allowed(labels[name], open_labels):
                    yield f"{sample.name}: {name}={given}"


def _allowed(label: Label, open_labels: Mapping[str, Collection[str]]) -> set[str]:
    known = open_labels[label.name] if label.values is None else label.values
    return {*known, OTHER}


SHOWN_VALUES = 8


def table_row(metric: CatalogueMetric) -> str:
    """As docs/how-to-watch.md has it."""
    labels = "; ".join(_shown(label) for label in metric.labels) or "-"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {', '.join(metric.of)} | {metric.help} |"


def _shown(label: Label) -> str:
    if label.values is None:
        return f"`{label.name}` (at most {label.most})"
    if len(label.values) > SHOWN_VALUES:
        return f"`{label.name}` ({len(label.values)})"
    return f"`{label.name}`: {', '.join(label.values)}"
