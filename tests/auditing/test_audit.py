"""The whole of an audit on small images, from Python and from the shell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import likewise
from likewise.auditing.categories import read_mapping
from likewise.auditing.result import UNDISTORTED, Audit, ObserverDifference
from likewise.auditing.text import sentence
from likewise.auditing.trials import Trials
from likewise.classifier import save_classifier
from likewise.cli import main
from likewise.encoders import Encoder, save_encoder
from likewise.errors import InputError
from likewise.evaluation.significance import mcnemar
from likewise.report.audited import as_page
from tests.browser import barriers, opened
from tests.evaluation.conftest import drawn

FEW = {"experiments": ["false-colour", "low-pass", "uniform-noise"], "quiet": True}


@pytest.fixture
def found(encoder: Encoder, other: Encoder, data: Path) -> Audit:
    return likewise.audit(encoder, data, against=[other], **FEW)


def test_colours_are_lost_where_colours_are_reversed(found: Audit):
    """The classes are colours: false colours take them away, blur does not."""
    who = found.observers[0]
    assert found.plain_accuracy(who) > 0.9
    assert found.accuracy("false-colour", who) < 0.6
    lines = {point.level: point for point in found.curves()["false-colour"][who]}
    assert lines["True"].accuracy > 0.9
    assert sum(point.n for point in lines.values()) == 48
    assert all(point.low <= point.accuracy <= point.high for point in lines.values())


def test_the_same_encoder_is_the_same_observer(encoder: Encoder, data: Path):
    found = likewise.audit(encoder, data, against=[encoder], **FEW)
    assert found.observers == ("resnet18", "resnet18'")
    assert found.kappa() == pytest.approx(np.ones((2, 2)))
    tests = found.contrasts()
    assert [one.experiment for one in tests] == [UNDISTORTED, *found.experiments]
    assert all(one.test.difference == 0 and one.verdict == "no clear difference" for one in tests)


def test_an_audit_is_a_function_of_its_seed(encoder: Encoder, data: Path):
    told = [likewise.audit(encoder, data, seed=seed, **FEW).of("uniform-noise", "resnet18") for seed in (0, 0, 1)]
    assert np.array_equal(told[0].answer_N, told[1].answer_N)
    assert np.array_equal(told[0].condition_N, told[1].condition_N)
    assert not np.array_equal(told[0].condition_N, told[2].condition_N)


def test_a_worse_checkpoint_is_told_as_worse():
    truth, level = np.zeros(200, np.int64), np.full(200, "5")
    images = np.arange(200).astype(str)

    def observer(name: str, right: int) -> Trials:
        return Trials("low-pass", name, images, level, truth, (np.arange(200) >= right).astype(np.int64))

    two = (observer("new", 120), observer("old", 150))
    told = Audit(("new", "old"), ("a", "b"), two, {}, "images", "protocol")
    one = told.contrasts()[0]
    assert one.verdict == "worse"
    assert one.test == mcnemar(two[1].right, two[0].right)
    assert re.search(r"new is worse than old under blur, by \d+\.\d to \d+\.\d points", sentence(told, one))
    turned = ObserverDifference("low-pass", "new", mcnemar(two[0].right, two[1].right), 0.01)
    assert turned.verdict == "better"


def test_p_is_raised_for_the_number_of_tests(found: Audit):
    raw = [one.test.p for one in found.contrasts()]
    raised = [one.p for one in found.contrasts()]
    assert raised[int(np.argmin(raw))] == pytest.approx(min(1.0, len(raw) * min(raw)))


def test_at_every_level_images_are_the_sample(encoder: Encoder, other: Encoder, data: Path):
    found = likewise.audit(encoder, data, against=[other], every_level=True, images=20, **FEW)
    assert len(found.of("low-pass", "resnet18")) == 20 * 8
    one = next(one for one in found.contrasts() if one.experiment == "low-pass")
    assert "paired t over 20 images" in one.test.how
    first, second = (found.of("low-pass", who).without(["0"]).right.mean() for who in found.observers)
    assert one.test.difference == pytest.approx(first - second)


def test_neighbours_decide_as_well(encoder: Encoder, data: Path):
    found = likewise.audit(encoder, data, probe="knn", **FEW)
    assert found.plain_accuracy("resnet18") > 0.9
    assert "nearest" in found.protocol


def test_classes_are_mapped_to_categories(encoder: Encoder, data: Path, tmp_path: Path):
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({"warm": [0], "cold": [1, 2]}))
    for probe in ("linear", "knn"):
        found = likewise.audit(encoder, data, mapping=mapping, probe=probe, **FEW)
        assert found.categories == ("cold", "warm")
        assert found.plain_accuracy("resnet18") > 0.9


def test_mappings_that_do_not_fit_are_told(tmp_path: Path):
    path = tmp_path / "map.json"
    for content, told in [
        ("[]", "is no mapping"),
        ('{"a": [0]}', "two or more"),
        ('{"a": ["tabby"], "b": ["tiger cat"]}', "did you mean 'tigercat'"),
        ('{"a": [0], "b": [7]}', "classes 0 to 1"),
        ('{"a": [0], "b": [0]}', "two categories"),
    ]:
        path.write_text(content)
        with pytest.raises(InputError, match=told):
            read_mapping(path, ["tabby", "tigercat"], 2)


def test_a_classifier_answers_by_its_own_layer(encoder: Encoder, data: Path, tmp_path: Path):
    """Its classes stand in another order than those of the data, and are found by name."""
    run = tmp_path / "run"
    run.mkdir()
    save_encoder(encoder, run / "encoder.safetensors")
    (run / "run.json").write_text(json.dumps({"seed": 0, "data": {"path": str(data)}}))
    with pytest.raises(InputError, match="no classifier of its own"):
        likewise.audit(run, probe="own", **FEW)
    save_classifier(run, nn.Linear(encoder.features, 3), ["2", "1", "0"])
    found = likewise.audit(run, probe="own", **FEW)
    assert found.protocol.startswith("the classifier's own layer")
    assert found.observers == ("run",)


def stored(folder: Path, name: str, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)


def test_stimuli_of_others_and_their_shape_bias(encoder: Encoder, tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 60, (40, 16, 16, 3)).astype(np.uint8)
    labels = np.arange(40) % 2
    images[labels == 1, :, :, 0] += 190
    data = tmp_path / "data"
    for place, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        folder = data / ("dog" if label else "cat")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{place}.png")
    sets = tmp_path / "sets"
    for place, name in enumerate(["dog1-cat1.png", "dog2-dog1.png", "cat1-dog2.png", "oven1-dog1.png"]):
        stored(sets / "cue-conflict", name, place)
    stored(sets / "contrast" / "dnn", "0001_c_dnn_c05_dog_00_n01_1.png", 9)
    stored(sets / "sketch" / "cat", "any.png", 10)
    found = likewise.audit(encoder, data, labels="folders", stimuli=[str(sets)], quiet=True)
    assert found.experiments == ("contrast", "sketch", "cue-conflict")
    assert len(found.of("cue-conflict", "resnet18")) == 3
    assert any("1 of 4 images" in note for note in found.notes)
    bias, by_category = found.shape_bias()["resnet18"]
    assert bias.shape + bias.texture == pytest.approx(2 / 3)  # of two categories one is always answered
    assert set(by_category) == {"cat", "dog"}
    assert found.of("contrast", "resnet18").condition_N.tolist() == ["c05"]
    assert "By shape or by texture" in as_page(found)
    assert json.dumps(found.to_json())


def test_stimuli_of_one_file_name_in_two_folders_are_two_images(
    encoder: Encoder, other: Encoder, data: Path, tmp_path: Path
):
    for place in range(30):
        stored(tmp_path / "sketch" / str(place % 3), f"{place // 3}.png", place)
    found = likewise.audit(encoder, data, against=[other], stimuli=[f"sketch={tmp_path / 'sketch'}"], quiet=True)
    (test,) = (one.test for one in found.contrasts() if one.experiment == "sketch")
    first, second = (found.of("sketch", who).right for who in found.observers)
    assert test == mcnemar(second, first)


def test_bad_input_is_one_line(encoder: Encoder, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    weights = tmp_path / "encoder.safetensors"
    save_encoder(encoder, weights)
    for words, told in [
        (["--experiments", "lowpass"], "did you mean 'low-pass'"),
        (["--experiments", "sketch"], "no formula makes sketch"),
        (["--images", "1"], "at least 2"),
        (["--stimuli", str(tmp_path / "none")], "no such folder"),
        (["--human", str(tmp_path)], "no trials of people"),
        (["--mapping", "sixteen"], "1000 classes"),
        (["--probe", "own"], "no classifier of its own"),
        (["--html", str(data)], "exists"),
    ]:
        assert main(["audit", str(weights), str(data), *words]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_from_the_shell(
    encoder: Encoder, other: Encoder, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, one in (("new", encoder), ("old", other)):
        save_encoder(one, tmp_path / f"{name}.safetensors")
    page = tmp_path / "audit.html"
    words = ["audit", str(tmp_path / "new.safetensors"), str(data), "--against", str(tmp_path / "old.safetensors")]
    words += ["--experiments", "colour", "contrast", "--quiet"]
    assert main([*words, "--html", str(page)]) == 0
    assert "new is right on" in " ".join(capsys.readouterr().out.split())
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["observers"] == ["new", "old"]
    assert {one["experiment"] for one in told["tests"]} == {UNDISTORTED, "colour", "contrast"}
    written = page.read_text(encoding="utf-8")
    for title in ("Where it breaks", "The worst distortions", "Do they err on the same images", "people"):
        assert title in written
    assert not re.search(r'(src|href)="(?!data:|#)', written)  # nothing is fetched
    with opened(page.as_uri(), width=390, theme="dark") as seen:
        assert barriers(seen.page) == []
        assert (seen.requests, seen.errors) == ([], [])


def test_cue_conflicts_are_compared_with_people_who_saw_them(encoder: Encoder, tmp_path: Path):
    images, labels = drawn(40, 1)
    data = tmp_path / "data.npz"
    np.savez(data, images=images, labels=labels)
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({"cat": [0], "dog": [1, 2]}))
    shown = ["cat1-dog1.png", "cat2-dog2.png", "dog1-cat1.png", "dog2-cat2.png"]
    for place, name in enumerate(shown):
        stored(tmp_path / "conflicts", name, place)
    head = "experiment,subject,session,trial,rt,object_response,category,condition,image_id"
    rows = [f"cue-conflict,subject-01,1,1,0.5,{name[:3]},{name[:3]},0,{name}" for name in [*shown, "cat9-dog9.png"]]
    human = tmp_path / "human_trials.csv"
    human.write_text("\n".join([head, *rows]) + "\n")
    stimuli = [f"cue-conflict={tmp_path / 'conflicts'}"]
    found = likewise.audit(encoder, data, mapping=mapping, stimuli=stimuli, human=human, quiet=True)
    own = found.of("cue-conflict", "resnet18")
    figures = found.against_people()["resnet18"]["cue-conflict"]
    assert figures.accuracy == own.right.mean()
    assert figures.observed == own.right.mean()  # the person is always right
    assert figures.difference == pytest.approx((1 - own.right.mean()) ** 2)
    assert found.ranks() == {"resnet18": 1.0}
    assert "against people" in found.to_text()
