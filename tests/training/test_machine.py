"""What is found of the machine, and what the environment may say in its place."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from likewise.errors import InputError
from likewise.training.planning.machine import _launcher, detect, fabric


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


# The launcher --------------------------------------------------------------------------------------------------------

BATCH_SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
"""What SLURM tells a batch script; srun tells its tasks more."""


@pytest.fixture
def nothing_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "TORCHELASTIC_RUN_ID",
        "SLURM_STEP_NUM_TASKS",
        "SLURM_NTASKS_PER_NODE",
        *BATCH_SCRIPT,
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("nothing_launched")
def test_tasks_of_srun_are_processes_of_one_run_and_a_batch_script_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BATCH_SCRIPT.items():
        monkeypatch.setenv(name, value)
    assert detect("cpu").processes == 1
    assert isinstance(_launcher(1, "cpu")[0], LightningEnvironment)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert detect("cpu").processes == 4
    with pytest.raises(InputError, match=r"srun started 4 processes, .*--nodes=1 --ntasks-per-node=4"):
        _launcher(4, "cpu")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    for exported in ("", "9"):  # many scripts export it for other programs
        monkeypatch.setenv("WORLD_SIZE", exported)
        environment, local = _launcher(detect("cpu").processes, "cpu")
        assert isinstance(environment, SLURMEnvironment)
        assert (environment.world_size(), local) == (4, 2)


@pytest.mark.usefixtures("nothing_launched")
def test_torchrun_says_how_many_there_are_also_inside_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    of_torchrun = {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}
    for name, value in {**BATCH_SCRIPT, "SLURM_STEP_NUM_TASKS": "1", **of_torchrun}.items():
        monkeypatch.setenv(name, value)
    assert detect("cpu").processes == 8
    assert _launcher(8, "cpu") == (None, 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"4 processes on this machine, each of which sees 1 GPUs: .*--gpus-per-node"):
        _launcher(8, "cuda")


def test_float16_on_a_processor_is_refused() -> None:
    with pytest.raises(InputError, match=r"precision='fp16' needs an accelerator: .* float32 and bf16"):
        fabric(detect("cpu"), "fp16")
