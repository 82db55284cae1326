"""The probes by name: what each measures on features, with its protocol in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from likewise.errors import InputError, unknown
from likewise.evaluation.probes import linear
from likewise.evaluation.probes.centroid import centroid_scores
from likewise.evaluation.probes.clustering import clustering_scores
from likewise.evaluation.probes.few_labels import label_scores
from likewise.evaluation.probes.fewshot import fewshot_scores
from likewise.evaluation.probes.geometry import purity_scores, rank_scores, uniformity_scores
from likewise.evaluation.probes.protocol import Features, ProbeSettings, on
from likewise.evaluation.probes.retrieval import retrieval_scores
from likewise.evaluation.probes.sgd import sgd_scores
from likewise.evaluation.scores import Score
from likewise.similarity import knn
from likewise.similarity.nearest import neighbours

__all__ = ["PROBES", "Features", "ProbeSettings", "knn_scores", "linear_scores", "on"]

MAJORITY = (1, 20)
"""k of the plain majority, the protocol of ISD and MSF."""
WEIGHTED = 200
"""k of the weighted vote, the protocol of most other papers."""
_USUAL = ProbeSettings()


def knn_scores(features: Features, settings: ProbeSettings = _USUAL) -> list[Score]:
    """Majority for k = 1 and 20, and the weighted vote for k = 200, or both votes for each k that is asked for."""
    count = len(features.bank_NF)
    wanted = [(k, vote, vote) for k in settings.k for vote in ("majority", "weighted")]
    wanted = wanted or [*((k, "majority", "") for k in MAJORITY), (WEIGHTED, "weighted", "")]
    found = neighbours(features.query_QF, features.bank_NF, min(max(k for k, _, _ in wanted), count))
    scores = []
    for k, vote, variant in wanted:
        if vote == "majority":
            predicted_Q = knn.majority(found, features.bank_labels_N, min(k, count))
            words = f"majority of k={k}{_cut(k, count)}{', ties to the nearest' if k > 1 else ''}"
        else:
            predicted_Q = knn.weighted(found, features.bank_labels_N, min(k, count), settings.temperature)
            words = f"k={k}{_cut(k, count)} votes weighted by exp(similarity / {settings.temperature:g})"
        scores.append(features.score("knn", k, predicted_Q, f"kNN, exact cosine, {words}", variant=variant))
    return scores


def linear_scores(features: Features, settings: ProbeSettings = _USUAL) -> list[Score]:
    """The linear probe, solved instead of trained."""
    probe = linear.fit(features.bank_NF, features.bank_labels_N, seed=features.seed)
    words = f"linear probe, {linear.settings_text(probe, features.seed)}"
    return [features.score("linear", None, probe.predict(features.query_QF), words)]


Probe = Callable[[Features, ProbeSettings], list[Score]]
"""What scores features: a function of features with labels and of what a person may set."""

PROBES: Mapping[str, Probe] = {
    "knn": knn_scores,
    "linear": linear_scores,
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


def _cut(k: int, count: int) -> str:
    return f" (cut to the {count} pictures of the bank)" if k > count else ""
