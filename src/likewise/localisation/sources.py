"""Sources of foreground masks: one way for each name, all label-free but `given`.

| source | masks |
| --- | --- |
| `mbd` | minimum barrier distance and border colour (`likewise.data.saliency`), hard, softened at the seam |
| `contracam:RUN`, `contracam:RUN:ROUNDS:EXPAND` | ContraCAM of a trained run, soft |
| `given`, `given:FOLDER` | those that the data knows (`synthetic:scenes`), or image files of the same names |
| `given:TABLE:COLUMN` | a column of a Parquet or CSV file: encoded images, or paths of mask files |
| `grabcut` | OpenCV's GrabCut, started with a frame of a tenth of the image |
| `center` | the same ellipse for every image: a control |
| `onnx:FILE` | any saliency model that maps (N, 3, H, W) to one map |

Networks and `mbd` see the whole image, squeezed to a square; what they find is stretched back. Shapes: B images of a
batch, H x W pixels of the largest, S side of a square.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from likewise.data import Images, saliency
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.sources.scenes import mask_of
from likewise.errors import InputError, missing
from likewise.evaluation.probes.segmentation import mask_path
from likewise.localisation.columns import masks_of_column
from likewise.localisation.contracam import localise
from likewise.localisation.networks import open_network
from likewise.views.drawing import Geometry
from likewise.views.geometry.spatial import crop_and_flip
from likewise.views.policies.policy import IMAGENET_MEAN, IMAGENET_STD

NAMES = ("mbd", "contracam", "given", "grabcut", "center", "onnx")
MBD_SIDE = 64
"""Pixels of the square that `mbd` works on at most: its time grows with them, and its masks are coarse."""
ELLIPSE = 0.7
"""Height and width of the ellipse of `center`, as shares of the image's."""
SEAM = 0.7
"""Pixels: deviation of the blur that hard masks are softened with."""
ROUNDS = 1
"""Rounds of ContraCAM; published are 1 for masks and 10 for boxes. Each map is stretched to 0..1: where the first one
holds the whole object, as on small images, later ones show background as bright."""
_VERSION = 1
_GRABCUT_ROUNDS = 5
_FEW_VALUES = 1


class MaskInput(NamedTuple):
    """A batch of images as a mask source gets them."""

    pixels: Tensor
    """(B, H, W, 3) uint8, padded at the bottom and at the right."""
    sizes: Tensor
    """(B, 2) int64 true height and width."""
    names: Sequence[str]
    """One for each image."""


class MaskSource(NamedTuple):
    """A way to masks."""

    masks: Callable[[MaskInput], Tensor]
    """Images -> (B, H, W) float in 0..1 on the CPU."""
    key: str
    """Another one where the same images would get other masks."""


def open_masks(text: str, images: Images, *, device: torch.device | str = "cpu") -> MaskSource:
    """The source called `text`. Raises InputError for other names, and for runs, folders and files that do not do."""
    name, _, rest = text.partition(":")
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
        raise InputError(f"unknown source of masks {text!r}: allowed are {', '.join(NAMES)}; nearest is {near!r}")
    if name in {"contracam", "onnx"} and not rest:
        raise InputError(f"masks={text!r} needs {'a run' if name == 'contracam' else 'a file'}: {name}:PATH")
    if name in {"mbd", "grabcut", "center"} and rest:
        raise InputError(f"masks={text!r}: {name} takes nothing after it, allowed is {name!r}")
    if name == "contracam":
        return _contracam(rest, device)
    if name == "onnx":
        return _onnx(Path(rest))
    if name == "given":
        return _given(rest, images)
    masks = {"mbd": _mbd, "grabcut": _grabcut(), "center": _centre}[name]
    return MaskSource(masks, digest(name, _VERSION))


# Squares and back ---------------------------------------------------------------------------------------------------


def squares(shown: MaskInput, side: int) -> Tensor:
    """(B, 3, S, S) float in 0..1: whole images, squeezed."""
    whole_B4 = torch.cat([torch.zeros_like(shown.sizes), shown.sizes], 1)
    geometry = Geometry(whole_B4, torch.zeros(len(whole_B4), dtype=torch.bool), shown.sizes)
    return crop_and_flip(shown.pixels, geometry, side)


