"""NNCLR: friends, both directions and gradients, by the method's own step; and what enters the queue after it."""

from __future__ import annotations

import torch
from torch import nn

from adapters import Vectors, same
from likewise.methods.method import Batch, Facts
from likewise.methods.nnclr import NNCLR, friend_contrast
from likewise.similarity import unit
from likewise.views import View


def check_one_way(v: Vectors) -> None:
    prediction = v["prediction_2"]
    found = friend_contrast(v["projection_1"], prediction, v["support"], v.number("temperature"))
    assert found.rows.equal(v["neighbor_1"])
    same(found.loss, v["loss_one_way"])


def check_both_ways(v: Vectors) -> None:
    first, second = v.leaf("prediction_1"), v.leaf("prediction_2")
    forth = friend_contrast(v["projection_1"], second, v["support"], v.number("temperature"))
    back = friend_contrast(v["projection_2"], first, v["support"], v.number("temperature"))
    assert back.rows.equal(v["neighbor_2"])
    loss = (forth.loss + back.loss) / 2
    loss.backward()
    same(loss, v["loss"])
    assert first.grad is not None
    assert second.grad is not None
    same(first.grad, v["grad_prediction_1"])
    same(second.grad, v["grad_prediction_2"])


class Given(nn.Module):
    """A head that answers with what was prepared for each projection, so that the step runs on given vectors."""

    def __init__(self, answers: dict[float, torch.Tensor]) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answers[x.sum().item()]


def check_step(v: Vectors) -> None:
    """Search before the queue is written; only view 1 enters, normalised."""
    z_BD, other_BD = v["projection_1"], v["projection_2"]
    size, dim = v["support"].shape
    encoder = nn.Identity()
    encoder.features = dim  # type: ignore[assignment]
    settings = NNCLR.Settings(queue_size=size, temperature=v.number("temperature"), embedding=dim)
    method = NNCLR(encoder, settings, Facts(images=size, batch_size=len(z_BD), image_size=1))  # type: ignore[arg-type]
    method.double()
    method.network = nn.Sequential(nn.Identity())
    method.predictor = Given({z_BD.sum().item(): v["prediction_1"], other_BD.sum().item(): v["prediction_2"]})  # type: ignore[assignment]
    method.queue.rows.copy_(v["support"])
    terms = method.step({"first": View(z_BD), "second": View(other_BD)}, Batch(torch.arange(len(z_BD))))
    same(terms.loss, v["loss"])
    expected = v["support"]
    for row, vector in enumerate(unit(z_BD)):
        expected[row % size] = vector
    same(method.queue.rows, expected)
