"""What is found of the machine, and what the environment may say in its place."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.training.planning.machine import detect


@pytest.mark.parametrize("hardware", [False, True])
def test_the_environment_overrules_the_processor(hardware: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: hardware)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for told, expected in {"0": False, "1": True, "": hardware}.items():
        monkeypatch.setenv("LIKEWISE_BF16", told)
        assert detect("cpu").bf16 is expected
    monkeypatch.delenv("LIKEWISE_BF16")
    assert detect("cpu").bf16 is hardware


def test_a_word_in_the_environment_that_is_not_known_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_BF16", "yes")
    with pytest.raises(InputError, match="LIKEWISE_BF16='yes' is not known: allowed are 0"):
        detect("cpu")
