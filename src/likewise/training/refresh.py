"""Embeddings of the whole data set by a method's network, computed between epochs.

Processes embed a share of the images each and gather them, so that all hold the same table and make the same
clusters of it. Shapes: N images, D dimensions, B images in a batch.
"""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch import Tensor, nn

from likewise.distributed import gather, rank, world
from likewise.encoders import EncoderSpec
from likewise.encoders.embedding import Autocast, ImageSet, rows, view_of
from likewise.errors import TrainingStopped
from likewise.methods.method import Method, Progress
from likewise.views import ViewPolicy


def refresh(
    method: Method,
    images: ImageSet,
    spec: EncoderSpec,
    progress: Progress,
    *,
    device: torch.device | str = "cpu",
    autocast: Autocast = contextlib.nullcontext,
) -> None:
    """Give `method` the embeddings of all images, seen by their centre as in evaluation.

    Raises TrainingStopped where an embedding is not finite: no cluster could be made of it.
    """
    where, network = torch.device(device), method.refresh_with()
    if network is None:
        features_ND = torch.zeros(len(images), 0, device=where)
    else:
        features_ND = embed_all(network, images, view_of(spec), device=where, autocast=autocast)
    broken_N = features_ND.isfinite().all(1).logical_not()
    if broken_N.any():
        raise TrainingStopped(
            f"training stopped at step {progress.step}: {int(broken_N.sum())} of {len(features_ND)} embeddings of the "
            f"data set are not finite, the first that of image {int(broken_N.nonzero()[0])}"
        )
    labels = getattr(images, "labels", None)
    names = getattr(images, "names", [])
    method.know(names, None if labels is None else torch.as_tensor(labels, device=where))
    method.refresh(features_ND, progress)


@torch.no_grad()
def embed_all(
    network: nn.Module, images: ImageSet, view: ViewPolicy, *, device: torch.device, autocast: Autocast
) -> Tensor:
    """Embeddings of all images (N, D) in their order, on the device, in float32 or better."""
    count = len(images)
    # Each process the same number, or gathering them would wait for ever: the last shares begin again at the front.
    own = np.arange(rank(), -(-count // world()) * world(), world()) % count
    rows_nD: Tensor | None = None
    for start, rows_BD in rows(network, images, own, view, device=device, autocast=autocast):
        if rows_nD is None:
            kept = torch.promote_types(rows_BD.dtype, torch.float32)
            rows_nD = torch.empty(len(own), rows_BD.shape[1], dtype=kept, device=device)
        rows_nD[start : start + len(rows_BD)] = rows_BD
    assert rows_nD is not None
    return gather(rows_nD)[:count]
