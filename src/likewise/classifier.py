"""An encoder with a linear classifier, as `likewise finetune` writes it to its run.

The encoder lies in encoder.safetensors, as in every run, and the layer with the names of the classes beside it in
classifier.safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import linear

from likewise.encoders import Encoder, load_encoder
from likewise.errors import InputError, LikewiseError
from likewise.files import write_aside

if TYPE_CHECKING:
    from likewise.runs import RunDirectory

FILE, WEIGHTS = "classifier.safetensors", "encoder.safetensors"


class Classifier(nn.Module):
    """(B, 3, H, W) normalised images -> (B, C) logits, one for each of `class_names`."""

    def __init__(self, encoder: Encoder, layer: nn.Linear, class_names: Sequence[str]) -> None:
        """Put the layer (from F features to C classes) behind the encoder."""
        super().__init__()
        self.encoder, self.layer = encoder, layer
        self.class_names = tuple(class_names)
        """C names, in the order of the logits."""

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C) logits; their softmax are probabilities."""
        return linear(self.encoder(x_B3HW), self.layer.weight, self.layer.bias)


def save_classifier(run: Path, layer: nn.Linear, class_names: Sequence[str]) -> None:
    """Write the layer and the names of its classes into a run directory."""
    weights = {key: value.detach().cpu().contiguous() for key, value in layer.state_dict().items()}
    with write_aside(run / FILE) as file:
        file.write(save(weights, metadata={"class_names": json.dumps(list(class_names))}))


def load_classifier(run: str | Path | RunDirectory) -> Classifier:
    """The fine-tuned encoder of `run` with its classifier, in eval mode on the CPU.

    Raises InputError where there is no run, or no classifier in it, or the file is damaged or of another encoder.
    """
    folder = Path(run) if isinstance(run, str | Path) else run.path
    encoder = load_encoder(folder / WEIGHTS)
    found = layer_of(folder / WEIGHTS)
    if found is None:
        raise InputError(f"{folder} has an encoder and no classifier: likewise finetune makes one")
    layer, class_names = found
    if layer.in_features != encoder.features:
        raise InputError(
            f"{folder / FILE} takes {layer.in_features} features, and the encoder beside it gives {encoder.features}"
        )
    return Classifier(encoder, layer, class_names).eval()


def layer_of(weights: Path) -> tuple[nn.Linear, list[str]] | None:
    """The layer that belongs to the encoder in the file `weights`, and its classes; None where there is none.

    Raises InputError where the file is damaged.
    """
    path = weights.with_name(FILE)
    if weights.name != WEIGHTS or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no dictionary)
            class_names = json.loads((file.metadata() or {})["class_names"])
        layer = nn.Linear(held["weight"].shape[1], len(class_names))
        layer.load_state_dict(held)
    except (SafetensorError, OSError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is no whole classifier: {' '.join(str(error).split())}") from error
    return layer, class_names


def with_logits(content: bytes, layer: nn.Linear, class_names: Sequence[str]) -> bytes:
    """An ONNX file of an encoder (`pixels` to `features`) with a second output, `logits`, and the names of its classes.

    Raises LikewiseError where onnxruntime does not find the layer's own logits from the features.
    """
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    for name, value in (("classifier.weight", layer.weight), ("classifier.bias", layer.bias)):
        model.graph.initializer.append(numpy_helper.from_array(value.detach().cpu().numpy(), name))
    names = ["features", "classifier.weight", "classifier.bias"]
    model.graph.node.append(helper.make_node("Gemm", names, ["logits"], name="classifier", transB=1))
    shape: list[str | int | None] = ["batch", layer.out_features]
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**properties, "class_names": json.dumps(list(class_names))})
    written = bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).standard_normal((2, *session.get_inputs()[0].shape[1:]), dtype=np.float32)
    features_BF, logits_BC = session.run(["features", "logits"], {"pixels": pixels})
    expected_BC = layer(torch.from_numpy(features_BF)).detach().numpy()
    if not np.allclose(logits_BC, expected_BC, rtol=1e-3, atol=1e-3 * float(np.abs(expected_BC).max())):
        raise LikewiseError("the ONNX file gives other logits than the classifier: nothing was written")
    return written
