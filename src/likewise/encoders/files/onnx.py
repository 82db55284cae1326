"""ONNX files as encoders: from `likewise export --format onnx`, or any that maps images to features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data.fingerprints import digest, digest_array
from likewise.encoders.encoder import Encoder
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError, missing

_FORMATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
"""Number formats of an input, as onnxruntime calls them."""


class _Session(nn.Module):
    """Runs the file on the CPU; what an Encoder asks of a timm model, and no more."""

    side_step = 0

    def __init__(self, path: Path, session: Any, threads: int, fixed_batch: int | None, contents: str) -> None:
        super().__init__()
        self.path, self.session, self.threads = path, session, threads
        self.head_hidden_size = self.num_features = int(output_of(session).shape[1])
        self.fixed_batch = fixed_batch
        self.input, self.output = session.get_inputs()[0].name, output_of(session).name
        self.format = _FORMATS[session.get_inputs()[0].type]
        # What the file holds, so that cached features are those of this file.
        self.register_buffer("contents", torch.tensor(list(bytes.fromhex(contents)), dtype=torch.uint8))
        self.anchor = nn.Parameter(torch.zeros(1), requires_grad=False)  # says on which device this is: the CPU

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        if self.threads != torch.get_num_threads():
            self.threads = torch.get_num_threads()
            self.session = _opened(self.path, self.threads)
        values = np.ascontiguousarray(x_B3HW.detach().float().cpu().numpy().astype(self.format, copy=False))
        size = self.fixed_batch or len(values)
        found = []
        for start in range(0, len(values), size):
            part = values[start : start + size]
            short = size - len(part)
            filled = np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) if short else part
            found.append(self.session.run([self.output], {self.input: filled})[0][: len(part)])
        return torch.from_numpy(np.concatenate(found)).float().to(x_B3HW.device)

    def forward_head(self, x_BF: Tensor, pre_logits: bool = True) -> Tensor:
        """Pooling is in the file; a map that it gives unpooled is averaged."""
        return x_BF if x_BF.ndim == 2 else x_BF.flatten(2).mean(2)


def output_of(session: Any) -> Any:
    """The output that holds the features: the one of that name, else the first."""
    outputs = session.get_outputs()
    return next((output for output in outputs if output.name == "features"), outputs[0])


def load_onnx(path: Path, image_size: int | None = None) -> Encoder:
    """The encoder in the file at `path`, on the CPU, with as many threads as torch has.

    Size, mean and deviation of its input are those it names in its metadata, as exported files do; for other files
    the size is that of its input, or `image_size`, and the normalisation ImageNet's.

    Raises InputError without the `onnx` extra, and for a file that is no model from images to features.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise missing(str(error.name), "onnx", "an ONNX file") from error
    if not path.is_file():
        raise InputError(f"there is no ONNX file {path}")
    threads = torch.get_num_threads()
    try:
        session = _opened(path, threads)
    except Exception as error:  # onnxruntime has a class of its own for each kind of refusal
        raise InputError(f"{path} is no ONNX model that can be run: {str(error).splitlines()[0]}") from error
    inputs, out = session.get_inputs(), output_of(session).shape
    kinds = [each.type for each in inputs]
    if len(kinds) != 1 or kinds[0] not in _FORMATS:
        raise InputError(
            f"{path} takes {' and '.join(kinds) or 'nothing'}: one input of images is needed, {', '.join(_FORMATS)}"
        )
    shape = inputs[0].shape
    sides = {side for side in shape[2:] if isinstance(side, int)}
    if len(shape) != 4 or shape[1] != 3 or len(sides) > 1 or len(out) not in {2, 4} or not isinstance(out[1], int):
        raise InputError(f"{path} maps {shape} to {out}: (batch, 3, side, side) to (batch, features) is needed")
    metadata = session.get_modelmeta().custom_metadata_map
    result = {key: _value(text) for key, text in metadata.items()} if "input" in metadata else {}  # ours say it
    fixed = next(iter(sides), None)
    size = image_size or fixed or result.get("image_size") or 224
    if fixed is not None and size != fixed:
        raise InputError(f"{path} takes images of {fixed} px, not of {size}")
    spec = EncoderSpec.from_mapping(
        {"name": path.stem, **result, "image_size": int(size), "pretrained": False, "neck": 0}
    )
    batch = shape[0] if isinstance(shape[0], int) else None
    each = [digest_array(np.fromfile(file, np.uint8)) for file in files_of(path)]
    contents = each[0] if len(each) == 1 else digest(*each)
    return Encoder(spec, _Session(path, session, threads, batch, contents)).eval()


def files_of(path: Path) -> list[Path]:
    """The ONNX file at `path`, and those beside it that hold weights of it. Raises InputError where one is missing."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf has classes of its own
        raise InputError(f"{path} is no ONNX model: {' '.join(str(error).split())}") from error
    held = {ExternalDataInfo(each).location for each in graph.initializer if uses_external_data(each)}
    found = [path, *(path.parent / name for name in sorted(held))]
    lost = next((file for file in found if not file.is_file()), None)
    if lost is not None:
        raise InputError(f"{path} has weights in {lost.name}, and that is not beside it")
    return found


def _opened(path: Path, threads: int) -> Any:
    """A session of so many threads. Raises what onnxruntime does for a file that is no model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
