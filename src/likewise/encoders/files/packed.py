"""Binary networks in a file of one bit a weight; exact in both directions.

Each binary convolution becomes `KEY.bits`, eight signs a byte, and `KEY.scale`, one float32 an output channel; all else
stays as it is. A weight of exactly 0 has no sign: the positions of such weights, where there are any, are `KEY.zeros`.
Activations are signs in the loaded network as in the trained one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from likewise.encoders.build import rebuild
from likewise.encoders.encoder import Encoder
from likewise.encoders.files.store import PACKED
from likewise.encoders.own.binary import BinaryConv2d, scaled_signs
from likewise.encoders.spec import EncoderSpec
from likewise.errors import InputError

_BITS, _SCALE, _ZEROS = ".bits", ".scale", ".zeros"


def pack(encoder: Encoder, described: Mapping[str, str]) -> bytes:
    """A safetensors file of the encoder with one bit for each weight of its binary convolutions.

    Raises InputError for an encoder that has none.
    """
    binary = _binary(encoder)
    if not binary:
        raise InputError(
            f"encoder {encoder.spec.name!r} has no binary weights to pack: format=safetensors is for it; "
            "reactnet_a and reactnet_small have some"
        )
    held: dict[str, Tensor] = {}
    for key, value in encoder.weights().items():
        if key not in binary:
            held[key] = value.detach().cpu().clone().contiguous()
            continue
        weight = value.detach().cpu()
        held[key + _BITS] = torch.from_numpy(np.packbits((weight >= 0).numpy().reshape(-1)))
        held[key + _SCALE] = (weight if binary[key].signed else scaled_signs(weight)).abs().amax((1, 2, 3))
        if len(zeros := (weight.reshape(-1) == 0).nonzero()[:, 0]):
            held[key + _ZEROS] = zeros
    shapes = {key: list(conv.weight.shape) for key, conv in binary.items()}
    return save(held, metadata={**described, PACKED: json.dumps(shapes)})


def unpack(held: Mapping[str, Tensor], described: Mapping[str, Any], path: Path) -> Encoder:
    """The encoder whose packed weights a file holds, in evaluation mode on the CPU.

    Its binary convolutions have two values a channel, to be taken as they are. Raises InputError where the file is not
    whole.
    """
    encoder = rebuild(EncoderSpec.from_mapping(described))
    binary, weights = _binary(encoder), dict(held)
    try:
        for key, shape in described[PACKED].items():
            bits, scale_O = weights.pop(key + _BITS), weights.pop(key + _SCALE)
            signs = np.unpackbits(bits.numpy(), count=math.prod(shape)).reshape(shape)
            scale_O111 = scale_O.view(-1, 1, 1, 1)
            weight = torch.where(torch.from_numpy(signs).bool(), scale_O111, -scale_O111)
            weight.view(-1)[weights.pop(key + _ZEROS, torch.empty(0, dtype=torch.int64))] = 0.0
            weights[key] = weight
            binary[key].signed = True
        encoder.take_weights(weights)
    except (KeyError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise InputError(f"{path} is no whole packed encoder: {' '.join(str(error).split())}") from error
    return encoder.eval()


def _binary(encoder: Encoder) -> dict[str, BinaryConv2d]:
    """The binary convolutions by the keys of their weights."""
    parts = encoder.backbone.named_modules()
    return {f"{name}.weight": part for name, part in parts if isinstance(part, BinaryConv2d) and part.binary}
