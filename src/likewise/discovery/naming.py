"""Names for new clusters: the captions nearest to the images of each.

Shapes: N images, T texts, K clusters, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.discovery.finding import Class
from likewise.errors import InputError
from likewise.similarity import unit

LONGEST = 60
"""Letters of a caption that a class is called by."""


class ClusterName(NamedTuple):
    """The name of a cluster."""

    name: str
    """The caption nearest to its mean; empty for a cluster without images."""
    similarity: float
    """Cosine of that caption with the cluster's mean."""
    margin: float
    """How much more than with the mean over all clusters: near 0 where the caption would suit any of them."""
    images: int
    """How many are in it."""


def called(classes: Sequence[Class], names: Sequence[ClusterName]) -> list[Class]:
    """The classes, those that no label names called by the captions of their clusters: `names` by cluster.

    A caption that is taken, by another class or a label, gets a number: `a red car (2)`. A cluster without a caption
    keeps its name.
    """
    taken = {one.name for one in classes}
    named = []
    for one in classes:
        found = names[one.cluster].name if one.is_new and one.cluster < len(names) else ""
        if found:
            text = " ".join(found.split())
            text = text if len(text) <= LONGEST else f"{text[: LONGEST - 3].rstrip()}..."
            free = (text if number == 1 else f"{text} ({number})" for number in range(1, len(classes) + 2))
            name = next(each for each in free if each not in taken)
            taken.add(name)
            one = one._replace(name=name)  # noqa: PLW2901
        named.append(one)
    return named


def cluster_names(
    image_ND: Tensor, cluster_N: NDArray[np.int64], texts: Sequence[str], text_TD: Tensor
) -> list[ClusterName]:
    """A name for each cluster 0 to K - 1: the text that fits its images most beyond what fits all images.

    `image_ND` and `text_TD` are vectors of one space (`likewise.methods.words`). A text is scored by its cosine with
    the cluster's mean minus that with the mean of the clusters, or "a photo" would name them all; equal names may
    occur. Raises InputError without texts, and where lengths do not fit.
    """
    if not len(texts) or len(texts) != len(text_TD) or len(image_ND) != len(cluster_N):
        raise InputError(
            f"names need a vector for each text and a cluster for each image: {len(texts)} texts, {len(text_TD)} "
            f"vectors, {len(image_ND)} images, {len(cluster_N)} clusters"
        )
    number_N = torch.from_numpy(np.asarray(cluster_N, np.int64))
    clusters = int(np.max(cluster_N, initial=-1)) + 1
    counts = np.bincount(cluster_N[cluster_N >= 0], minlength=clusters)
    summed_KD = image_ND.new_zeros(clusters, image_ND.shape[1])
    means_KD = unit(summed_KD.index_add_(0, number_N[number_N >= 0], image_ND[number_N >= 0]))
    fits_KT = means_KD @ text_TD.T
    beyond_KT = fits_KT - fits_KT[torch.from_numpy(counts > 0)].mean(0)
    found = []
    for k in range(clusters):
        best = int(beyond_KT[k].argmax())
        name, fit, beyond = texts[best], float(fits_KT[k, best]), float(beyond_KT[k, best])
        found.append(ClusterName(name, fit, beyond, int(counts[k])) if counts[k] else ClusterName("", 0.0, 0.0, 0))
    return found
