"""ONNX files of others as encoders: what fits is taken as it is, and what does not is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from likewise.encoders.files.onnx import load_onnx
from likewise.encoders.spec import IMAGENET_MEAN
from likewise.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, kinds = onnx.helper, onnx.TensorProto
NODES = [helper.make_node("GlobalAveragePool", ["pixels"], ["map"]), helper.make_node("Flatten", ["map"], ["features"])]


def written(path: Path, inputs: dict[str, tuple[int, list[int]]], out: int = kinds.FLOAT, **metadata: str) -> Path:
    """A file that averages the colours of its first input."""
    values = [helper.make_tensor_value_info(name, kind, ["batch", *shape]) for name, (kind, shape) in inputs.items()]
    last = helper.make_tensor_value_info("features", out, ["batch", 3])
    model = helper.make_model(helper.make_graph(NODES, "mean", values, [last]), ir_version=8)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 17))
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"pixels": (kinds.FLOAT, [3, 8, 8]), "text": (kinds.INT64, [7])},
            r"takes tensor\(float\) and tensor\(int64\): one input",
        ),
        ({"pixels": (kinds.FLOAT, [3, 8, 16])}, r"maps \['batch', 3, 8, 16\] to .* \(batch, 3, side, side\)"),
        ({"pixels": (kinds.FLOAT, [1, 8, 8])}, r"maps \['batch', 1, 8, 8\] to "),
    ],
)
def test_a_file_that_takes_no_images_is_one_line(
    inputs: dict[str, tuple[int, list[int]]], message: str, tmp_path: Path
) -> None:
    out = next(iter(inputs.values()))[0]
    with pytest.raises(InputError, match=message):
        load_onnx(written(tmp_path / "other.onnx", inputs, out))


def test_what_another_tool_wrote_into_its_file_says_nothing_of_ours(tmp_path: Path) -> None:
    inputs = {"pixels": (kinds.FLOAT, [3, 8, 8])}
    encoder = load_onnx(written(tmp_path / "other.onnx", inputs, mean="of imagenet", width="0.5", name="theirs"))
    assert (encoder.spec.name, encoder.spec.mean, encoder.spec.image_size) == ("other", IMAGENET_MEAN, 8)
    pixels = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(encoder(pixels), pixels.mean((2, 3)))
