"""Weights on disk: they come back exactly, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, load_weights, save_encoder
from likewise.errors import InputError

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


@pytest.fixture
def encoder() -> Encoder:
    made = build(SPEC, seed=3).to(memory_format=torch.channels_last)
    made(torch.randn(8, 3, 16, 16))  # running statistics of its own
    return made.eval()


@pytest.fixture
def path(encoder: Encoder, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "encoder.safetensors"
    save_encoder(encoder, path, extra={"which": "student", "classes": ["cat", "dog"]})
    return path


def rewrite(path: Path, weights: dict[str, Tensor]) -> Path:
    """The same file with other weights, and without the header."""
    save_file(weights, path)
    return path


@pytest.mark.parametrize("name", ["resnet50", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_encoders_come_back_equal_in_every_bit(name: str, tmp_path: Path) -> None:
    encoder = build(EncoderSpec(name=name, stem="small", image_size=32)).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), encoder(x))
    assert again.spec == encoder.spec
    assert not again.training


def test_weights_that_are_used_in_several_places_come_back_under_all_of_their_keys(tmp_path: Path) -> None:
    encoder = build(EncoderSpec(name="coat_tiny", image_size=32)).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), encoder(x))
    timm.create_model("coat_tiny", num_classes=0, img_size=32).load_state_dict(
        load_file(tmp_path / "encoder.safetensors")
    )
    tied = "serial_blocks1.0.cpe.proj.weight", "serial_blocks1.1.cpe.proj.weight"
    first, second = (again.backbone.get_parameter(key) for key in tied)
    assert first is second


def test_metadata_is_in_alphabetical_order(path: Path) -> None:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])
    assert int.from_bytes(content[:8], "little") % 8 == 0


def test_files_hold_plain_keys_and_the_description(encoder: Encoder, path: Path) -> None:
    assert load_file(path).keys() == timm.create_model("resnet18", num_classes=0).state_dict().keys()
    described = json.loads((path.parent / "model.json").read_text())
    assert described["width"] == 8
    assert described["features"] == encoder.features == 64
    assert described["classes"] == ["cat", "dog"]
    assert sorted(file.name for file in path.parent.iterdir()) == ["encoder.safetensors", "model.json"]


def test_a_file_moved_on_its_own_still_loads(encoder: Encoder, path: Path, tmp_path: Path) -> None:
    moved = path.rename(tmp_path / "elsewhere.safetensors")
    assert load_encoder(moved).spec == encoder.spec


def test_a_file_without_header_is_described_by_model_json(encoder: Encoder, path: Path) -> None:
    rewrite(path, load_file(path))
    assert load_encoder(path).spec == encoder.spec
    (path.parent / "model.json").unlink()
    with pytest.raises(InputError, match=r"there is no model\.json beside it"):
        load_encoder(path)


def test_published_weights_are_not_fetched_for_saved_ones(path: Path) -> None:
    described = json.loads((path.parent / "model.json").read_text())
    (path.parent / "model.json").write_text(json.dumps({**described, "pretrained": True}))
    assert load_encoder(rewrite(path, load_file(path))).spec.pretrained


def test_wrong_keys_and_shapes_are_named_and_nothing_is_loaded(encoder: Encoder, path: Path) -> None:
    weights = load_file(path)
    del weights["layer1.0.conv1.weight"]
    weights["fc.weight"] = torch.zeros(10, 64)
    weights["bn1.weight"] = torch.zeros(64)
    rewrite(path, weights)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(encoder, path)
    text = str(caught.value)
    assert "misses layer1.0.conv1.weight; should not have fc.weight; has other shapes for bn1.weight" in text
    assert "resnet18 (width 8, stem small, 16 px)" in text
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_many_wrong_keys_are_counted(encoder: Encoder, path: Path) -> None:
    rewrite(path, {f"backbone.{key}": value for key, value in load_file(path).items()})
    with pytest.raises(InputError, match=r"misses conv1\.weight, .* and 115 more; should not have"):
        load_weights(encoder, path)


def test_damaged_and_missing_files_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_encoder(path)
    with pytest.raises(InputError, match="there is no weights file"):
        load_encoder(path.with_name("other.safetensors"))
    (path.parent / "model.json").write_text("{")
    with pytest.raises(InputError, match=r"model\.json is damaged"):
        load_encoder(rewrite(path, {"weight": torch.zeros(1)}))


def test_saving_replaces_the_files_at_once(encoder: Encoder, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> bytes:
        raise OSError("no space left")

    monkeypatch.setattr("likewise.encoders.files.store.save", fail)
    with pytest.raises(OSError, match="no space"):
        save_encoder(encoder, path)
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2
