"""The text side of a run that was trained on images and captions.

`texts_of(run, ["a red car"])` and `images_of(run, features)` give vectors that are compared by their products: that is
search by text, classes by their names, and names for clusters. Shapes: T texts, N images, F pooled features, D numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.methods.method import Method
from likewise.methods.whole import FILE, restore
from likewise.runs import RunDirectory

Run = str | Path | RunDirectory
_AT_ONCE = 256
_LATEST: dict[str, tuple[int, Method]] = {}


def with_words(run: Run) -> Method:
    """The method of a finished run that reads texts, in eval mode on the CPU; the latest one is kept in memory.

    Raises InputError where there is no run, or one of a method that reads no texts.
    """
    opened = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    file = opened.path / FILE
    stamp = file.stat().st_mtime_ns if file.is_file() else 0
    place = str(opened.path.resolve())
    if _LATEST.get(place, (-1, None))[0] != stamp:
        method = restore(opened)
        if type(method).text_joint is Method.text_joint:
            raise InputError(
                f"{opened.path} reads no texts: its method learns from images alone; clipdistill and multimodal learn "
                "from captions"
            )
        _LATEST.clear()
        _LATEST[place] = stamp, method
    return _LATEST[place][1]


@torch.no_grad()
def texts_of(run: Run, texts: Sequence[str]) -> Tensor:
    """(T, D) unit vectors of texts, float32 on the CPU. Raises InputError as `with_words`, and for an empty text."""
    blank = next((text for text in texts if not text.strip()), None)
    if blank is not None:
        raise InputError(f"the text {blank!r} is empty: give words, such as 'a red car'")
    method = with_words(run)
    parts = [method.text_joint(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
    return torch.cat(parts).float().cpu()


@torch.no_grad()
def images_of(run: Run, features_NF: Tensor) -> Tensor:
    """(N, D) unit vectors of pooled features of the run's deployed encoder, as long as that made them.

    Features of unit length, as some stores keep them, must be brought to their length before. Raises InputError for
    features of another length F.
    """
    method = with_words(run)
    wanted = int(cast("int", method.encoders()[method.card.deploy].features))
    if features_NF.ndim != 2 or features_NF.shape[1] != wanted:
        raise InputError(f"features of shape {tuple(features_NF.shape)}: this run's are (images, {wanted})")
    return method.image_joint(features_NF.float().cpu()).float()


def nearest_texts(image_ND: Tensor, text_TD: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(N, k) products and positions of the texts that are nearest to each image, or of the images to each text."""
    parts = [(rows @ text_TD.T).topk(min(k, len(text_TD)), dim=1) for rows in torch.split(image_ND, 4096)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])
