"""Contrast inside a batch against the sums as one would first write them, in one process and in two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from likewise.distributed import gather, gather_with_gradient, positions
from likewise.similarity import contrast_in_batch, nt_xent, own_columns
from tests.processes import in_two

SHAPES = [(1, 3), (2, 5), (7, 16), (12, 4)]


def pair(batch: int, dim: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(batch)
    first, second = torch.randn(2, batch, dim, dtype=torch.float64)
    return first.requires_grad_(True), second.requires_grad_(True)


def plain_contrast(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """The mean over queries, one sum at a time."""
    losses = []
    for i in range(len(query)):
        scores = [functional.cosine_similarity(query[i], key[j], dim=0) / temperature for j in range(len(key))]
        losses.append(-(scores[i].exp() / sum(score.exp() for score in scores)).log())
    return torch.stack(losses).mean()


def plain_nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Equation 1 of SimCLR over the 2N views, with view i and view i + N of the same image."""
    views, count = torch.cat([first, second]), len(first)
    losses = []
    for i in range(2 * count):
        total = torch.zeros((), dtype=views.dtype)
        for j in range(2 * count):
            if j != i:
                total = total + (functional.cosine_similarity(views[i], views[j], dim=0) / temperature).exp()
        other = (i + count) % (2 * count)
        match = (functional.cosine_similarity(views[i], views[other], dim=0) / temperature).exp()
        losses.append(-(match / total).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize(("loss", "plain"), [(contrast_in_batch, plain_contrast), (nt_xent, plain_nt_xent)])
def test_the_loss_and_both_gradients_are_those_of_the_double_loop(
    shape: tuple[int, int], temperature: float, loss: Any, plain: Any
) -> None:
    first, second = pair(*shape)
    expected = plain(first, second, temperature)
    wanted = torch.autograd.grad(expected, (first, second))
    found = loss(first, second, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(found, (first, second)), wanted, rtol=1e-9, atol=1e-12)


def test_scale_of_the_vectors_does_not_matter() -> None:
    first, second = pair(6, 8)
    torch.testing.assert_close(nt_xent(first * 3, second / 7, 0.2), nt_xent(first, second, 0.2))


def test_a_row_is_masked_against_itself() -> None:
    assert own_columns(torch.zeros(3, 2), 3).equal(torch.eye(3, dtype=torch.bool))


def share(loss: Any, first: Tensor, second: Tensor, rank: int, world: int) -> dict[str, Tensor]:
    """The loss of one process's rows, and the gradients of these rows."""
    a, b = (x.detach()[rank::world].clone().requires_grad_(True) for x in (first, second))
    value = loss(a, b, 0.2)
    value.backward()
    return {"loss": value.detach(), "first": a.grad, "second": b.grad}  # type: ignore[dict-item]


def one_of_two(rank: int) -> dict[str, Any]:
    first, second = pair(6, 4)
    mine = first.detach()[rank::2]
    facts = {
        "gathered": gather(mine).equal(first.detach()) and gather_with_gradient(mine).equal(first.detach()),
        "positions": positions(mine).tolist() == list(range(rank, 6, 2)),
    }
    losses = {name: share(loss, first, second, rank, 2) for name, loss in LOSSES.items()}
    return {"facts": facts, **losses}


LOSSES = {"contrast": contrast_in_batch, "nt_xent": nt_xent}


def test_two_processes_give_the_loss_and_the_gradients_of_one(tmp_path: Path) -> None:
    found = in_two(one_of_two, tmp_path)
    assert all(value for each in found for value in each["facts"].values())
    first, second = pair(6, 4)
    for name, loss in LOSSES.items():
        whole = share(loss, first, second, 0, 1)
        torch.testing.assert_close(sum(each[name]["loss"] for each in found) / 2, whole["loss"])
        for rank, each in enumerate(found):
            for view in ("first", "second"):
                # The distributed wrapper halves what arrives at the parameters.
                torch.testing.assert_close(each[name][view] / 2, whole[view][rank::2])
