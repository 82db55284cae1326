"""Every probe on features against independent implementations, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from likewise.errors import InputError
from likewise.evaluation import Features, ProbeSettings
from likewise.evaluation.probes import by_name, clustering, fewshot, geometry, linear, retrieval, sgd
from likewise.evaluation.probes.by_name import PROBES
from likewise.evaluation.probes.centroid import class_means
from likewise.evaluation.scores import Score

SETTINGS = ProbeSettings()


def blobs(
    count: int, seed: int, *, classes: int = 6, dims: int = 20, spread: float = 1.6
) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping classes, so that every probe is partly wrong."""
    centres = torch.randn(classes, dims, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return centres[labels] + spread * torch.randn(count, dims, generator=draw), labels


@pytest.fixture
def features() -> Features:
    bank, bank_labels = blobs(400, 1)
    query, query_labels = blobs(150, 2)
    return Features(bank, bank_labels, query, query_labels, "test", "student", "made here", 0)


def norm(x: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(x.double(), dim=1).numpy()


@pytest.mark.parametrize("k", [1, 5, 33])
def test_knn_is_that_of_scikit_learn(features: Features, k: int) -> None:
    said = {score.variant: score for score in PROBES["knn"](features, replace(SETTINGS, k=(k,), temperature=0.2))}
    x, y = norm(features.bank_NF), features.bank_labels_N.numpy()
    theirs = KNeighborsClassifier(
        k, algorithm="brute", metric="sqeuclidean", weights=lambda distance: np.exp((1 - distance / 2) / 0.2)
    ).fit(x, y)
    assert said["weighted"].value == theirs.score(norm(features.query_QF), features.query_labels_Q.numpy())
    plain = KNeighborsClassifier(k, algorithm="brute").fit(x, y)
    shares = plain.predict_proba(norm(features.query_QF))
    ties = ((shares == shares.max(1, keepdims=True)).sum(1) > 1).mean()
    mine = said["majority"].value
    assert abs(mine - plain.score(norm(features.query_QF), features.query_labels_Q.numpy())) <= ties


def test_the_linear_probe_is_logistic_regression(features: Features) -> None:
    probe = linear.fit(features.bank_NF, features.bank_labels_N, decays=(1e-2,))
    x = (norm(features.bank_NF) - probe.mean_F.numpy()) / probe.scale_F.numpy()
    q = (norm(features.query_QF) - probe.mean_F.numpy()) / probe.scale_F.numpy()
    theirs = LogisticRegression(C=1 / (1e-2 * len(x)), tol=1e-8, max_iter=2000).fit(x, features.bank_labels_N)
    mine = probe.predict(features.query_QF).numpy()
    assert (mine == theirs.predict(q)).mean() > 0.99
    logits = q @ probe.weight_CF.numpy().T + probe.bias_C.numpy()
    centred = logits - logits.mean(1, keepdims=True)
    reference = theirs.decision_function(q)
    assert np.abs(centred - (reference - reference.mean(1, keepdims=True))).max() < 0.01


def test_sgd_ends_near_the_solution(features: Features) -> None:
    last, best = PROBES["linear-sgd"](features, SETTINGS)
    solved = PROBES["linear"](features, SETTINGS)[0]
    assert abs(last.value - solved.value) < 0.06
    assert best.value >= last.value
    assert "as published" in best.protocol
    again = sgd.train(features.bank_NF, features.bank_labels_N, features.query_QF, epochs=2)
    assert torch.equal(
        again.predicted_EQ,
        sgd.train(features.bank_NF, features.bank_labels_N, features.query_QF, epochs=2).predicted_EQ,
    )


def test_class_means_are_those_of_scikit_learn(features: Features) -> None:
    classes, means = class_means(features.bank_NF, features.bank_labels_N)
    theirs = NearestCentroid().fit(norm(features.bank_NF), features.bank_labels_N.numpy())
    expected = theirs.centroids_ / np.linalg.norm(theirs.centroids_, axis=1, keepdims=True)
    assert classes.tolist() == list(range(6))
    assert np.abs(means.numpy() - expected).max() < 1e-6
    assert PROBES["centroid"](features, SETTINGS)[0].value > 0.5


def test_classes_that_are_not_in_the_bank_are_never_guessed(features: Features) -> None:
    kept = features.bank_labels_N != 0
    without = replace(features, bank_NF=features.bank_NF[kept], bank_labels_N=features.bank_labels_N[kept])
    score = PROBES["centroid"](without, SETTINGS)[0]
    assert score.predicted is not None
    assert 0 not in score.predicted


def test_episodes_are_what_they_say(features: Features) -> None:
    labels = features.query_labels_Q.numpy()
    drawn = fewshot.draw(labels, ways=4, shots=3, episodes=50, seed=1)
    assert drawn.support_EWK.shape == (50, 4, 3)
    assert drawn.query_EWQ.shape == (50, 4, 15)
    for support, query in zip(drawn.support_EWK, drawn.query_EWQ, strict=True):
        assert not set(support.ravel()) & set(query.ravel())
        owners = labels[np.concatenate([support, query], axis=1)]
        assert (owners == owners[:, :1]).all()
        assert len(set(owners[:, 0])) == 4
    with pytest.raises(InputError, match=r"7-way 3-shot episodes need 7 classes of 4 images or more, and there are 6"):
        fewshot.draw(labels, ways=7, shots=3, episodes=5, seed=1)
    assert fewshot.draw(labels[:30], ways=6, shots=3, episodes=2, seed=1).query_EWQ.shape == (2, 6, 2)


def test_prototypes_are_nearest_centroids(features: Features) -> None:
    drawn = fewshot.draw(features.query_labels_Q.numpy(), ways=5, shots=5, episodes=20, seed=0)
    mine = fewshot.prototype(features.query_QF, drawn)
    x = norm(features.query_QF)
    for value, support, query in zip(mine, drawn.support_EWK, drawn.query_EWQ, strict=True):
        truth = np.arange(5).repeat(5)
        theirs = NearestCentroid().fit(x[support.ravel()], truth)
        assert value == pytest.approx(theirs.score(x[query.ravel()], np.arange(5).repeat(15)))
    scores = PROBES["fewshot"](features, replace(SETTINGS, episodes=30))
    assert [(score.k, score.variant) for score in scores] == [
        (1, "5-way prototype"), (1, "5-way logistic"), (5, "5-way prototype"), (5, "5-way logistic"),
    ]  # fmt: skip
    for score in scores:
        assert score.low is not None
        assert score.high is not None
        assert score.low < score.value < score.high
    assert scores[2].value > scores[0].value


def test_raw_prototypes_are_means_of_vectors_as_they_are(features: Features) -> None:
    drawn = fewshot.draw(features.query_labels_Q.numpy(), ways=4, shots=5, episodes=10, seed=0)
    scale = torch.linspace(0.2, 5.0, len(features.query_QF)).unsqueeze(1)
    longer = features.query_QF * scale
    mine = fewshot.prototype(longer, drawn, raw=True)
    for value, support, query in zip(mine, drawn.support_EWK, drawn.query_EWQ, strict=True):
        p_WF = longer[torch.from_numpy(support)].mean(1)
        q_F = longer[torch.from_numpy(query.ravel())]
        guess = torch.nn.functional.cosine_similarity(q_F.unsqueeze(1), p_WF, dim=2).argmax(1)
        assert value == pytest.approx(float((guess == torch.arange(4).repeat_interleave(15)).double().mean()))
    assert (mine != fewshot.prototype(longer, drawn)).any(), "long vectors weigh more in a raw mean"
    scores = PROBES["fewshot"](features, replace(SETTINGS, episodes=10, episode_features="raw"))
    assert scores[0].variant == "5-way prototype, raw"
    assert "features as they are" in scores[0].protocol


def test_clusters_agree_as_scikit_learn_says(features: Features) -> None:
    draw = np.random.default_rng(0)
    for _ in range(5):
        clusters, classes = draw.integers(0, 7, 90), draw.integers(0, 5, 90)
        found = clustering.agreement(clusters, classes)
        assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(classes, clusters))
        assert found.ari == pytest.approx(metrics.adjusted_rand_score(classes, clusters))
    permuted = np.array([3, 0, 1, 2])[np.arange(40) % 4]
    assert clustering.agreement(permuted, np.arange(40) % 4)[:3] == (1.0, 1.0, 1.0)
    told = {score.measure: score.value for score in PROBES["clustering"](features, SETTINGS)}
    assert 0.3 < told["accuracy"] < 1
    with pytest.raises(InputError, match="clusters=151"):
        PROBES["clustering"](features, replace(SETTINGS, clusters=151))


def test_average_precision_is_that_of_scikit_learn(features: Features) -> None:
    found = retrieval.rank(features.query_QF, features.bank_NF, features.query_labels_Q, features.bank_labels_N)
    similarity = norm(features.query_QF) @ norm(features.bank_NF).T
    for row in range(len(similarity)):
        same = (features.bank_labels_N == features.query_labels_Q[row]).numpy()
        assert float(found.precision_Q[row]) == pytest.approx(metrics.average_precision_score(same, similarity[row]))
        order = np.argsort(-similarity[row])
        assert int(found.first_Q[row]) == 1 + int(np.argmax(same[order]))


def test_cameras_leave_out_what_is_too_easy() -> None:
    gallery = torch.tensor([[1.0, 0], [0.9, 0.1], [0.5, 0.5], [0, 1.0]])
    same, cameras = torch.tensor([7, 8, 7, 7]), torch.tensor([0, 0, 1, 1])
    query = torch.tensor([[1.0, 0]])
    plain = retrieval.rank(query, gallery, torch.tensor([7]), same)
    assert plain.first_Q.tolist() == [1]
    found = retrieval.rank(
        query, gallery, torch.tensor([7]), same, query_cameras_Q=torch.tensor([0]), gallery_cameras_N=cameras
    )
    assert found.first_Q.tolist() == [2]  # the first of the class is by the query's own camera, the next is class 8
    assert found.precision_Q.tolist() == pytest.approx([(1 / 2 + 2 / 3) / 2])
    with pytest.raises(InputError, match="no query has an image"):
        retrieval.rank(query, gallery, torch.tensor([9]), same)
    with pytest.raises(InputError, match="both are needed"):
        retrieval.rank(query, gallery, torch.tensor([7]), same, query_cameras_Q=torch.tensor([0]))


def test_queries_do_not_find_themselves(features: Features) -> None:
    alone = replace(features, query_QF=features.query_QF[:7], query_labels_Q=torch.tensor([0, 0, 1, 1, 2, 3, 3]))
    average, *recall = PROBES["retrieval"](alone, replace(SETTINGS, k=(1, 6)))
    assert "1 queries with nothing to find left out" in average.protocol
    assert recall[1].value == 1.0
    assert average.value < 1


def test_geometry_is_what_the_formulas_say(features: Features) -> None:
    x, labels = norm(features.query_QF), features.query_labels_Q.numpy()
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    other = ~np.eye(len(x), dtype=bool)
    assert geometry.uniformity(features.query_QF) == pytest.approx(np.log(np.exp(-2 * squared[other]).mean()), abs=1e-5)
    same = (labels[:, None] == labels[None]) & other
    assert geometry.class_alignment(features.query_QF, features.query_labels_Q) == pytest.approx(
        squared[same].mean(), abs=1e-5
    )
    assert geometry.uniformity(torch.zeros(3, 5)) == pytest.approx(-4)  # of no direction, so a right angle apart
    collapsed = torch.ones(20, 5)
    assert geometry.uniformity(collapsed) == pytest.approx(0, abs=1e-5)
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    share = values / values.sum()
    rank = PROBES["rank"](features, SETTINGS)[0]
    assert rank.value == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-3)
    assert rank.unit == "number"


