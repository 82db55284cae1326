"""Flow between two frames: OpenCV's DIS and Farneback, or Lucas and Kanade in torch; checks and camera motion.

Flow is the motion to the right and down, in pixels. Shapes: P pairs of frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import missing

Estimate = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""Two frames of each pair, (P, H, W, 3) uint8 -> (P, H, W, 2)."""
Estimated = Literal["dis", "farneback", "lk"]

SMALL = 64
"""Frames below this side are doubled first: the finest scale of DIS is half the resolution."""
TOLERANCE = 1.0
"""Pixels that there and back may be apart."""
_FINEST = 1
_LEVELS, _ROUNDS, _WINDOW, _SMOOTHED, _RIDGE = 3, 6, 7, 5, 1e-3
_REWEIGHTED, _USUAL = 8, 0.25


def estimator(name: Estimated) -> Estimate:
    """The estimator called so. Raises InputError where OpenCV is wanted and not installed."""
    if name == "lk":
        return lucas_kanade
    try:
        import cv2
    except ImportError as error:
        raise missing("opencv-python-headless", "flow", f"flow={name!r}") from error
    if name == "dis":
        dis: Any = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
        dis.setFinestScale(_FINEST)
        return _each_pair(cv2, lambda first, second: dis.calc(first, second, None))

    def farneback(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Any:
        return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 9, 3, 5, 1.1, 0)  # type: ignore[call-overload]

    return _each_pair(cv2, farneback)


def _each_pair(cv2: Any, one: Callable[[Any, Any], Any]) -> Estimate:
    """Grey frames, doubled where they are small, pair by pair."""

    def estimate(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = first.shape[1:3]
        times = 2 if min(height, width) < SMALL else 1
        found = []
        for pair in zip(first, second, strict=True):
            grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in pair]
            if times > 1:
                large = (width * times, height * times)
                grey = [cv2.resize(frame, large, interpolation=cv2.INTER_LINEAR) for frame in grey]
            flow = np.asarray(one(*grey), np.float32)
            found.append(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / times if times > 1 else flow)
        return np.stack(found).astype(np.float32)

    return estimate


# Lucas and Kanade ----------------------------------------------------------------------------------------------------


def lucas_kanade(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Dense flow from a pyramid of grey frames: least squares in windows of 7 px, a few rounds on each level.

    Lucas and Kanade, IJCAI 1981; Bouguet, 2000. For machines without OpenCV: about twice the error of DIS at borders.
    """
    grey_P1HW = [_grey(frames) for frames in (first, second)]
    pyramids = [[level] for level in grey_P1HW]
    for pyramid in pyramids:
        while len(pyramid) < _LEVELS and min(pyramid[-1].shape[2:]) >= 2 * _WINDOW:
            pyramid.append(F.avg_pool2d(pyramid[-1], 2, ceil_mode=True, count_include_pad=False))
    flow_P2HW = torch.zeros(len(first), 2, *pyramids[0][-1].shape[2:])
    for one, other in zip(*map(reversed, pyramids), strict=True):
        if one.shape[2:] != flow_P2HW.shape[2:]:
            flow_P2HW = 2.0 * F.interpolate(flow_P2HW, one.shape[2:], mode="bilinear", align_corners=False)
        for _ in range(_ROUNDS):
            flow_P2HW = _smooth(flow_P2HW + _update(one, warped(other, flow_P2HW)), _SMOOTHED)
    return flow_P2HW.permute(0, 2, 3, 1).contiguous().numpy()


def _grey(frames: NDArray[np.uint8]) -> Tensor:
    weights_3 = torch.tensor([0.299, 0.587, 0.114]) / 255.0
    return (torch.from_numpy(np.ascontiguousarray(frames)).float() @ weights_3).unsqueeze(1)


def _update(one_P1HW: Tensor, other_P1HW: Tensor) -> Tensor:
    """(P, 2, H, W) the step that least squares takes in the window around each pixel, at most a pixel long."""
    mean_P1HW = F.pad((one_P1HW + other_P1HW) / 2, (1, 1, 1, 1), mode="replicate")
    right = (mean_P1HW[..., 1:-1, 2:] - mean_P1HW[..., 1:-1, :-2]) / 2
    down = (mean_P1HW[..., 2:, 1:-1] - mean_P1HW[..., :-2, 1:-1]) / 2
    time = other_P1HW - one_P1HW
    products = torch.cat([right * right, right * down, down * down, right * time, down * time], 1)
    xx, xy, yy, xt, yt = _smooth(products, _WINDOW).unbind(1)
    xx, yy = xx + _RIDGE, yy + _RIDGE
    inverse = -1.0 / (xx * yy - xy * xy)
    return torch.stack([(yy * xt - xy * yt) * inverse, (xx * yt - xy * xt) * inverse], 1).clamp(-1.0, 1.0)


def _smooth(maps_PCHW: Tensor, window: int) -> Tensor:
    return F.avg_pool2d(maps_PCHW, window, 1, window // 2, count_include_pad=False)


def warped(image_PCHW: Tensor, flow_P2HW: Tensor) -> Tensor:
    """Each pixel as it is where the flow leads to, bilinear, held at the border."""
    height, width = image_PCHW.shape[2:]
    down, right = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = torch.stack([(right + flow_P2HW[:, 0]) * 2 / width - 1, (down + flow_P2HW[:, 1]) * 2 / height - 1], -1)
    return F.grid_sample(image_PCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


# Checks and camera ---------------------------------------------------------------------------------------------------


def reliable(there: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(P, H, W) whether a pixel comes back to within a pixel, by the flow there and that back."""
    there_P2HW, back_P2HW = (torch.from_numpy(flow).permute(0, 3, 1, 2) for flow in (there, back))
    gone_P2HW = there_P2HW + warped(back_P2HW.contiguous(), there_P2HW)
    return np.asarray((torch.linalg.vector_norm(gone_P2HW, dim=1) <= TOLERANCE).numpy())


def without_camera(flow: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The flow without the best affine motion of the whole frame: translation, zoom, rotation and shear.

    Least squares, reweighted so that what moves on its own does not count (Cauchy's weights).
    """
    height, width = flow.shape[1:3]
    down, right = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    design_N3 = np.stack([np.ones(height * width), right.ravel(), down.ravel()], 1)
    flow_PN2 = flow.reshape(len(flow), -1, 2).astype(np.float64)
    weight_PN = known.reshape(len(flow), -1).astype(np.float64) + 1e-6
    moved_PN2 = np.zeros_like(flow_PN2)
    scale_PN = weight_PN
    for _ in range(_REWEIGHTED):
        normal_P33 = np.einsum("ni,pn,nj->pij", design_N3, scale_PN, design_N3) + 1e-9 * np.eye(3)
        right_P32 = np.einsum("ni,pn,pnk->pik", design_N3, scale_PN, flow_PN2)
        moved_PN2 = design_N3 @ np.linalg.solve(normal_P33, right_P32)
        left_PN = np.linalg.norm(flow_PN2 - moved_PN2, axis=2)
        scale_PN = weight_PN / (1.0 + np.square(left_PN / _USUAL))
    return (flow_PN2 - moved_PN2).reshape(flow.shape).astype(np.float32)
