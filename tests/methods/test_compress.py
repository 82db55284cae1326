"""CompRess in its other forms: one bank, no slow copy, and a teacher that is looked up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from likewise.methods.compress import CompRess
from likewise.methods.method import Progress
from likewise.verbs.learning.train import Interrupted, train
from tests.contract.gauntlet import IMAGES, batch_at, make, needs, one_step, optimizer_of


def compress(**changes: Any) -> CompRess:
    method = make("compress", **changes)
    assert isinstance(method, CompRess)
    return method


@pytest.mark.parametrize("changes", [{"banks": "one"}, {"keys": "student"}, {"embedding": 12}, {"cached": True}])
def test_every_form_gives_the_whole_encoder_a_gradient(changes: dict[str, Any]) -> None:
    method = compress(**changes)
    loss = method(*batch_at(method, 0)).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.student.parameters())


def test_row_for_row_both_banks_hold_the_same_images() -> None:
    method = compress(keys="student").eval()
    for step in range(5):  # 40 images in 32 rows
        views, batch = batch_at(method, step)
        method.step(views, batch)
    assert method.teacher_bank.position.equal(method.student_bank.position)
    views, batch = batch_at(method, 4)
    rows = torch.arange(32, 40) % 32
    for bank, network in ((method.teacher_bank, method.teacher), (method.student_bank, method.student)):
        vectors = torch.nn.functional.normalize(network(views["image"].image).detach(), dim=1)
        torch.testing.assert_close(bank.rows[rows], vectors)


def test_the_slow_copy_moves_after_the_optimiser() -> None:
    method = compress(momentum=0.0)
    one_step(method, optimizer_of(method), 0)
    assert method.slow is not None
    for slow, quick in zip(method.slow.parameters(), method.student.parameters(), strict=True):
        torch.testing.assert_close(slow, quick)


def test_with_one_bank_the_student_is_brought_to_the_teachers_length() -> None:
    method = compress(banks="one")
    assert method.student(batch_at(method, 0)[0]["image"].image).shape[1] == method.teacher.features
    assert not hasattr(method, "student_bank")


def test_the_table_holds_the_teachers_view_of_every_image_and_is_not_saved() -> None:
    method = compress(cached=True)
    assert isinstance(method.teacher.rows, torch.Tensor)
    assert len(method.teacher.rows) == IMAGES
    assert not method.refresh_due(1)
    assert not any("rows" in key and key.startswith("teacher.") for key in method.state_dict())
    views, batch = batch_at(method, 0)
    method.step(views, batch)
    rows = torch.nn.functional.normalize(method.teacher.look_up(batch.ids), dim=1)
    torch.testing.assert_close(method.teacher_bank.rows[: len(rows)], rows)


def test_a_run_interrupted_in_the_middle_of_an_epoch_makes_the_table_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (50, 16, 16, 3)).astype(np.uint8)
    options: dict[str, Any] = {"method": "compress", "cached": True, "width": 8, "batch_size": 8, "epochs": 2}
    options |= {"quiet": True, "report": False, "loggers": (), **needs(CompRess)}
    straight = train(pixels, out=str(tmp_path / "straight"), **options)
    whole = CompRess.after_step

    def interrupted(self: CompRess, progress: Progress) -> None:
        whole(self, progress)
        if progress.step == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CompRess, "after_step", interrupted)
        with pytest.raises((KeyboardInterrupt, Interrupted)):
            train(pixels, out=str(tmp_path / "cut"), checkpoint_minutes=0.0, **options)
    resumed = train(pixels, out=str(tmp_path / "cut"), resume=True, **options)
    assert straight.metrics()[-1]["loss"] == resumed.metrics()[-1]["loss"]
    expected, found = load_file(straight.weights()), load_file(resumed.weights())
    assert all(expected[key].equal(found[key]) for key in expected)