def test_purity_is_the_share_of_the_same_class(features: Features) -> None:
    score = PROBES["purity"](features, replace(SETTINGS, k=(7,)))[0]
    near = KNeighborsClassifier(7, algorithm="brute").fit(norm(features.bank_NF), features.bank_labels_N)
    rows = near.kneighbors(norm(features.query_QF), return_distance=False)
    expected = (features.bank_labels_N.numpy()[rows] == features.query_labels_Q.numpy()[:, None]).mean()
    assert score.value == pytest.approx(expected)


def test_few_labels_are_few(features: Features) -> None:
    one, ten = PROBES["labels"](features, replace(SETTINGS, label_shares=(0.02, 0.2)))
    assert (one.variant, ten.variant) == ("2% of the labels", "20% of the labels")
    assert "6 labels" in one.protocol
    assert ten.value > one.value
    five = PROBES["labels"](features, replace(SETTINGS, labels_per_class=(5,)))[0]
    assert five.variant == "5 labels per class"
    assert "30 labels" in five.protocol


def test_accuracy_as_the_mean_over_classes(features: Features) -> None:
    skewed = torch.cat([torch.zeros(100), torch.ones(50)]).long()
    mean = replace(features, query_labels_Q=skewed, class_mean=True).score("knn", 1, torch.zeros(150).long(), "")
    assert (mean.value, mean.measure) == (0.5, "mean per-class accuracy")
    assert mean.low is not None
    assert mean.low < 0.5


