"""Features of all pictures, extracted once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.data.places import cache_root
from likewise.encoders import Encoder
from likewise.training.files import write_aside
from likewise.views import ViewPolicy, centre, make_views

SMALL_PICTURE = 64
"""Up to this side the whole picture is looked at, above it the usual 7/8 of the short side about the centre."""
BATCH = 256
Report = Callable[[int, int], None]


def evaluation_view(encoder: Encoder) -> ViewPolicy:
    """What the encoder sees of a picture when it is judged: its centre, nothing random.

    Resize-256-then-crop-224 of ISD's protocol is the centre of 7/8 of the short side.
    """
    spec = encoder.spec
    fraction = 1.0 if spec.image_size <= SMALL_PICTURE else 0.875
    return centre(spec.image_size, mean=spec.mean, std=spec.std, fraction=fraction)


@torch.inference_mode()
def extract(
    encoder: Encoder,
    images: Images,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = BATCH,
    progress: Report | None = None,
) -> Tensor:
    """(N, F) float32 pooled features of all pictures, on the CPU.

    The encoder works in eval mode and in float32, whatever it was trained in: scores then do not depend on the
    machine. Its mode is put back afterwards.
    """
    was_training = encoder.training
    encoder.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    policy = evaluation_view(encoder)
    features_NF = torch.empty(len(images), encoder.features)
    for start in range(0, len(images), batch_size):
        index = np.arange(start, min(start + batch_size, len(images)))
        pixels, sizes = images.gather(index)
        view = make_views({"centre": policy}, pixels.to(device), sizes.to(device), seed=0, step=0)["centre"]
        features_NF[start : start + len(index)] = encoder(view.image).float().cpu()
        if progress is not None:
            progress(start + len(index), len(images))
    encoder.train(was_training)
    return features_NF


def cached_features(
    encoder: Encoder,
    images: Images,
    *,
    device: torch.device | str = "cpu",
    cache_dir: Path | None = None,
    progress: Report | None = None,
) -> Tensor:
    """`extract`, kept on disk under a key of the weights, the pictures and the view; memory-mapped when found again."""
    key = hashlib.sha256()
    for name, value in sorted(encoder.backbone.state_dict().items()):
        key.update(name.encode())
        key.update(value.detach().cpu().numpy().tobytes())
    key.update(f"{images.fingerprint}|{len(images)}|{evaluation_view(encoder)}|float32".encode())
    key.update(images.sizes.tobytes())
    path = cache_root(cache_dir) / "features" / f"{key.hexdigest()[:32]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        features_NF = extract(encoder, images, device=device, progress=progress)
        with write_aside(path) as file:
            np.save(file, features_NF.numpy())
    return torch.from_numpy(np.load(path, mmap_mode="c"))
