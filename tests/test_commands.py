"""Commands that are printed run as they stand: for labelled and unlabelled data, and for names that need quotes."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.cli import main
from likewise.commands import command, following, resume
from likewise.demo import demo

TINY = ["--width", "8", "--image-size", "16", "--batch-size", "8", "--epochs", "1", "--precision", "float32"]
HOW = [*TINY, "--no-online-probe", "--device", "cpu"]
SHOWN = re.compile(r"^(?:next    |run     )?(likewise \w+ .*)$", re.MULTILINE)
COPIED = re.compile(r'data-copy="([^"]*)"')


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)


def folder(path: Path, count: int = 24) -> str:
    """Images of two kinds in two folders."""
    draw = np.random.default_rng(1)
    for number in range(count):
        kind = path / ("dark ones" if number % 2 else "it's light")
        kind.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 100, (20, 20, 3)) + (0 if number % 2 else 150)
        Image.fromarray(pixels.astype(np.uint8)).save(kind / f"{number}.png")
    return str(path)


def shrunk(words: list[str]) -> list[str]:
    """The same with the small budget of the test, and safetensors, which is quick, in the place of ONNX."""
    words = [re.sub(r"\bonnx$", "safetensors", word) for word in words]
    if words[0] == "train" and not {"--help", "--resume"} & set(words):
        return [*words, *([] if set(TINY) & set(words) else TINY), "--no-report"]
    return [*words, "--epochs", "1"] if words[0] == "finetune" and "--epochs" not in words else words


@pytest.mark.parametrize("labels", ["folders", None])
def test_every_command_that_is_printed_runs(labels: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    name = 'my "best" photos; it\'s $HOME'
    data, run = folder(Path(name)), f"runs/{name} run"
    with_labels = [] if labels is None else ["--labels", labels]
    verbs: list[list[str]] = [
        ["methods"],
        ["doctor", data, *TINY],
        ["train", data, *HOW, *with_labels, "--out", run, "--seed", "3"],
        ["export", run, "--format", "safetensors", "--out", f"{name}.safetensors"],
    ]
    if labels is not None:
        verbs += [
            ["evaluate", run, data, *with_labels, "--probe", "knn", "--k", "3"],
            ["evaluate", f"{name}.safetensors", data, *with_labels, "--probe", "centroid"],
            ["compare", run, "--probe", "knn", "--labels", labels],
            ["finetune", run, data, *with_labels, "--epochs", "1", "--out", f"{run} tuned"],
        ]
    found: list[str] = []
    for words in verbs:
        assert main(words) == 0, words
        said = capsys.readouterr().out
        found += SHOWN.findall(said)
    for report in Path("runs").glob("*/report.html"):
        found += [unescape(line) for line in COPIED.findall(report.read_text(encoding="utf-8"))]
    found = list(dict.fromkeys(found))
    assert {line.split()[1] for line in found} >= {"train", "export"}
    if labels is None:
        assert not [line for line in found if line.split()[1] in {"evaluate", "finetune"}]
    for line in found:
        words = shlex.split(line)
        assert words[0] == "likewise"
        if words[1] == "train" and "--help" in words:
            with pytest.raises(SystemExit) as ended:
                main(words[1:])
            assert ended.value.code == 0
            continue
        assert main(shrunk(words[1:])) == 0, line
        assert capsys.readouterr().out


def test_labels_and_splits_are_carried_over() -> None:
    stored: dict[str, Any] = {"data": {"path": "a.csv", "labels": "kind", "split": "extra", "classes": 3}}
    first, *others = following(Path("runs/x"), stored)
    assert first.command == "likewise evaluate runs/x a.csv --labels kind --train-split extra"
    assert [other.command.split()[1] for other in others] == ["export"]
    scored = following(Path("runs/x"), {**stored, "scores": [{}]})[0]
    assert scored.command == "likewise finetune runs/x a.csv --labels kind --train-split extra"
    again = resume(Path("runs/x"), {**stored, "status": "interrupted"})
    assert again == "likewise train a.csv --out runs/x --resume --labels kind --split extra"
    assert resume(Path("runs/x"), {"data": {"path": None}}) is None


def test_a_name_that_looks_like_an_option_is_a_path() -> None:
    assert command("train", "-x", minutes=3, flip=False, probe=("a", "b c")) == (
        "likewise train ./-x --minutes 3 --probe a 'b c'"
    )


def test_the_demo_proposes_what_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(folder(Path("my photos")), 0.02, "runs/demo") == 0
    said = capsys.readouterr().out
    assert "no scores: my photos has no labels" in " ".join(said.split())
    lines = SHOWN.findall(said)
    assert [shlex.split(line)[1] for line in lines] == ["export"]
    assert json.loads(Path("runs/demo/run.json").read_text())["command"] == "likewise train 'my photos' --minutes 0.02"
