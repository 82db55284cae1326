"""Calibration and error rates of predicted classes, from labels that the classifier was not fitted on.

Shapes: Q predicted images, H held-out images, C classes.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from likewise.prediction.calibration import calibration_errors, expected_calibration_error, temperature
from likewise.prediction.judged import Held, HeldOut
from likewise.prediction.risk import Threshold, candidates, choose

NONE = "none of these"
"""What stands in place of a class where the confidence is too low."""


class Top(NamedTuple):
    """The likeliest class of each image."""

    confidence_Q: Tensor
    """0 to 1."""
    class_Q: Tensor


def calibrated(judged: HeldOut, seed: int) -> tuple[float | None, tuple[float, float] | None]:
    """The temperature, and the calibration error before and after it on labels that it was not fitted on."""
    scaling, judging = judged.scaling.known(), judged.judging
    if len(scaling.labels_H) < 2 or not len(judging.labels_H):
        return None, None
    t = temperature(*scaling)
    if judged.is_shared:
        return t, calibration_errors(*judging, seed=seed)
    right_H = judging.logits_HC.argmax(1) == judging.labels_H
    before, after = (expected_calibration_error(confidence_of(judging.logits_HC, one)[0], right_H) for one in (1.0, t))
    return t, (before, after)


def confidence_of(logits_QC: Tensor, t: float | None) -> Top:
    """Confidence and class after division by the temperature."""
    best = (logits_QC.double() / (t or 1.0)).softmax(1).max(1)
    return Top(best.values, best.indices)


def accuracy(held: Held) -> float | None:
    """Share of held-out images whose class is right; None without any."""
    if not len(held.labels_H):
        return None
    return float((held.logits_HC.argmax(1) == held.labels_H).double().mean())


def threshold_of(judged: HeldOut, t: float | None, confidence_Q: Tensor, risk: float, trust: float) -> Threshold:
    """The confidence above which the risk holds, by the held-out images."""
    confidence_H, number_H = confidence_of(judged.judging.logits_HC, t)
    right_H = (number_H == judged.judging.labels_H).numpy()
    return choose(confidence_H.numpy(), right_H, candidates(confidence_Q.numpy()), risk=risk, trust=trust)


def promise_of(threshold: Threshold, risk: float, trust: float) -> str:
    """The guarantee for the predictions that are given, with its condition."""
    if threshold.bound is None:
        return f"no confidence keeps the risk at {risk:.1%} by these labels, so every image is {NONE!r}"
    return (
        f"with probability {trust:.0%} at most {threshold.bound:.1%} of the classes given are wrong "
        f"(asked {risk:.1%}): "
        f"{threshold.wrong} of {threshold.held_out} held-out images at or above {threshold.value:.3f} are. It assumes "
        "that the labelled images are a random draw of what is predicted"
    )
