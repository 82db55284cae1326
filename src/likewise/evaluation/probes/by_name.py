"""Probes on features by name, of this package and of other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from likewise.errors import InputError, unknown
from likewise.evaluation.probes.centroid import centroid_scores
from likewise.evaluation.probes.clustering import clustering_scores
from likewise.evaluation.probes.fewshot import fewshot_scores
from likewise.evaluation.probes.geometry import purity_scores, rank_scores, uniformity_scores
from likewise.evaluation.probes.knn import knn_scores
from likewise.evaluation.probes.linear import label_scores, linear_scores, logistic_scores
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.probes.retrieval import retrieval_scores
from likewise.evaluation.probes.sgd import sgd_scores
from likewise.evaluation.scores import Score

Probe = Callable[[Features, ProbeSettings], list[Score]]
"""What scores features: a function of features with labels and of what a person may set."""

PROBES: Mapping[str, Probe] = {
    "knn": knn_scores,
    "linear": linear_scores,
    "logistic": logistic_scores,
    "linear-sgd": sgd_scores,
    "centroid": centroid_scores,
    "fewshot": fewshot_scores,
    "labels": label_scores,
    "clustering": clustering_scores,
    "retrieval": retrieval_scores,
    "uniformity": uniformity_scores,
    "rank": rank_scores,
    "purity": purity_scores,
}
"""What features can be scored by; those that need the encoder itself stand in `likewise.verbs.judging.evaluate`."""
ENTRY_POINTS = "likewise.probes"
"""Group under which other packages add theirs, `name = "module:function"`: docs/adding-a-probe.md."""


def probe_names() -> list[str]:
    """Probes on features, sorted: those of this package and those of entry points."""
    return sorted({*PROBES, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def find_probe(name: str) -> Probe:
    """The probe called `name`. Raises InputError for one that does not exist, and for an entry point that is none."""
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            found = point.load()
            if not callable(found):
                raise InputError(f"entry point {name!r} gives {found!r}: a probe is a function, docs/adding-a-probe.md")
            return found  # type: ignore[no-any-return]
    if name not in PROBES:
        raise unknown("probe", name, probe_names())
    return PROBES[name]
