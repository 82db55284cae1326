"""Relations between the images of a collection: neighbours, distances, clusters, near-duplicates, outliers.

Shapes: N images, F features, K neighbours of each, G of them for the map, P pairs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import InputError
from likewise.exploring.collection import UNKNOWN, Collection, MapColumn
from likewise.report.neighbours import find
from likewise.similarity import Neighbours, unit
from likewise.similarity.kmeans import kmeans
from likewise.similarity.knn import weighted

NEIGHBOURS = 12
"""Neighbours that are shown of each image, and that vote."""
GRAPH = 30
"""Neighbours that the map is made of."""
LISTED = 200
"""Pairs and outliers that are listed at most."""
TEMPERATURE = 0.07
"""Of the votes of neighbours (Wu et al. 2018)."""
MOST_CLUSTERS = 40
CLUSTERED = 20_000
"""Images that the centroids are found with; the others join the nearest."""

Index = NDArray[np.int64]


class Relations(NamedTuple):
    """The relations between the images."""

    nearest_NK: Index
    """Positions of the nearest others, nearest first."""
    similarity_NK: NDArray[np.float32]
    """Their cosine similarities."""
    graph_NG: Index
    """More of them, for the map."""
    graph_similarity_NG: NDArray[np.float32]
    pairs_P2: Index
    """The most similar pairs, most similar first, each once."""
    pair_similarity_P: NDArray[np.float32]
    copies_P: NDArray[np.bool_]
    """Whether the pixels of the two are equal."""
    outliers: Index
    """Images farthest from their neighbours, the farthest first."""
    columns: tuple[MapColumn, ...]
    """Those of the collection, then `cluster`, `prediction` by neighbours where labels exist, and `distance`."""

    @property
    def graph(self) -> tuple[Index, NDArray[np.float32]]:
        """Neighbours and similarities for the map, both (N, G)."""
        return self.graph_NG, self.graph_similarity_NG


def relate(collection: Collection, *, clusters: int | None = None, seed: int = 0) -> Relations:
    """Neighbours, clusters and lists of a collection.

    `distance` is 1 minus the mean cosine similarity to the K nearest others: large for outliers. Where the run has no
    classifier of its own, `prediction` is what the K nearest others that are labelled vote, each weighted by
    exp(similarity / 0.07) (Wu et al. 2018, arXiv 1805.01978), the image's own label left out. Clusters are those of
    cosine k-means. Raises InputError for a number of clusters outside 1 to N.
    """
    features_NF = unit(collection.features_NF)
    count = len(collection)
    found = find(features_NF, np.arange(count), min(GRAPH, count - 1))
    nearest_NK, similarity_NK = found.nearest_QK[:, :NEIGHBOURS], found.similarity_QK[:, :NEIGHBOURS]
    distance_N = (1 - similarity_NK.mean(axis=1)).astype(np.float32)
    number = _clusters(clusters, count)
    cluster = MapColumn(
        "cluster",
        "cluster",
        _clustered(features_NF, number, seed),
        tuple(f"cluster {one + 1}" for one in range(number)),
    )
    columns = [*collection.columns, cluster]
    label = collection.column("label")
    if label is not None and collection.column("prediction") is None:
        columns.append(_voted(label, nearest_NK, similarity_NK))
    columns.append(MapColumn("distance", "distance to neighbours", distance_N))
    pairs_P2, similarity_P = _pairs(nearest_NK, similarity_NK)
    digests = collection.digests()
    copies_P = digests[pairs_P2[:, 0]] == digests[pairs_P2[:, 1]]
    outliers = np.argsort(-distance_N, kind="stable")[:LISTED]
    return Relations(
        nearest_NK=nearest_NK,
        similarity_NK=similarity_NK,
        graph_NG=found.nearest_QK,
        graph_similarity_NG=found.similarity_QK,
        pairs_P2=pairs_P2,
        pair_similarity_P=similarity_P,
        copies_P=copies_P,
        outliers=outliers,
        columns=tuple(columns),
    )


def _clusters(asked: int | None, count: int) -> int:
    if asked is None:
        return max(1, min(MOST_CLUSTERS, round(math.sqrt(count / 8))))
    if not 1 <= asked <= count:
        raise InputError(f"{asked} clusters of {count:,} images: allowed are 1 to {count:,}")
    return asked


def _clustered(features_NF: Tensor, number: int, seed: int) -> Index:
    """(N,) the cluster of each image, the largest first."""
    step = max(1, -(-len(features_NF) // max(CLUSTERED, number)))
    found = kmeans(features_NF[::step], min(number, len(features_NF[::step])), seed=seed, iterations=30)
    assignment = torch.cat([(part @ found.centroids.T).argmax(1) for part in torch.split(features_NF, 16_384)]).numpy()
    order = np.argsort(-np.bincount(assignment, minlength=number), kind="stable")
    rank = np.empty(number, np.int64)
    rank[order] = np.arange(number)
    clusters: Index = rank[assignment]
    return clusters


def _voted(label: MapColumn, nearest_NK: Index, similarity_NK: NDArray[np.float32]) -> MapColumn:
    """What the neighbours of each image say of its class."""
    known_NK = label.values_N.astype(np.int64)[nearest_NK]
    votes = len(label.categories or ())
    # Neighbours without a label vote for a class that there is not, with no weight.
    similarity = torch.from_numpy(np.where(known_NK < 0, -1e3, similarity_NK))
    labels = torch.from_numpy(np.where(known_NK < 0, votes, known_NK))
    order = similarity.argsort(dim=1, descending=True)
    flat = labels.gather(1, order).reshape(-1)
    rows = torch.arange(len(flat)).view_as(order)
    predicted = weighted(Neighbours(similarity.gather(1, order), rows), flat, order.shape[1], TEMPERATURE).numpy()
    predicted[predicted == votes] = UNKNOWN
    return MapColumn("prediction", "prediction by neighbours", predicted, label.categories)


def _pairs(nearest_NK: Index, similarity_NK: NDArray[np.float32]) -> tuple[Index, NDArray[np.float32]]:
    """The pairs among images and their neighbours with the largest similarities."""
    width = nearest_NK.shape[1]
    flat = similarity_NK.reshape(-1)
    best = np.argsort(-flat, kind="stable")[: 2 * LISTED * width]
    one, other = best // width, nearest_NK.reshape(-1)[best]
    both = np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1)
    _, first = np.unique(both, axis=0, return_index=True)
    kept = np.sort(first)[:LISTED]
    return both[kept], flat[best[kept]]
