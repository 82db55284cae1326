"""The quick form of the benchmark of few labels runs, part by part, and goes on where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import few_labels
from benchmarks.images import cifar10_file
from likewise.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    try:
        cifar10_file()
    except InputError:
        pytest.skip("no cifar10.parquet")


@pytest.mark.data
def test_quick_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    call = ["--quick", "--threads", "1", "--work", str(tmp_path / "work"), "--parts", "uml", "dyndistill"]
    try:
        found = few_labels.main(call)
    finally:
        torch.set_num_threads(threads)
    assert json.loads(capsys.readouterr().out) == found
    assert set(found["figures"]["dyndistill"]) == {"base alone", "fixed teacher", "moving teacher"}
    assert all(goal["met"] is None for goal in found["targets"]), "quick figures are not judged"
    kept = tmp_path / "work" / "uml" / "1 task-0" / "scores.json"
    kept.write_text(json.dumps(dict.fromkeys(json.loads(kept.read_text()), 1.0)))
    again = few_labels.main(call)
    assert set(again["figures"]["uml"]["1 task"][0].values()) == {1.0}, "what is there is not measured again"
    assert again["figures"]["dyndistill"] == found["figures"]["dyndistill"]
