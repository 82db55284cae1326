"""One place decides which encoder of a run is used, and everything that takes a run asks there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import likewise
from likewise.encoders import Encoder, EncoderSpec, build, load_encoder, save_encoder
from likewise.encoders.files.chosen import choose, deployed
from likewise.errors import InputError
from likewise.evaluation.encoder_source import open_subject
from likewise.runs import RunDirectory
from likewise.teachers import pretrained, taken_from
from likewise.verbs.keeping.export import export

SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)


def run_with(path: Path, extra: dict[str, Any], roles: tuple[str, ...] = ("student", "teacher")) -> Path:
    path.mkdir()
    RunDirectory(path).save_encoders({role: build(SPEC, seed) for seed, role in enumerate(roles)}, extra)
    return path


def seen(encoder: Encoder | torch.nn.Module) -> Tensor:
    with torch.no_grad():
        return encoder.eval()(torch.ones(2, 3, 16, 16) * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))


@pytest.mark.parametrize(
    ("extra", "which", "role", "reason"),
    [
        ({"deployed": "teacher"}, None, "teacher", "what its method deploys"),
        ({"deployed": "student"}, None, "student", "what its method deploys"),
        ({"deployed": "teacher"}, "student", "student", "as asked"),
        ({"deploy": "teacher"}, None, "student", "older than the choice .* --which teacher"),
        ({"deploy": "student"}, None, "student", "does not say"),
        ({}, None, "student", "does not say"),
    ],
)
def test_everything_that_takes_a_run_takes_the_same_encoder(
    extra: dict[str, Any], which: Any, role: str, reason: str, tmp_path: Path
) -> None:
    run = run_with(tmp_path / "run", extra)
    expected = seen(load_encoder(RunDirectory(run).weights(role)))
    chosen = choose(run, which)
    assert chosen.role == role
    assert re.search(f"{role}: .*{reason}", str(chosen))
    assert torch.equal(seen(likewise.load(run, which=which)), expected)
    report = export(run, format="safetensors", out=tmp_path / "out.safetensors", which=which)
    assert torch.equal(seen(load_encoder(report.path)), expected)
    assert report.metadata["which"] == role
    assert str(chosen) in str(report)
    assert "deployed" not in report.metadata
    subject = open_subject(str(run), which)
    assert torch.equal(seen(subject.encoder), expected)
    assert subject.which == role
    told = which is None and "teacher" in extra.values()
    assert subject.taken == (str(chosen) if told else None)
    if which is None:
        teacher = pretrained(str(run), image_size=16, mean=SPEC.mean, std=SPEC.std)
        torch.testing.assert_close(seen(teacher), expected)
        assert taken_from(str(run)) == str(chosen)
        assert deployed(run) == role


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", {"deployed": "teacher"}, ("student",))
    with pytest.raises(InputError, match="holds no teacher, only the student"):
        choose(run, None)
    (run / "model.json").write_text("{")
    assert choose(run, None).role == "student"
    with pytest.raises(InputError, match="did you mean 'teacher'"):
        choose(run, "teache")  # type: ignore[arg-type]


def test_a_file_is_taken_as_what_it_says_it_is(tmp_path: Path) -> None:
    path = tmp_path / "moved.safetensors"
    save_encoder(build(SPEC), path, extra={"which": "teacher"})
    assert choose(path, None).role == "teacher"
    assert taken_from(str(path)) is None
    assert json.loads((tmp_path / "model.json").read_text())["which"] == "teacher"
