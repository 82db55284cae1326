"""Exported files: other programs compute the encoder's features from them, and nothing is lost or overwritten."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, save_encoder
from likewise.errors import InputError, LikewiseError
from likewise.verbs.keeping import export as exporting
from likewise.verbs.keeping.export import export

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16, mean=(0.1, 0.2, 0.3))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with a student and a teacher."""
    for seed, (which, name) in enumerate({"teacher": "teacher", "student": "encoder"}.items()):
        encoder = build(SPEC, seed)
        encoder(torch.randn(16, 3, 16, 16))
        save_encoder(encoder, tmp_path / "run" / f"{name}.safetensors", extra={"which": which, "method": "isd"})
    return tmp_path / "run"


def features(path: Path) -> Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return load_encoder(path)(torch.randn(3, 3, 16, 16))


def test_safetensors_are_plain_timm_weights_with_a_header(tmp_path: Path) -> None:
    encoder = build(EncoderSpec(name="resnet18", image_size=64)).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    report = export(tmp_path / "encoder.safetensors", format="safetensors", out=tmp_path / "plain.safetensors")
    plain = timm.create_model("resnet18", num_classes=0).eval()
    plain.load_state_dict(load_file(report.path))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(plain(x), encoder(x))
    assert report.max_error == 0
    assert report.bytes == report.path.stat().st_size
    assert "max error 0.0e+00" in str(report)
    assert "(batch, 3, 64, 64) RGB in 0..1, less mean 0.485 0.456 0.406" in str(report)
    with safe_open(report.path, framework="pt") as file:
        header = file.metadata()
    assert header["name"] == "resnet18"
    assert json.loads(header["mean"]) == [0.485, 0.456, 0.406]
    assert (header["width"], header["stem"], header["image_size"]) == ("64", "imagenet", "64")


def test_the_chosen_weights_of_a_run(run: Path, tmp_path: Path) -> None:
    student = export(run, format="safetensors", out=tmp_path / "student.safetensors")
    teacher = export(run, format="safetensors", out=tmp_path / "teacher.safetensors", which="teacher")
    assert torch.equal(features(student.path), features(run / "encoder.safetensors"))
    assert torch.equal(features(teacher.path), features(run / "teacher.safetensors"))
    assert [student.metadata["which"], teacher.metadata["which"]] == ["student", "teacher"]
    assert student.metadata["method"] == "isd"


