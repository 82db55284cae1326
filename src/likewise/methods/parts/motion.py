"""Shared parts of methods that learn from optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likewise.data.flow.fields import FlowSource
from likewise.distributed import gather, world
from likewise.errors import InputError
from likewise.methods.method import Method


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """Settings of methods that look at flow."""

    flow: FlowSource = "dis"
    """Where flow comes from: `exact` of drawn videos, OpenCV's `dis` or `farneback`, or `lk`, without OpenCV."""
    camera: bool = True
    """Whether the affine motion of the whole frame, that of the camera, is taken off."""


def flow_rows(method: Method, index: Tensor) -> Tensor:
    """(..., 3, G, G) float32 the flow of the images at these positions, where they are. Raises InputError for none."""
    if method.flows is None:
        raise InputError(
            f"{type(method).__name__} learns from flow, and has none: train() computes it before it begins"
        )
    rows = method.flows[index.cpu().numpy()].astype(np.float32)
    return torch.from_numpy(rows).to(index.device)


def share_of_all(kept_B: Tensor) -> Tensor:
    """The factor of a mean over this process's kept rows, so that the average over processes is that over all rows.

    0 where no row is kept anywhere.
    """
    everyone = gather(kept_B).sum()
    return kept_B.sum() * world() / everyone.clamp(min=1)
