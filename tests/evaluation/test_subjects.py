"""What can be evaluated and how: ONNX files, timm names, baselines, several data sets, probes with the encoder."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.cli import main
from likewise.encoders import Encoder, EncoderSpec, build, save_encoder
from likewise.encoders.files.onnx import load_onnx
from likewise.errors import InputError
from likewise.evaluation import ProbeSettings, extract
from likewise.evaluation.encoder_source import open_subject
from likewise.evaluation.probes import finetune as finetuning
from likewise.evaluation.probes import segmentation
from likewise.evaluation.probes.finetune import finetune
from likewise.verbs.judging.evaluate import evaluate
from likewise.verbs.judging.transfer import Transfer, transfer
from likewise.verbs.keeping.export import export
from tests.evaluation.conftest import MakeImages, drawn


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "LEAST_STEPS", 40)


SMALL = ProbeSettings(ways=2, shots=(1,), episodes=20, finetune_epochs=40, labels_per_class=(4,))


def test_an_onnx_file_is_the_encoder_it_was_made_of(
    tmp_path: Path, encoder: Encoder, data: Path, make_images: MakeImages
) -> None:
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    export(tmp_path / "encoder.safetensors", format="onnx", out=tmp_path / "encoder.onnx")
    images = make_images()
    torch.testing.assert_close(extract(load_onnx(tmp_path / "encoder.onnx"), images), extract(encoder, images))
    one, other = (
        evaluate(tmp_path / f"encoder.{kind}", data, probe="knn", quiet=True) for kind in ("onnx", "safetensors")
    )
    assert [score.value for score in one] == [score.value for score in other]
    with pytest.raises(InputError, match="takes images of 16 px, not of 32"):
        load_onnx(tmp_path / "encoder.onnx", 32)
    with pytest.raises(InputError, match="resnet18 has no weights that can be trained: name a run"):
        evaluate(tmp_path / "encoder.onnx", data, probe="finetune", quiet=True)
    (tmp_path / "torn.onnx").write_bytes((tmp_path / "encoder.onnx").read_bytes()[:500])
    with pytest.raises(InputError, match="is no ONNX model") as caught:
        load_onnx(tmp_path / "torn.onnx")
    assert "\n" not in str(caught.value)


def test_names_of_timm_are_never_scored_with_random_weights(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="resnet18 alone has random weights: pass pretrained"):
        evaluate("resnet18", data, quiet=True)
    with pytest.raises(InputError, match="pretrained is for the name of a timm model"):
        evaluate("resnet81", data, pretrained=True, quiet=True)
    with pytest.raises(InputError, match="does not exist"):
        evaluate("resnet81", data, quiet=True)


def test_random_weights_are_a_baseline(run: Path, data: Path) -> None:
    result = evaluate(run, probe="knn", compare="random", untrained=True, quiet=True)
    assert [score.which for score in result] == ["student"] * 3 + ["untrained"] * 3 + ["random"] * 3
    stored = json.loads((run / "run.json").read_text())
    assert len(stored["scores"]) == 9
    subject = open_subject(run, None)
    published = subject.encoder
    published.spec = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16, pretrained=False)
    assert torch.equal(subject.random().backbone.conv1.weight, build(published.spec, seed=0).backbone.conv1.weight)
    with pytest.raises(InputError, match="allowed are random"):
        evaluate(run, compare="chance", quiet=True)  # type: ignore[arg-type]


def test_the_labels_of_the_run_are_known_however_its_data_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = json.loads((run / "run.json").read_text())
    stored["data"] = {"path": "photos/", "labels": "folders"}
    (run / "run.json").write_text(json.dumps(stored))
    monkeypatch.chdir(tmp_path)
    subject = open_subject(str(run), None)
    assert all(subject.labels_for(one) == "folders" for one in ("photos/", "photos", "./photos", tmp_path / "photos"))
    assert subject.labels_for("other") is None


def test_several_data_sets_have_a_mean(run: Path, tmp_path: Path, data: Path) -> None:
    images, labels = drawn(60, 3)
    kept = np.flatnonzero((labels != 0) | (np.arange(60) % 4 == 0))
    np.savez(tmp_path / "pets.npz", images=images[kept], labels=labels[kept])
    found = transfer(run, [data, tmp_path / "pets.npz"], probe="centroid", quiet=True)
    plain, by_class = (evaluation.scores[0] for evaluation in found.evaluations)
    assert (plain.measure, by_class.measure) == ("accuracy", "mean per-class accuracy")
    assert found.means() == {"student centroid": (plain.value + by_class.value) / 2}
    known = [replace(plain, value=0.8), replace(by_class, value=1.0, n=50)]
    several = Transfer([replace(found.evaluations[0], scores=[score]) for score in known])
    assert several.log_odds() == pytest.approx({"student centroid": (math.log(4) + math.log(99)) / 2})
    with pytest.raises(InputError, match="no data sets"):
        transfer(run, [])


def test_the_command_takes_everything(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(run), str(data), str(data), "--probe", "fewshot", "purity", "--ways", "2", "--shots", "1"]
    assert main([*words, "--episodes", "20", "--k", "3", "--per-class"]) == 0
    said = capsys.readouterr().out
    assert "fewshot 2-way prototype k=1" in said
    assert "mean of 2 data sets" in said
    assert main(["evaluate", str(run), str(data), "--probe", "fewshot", "--ways", "9", "--json"]) == 2
    assert "need 9 classes" in capsys.readouterr().err
    assert main(["evaluate", str(run), str(data), "--shot", "3"]) == 2
    assert "did you mean '--shots'" in capsys.readouterr().err


def test_fine_tuning_learns_and_leaves_the_encoder(encoder: Encoder, make_images: MakeImages) -> None:
    train, test = make_images(60, 1), make_images(40, 2)
    assert train.labels is not None
    assert test.labels is not None
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    tuned = finetune(encoder, train, train.labels, epochs=40, rate=0.01, seed=0)
    assert float((tuned.predict(test).numpy() == test.labels).mean()) > 0.9
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    again = finetune(encoder, train, train.labels, epochs=40, rate=0.01, seed=0)
    assert torch.equal(again.layer.weight, tuned.layer.weight)
    with pytest.raises(InputError, match="at least two classes"):
        finetune(encoder, train, np.zeros(60, np.int64), epochs=1, rate=0.01)
    with pytest.raises(InputError, match="lower its rate"):
        finetune(encoder, train, train.labels, epochs=3, rate=1e30)


def test_fine_tuning_on_few_labels_is_a_probe(encoder: Encoder, data: Path) -> None:
    score = evaluate(encoder, data, probe="finetune-labels", settings=SMALL, quiet=True).scores[0]
    assert score.variant == "4 labels per class"
    assert "12 labels, 40 steps" in score.protocol
    assert score.value > 0.5


def test_cameras_are_a_column(tmp_path: Path, encoder: Encoder) -> None:
    images, labels = drawn(24, 4)
    rows = ["path,label,camera,split"]
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{label},cam{number % 2},{'test' if number % 4 < 2 else 'train'}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    found = evaluate(encoder, tmp_path / "list.csv", probe="retrieval", cameras="camera", quiet=True)
    assert "without images of the same class by the same camera" in found.scores[0].protocol
    bank = ProbeSettings(gallery="bank", k=(1,))
    searched = evaluate(encoder, tmp_path / "list.csv", probe="retrieval", settings=bank, quiet=True)
    assert [score.k for score in searched] == [None, 1]
    assert "in the bank" in searched.scores[0].protocol
    with pytest.raises(InputError, match="camera"):
        evaluate(encoder, tmp_path / "list.csv", probe="retrieval", cameras="camera_id", quiet=True)


def test_masks_judge_the_map(tmp_path: Path) -> None:
    encoder = build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=32), seed=0)
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    for number in range(30):
        mask = np.zeros((32, 32), np.uint8)
        mask[:, : draw.integers(8, 24)] = 1
        pixels = draw.integers(0, 60, (32, 32, 3)) + 180 * mask[..., None]
        mask[:2] = segmentation.IGNORED
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    found = evaluate(encoder, tmp_path / "photos", probe="segmentation", masks=tmp_path / "masks", quiet=True)
    assert [(one.k, one.variant, one.measure) for one in found.scores] == [
        (None, "", "mIoU"), (None, "", "pixel accuracy"), (20, "knn", "mIoU"), (20, "knn", "pixel accuracy"),
    ]  # fmt: skip
    for iou, pixels_right in (found.scores[:2], found.scores[2:]):
        assert 0.6 < iou.value < pixels_right.value <= 1
    with pytest.raises(InputError, match="needs masks"):
        evaluate(encoder, tmp_path / "photos", probe="segmentation", quiet=True)
    (tmp_path / "masks" / "7.png").unlink()
    with pytest.raises(InputError, match=r"7.png has no mask"):
        evaluate(encoder, tmp_path / "photos", probe="segmentation", masks=tmp_path / "masks", quiet=True)


def test_neighbours_vote_on_cells() -> None:
    bank_MC, labels_M = torch.eye(3).repeat(4, 1), torch.tensor([0, 1, 2]).repeat(4)
    maps_NChw = torch.eye(3)[torch.tensor([[0, 1], [2, 1]])].permute(2, 0, 1).unsqueeze(0)
    found = segmentation.predict_by_neighbours(bank_MC, labels_M, maps_NChw, 4, k=3)
    assert found[0, ::3, ::3].tolist() == [[0, 1], [2, 1]]


def test_intersection_over_union_by_hand() -> None:
    true = torch.tensor([[[0, 0], [1, 255]]])
    found = segmentation.agreement(torch.tensor([[[0, 1], [1, 3]]]), true)
    assert found.iou_K.tolist() == [0.5, 0.5]
    assert found.accuracy == pytest.approx(2 / 3)


@pytest.mark.filterwarnings("ignore")
def test_one_image_of_a_class_is_told(tmp_path: Path, encoder: Encoder) -> None:
    images, _ = drawn(21, 4)
    np.savez(tmp_path / "d.npz", images=images, labels=np.r_[np.arange(20) % 2, 2])
    found = evaluate(encoder, tmp_path / "d.npz", probe="knn", quiet=True)
    assert found.notes[0] == "classes 2 have one image in the bank: probes know next to nothing of them"