@pytest.mark.parametrize(
    "values",
    [
        {"name": "resnet18", "width": 16, "stem": "small", "image_size": 32},
        {"name": "resnet18", "width": 8, "image_size": 32},
        {"name": "resnet18d", "stem": "small", "image_size": 32},
        {"name": "seresnet18", "width": 8, "stem": "small", "image_size": 16},
        {"name": "test_vit", "stem": "small", "image_size": 32},
        {"name": "convnext_atto", "stem": "small", "image_size": 32},
        {"name": "mobilenetv3_small_050", "stem": "small", "image_size": 32},
        {"name": "test_resnet.r160_in1k", "image_size": 64},
        {"name": "convnet4", "image_size": 32},
    ],
)
def test_the_lines_that_are_printed_load_the_file_into_plain_timm(values: dict[str, Any], tmp_path: Path) -> None:
    encoder = build(EncoderSpec(**values)).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    report = export(tmp_path / "encoder.safetensors", format="safetensors", out=tmp_path / "it's plain.safetensors")
    assert report.recipe is not None
    assert ("likewise" in report.recipe.replace(str(tmp_path), "")) == (values["name"] == "convnet4")
    assert str(report).endswith(report.recipe)
    made: dict[str, Any] = {}
    exec(report.recipe, made)
    network = made["network"]
    x = torch.randn(2, 3, encoder.spec.image_size, encoder.spec.image_size)
    torch.testing.assert_close(network(x), encoder(x))
    assert network.state_dict().keys() == encoder.backbone.state_dict().keys()
    assert network.num_features == encoder.map_features


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize(("share", "kept"), [(1e-4, True), (1e-2, False)])
def test_the_error_is_a_share_of_the_largest_feature(
    scale: float, share: float, kept: bool, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, x: whole(self, x) * scale)
    off = lambda encoder, _: (b"", lambda x: encoder(x) * (1 + share))  # noqa: E731
    monkeypatch.setitem(exporting._WRITERS, "safetensors", off)
    if kept:
        report = export(run, format="safetensors", out=tmp_path / "out.safetensors")
        assert report.max_error == pytest.approx(share, rel=1e-2)
    else:
        with pytest.raises(LikewiseError, match=r"off by 1\.0e-02 of the largest: nothing was written"):
            export(run, format="safetensors", out=tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
def test_onnx_gives_the_same_features_for_any_batch(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder = build(EncoderSpec(name=name, stem="small", image_size=16, width=8 if name == "resnet18" else 64)).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    report = export(tmp_path / "encoder.safetensors", format="onnx", out=tmp_path / "encoder.onnx")
    assert 0 <= report.max_error < 1e-4
    session = onnxruntime.InferenceSession(report.path)
    x = torch.randn(7, 3, 16, 16)
    found = torch.from_numpy(session.run(["features"], {"pixels": x.numpy()})[0])
    torch.testing.assert_close(found, encoder(x).detach(), rtol=1e-3, atol=1e-4)
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["name"] == name
    assert json.loads(properties["std"]) == list(encoder.spec.std)


def test_a_file_that_computes_something_else_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(encoder: Encoder, _: Any) -> tuple[bytes, nn.Module]:
        other = build(encoder.spec, seed=9).train()
        return b"", other

    monkeypatch.setitem(exporting._WRITERS, "safetensors", spoiled)
    with pytest.raises(LikewiseError, match="nothing was written"):
        export(run, format="safetensors", out=tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_nothing_is_overwritten_unless_asked(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        export(run, format="safetensors", out=out)
    assert out.read_text() == "mine"
    export(run, format="safetensors", out=out, overwrite=True)
    assert torch.equal(features(out), features(run / "encoder.safetensors"))


def test_without_the_extra_the_error_names_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_onnxruntime(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name=name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_onnxruntime)
    with pytest.raises(InputError, match=r"needs the package onnxruntime: pip install -e .*\[onnx\]"):
        export(run, format="onnx", out=tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "onyx"}, "did you mean 'onnx'"),
        ({"run": "run/nothing"}, "does not exist"),
        ({"run": "."}, "holds no trained encoder"),
        ({"which": "pupil"}, "unknown weights 'pupil'"),
        ({"run": "run/encoder.safetensors", "which": "teacher"}, "only a run directory holds a teacher"),
        ({"out": "run"}, "is a directory"),
        ({"out": "missing/out"}, "there is no folder missing"),
        ({"out": "out.onnx"}, "a .onnx file is of format onnx"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        export(**{"run": run, "format": "safetensors", "out": "out.safetensors", **changes})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_without_teacher_says_so(run: Path, tmp_path: Path) -> None:
    (run / "teacher.safetensors").unlink()
    with pytest.raises(InputError, match="holds no teacher, only the student"):
        export(run, format="safetensors", out=tmp_path / "out.safetensors", which="teacher")


@pytest.mark.parametrize(("off", "kept"), [(1, True), (6, False)])
def test_where_activations_are_signs_rounding_may_turn_some_images(
    off: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_encoder(build(EncoderSpec(name="reactnet_small", image_size=16)).eval(), tmp_path / "encoder.safetensors")
    shown: list[int] = []

    def rounded(encoder: Encoder, _: Any) -> Any:
        def features(x: Tensor) -> Tensor:
            found = encoder(x).clone()
            for number in range(len(found)):
                found[number] += 0.3 * found.abs().max() * (len(shown) < off)
                shown.append(number)
            return found

        return b"", features

    monkeypatch.setitem(exporting._WRITERS, "safetensors", rounded)
    if kept:
        report = export(tmp_path, format="safetensors", out=tmp_path / "out.safetensors")
        assert report.turned == off
        assert f"turned signs in {off} of 6 images" in str(report)
    else:
        with pytest.raises(LikewiseError, match="nothing was written"):
            export(tmp_path, format="safetensors", out=tmp_path / "out.safetensors")
