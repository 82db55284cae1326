"""Assignments: official numbers, the laws they obey, and several processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from likewise.errors import InputError
from likewise.similarity.prototypes.assign import mira, sinkhorn

VECTORS = Path(__file__).parents[1] / "golden" / "vectors"


def vectors(name: str) -> dict[str, Tensor]:
    with np.load(VECTORS / f"{name}.npz") as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


def scores(rows: int, prototypes: int, seed: int = 0) -> Tensor:
    """Cosines, as methods have them."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows + prototypes, 16, dtype=torch.float64, generator=generator)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    return unit[:rows] @ unit[rows:].T


def test_official_sinkhorn() -> None:
    v = vectors("swav")
    how = {"epsilon": float(v["epsilon"]), "iterations": int(v["sinkhorn_iterations"])}
    torch.testing.assert_close(sinkhorn(v["scores"], **how), v["assignment"], rtol=0, atol=1e-9)
    queued = torch.cat([v["queue"][0] @ v["prototypes_normalised"].T, v["scores"]])
    found = sinkhorn(queued, **how)[-len(v["scores"]) :]
    torch.testing.assert_close(found, v["assignment_with_queue"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_official_mira(case: int) -> None:
    v = vectors("mira")
    how = {"temperature": float(v["tau_teacher"]), "beta": float(v[f"beta_{case}"])}
    for crop in range(2):
        found = mira(v[f"teacher_scores_{crop}"], iterations=int(v["iterations"]), **how)
        torch.testing.assert_close(found, v[f"target_b{case}_{crop}"], rtol=0, atol=1e-8)
    found = mira(v["teacher_scores_0"], iterations=3000, **how)
    torch.testing.assert_close(found, v[f"converged_b{case}_0"], rtol=0, atol=1e-8)


def plainly(scores_BK: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Sinkhorn as it is written in the paper."""
    q = (scores_BK / epsilon).exp()
    for _ in range(iterations):
        q = q / q.sum(0, keepdim=True)
        q = q / q.sum(1, keepdim=True)
    return q / q.sum(1, keepdim=True)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), prototypes=st.integers(1, 20), iterations=st.integers(0, 5), seed=st.integers(0, 9))
def test_sinkhorn_is_the_plain_algorithm(rows: int, prototypes: int, iterations: int, seed: int) -> None:
    given_scores = scores(rows, prototypes, seed)
    found = sinkhorn(given_scores, epsilon=0.05, iterations=iterations)
    torch.testing.assert_close(found, plainly(given_scores, 0.05, iterations))
    torch.testing.assert_close(found.sum(1), torch.ones(rows, dtype=torch.float64))


def test_sinkhorn_balances_prototypes_where_softmax_does_not() -> None:
    crowded = scores(200, 10)
    crowded[:, 0] += 1
    assert (crowded / 0.05).softmax(1).sum(0)[0] > 190
    shares = sinkhorn(crowded, iterations=50).sum(0)
    torch.testing.assert_close(shares, torch.full_like(shares, 20.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("epsilon", [0.05, 1e-4])
def test_sharp_and_coarse_scores_stay_finite(dtype: torch.dtype, epsilon: float) -> None:
    coarse = scores(50, 20).to(dtype)
    coarse[:, 3] = -1  # a prototype that every row is far from
    coarse[7] = -1  # a row that is far from every prototype
    for found in (sinkhorn(coarse, epsilon=epsilon), mira(coarse, temperature=epsilon, beta=0.75)):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.sum(1), torch.ones(50))


@pytest.mark.parametrize("beta", [0.5, 2 / 3, 0.75])
def test_mira_is_stationary_and_its_error_shrinks_by_beta(beta: float) -> None:
    given_scores = scores(60, 12)
    end = mira(given_scores, beta=beta, iterations=500)
    p = (given_scores / 0.225).softmax(1)
    stationary = p ** (1 / (1 - beta)) * end.mean(0) ** (-beta / (1 - beta))
    torch.testing.assert_close(stationary / stationary.sum(1, keepdim=True), end)
    errors = [float((mira(given_scores, beta=beta, iterations=n) - end).norm()) for n in (5, 15)]
    assert errors[1] < errors[0] * (beta + 0.05) ** 10


def objective(w: Tensor, p: Tensor, beta: float) -> float:
    mean = w.mean(0)
    information = -(mean * mean.log()).sum() + (w * w.log()).sum(1).mean()
    return float((w * (w / p).log()).sum(1).mean() - beta * information)


def test_mira_minimises_its_objective() -> None:
    given_scores, beta = scores(30, 8), 2 / 3
    p = (given_scores / 0.225).softmax(1)
    best = mira(given_scores, beta=beta, iterations=300)
    lowest = objective(best, p, beta)
    for seed in range(20):
        noise = torch.randn(30, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        other = (best.log() + 0.05 * noise).softmax(1)
        assert objective(other, p, beta) > lowest


def test_mira_without_information_is_softmax() -> None:
    torch.testing.assert_close(mira(scores(9, 5), beta=0.0), (scores(9, 5) / 0.225).softmax(1))


class Meeting:
    """Gathers rows between threads, as `likewise.distributed.gather` does between processes."""

    def __init__(self, members: int) -> None:
        self.rows: list[Tensor] = [torch.empty(0)] * members
        self.barrier = threading.Barrier(members, timeout=60)

    def gather(self, rank: int, row: Tensor) -> Tensor:
        self.rows[rank] = row
        self.barrier.wait()
        together = torch.cat(self.rows)
        self.barrier.wait()
        return together


@pytest.mark.parametrize("assign", [sinkhorn, mira])
@pytest.mark.parametrize("shares", [(6, 6), (9, 3)])
def test_several_processes_assign_as_one(assign: Callable[..., Tensor], shares: tuple[int, int]) -> None:
    everything = scores(12, 5)
    meeting = Meeting(2)
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(
            lambda rank, rows: assign(rows, gather=partial(meeting.gather, rank)), range(2), everything.split(shares)
        )
        together = torch.cat(list(parts))
    torch.testing.assert_close(together, assign(everything))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: sinkhorn(s, epsilon=0), "epsilon above 0, not 0"),
        (lambda s: mira(s, temperature=-1), "temperature above 0, not -1"),
        (lambda s: mira(s, beta=1), "beta from 0 to below 1, not 1"),
    ],
)
def test_impossible_settings_are_refused(call: Callable[[Tensor], Tensor], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(scores(3, 2))
