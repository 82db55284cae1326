"""Few-shot episodes: N classes, K labelled images of each, and queries of the same classes.

Classifiers: the nearest class mean of normalised features by Euclidean distance (Snell et al., NeurIPS 2017, without
training, as SimpleShot's L2N, arXiv 1911.04623), and logistic regression on normalised features with C = 1 (Tian et
al., ECCV 2020). With raw features the class mean is that of the vectors as they are, and of unit length only when it is
compared by the inner product (UML, arXiv 2011.14663), and the regression sees no normalisation (arXiv 2106.07807).

Shapes: E episodes, W ways, K shots, Q queries of each class, F features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
from torch import Tensor

from likewise.errors import InputError
from likewise.evaluation import intervals
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.similarity import unit
from likewise.similarity.nearest import check_features

QUERIES = 15
"""Images of each class that an episode asks for; fewer where the classes are smaller."""


class Episodes(NamedTuple):
    """The images of each episode; row w of an episode is its class w."""

    support_EWK: NDArray[np.int64]
    """Positions of the labelled images."""
    query_EWQ: NDArray[np.int64]
    """Positions of the images to be told apart."""


def draw(labels: NDArray[np.int64], *, ways: int, shots: int, episodes: int, seed: int) -> Episodes:
    """Episodes, a pure function of the arguments. Labels of -1 are left out.

    Every episode asks for 15 images of a class, or as many as the `ways` largest classes allow. Raises InputError
    where fewer than `ways` classes have an image more than `shots`.
    """
    members = {int(value): np.flatnonzero(labels == value) for value in np.unique(labels[labels >= 0])}
    sizes = sorted((len(rows) for rows in members.values()), reverse=True)
    spare = sizes[ways - 1] - shots if len(sizes) >= ways else 0
    if spare < 1:
        enough = sum(size > shots for size in sizes)
        raise InputError(
            f"{ways}-way {shots}-shot episodes need {ways} classes of {shots + 1} images or more, and there are "
            f"{enough}: ask for fewer ways or shots"
        )
    asked = min(QUERIES, spare)
    classes = [rows for rows in members.values() if len(rows) >= shots + asked]
    generator = np.random.default_rng([seed, ways, shots])
    support = np.empty((episodes, ways, shots), np.int64)
    query = np.empty((episodes, ways, asked), np.int64)
    for episode in range(episodes):
        for way, number in enumerate(generator.choice(len(classes), ways, replace=False)):
            rows = generator.choice(classes[number], shots + asked, replace=False)
            support[episode, way], query[episode, way] = rows[:shots], rows[shots:]
    return Episodes(support, query)


@torch.no_grad()
def prototype(features_NF: Tensor, drawn: Episodes, *, raw: bool = False) -> NDArray[np.float64]:
    """(E,) accuracy of the nearest class mean in each episode; of `raw` features that of the largest <q, p / |p|>."""
    x_NF = features_NF if raw else unit(features_NF)
    found = []
    for support_WK, query_WQ in zip(drawn.support_EWK, drawn.query_EWQ, strict=True):
        means_WF = x_NF[torch.from_numpy(support_WK)].mean(1)
        query_WQF = x_NF[torch.from_numpy(query_WQ)]
        distance_WQW = -(query_WQF @ unit(means_WF).T) if raw else torch.cdist(query_WQF, means_WF)
        own_W1 = torch.arange(len(means_WF), device=x_NF.device).unsqueeze(1)
        found.append(float((distance_WQW.argmin(2) == own_W1).double().mean()))
    return np.asarray(found)


def logistic(features_NF: Tensor, drawn: Episodes, *, raw: bool = False) -> NDArray[np.float64]:
    """(E,) accuracy of a logistic regression fitted in each episode."""
    from sklearn.linear_model import LogisticRegression

    x_NF = (features_NF if raw else unit(features_NF)).cpu().numpy()
    found = []
    with threadpool_limits(1):  # problems of a few dozen rows
        for support_WK, query_WQ in zip(drawn.support_EWK, drawn.query_EWQ, strict=True):
            ways = np.arange(len(support_WK))
            model = LogisticRegression(C=1.0, max_iter=1000)
            model.fit(x_NF[support_WK.reshape(-1)], ways.repeat(support_WK.shape[1]))
            right = model.predict(x_NF[query_WQ.reshape(-1)]) == ways.repeat(query_WQ.shape[1])
            found.append(float(right.mean()))
    return np.asarray(found)


def fewshot_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """Mean accuracy over the episodes, for each number of shots and both classifiers; episodes are of the queries."""
    check_features("query", features.query_QF)
    labels = features.query_labels_Q.cpu().numpy()
    raw = settings.episode_features == "raw"
    seen = "features as they are" if raw else "features L2-normalised"
    nearest = "class mean of the largest inner product at unit length" if raw else "nearest class mean, Euclidean"
    scores = []
    for shots in settings.shots:
        drawn = draw(labels, ways=settings.ways, shots=shots, episodes=settings.episodes, seed=features.seed)
        asked = drawn.query_EWQ.shape[2]
        episodes = (
            f"{settings.episodes} episodes of {settings.ways} classes of the queries, {shots} labelled and {asked} "
            f"asked of each, seed {features.seed}, {seen}"
        )
        # Episodes are drawn from the same images, so more of them narrow this and say nothing of other images.
        spread = f"95 % over other episodes of the same images, {settings.episodes:,} of them, 1.96 standard errors"
        for name, values, words in (
            ("prototype", prototype(features.query_QF, drawn, raw=raw), nearest),
            ("logistic", logistic(features.query_QF, drawn, raw=raw), "logistic regression, C = 1"),
        ):
            scores.append(
                features.measured(
                    "fewshot",
                    shots,
                    float(values.mean()),
                    f"few-shot, {words}, {episodes}",
                    variant=f"{settings.ways}-way {name}{', raw' if raw else ''}",
                    interval=intervals.of_mean(values)._replace(how=spread),
                )
            )
    return scores
