"""The capabilities of this machine, and the number of processes that share the work."""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import sys
import warnings
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy

from likewise.distributed import leave
from likewise.errors import InputError
from likewise.training.planning.asked import Precision
from likewise.training.planning.resolve import Machine

Device = Literal["cpu", "cuda", "mps"]
FABRIC_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "float32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}

_OF_STEP = "SLURM_STEP_NUM_TASKS"
BF16_VARIABLE = "LIKEWISE_BF16"
"""Environment variable that says whether bfloat16 counts as fast (1) or not (0), whatever the processor says."""


def best_device() -> Device:
    """The fastest kind of device that is present."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16(device: Device) -> bool:
    """Whether products of bfloat16 run in hardware, which makes them worth having; `LIKEWISE_BF16` overrules it.

    Machines of different kinds then train alike: a cluster's, or those that run the tests. Raises InputError where the
    variable is neither 0 nor 1.
    """
    result = os.environ.get(BF16_VARIABLE)
    if result:
        if result not in ("0", "1"):
            raise InputError(f"{BF16_VARIABLE}={result!r} is not known: allowed are 0 (never) and 1 (always)")
        return result == "1"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def keep_freed_memory() -> bool:
    """Let the C library keep the memory that tensors give back; whether that was possible.

    By default glibc returns large blocks to the system, which clears and maps new pages for the same tensors at every
    step: some 10,000 page faults a step with a narrow ResNet. Only glibc knows these two numbers (malloc.h), and a user
    who has chosen an allocator or its settings knows better.
    """
    chosen = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD")
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in chosen):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold = -1, -3
    # Older versions refuse more than 32 MiB for the second.
    kept = mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25)
    return bool(kept and mallopt(trim_threshold, 2**31 - 1))


def detect(device: Device | None = None) -> Machine:
    """This machine, for training on `device` or on the best one. Raises InputError where it is not there."""
    chosen = device or best_device()
    if chosen == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device 'cuda' is not there: the nearest that is, is {best_device()!r}")
    if chosen == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device 'mps' is not there: the nearest that is, is {best_device()!r}")
    return Machine(device=chosen, bf16=has_bf16(chosen), processes=launched())


def launched() -> int:
    """Processes of this run: torchrun says it in WORLD_SIZE, srun in the size of its step, and else there is one.

    SLURM_NTASKS is of no use: a batch script that calls no srun knows it as well.
    """
    return int((_by_srun() and os.environ[_OF_STEP]) or os.environ.get("WORLD_SIZE") or "1")


def _by_srun() -> bool:
    """Whether srun started this process, and no torchrun in between, which says all by itself."""
    return bool(os.environ.get(_OF_STEP)) and not TorchElasticEnvironment.detect()


def _launcher(processes: int, device: Device) -> tuple[ClusterEnvironment | None, int]:
    """What tells this process its place among the others, and how many of them are on this machine.

    None: what Fabric finds, as after torchrun. Left to itself it would wait for others in a batch script of SLURM.
    Raises InputError where srun does not say it, or the processes of a machine cannot have a GPU each.
    """
    if processes == 1:
        return LightningEnvironment(), 1
    of_srun = _by_srun()
    local = int(os.environ.get("SLURM_NTASKS_PER_NODE" if of_srun else "LOCAL_WORLD_SIZE") or "0")
    if of_srun and (not local or processes % local):
        raise InputError(
            f"srun started {processes} processes, and not equally many on each node: say --ntasks-per-node, such as "
            f"--nodes=1 --ntasks-per-node={processes}"
        )
    local = local or 1
    if device == "cuda" and local > torch.cuda.device_count():
        raise InputError(
            f"{local} processes on this machine, each of which sees {torch.cuda.device_count()} GPUs: start one for "
            "each GPU, and let all see all of them (of SLURM --gpus-per-node, not --gpus-per-task)"
        )
    return SLURMEnvironment(auto_requeue=False) if of_srun else None, local


def fabric(machine: Machine, precision: Precision) -> Fabric:
    """The engine for this machine: one process, or this one's share of those that torchrun or SLURM started.

    Raises InputError for float16 on a processor, which has no such products, and as `_launcher` does.
    """
    if machine.device == "cpu":
        if precision == "fp16":
            raise InputError("precision='fp16' needs an accelerator: on a processor allowed are float32 and bf16")
        keep_freed_memory()
    environment, local = _launcher(machine.processes, machine.device)
    strategy: str | Strategy = "auto"
    if machine.processes > 1:
        # Running statistics and memories are equal on all processes by construction, so buffers need no broadcast.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")  # its successor is too new
        strategy = DDPStrategy(broadcast_buffers=False)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it says, the resolved choices say too
    made = Fabric(
        accelerator=machine.device,
        devices=local,
        num_nodes=machine.processes // local,
        strategy=strategy,
        plugins=environment,
        precision=FABRIC_PRECISION[precision],
    )
    made.launch()
    if machine.processes > 1:
        atexit.register(leave)
    return made
