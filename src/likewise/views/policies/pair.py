"""The view policies of the teacher-student pair methods: weak or strong for each side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

from likewise.errors import unknown
from likewise.views.policies.policy import Filter, ViewPolicy
from likewise.views.policies.presets import strong, weak

PairPolicy = Literal["weak/strong", "strong/strong", "strong/weak", "weak/weak"]
"""Reads teacher/student."""

SMALL_IMAGE = 64
"""Images up to this side, in pixels, are not blurred: at 32 px blur removes what there is to see."""


def blurred(side: int, share: float = 0.5) -> float:
    """Share of images of `side` pixels that are blurred: `share`, but none of small ones."""
    return 0.0 if side <= SMALL_IMAGE else share


def teacher_student(
    policy: PairPolicy,
    size: int,
    *,
    scale: tuple[float, float] = (0.2, 1.0),
    blur: tuple[float, float] = (0.0, 0.5),
) -> dict[str, ViewPolicy]:
    """Policies for the roles `teacher` and `student`, each with `size` pixels (ISD, section 4; MSF, section 4).

    Weak is a random crop and a flip. Strong adds colour jitter (.4, .4, .4, .1, with probability .8), grey (.2) and
    blur: `blur` are the shares of images up to 64 px and of larger ones.
    """
    if policy not in get_args(PairPolicy):
        raise unknown("view policy", policy, get_args(PairPolicy))
    made = {
        "weak": weak(size, scale=scale),
        **strong_views(("strong",), size, scale=scale, blur=blur),
    }
    teacher, student = policy.split("/")
    return {"teacher": made[teacher], "student": made[student]}


def strong_views(
    roles: Iterable[str],
    size: int,
    *,
    scale: tuple[float, float] = (0.2, 1.0),
    blur: tuple[float, float] = (0.0, 0.5),
) -> dict[str, ViewPolicy]:
    """The strong policy of `teacher_student`, MoCo v2's, for each of the roles."""
    share = blur[size > SMALL_IMAGE]
    return dict.fromkeys(roles, strong(size, scale=scale, blur=share))


def two_views(
    size: int,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    brightness: float = 0.4,
    saturation: float = 0.2,
    hue: float = 0.1,
    blurs: tuple[float, float] = (1.0, 0.1),
    solarises: tuple[float, float] = (0.0, 0.2),
    colour: bool = True,
    interpolation: Filter = "bilinear",
) -> dict[str, ViewPolicy]:
    """Policies for the roles `first` and `second`, by default the asymmetric pair of BYOL (appendix B) and after.

    `brightness` is the strength of contrast as well. `blurs` and `solarises` are shares of images, first and second
    view. As everywhere, images up to 64 px are not blurred. Without `colour` both views are crops and flips only.
    `interpolation` is the filter that crops are resized with; BYOL's is bicubic.
    """
    if not colour:
        return dict.fromkeys(("first", "second"), weak(size, scale=scale))
    return {
        role: replace(
            strong(
                size,
                scale=scale,
                brightness=brightness,
                contrast=brightness,
                saturation=saturation,
                hue=hue,
                blur=blurred(size, blur),
                solarise=solarise,
            ),
            interpolation=interpolation,
        )
        for role, blur, solarise in zip(("first", "second"), blurs, solarises, strict=True)
    }