@pytest.mark.parametrize("name", sorted(PROBES))
def test_features_that_are_not_numbers_are_never_scored(features: Features, name: str) -> None:
    query = features.query_QF.clone()
    query[3, 2] = torch.nan
    with pytest.raises(InputError, match=r"1 of 150 images are not finite"):
        PROBES[name](replace(features, query_QF=query, bank_NF=query, bank_labels_N=features.query_labels_Q), SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": (0,)},
        {"episodes": 0},
        {"label_shares": (2.0,)},
        {"ways": 1},
        {"gallery": "bonk"},
        {"episode_features": "row"},
        {"temperature": 0},
    ],
)
def test_settings_that_cannot_be_are_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ProbeSettings(**wrong)  # type: ignore[arg-type]


def test_another_package_adds_a_probe(monkeypatch: pytest.MonkeyPatch, features: Features) -> None:
    def mine(given: Features, settings: ProbeSettings) -> list[Score]:
        return [given.measured("mine", settings.k[0], 0.5, "half")]

    points = [Point("mine", mine), Point("broken", 3)]
    monkeypatch.setattr(by_name, "entry_points", lambda group: points if group == "likewise.probes" else [])
    assert {"mine", "knn"} <= set(by_name.probe_names())
    assert by_name.find_probe("mine")(features, replace(SETTINGS, k=(3,)))[0].value == 0.5
    with pytest.raises(InputError, match="a probe is a function"):
        by_name.find_probe("broken")
    with pytest.raises(InputError, match="unknown probe 'knm': did you mean 'knn'"):
        by_name.find_probe("knm")


class Point(NamedTuple):
    """What an entry point looks like."""

    name: str
    given: Any

    def load(self) -> Any:
        return self.given
