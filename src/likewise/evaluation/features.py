"""Features of images: computed once, in eval mode, of the centre of each image, and cached.

Shapes: N images, F features, B images in a batch.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.data.caching.locking import exclusive
from likewise.data.caching.places import cache_root
from likewise.data.fingerprints import digest, digest_array
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows, view_of
from likewise.errors import InputError, unknown
from likewise.evaluation.feature_file import Partial, forget
from likewise.views import ViewPolicy

Precision = Literal["float32", "bf16"]
Channels = tuple[float, float, float]
Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all."""

CACHE_BYTES = 4 * 2**30
"""Kept features take at most this much; those not used for longest go first."""
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def extract(
    encoder: Encoder,
    images: Images,
    *,
    image_size: int | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> Tensor:
    """Features of all images, (N, F) float32 on the CPU, in their order.

    Each image is seen once, by its centre (`evaluation_view`). Size and normalisation are the encoder's own unless
    given. The encoder is moved to `device` if one is given and is in the mode it was in when this returns. With
    `precision="bf16"` products are computed in bfloat16: on processors that have it about 1.7 times as fast, but a
    tenth of the nearest neighbours of an untrained encoder change, so scores are made in float32.

    Raises InputError for no images, and for a precision that does not exist.
    """
    view = evaluation_view(encoder, image_size=image_size, mean=mean, std=std)
    features_NF: Tensor | None = None
    found = _extracted(encoder, images, view, device=device, batch_size=batch_size, precision=precision)
    for start, rows_BF in found:
        if features_NF is None:
            features_NF = torch.empty(len(images), rows_BF.shape[1])
        features_NF[start : start + len(rows_BF)] = rows_BF
        if progress is not None:
            progress(start + len(rows_BF), len(images))
    assert features_NF is not None
    return features_NF


def _extracted(
    encoder: Encoder,
    images: Images,
    view: ViewPolicy,
    *,
    device: torch.device | str | None,
    batch_size: int,
    precision: Precision,
    first: int = 0,
) -> Iterator[tuple[int, Tensor]]:
    """First position and features (B, F) of each batch, from image `first` on; what comes of them may be trained on.

    Raises InputError as `extract` does.
    """
    if precision not in _DTYPES:
        raise unknown("precision", precision, _DTYPES)
    if not len(images):
        raise InputError(f"{images.name} holds no images to compute features of")
    if device is not None:
        encoder.to(device)
    where = next(encoder.parameters()).device

    def autocast() -> torch.autocast:
        return torch.autocast(where.type, _DTYPES[precision], enabled=precision != "float32")

    for start, rows_BF in rows(encoder, images, np.arange(first, len(images)), view, batch_size, autocast=autocast):
        yield first + start, rows_BF.float().cpu()


def evaluation_view(
    encoder: Encoder, *, image_size: int | None = None, mean: Channels | None = None, std: Channels | None = None
) -> ViewPolicy:
    """The view of images for `encoder` in evaluation, with another size or normalisation where given."""
    spec = encoder.spec
    return view_of(replace(spec, image_size=image_size or spec.image_size, mean=mean or spec.mean, std=std or spec.std))


def cached_features(
    encoder: Encoder,
    images: Images,
    *,
    cache_dir: Path | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> Tensor:
    """`extract` with the encoder's own view, or what it gave before: (N, F) float32, memory-mapped.

    Kept under the cache directory (see `likewise.data`), keyed by the weights themselves, the images, the view and
    the precision. Features go straight to a file, so memory does not grow with their number, and when they are asked
    for again after an interruption only the rest is computed. A file under the final name is always whole; a damaged
    one is made again. Changes to the tensor that is returned do not reach the file.
    """
    view = evaluation_view(encoder)
    key = digest(weights_key(encoder), images.fingerprint, view, precision)
    path = cache_root(cache_dir) / "features" / f"{key}.npy"
    kept = _load(path, len(images))
    try:
        if kept is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(path.with_suffix(".lock"), f"features of {images.name}") as alone:
                kept = _load(path, len(images))  # made while we waited
                if kept is None:
                    with contextlib.closing(Partial(path, len(images), encoder.features, shared=alone)) as partial:
                        for start, rows_BF in _extracted(
                            encoder,
                            images,
                            view,
                            device=device,
                            batch_size=batch_size,
                            precision=precision,
                            first=partial.rows,
                        ):
                            partial.append(rows_BF)
                            if progress is not None:
                                progress(start + len(rows_BF), len(images))
                        partial.finish()
                    forget(path.parent, CACHE_BYTES)
                    kept = _load(path, len(images))
                    if kept is not None:
                        return kept
    except OSError as error:
        reason = error.strerror or error
        warnings.warn(f"features are not kept in {path.parent}, so they will be computed again: {reason}", stacklevel=2)
        kept = None
    if kept is None:
        return extract(encoder, images, device=device, batch_size=batch_size, precision=precision, progress=progress)
    if progress is not None:
        progress(len(images), len(images))
    return kept


def weights_key(encoder: Encoder) -> str:
    """Hexadecimal name of the encoder: its description and every value of its weights, wherever they lie."""
    state = encoder.weights()
    values = (digest_array(state[name].detach().cpu().contiguous().view(-1).numpy()) for name in sorted(state))
    return digest(sorted(asdict(encoder.spec).items()), *sorted(state), *values)


def _load(path: Path, count: int) -> Tensor | None:
    """The features in `path`, or None where there are none or only damaged ones."""
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        path.touch()  # used now
    except (OSError, ValueError, EOFError):
        return None
    if array.ndim != 2 or len(array) != count or array.dtype != np.float32:
        return None
    return torch.from_numpy(array)
