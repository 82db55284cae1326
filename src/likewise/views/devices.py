"""Moves small tensors to the device of the images."""

from __future__ import annotations

import torch
from torch import Tensor


def onto(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`, without waiting for the work that is queued there.

    A plain `.to(device)` lets the processor wait for an accelerator to finish everything before; once per parameter
    and step, that would end all overlap of preparing views and training.
    """
    return tensor.to(device, non_blocking=True)