def stretched(masks_B1SS: Tensor, shown: MaskInput) -> Tensor:
    """(B, H, W) the masks of squares at the true sizes of the images, 0 in the padding."""
    out_BHW = torch.zeros(shown.pixels.shape[:3])
    for row, (height, width) in enumerate(shown.sizes.tolist()):
        one_11HW = functional.interpolate(
            masks_B1SS[row : row + 1].float().cpu(), (height, width), mode="bilinear", align_corners=False
        )
        out_BHW[row, :height, :width] = one_11HW[0, 0]
    return out_BHW.clamp_(0.0, 1.0)


def _softened(hard_BHW: NDArray[np.bool_]) -> Tensor:
    """Each mask's largest part with its holes filled, soft at the seam: (B, 1, H, W)."""
    made = []
    for mask in hard_BHW:
        parts, count = ndimage.label(mask)
        whole = ndimage.binary_fill_holes(parts == 1 + np.bincount(parts.ravel())[1:].argmax()) if count else mask
        made.append(ndimage.gaussian_filter(whole.astype(np.float32), SEAM))
    return torch.from_numpy(np.stack(made)).unsqueeze(1)


# The sources --------------------------------------------------------------------------------------------------------


def _mbd(shown: MaskInput) -> Tensor:
    side = min(MBD_SIDE, int(shown.sizes.max()))
    found = saliency.soft_masks(squares(shown, side).numpy().astype(np.float64))
    return stretched(_softened(saliency.binary(found)), shown)


def _centre(shown: MaskInput) -> Tensor:
    side = MBD_SIDE
    at = (np.arange(side) + 0.5) / side - 0.5
    inside = np.hypot(at[:, None], at[None]) <= ELLIPSE / 2
    return stretched(_softened(inside[None]).expand(len(shown.sizes), -1, -1, -1), shown)


