"""SwAV: codes, loss and gradients without and with the queue, and the method's own order of prototypes and queues."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adapters import Vectors, same
from likewise.encoders import EncoderSpec, build, heads
from likewise.memory import Queue
from likewise.methods.method import Batch, Facts, Progress
from likewise.methods.swav import SwAV, codes
from likewise.similarity import similarities, unit
from likewise.similarity.prototypes.across_views import across_views
from likewise.similarity.prototypes.assign import sinkhorn
from likewise.views.view import View


def prototypes(v: Vectors) -> heads.Prototypes:
    raw = v["prototypes_raw"]
    made = heads.Prototypes(raw.shape[1], len(raw)).double()
    made.load_state_dict({"weight": raw})
    made.normalise()
    return made


def how(v: Vectors) -> dict[str, float | int]:
    return {"epsilon": v.number("epsilon"), "iterations": int(v.number("sinkhorn_iterations"))}


def order(v: Vectors) -> list[int]:
    """The views with those that make codes first, as the library has them."""
    coding = v["crops_for_assign"].tolist()
    return coding + [i for i in range(int(v.number("nmb_views"))) if i not in coding]


def loss_of(v: Vectors, *, queue: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient of the raw embeddings, gradient of the unit prototypes."""
    z_raw, layer, views = v.leaf("embedding_raw"), prototypes(v), order(v)
    scores = similarities(unit(z_raw.flatten(0, 1)), layer.weight).unflatten(0, z_raw.shape[:2])[views]
    coding = len(v["crops_for_assign"])
    queued = [similarities(rows, layer.weight) if queue else scores[0][:0] for rows in v["queue"]]
    targets = torch.stack([codes(scores[i].detach(), queued[i].detach(), **how(v)) for i in range(coding)])  # type: ignore[arg-type]
    loss = across_views(scores, targets, v.number("temperature"))
    loss.backward()
    assert z_raw.grad is not None
    assert layer.weight.grad is not None
    return loss, z_raw.grad, layer.weight.grad


def check_prototypes(v: Vectors) -> None:
    same(prototypes(v).weight, v["prototypes_normalised"])


def check_codes(v: Vectors) -> None:
    layer, first = prototypes(v), v["crops_for_assign"][0]
    scores = layer(unit(v["embedding_raw"][first]))
    same(scores, v["scores"])
    same(sinkhorn(v["scores"], **how(v)), v["assignment"])  # type: ignore[arg-type]
    queued = layer(v["queue"][0])
    same(codes(v["scores"], queued, **how(v)), v["assignment_with_queue"])  # type: ignore[arg-type]


def check_loss(v: Vectors) -> None:
    loss, grad_embedding, grad_prototypes = loss_of(v, queue=False)
    same(loss, v["loss"])
    same(grad_embedding, v["grad_embedding_raw"])
    same(grad_prototypes, v["grad_prototypes"])


def check_loss_with_queue(v: Vectors) -> None:
    loss, grad_embedding, grad_prototypes = loss_of(v, queue=True)
    same(loss, v["loss_with_queue"])
    same(grad_embedding, v["grad_embedding_raw_with_queue"])
    same(grad_prototypes, v["grad_prototypes_with_queue"])


class Given(nn.Module):
    """Instead of a network: embeddings that are given, as parameters."""

    def __init__(self, embedding_VBD: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embedding_VBD)

    def forward(self, crops: list[Tensor]) -> Tensor:
        assert len(crops) == len(self.embedding)
        return self.embedding


def check_step(v: Vectors) -> None:
    """The method itself: unit prototypes first, codes with the queue as it was, then the new rows enter it."""
    embedding, queue, views = v["embedding_raw"][order(v)], v["queue"], order(v)
    encoder = build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=16))
    settings = SwAV.Settings(
        prototypes=len(v["prototypes_raw"]),
        embedding=embedding.shape[2],
        temperature=v.number("temperature"),
        small_crops=len(views) - 2,
        queue_size=queue.shape[1],
        queue_from=0.0,
        **how(v),  # type: ignore[arg-type]
    )
    method = SwAV(encoder, settings, Facts(images=100, batch_size=embedding.shape[1], image_size=16)).double()
    method.network = Given(embedding)  # type: ignore[assignment]
    method.prototypes.load_state_dict({"weight": v["prototypes_raw"]})
    for own, rows in zip(method.queues, queue, strict=True):
        assert isinstance(own, Queue)
        own.rows.copy_(rows)  # newest first, so that the oldest, which are overwritten next, stand at the end
        own.position.fill_(len(rows) - embedding.shape[1])
        own.filled.fill_(len(rows))
    method.before_step(Progress(0, 0.0, 0))
    image = torch.zeros(embedding.shape[1], 3, 16, 16)
    terms = method({role: View(image) for role in method.views}, Batch(torch.arange(embedding.shape[1])))
    terms.loss.backward()
    same(terms.loss, v["loss_with_queue"])
    same(method.network.embedding.grad, v["grad_embedding_raw_with_queue"][views])  # type: ignore[arg-type]
    same(method.prototypes.weight.grad, v["grad_prototypes_with_queue"])  # type: ignore[arg-type]
    for own, after in zip(method.queues, v["queue_after"], strict=True):
        same(own.rows.roll(embedding.shape[1], 0), after)  # type: ignore[operator]
