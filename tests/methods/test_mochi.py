"""MoCHi: what is drawn, that mixes are constants, and when mixing begins."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.method import Progress
from likewise.methods.mochi import MoCHi, contrast_mixed, draw, synthetic
from likewise.similarity import contrast, neighbours, unit
from tests.contract.gauntlet import batch_at, make


def test_every_mix_has_its_own_partners_among_the_hardest() -> None:
    torch.manual_seed(0)
    hard = torch.stack([torch.randperm(100)[:10] for _ in range(6)])
    mix = draw(hard, 40, 30)
    for drawn in (mix.first, mix.second, mix.negative):
        assert all(set(row.tolist()) <= set(of.tolist()) for row, of in zip(drawn, hard, strict=True))
        assert all(len(row.unique()) > 5 for row in drawn)
    assert mix.alpha.unique().numel() == 6 * 40
    assert mix.alpha.max() > 0.9
    assert 0 <= mix.beta.min() < 0.05
    assert 0.45 < mix.beta.max() < 0.5


def test_mixes_are_unit_constants_and_harder_than_what_they_were_made_of() -> None:
    torch.manual_seed(0)
    q, memory = unit(torch.randn(5, 16)).requires_grad_(True), unit(torch.randn(200, 16))
    mix = draw(neighbours(q.detach(), memory, 20).rows, 0, 50)
    made = synthetic(q, memory, mix)
    assert not made.requires_grad
    torch.testing.assert_close(made.norm(dim=2), torch.ones(5, 50))
    before = (memory[mix.negative] * q.unsqueeze(1)).sum(2)
    assert ((made * q.unsqueeze(1)).sum(2) >= before - 1e-6).all()


def test_mixes_make_the_task_harder() -> None:
    torch.manual_seed(0)
    q, memory = torch.randn(64, 16), unit(torch.randn(200, 16))
    k = q + 0.8 * torch.randn(64, 16)
    mix = draw(neighbours(unit(q), memory, 20).rows, 50, 20)
    plain, mixed = contrast_mixed(q, k, memory, 0.2), contrast_mixed(q, k, memory, 0.2, mix)
    torch.testing.assert_close(plain.loss, contrast(q, k, memory, 0.2))
    assert mixed.loss > plain.loss
    assert mixed.accuracy < plain.accuracy


def test_mixing_begins_after_its_share_of_the_budget() -> None:
    method = make("mochi", mixed_from=0.5, shuffle=False)
    assert isinstance(method, MoCHi)
    views, batch = batch_at(method, 0)
    losses = []
    for fraction in (0.2, 0.5):
        method.load_state_dict(make("mochi").state_dict())
        method.before_step(Progress(0, fraction, 0))
        losses.append(method(views, batch).loss)
    method.load_state_dict(make("mochi").state_dict())
    without = contrast(
        method.student(views["first"].image),
        method.teacher(views["second"].image),
        method.queue.rows,
        method.settings.temperature,
    )
    torch.testing.assert_close(losses[0], without)
    assert losses[1] > losses[0]


@pytest.mark.parametrize("changes", [{"pairs": 0}, {"with_query": 0}, {"pairs": 0, "with_query": 0}])
def test_either_kind_of_mix_can_be_left_out(changes: dict[str, int]) -> None:
    method = make("mochi", **changes)
    method.before_step(Progress(5, 0.5, 0))
    assert method(*batch_at(method, 0)).loss.isfinite()


def test_wrong_settings_are_one_line() -> None:
    with pytest.raises(InputError, match="hard=0 is too small: allowed is 1 or more"):
        MoCHi.Settings(hard=0)