def _grabcut() -> Callable[[MaskInput], Tensor]:
    try:
        import cv2
    except ImportError as error:
        raise missing("opencv-python-headless", "grabcut", "masks='grabcut'") from error

    def one(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        height, width = pixels.shape[:2]
        left, top = max(1, round(0.1 * width)), max(1, round(0.1 * height))
        marks = np.zeros((height, width), np.uint8)
        cv2.setRNGSeed(0)
        frame = (left, top, max(1, width - 2 * left), max(1, height - 2 * top))
        models = np.zeros((1, 65)), np.zeros((1, 65))
        try:
            cv2.grabCut(np.ascontiguousarray(pixels), marks, frame, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
        except cv2.error:  # images of one colour have no two models
            return np.zeros((height, width), bool)
        return np.asarray((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))

    def masks(shown: MaskInput) -> Tensor:
        out_BHW = torch.zeros(shown.pixels.shape[:3])
        for row, (height, width) in enumerate(shown.sizes.tolist()):
            found = one(shown.pixels[row, :height, :width].numpy())
            out_BHW[row, :height, :width] = _softened(found[None])[0, 0]
        return out_BHW

    return masks


def _given(folder: str, images: Images) -> MaskSource:
    if not folder:
        if not len(images) or mask_of(images.names[0]) is None:
            raise InputError(f"masks='given': {images.name} knows no masks; name their folder, given:FOLDER")
        return MaskSource(
            lambda shown: _fitted([_drawn(name) for name in shown.names], shown), digest("given", _VERSION)
        )
    place = Path(folder).expanduser()
    table, _, column = folder.rpartition(":")
    if table and not place.is_dir():
        opened, key = masks_of_column(Path(table).expanduser(), column, images)
        return MaskSource(
            lambda shown: _fitted([read_mask(opened(name), name) for name in shown.names], shown),
            digest("given", _VERSION, key),
        )
    if not place.is_dir():
        raise InputError(f"masks='given:{folder}': there is no such folder; a column of a table is given:TABLE:COLUMN")
    paths = {name: mask_path(place, name) for name in images.names}
    key = digest(
        "given", _VERSION, digest_files((file_facts(path, name) for name, path in paths.items()), paths.values())
    )
    return MaskSource(lambda shown: _fitted([read_mask(paths[name]) for name in shown.names], shown), key)


def _drawn(name: str) -> Image.Image:
    mask = mask_of(name)
    assert mask is not None, name
    return Image.fromarray(mask)


def read_mask(path: Path | io.BytesIO, name: str = "") -> Image.Image:
    """A mask, of the image `name`, as grey values 0 to 255. Raises InputError where it cannot be read.

    With a palette, one bit, or the values 0 and 1 alone, everything but 0 is the object (255 of a palette, which
    belongs to no class, is not); other grey values go from background to object.
    """
    try:
        with Image.open(path) as file:
            if file.mode == "P":
                values = np.asarray(file)
                return Image.fromarray(255 * ((values > 0) & (values < 255)).astype(np.uint8))
            values = np.asarray(file.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        where = path if isinstance(path, Path) else f"of {name}"
        raise InputError(f"the mask {where} cannot be read: {' '.join(str(error).split())}") from error
    return Image.fromarray(values * np.uint8(255) if values.max(initial=0) <= _FEW_VALUES else values)


def _fitted(masks: Sequence[Image.Image], shown: MaskInput) -> Tensor:
    """Masks cut about their middle to the shape of the decoded images, and resized."""
    out_BHW = torch.zeros(shown.pixels.shape[:3])
    for row, (mask, (height, width)) in enumerate(zip(masks, shown.sizes.tolist(), strict=True)):
        share = min(mask.width / width, mask.height / height)
        wide, tall = share * width, share * height
        left, top = max(0.0, (mask.width - wide) / 2), max(0.0, (mask.height - tall) / 2)
        box = (left, top, min(mask.width, left + wide), min(mask.height, top + tall))
        resized = mask if mask.size == (width, height) else mask.resize((width, height), Image.Resampling.BILINEAR, box)
        out_BHW[row, :height, :width] = torch.from_numpy(np.array(resized)) / 255
    return out_BHW


def _contracam(text: str, device: torch.device | str) -> MaskSource:
    run, rounds, expand = _numbers(text)
    opened = open_network(run, expand=expand, device=device)
    spec = opened.encoder.spec
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))

    def masks(shown: MaskInput) -> Tensor:
        seen = ((squares(shown, spec.image_size) - mean) / std).to(device)
        if len(seen) < 2:
            raise InputError("ContraCAM compares images, and there is one: give it more")
        return stretched(localise(opened.network, seen, rounds).mask, shown)

    return MaskSource(masks, digest("contracam", _VERSION, opened.key, rounds))


def _numbers(text: str) -> tuple[str, int, int]:
    """Run, rounds and expansion of `RUN`, `RUN:ROUNDS` or `RUN:ROUNDS:EXPAND`. Raises InputError for 0 rounds."""
    parts = text.split(":")
    numbers: list[int] = []
    while len(parts) > 1 and len(numbers) < 2 and parts[-1].isdigit():
        numbers.insert(0, int(parts.pop()))
    rounds, expand = (*numbers, *(ROUNDS, 1)[len(numbers) :])
    if rounds < 1:
        raise InputError(f"masks='contracam:{text}': ContraCAM takes 1 round or more")
    return ":".join(parts), rounds, expand


def _onnx(path: Path) -> MaskSource:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime", "onnx", "masks='onnx:FILE'") from error
    if not path.is_file():
        raise InputError(f"masks='onnx:{path}': there is no such file")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class of their own
        raise InputError(f"{path} is no ONNX model that can be run: {str(error).splitlines()[0]}") from error
    shape = session.get_inputs()[0].shape
    if len(session.get_inputs()) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise InputError(f"{path} takes {shape}: one input (N, 3, H, W) is needed")
    side = shape[-1] if isinstance(shape[-1], int) else 224
    fixed = shape[0] if isinstance(shape[0], int) else 0
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def masks(shown: MaskInput) -> Tensor:
        seen = ((squares(shown, side) - mean) / std).numpy()
        parts = np.split(seen, range(fixed, len(seen), fixed)) if fixed else [seen]
        found = [np.asarray(session.run(None, {session.get_inputs()[0].name: part})[0]) for part in parts]
        map_B1SS = torch.from_numpy(np.concatenate(found)).float()
        if map_B1SS.ndim == 3:
            map_B1SS = map_B1SS.unsqueeze(1)
        if map_B1SS.ndim != 4 or map_B1SS.shape[1] != 1:
            raise InputError(f"{path} gives {tuple(map_B1SS.shape)}: one map (N, 1, H, W) is needed")
        low, high = map_B1SS.amin((2, 3), keepdim=True), map_B1SS.amax((2, 3), keepdim=True)
        if bool((low < 0).any() or (high > 1).any()):
            map_B1SS = map_B1SS.sigmoid()
        return stretched(map_B1SS, shown)

    return MaskSource(masks, digest("onnx", _VERSION, path.stat().st_size, path.stat().st_mtime_ns))
