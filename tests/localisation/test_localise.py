"""`likewise localise`: masks, boxes and a sheet, from a run and from other sources."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import likewise
from likewise.cli import main
from likewise.data import open_source
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.errors import InputError
from likewise.localisation.networks import encoder_and_head, open_network, widen
from likewise.localisation.writing import mask_places
from tests.contract.gauntlet import make


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps."""
    folder = tmp_path_factory.mktemp("localise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIKEWISE_CACHE", str(folder / "cache"))
        images = np.stack([open_source("synthetic:scenes", split="train").read(at) for at in range(48)])
        likewise.train(
            images, method="moco_v2", encoder="resnet18", width=8, batch_size=16, epochs=1, out=str(folder / "run"),
            quiet=True, report=False, loggers=(), device="cpu",
        )  # fmt: skip
    return folder / "run"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


SIZES = [(60, 44), (44, 60), (300, 40), (52, 52)]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as file:
        return file.size


def photos(folder: Path) -> Path:
    """Images of several sizes, one far longer than high, with a bright square each."""
    folder.mkdir()
    for number, (width, height) in enumerate(SIZES):
        pixels = np.full((height, width, 3), 60 + 20 * number, np.uint8)
        pixels[12:28, width // 2 - 8 : width // 2 + 8] = (250, 40, 30)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_run_writes_masks_boxes_and_a_sheet(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = photos(tmp_path / "photos"), tmp_path / "out"
    assert main(["localise", str(run), str(data), "--out", str(out), "--rounds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["path"], told["scores"]) == (4, str(out), None)
    written = json.loads((out / "boxes.json").read_text())
    assert [image["file_name"] for image in written["images"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert [(image["width"], image["height"]) for image in written["images"]][2] == (300, 40)
    assert len(written["annotations"]) == told["boxes"]
    for note in written["annotations"]:
        image = written["images"][note["image_id"] - 1]
        left, top, width, height = note["bbox"]
        assert 0 <= left <= left + width <= image["width"] + 0.01
        assert 0 <= top <= top + height <= image["height"] + 0.01
    assert [size_of(out / "masks" / f"{number}.png") for number in range(4)] == SIZES
    assert size_of(out / "sheet.png")[0] > 500


def test_boxes_of_another_source_lie_on_the_objects(tmp_path: Path) -> None:
    found = likewise.localise("mbd", photos(tmp_path / "photos"), out=tmp_path / "out", refine=True)
    assert found.images == 4
    written = json.loads((tmp_path / "out" / "boxes.json").read_text())
    first = {note["image_id"]: note["bbox"] for note in reversed(written["annotations"])}
    for number, width in ((1, 60), (2, 44), (4, 52)):
        left, top, across, high = first[number]
        assert abs(left - (width // 2 - 8)) < 5
        assert abs(top - 12) < 5
        assert abs(across - 16) < 8
        assert abs(high - 16) < 8


def test_scores_are_those_of_the_true_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["synthetic:scenes:16", "--split", "only_fg", "--out", str(tmp_path / "out"), "--truth", "given"]
    assert main(["localise", "given", *words]) == 0
    said = capsys.readouterr().out
    assert "CorLoc 100.0%, box IoU 1.000, mask IoU 1.000 on 600 images" in said
    assert "next    likewise train" in said
    assert main(["localise", "given", *words]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_masks_of_a_folder_can_be_given_again(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    likewise.localise("mbd", data, out=tmp_path / "out")
    source = f"given:{tmp_path / 'out' / 'masks'}"
    again = likewise.localise(source, data, out=tmp_path / "again", truth=source)
    assert again.scores is not None
    assert again.scores.mask_iou == 1.0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere", "photos"], "does not exist"),
        (["mbd", "nowhere"], "no file or folder"),
        (["mbd", "photos", "--split", "train"], "split"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    assert main(["localise", *words, "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_network_of_a_run_is_its_encoder_with_the_head(run: Path) -> None:
    opened = open_network(run)
    image = torch.randn(3, 3, 32, 32)
    last, embedding = opened.network(image)
    assert last.shape[1] == opened.encoder.map_features
    assert embedding.shape == (3, 128)
    fine, _ = open_network(run, expand=2).network(image)
    assert fine.shape[-1] == 2 * last.shape[-1]
    assert open_network(run, expand=2).key != opened.key == open_network(run).key
    (gradient,) = torch.autograd.grad(embedding.sum(), last)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ["moco_v2", "byol", "swav", "dino", "setsim", "bgaug", "objaware", "barlow_twins"])
def test_the_head_of_each_method_is_found(name: str) -> None:
    encoder, head = encoder_and_head(make(name))
    assert len(list(head.parameters())) > 0
    head.eval()
    assert head(torch.randn(2, encoder.features)).shape[0] == 2


def test_weights_alone_are_enough_and_other_encoders_are_not_expanded(tmp_path: Path) -> None:
    encoder = build(EncoderSpec(name="convnext_atto", stem="small", image_size=32))
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    opened = open_network(tmp_path)
    assert opened.network(torch.randn(2, 3, 32, 32))[1].shape == (2, encoder.features)
    with pytest.raises(InputError, match="needs a ResNet"):
        widen(encoder, 2)
    with pytest.raises(InputError, match="does not pool its map"):
        build(EncoderSpec(name="vit_tiny_patch16_224", stem="small", image_size=16)).pooled_from(
            torch.zeros(1, 192, 4, 4)
        )


def test_names_that_clash_or_lead_away_get_numbers() -> None:
    found = mask_places(["a/b.jpg", "a/b.png", "/c/d.jpg", "../e.jpg", "f"])
    assert [str(path) for path in found] == ["a/b.png", "a/b-1.png", "2.png", "3.png", "f.png"]
    assert len(set(mask_places(["x.jpg", "x-2.jpg", "x.png"]))) == 3


def test_probes_hold_a_run_to_masks(run: Path) -> None:
    found = likewise.evaluate(
        run, "synthetic:scenes:32", probe=["backgrounds", "localisation"], masks="given", test_split="mixed_rand",
        subset="perclass:20", quiet=True,
    )  # fmt: skip
    by = {(score.name, score.variant or score.measure): score.value for score in found}
    assert set(by) == {
        ("backgrounds", "original"), ("backgrounds", "mixed_same"), ("backgrounds", "mixed_rand"),
        ("backgrounds", "only_fg"), ("backgrounds", "only_bg"), ("backgrounds", "gap"),
        ("localisation", "CorLoc"), ("localisation", "box IoU"), ("localisation", "mask IoU"),
    }  # fmt: skip
    gap = by["backgrounds", "mixed_same"] - by["backgrounds", "mixed_rand"]
    assert by["backgrounds", "gap"] == pytest.approx(gap)
    one = next(score for score in found if score.variant == "original")
    plain = likewise.evaluate(
        run,
        "synthetic:scenes:32",
        probe="linear",
        train_split="mixed_same",
        test_split="mixed_rand",
        subset="perclass:20",
        quiet=True,
    ).scores[0]  # fmt: skip
    assert one.value == pytest.approx(plain.value, abs=0.02), "as they are, images are those of the linear probe"
    center = likewise.evaluate(
        run,
        "synthetic:scenes:32",
        probe="localisation",
        masks="center",
        train_split="mixed_same",
        test_split="mixed_rand",
        quiet=True,
    )
    assert center.scores[0].value != by["localisation", "CorLoc"]
    with pytest.raises(InputError, match="neither"):
        likewise.evaluate(likewise.load(run), "synthetic:scenes:32", probe="localisation", masks="given", quiet=True)
    with pytest.raises(InputError, match="backgrounds needs masks"):
        likewise.evaluate(run, "synthetic:scenes:32", probe="backgrounds", quiet=True)
