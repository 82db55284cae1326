"""Selection by a run of USL-T: the most confident image of each cluster (arXiv 2110.03006, section 3).

Shapes: N images, m clusters of the run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data import Images
from likewise.encoders.embedding import rows, view_of
from likewise.errors import InputError
from likewise.methods.usl_t import USLT
from likewise.methods.whole import restore
from likewise.runs import RunDirectory
from likewise.selection.picking import Picks
from likewise.similarity.nearest import neighbours

NEIGHBOURS = 20
"""Neighbours of an image in the table, beside itself."""


class _Assigning(nn.Module):
    """A run of USL-T as a network from images to clusters and confidences."""

    def __init__(self, method: USLT) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2), see `USLT.assigned`."""
        return self.method.assigned(image)


def picks(run: str | Path | RunDirectory, images: Images, budget: int) -> Picks:
    """Exactly `budget` different images: of each cluster the surest one, as the clusters are numbered.

    Where clusters stay empty, the second surest of each cluster follow, and so on; of more clusters than the budget the
    first ones are taken. Exact copies of an image that is picked come only when nothing else is left. Labels of the
    images are not looked at. Raises InputError for a run of another method, and for a budget below 1 or above the
    number of images.
    """
    method = restore(run)
    if not isinstance(method, USLT):
        where = run.path if isinstance(run, RunDirectory) else run
        raise InputError(f"{where} was not trained by usl_t: likewise recipes usl_t trains one from another run")
    if not 1 <= budget <= len(images):
        raise InputError(f"{budget} picks of {len(images)} images: allowed are 1 to that many")
    view = view_of(method.encoder.spec)
    found_N2 = torch.cat([part for _, part in rows(_Assigning(method), images, np.arange(len(images)), view)]).cpu()
    cluster_N, sure_N = found_N2[:, 0].long(), found_N2[:, 1]
    order_N = surest_first(cluster_N, sure_N)
    first = np.sort(np.unique(images.digests[order_N.numpy()], return_index=True)[1])
    copies = np.setdiff1d(np.arange(len(order_N)), first)
    picked = order_N[torch.from_numpy(np.concatenate([first, copies]))][:budget]
    surest = zip(cluster_N[picked].tolist(), sure_N[picked].tolist(), strict=True)
    words = tuple(f"surest left of cluster {cluster}, {100 * sure:.0f} % sure" for cluster, sure in surest)
    return Picks(picked, words, cluster_N[picked])


def surest_first(cluster_N: Tensor, confidence_N: Tensor) -> Tensor:
    """(N,) all images: the surest of each cluster in the order of the clusters, then the second of each, and so on.

    Equally sure ones of a cluster come in the order of the images.
    """
    by_confidence_N = confidence_N.argsort(descending=True, stable=True)
    order_N = by_confidence_N[cluster_N[by_confidence_N].argsort(stable=True)]
    sizes_C = cluster_N.bincount()
    first_C = sizes_C.cumsum(0) - sizes_C
    rank_N = torch.arange(len(order_N)) - first_C[cluster_N[order_N]]
    return order_N[rank_N.argsort(stable=True)]


def neighbour_table(features_NF: Tensor, count: int = NEIGHBOURS) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(N, count + 1) positions of the images most similar to each by cosine, itself among them; fewer of few images."""
    found = neighbours(features_NF, features_NF, min(count + 1, len(features_NF)))
    table: np.ndarray[tuple[int, int], np.dtype[np.int64]] = found.rows.cpu().numpy().astype(np.int64)
    return table
