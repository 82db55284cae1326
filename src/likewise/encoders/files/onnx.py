"""ONNX files as encoders: from `likewise export --format onnx`, or any that maps images to features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data.fingerprints import digest_array
from likewise.encoders.encoder import Encoder
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError, missing


class _Session(nn.Module):
    """Runs the file on the CPU; what an Encoder asks of a timm model, and no more."""

    def __init__(self, session: Any, features: int, fixed_batch: int | None, contents: str) -> None:
        super().__init__()
        self.session = session
        self.head_hidden_size = self.num_features = features
        self.fixed_batch = fixed_batch
        self.input, self.output = session.get_inputs()[0].name, output_of(session).name
        # What the file holds, so that cached features are those of this file.
        self.register_buffer("contents", torch.tensor(list(bytes.fromhex(contents)), dtype=torch.uint8))
        self.anchor = nn.Parameter(torch.zeros(1), requires_grad=False)  # says on which device this is: the CPU

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        values = np.ascontiguousarray(x_B3HW.detach().float().cpu().numpy())
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
    """The encoder in the file at `path`, on the CPU.

    Size, mean and deviation of its input are those it names in its metadata, as exported files do; for other files
    the size is that of its input, or `image_size`, and the normalisation ImageNet's.

    Raises InputError without the `onnx` extra, and for a file that is no model from float32 images to features.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime", "onnx", "an ONNX file") from error
    if not path.is_file():
        raise InputError(f"there is no ONNX file {path}")
    content = path.read_bytes()
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each kind of refusal
        raise InputError(f"{path} is no ONNX model that can be run: {str(error).splitlines()[0]}") from error
    inputs, out = session.get_inputs(), output_of(session).shape
    if (kinds := [each.type for each in inputs]) != ["tensor(float)"]:
        raise InputError(f"{path} takes {' and '.join(kinds) or 'nothing'}: one input of float32 images is needed")
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
    contents = digest_array(np.frombuffer(content, np.uint8))
    return Encoder(spec, _Session(session, int(out[1]), batch, contents)).eval()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
