"""A temperature that follows an entropy."""

from __future__ import annotations

import pytest
import torch

from likewise.similarity import Temperature, distill
from likewise.similarity.temperature import LEAST, MOST


def test_a_fixed_temperature_is_the_number_itself_and_never_moves() -> None:
    fixed = Temperature(0.1, 0.0)
    fixed.follow(torch.tensor(5.0))
    assert fixed.now() == 0.1
    assert not fixed.state_dict()


@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
def test_it_finds_the_wanted_entropy_however_alike_the_vectors_are(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows_KD = torch.nn.functional.normalize(1.0 + spread * torch.randn(256, 16, generator=generator), dim=1)
    student_BD, teacher_BD = 1.0 + spread * torch.randn(2, 32, 16, generator=generator)
    followed = Temperature(0.02, 2.0)
    for _ in range(100):
        told = distill(student_BD, teacher_BD, rows_KD, 0.1, followed.now())
        followed.follow(told.teacher_entropy)
    assert told.teacher_entropy.item() == pytest.approx(2.0, abs=0.05)


def test_it_keeps_within_its_limits_and_is_saved() -> None:
    low, high = Temperature(0.01, 1.0), Temperature(0.01, 1.0)
    for _ in range(100):
        low.follow(torch.tensor(9.0))
        high.follow(torch.tensor(0.0))
    assert low.value.item() == pytest.approx(LEAST)
    assert high.value.item() == pytest.approx(MOST)
    again = Temperature(0.5, 1.0)
    again.load_state_dict(low.state_dict())
    assert again.value.equal(low.value)
