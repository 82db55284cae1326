"""Other processes, forked from one that has imported torch already: an import costs seconds, a fork milliseconds."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = 600
"""Seconds after which processes that hang are ended: every method in two processes takes minutes on a busy machine."""


def forks() -> ForkServerContext:
    """Where processes come from: one server a test session, which only imports and never computes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["likewise.verbs.learning.train", "torch.distributed", "pytest"])
    return context


def in_two(function: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What `function(rank, *arguments)` returns in each of two gloo processes, which meet in the empty `folder`.

    Fails with the traceback of a process that fails.
    """
    processes = [
        forks().Process(target=_one_of_two, args=(function, folder, rank, arguments), daemon=True) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
        process.kill()  # which does nothing to one that has ended
    said = [path.read_text() for path in sorted(folder.glob("failed-*"))]
    assert not said, "\n".join(said)
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _one_of_two(function: Callable[..., Any], folder: Path, rank: int, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=2)
        torch.save(function(rank, *arguments), folder / f"{rank}.pt")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"failed-{rank}").write_text(traceback.format_exc())
        raise
