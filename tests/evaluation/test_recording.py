"""What an evaluation leaves in the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation import predictions
from likewise.verbs.judging.evaluate import evaluate


def test_scores_are_added_to_the_run_and_replaced(run: Path) -> None:
    first = evaluate(run, probe="knn", untrained=True)
    assert [(score.which, score.k) for score in first] == [
        (which, k) for which in ("student", "untrained") for k in (1, 20, 200)
    ]
    evaluate(run, probe=("knn", "linear"))
    stored = json.loads((run / "run.json").read_text())
    kinds = [(score["which"], score["name"], score["k"]) for score in stored["scores"]]
    assert len(kinds) == len(set(kinds)) == 7
    assert stored["status"] == "finished"
    assert stored["classes"]["bank"] == [20, 20, 20]
    page = (run / "report.html").read_text()
    assert 'id="scores"' in page
    assert 'id="evaluated"' in page


def test_what_each_image_was_taken_for_is_kept(run: Path, data: Path) -> None:
    result = evaluate(run, probe=("knn", "linear"), untrained=True)
    stored = json.loads((run / "run.json").read_text())["scores"]
    right = np.load(data)["test_labels"]
    for score, told in zip(result, stored, strict=True):
        kept = predictions.read(run, told)
        assert kept is not None
        assert kept.predicted_Q.tolist() == score.predicted.tolist()
        assert kept.truth_Q.tolist() == right.tolist()
        assert kept.right.mean() == pytest.approx(score.value)
        assert predictions.read(run, {**told, "protocol": "another"}) is None
    assert predictions.read(run, {**stored[0], "data": "another"}) is None
    assert sum(path.stat().st_size for path in (run / "answers").iterdir()) < 20_000
    assert 'id="mistakes"' in (run / "report.html").read_text()


def test_damaged_answers_are_no_answers(run: Path) -> None:
    evaluate(run, probe="knn")
    stored = json.loads((run / "run.json").read_text())["scores"]
    for path in (run / "answers").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert all(predictions.read(run, score) is None for score in stored)


def test_the_teacher_has_weights_of_its_own(run: Path) -> None:
    student, teacher = evaluate(run, probe="linear"), evaluate(run, probe="linear", which="teacher")
    assert [score.which for score in teacher] == ["teacher"]
    assert {score["which"] for score in json.loads((run / "run.json").read_text())["scores"]} == {"student", "teacher"}
    assert student.scores[0].value > 0.9


def test_other_data_are_other_scores(run: Path, tmp_path: Path, data: Path) -> None:
    evaluate(run, probe="knn")
    (tmp_path / "copy.npz").write_bytes(data.read_bytes())
    evaluate(run, tmp_path / "copy.npz", probe="knn")
    assert len(json.loads((run / "run.json").read_text())["scores"]) == 6


def test_a_weights_file_is_scored_and_nothing_is_written(run: Path, data: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    result = evaluate(run / "encoder.safetensors", data, probe="knn")
    assert result.to_json()["run"] == str(run / "encoder.safetensors")
    assert sorted(path.name for path in run.iterdir()) == before
    with pytest.raises(InputError, match="pass the data"):
        evaluate(run / "encoder.safetensors")


def test_the_protocol_says_everything(run: Path) -> None:
    one, twenty, weighted, linear = evaluate(run)
    for score in (one, twenty, weighted, linear):
        for words in ("float32", "16 px", "eval mode", "from train (60 images) to test (30)"):
            assert words in score.protocol
    assert "ties to the nearest" in twenty.protocol
    assert "k=200 (cut to the 60 images of the bank)" in weighted.protocol
    assert "exp(similarity / 0.1)" in weighted.protocol
    assert "sqrt(var + 1e-5)" in linear.protocol
    assert "chosen on a stratified 10%" in linear.protocol


def test_features_that_are_no_numbers_are_one_line(encoder: Encoder, data: Path) -> None:
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    for probe in ("knn", "linear"):
        with pytest.raises(InputError, match="not finite numbers"):
            evaluate(encoder, data, probe=probe)


def test_names_that_do_not_exist_are_one_line(run: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'linear'"):
        evaluate(run, probe="liner")
    with pytest.raises(InputError, match="no probe"):
        evaluate(run, probe=())
    with pytest.raises(InputError, match="did you mean 'teacher'"):
        evaluate(run, which="techer")  # type: ignore[arg-type]
    (run / "teacher.safetensors").unlink()
    with pytest.raises(InputError, match="teacher"):
        evaluate(run, which="teacher")
