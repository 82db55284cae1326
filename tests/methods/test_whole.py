from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from likewise.errors import InputError
from likewise.memory import Queue
from likewise.methods.method import Method
from likewise.methods.whole import FILE, restore, save_method
from likewise.runs import RunDirectory, plain
from tests.contract.gauntlet import ALL, SPEC, batch_at, facts_of, make, one_step, optimizer_of


def kept(name: str, out: Path) -> Method:
    """A method that has learned a step, and the run that it leaves."""
    method = make(name)
    one_step(method, optimizer_of(method), 0)
    run = RunDirectory(out)
    run.path.mkdir()
    run.write(method=name, settings=plain(method.settings), encoder=plain(SPEC))
    save_method(method, facts_of(method.columns(method.settings)), out)
    return method.eval()


@pytest.mark.parametrize("name", ALL)
def test_a_run_hands_on_its_whole_method(name: str, tmp_path: Path) -> None:
    trained = kept(name, tmp_path / "run")
    again = restore(tmp_path / "run")
    assert type(again) is type(trained)
    assert again.settings == trained.settings
    assert not again.training
    with safe_open(tmp_path / "run" / FILE, framework="pt") as file:
        names = set(file.keys())
    assert {name for name, value in trained.named_parameters() if value.requires_grad} <= names
    state = again.state_dict()
    for key, value in trained.state_dict().items():
        if key in names:
            assert torch.equal(state[key], value), key
    if type(trained).logits is not Method.logits:
        image = torch.randn(4, 3, SPEC.image_size, SPEC.image_size)
        assert torch.equal(again.logits(image), trained.logits(image)), "a classifier without its memory"


def test_memories_stay_out_and_are_fresh(tmp_path: Path) -> None:
    trained = kept("isd", tmp_path / "run")
    again = restore(tmp_path / "run")
    memories = [part for part in again.modules() if isinstance(part, Queue)]
    assert [int(memory.filled) for memory in memories] == [0]
    assert any(int(part.filled) for part in trained.modules() if isinstance(part, Queue))


def test_the_restored_head_sees_what_the_trained_one_did(tmp_path: Path) -> None:
    trained = kept("moco_v2", tmp_path / "run")
    image = batch_at(trained, 3)[0]["first"].image
    again: Any = restore(tmp_path / "run")
    assert torch.equal(again.student(image), trained.student(image))  # type: ignore[operator]


def test_what_cannot_be_restored_is_one_line(tmp_path: Path) -> None:
    kept("isd", tmp_path / "run")
    settings = tmp_path / "run" / "run.json"
    stored = json.loads(settings.read_text())
    settings.write_text(json.dumps({**stored, "encoder": {**stored["encoder"], "width": 16}}))
    with pytest.raises(InputError, match=r"does not hold the networks of isd: \S+ does not fit$"):
        restore(tmp_path / "run")
    settings.write_text(json.dumps({**stored, "settings": {"nothing": 1}}))
    with pytest.raises(InputError, match=r"method.safetensors is damaged, or \S+run.json does not describe it"):
        restore(tmp_path / "run")
    (tmp_path / "run" / FILE).unlink()
    with pytest.raises(InputError, match="from before runs kept their method"):
        restore(tmp_path / "run")
