"""Pseudo-labels in `cmsf_semi`: a classifier on the teacher's vectors, trained on a memory of labelled ones.

Shapes: B images, D dimensions, C classes, R rows of the memory.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from likewise.encoders import heads
from likewise.memory import LABEL, Queue

HeadKind = Literal["linear", "mlp", "mlp3"]
_BATCH = 256


class Told(NamedTuple):
    """The labeller's predictions for a batch."""

    labels: Tensor
    """(B,) true labels where they are known, guesses where the classifier is sure enough, else -1."""
    probability: Tensor
    """(B,) the classifier's probability of its likeliest class."""
    known: Tensor
    """(B,) bool, whether the label is a true one."""


class Labeller(nn.Module):
    """Classifier, memory of labelled vectors, and which labels may be used.

    The classifier is no business of the main optimiser: its weights take no gradient there, or weight decay and
    momentum would move them between its own trainings. It always looks in eval mode, except while it is taught.
    """

    usable: Tensor
    overflow: Tensor
    stage: Tensor
    whole_batch = True
    """Taught by the same rows in all processes: its batch norms must not pool statistics (`norms.convert`)."""

    def __init__(
        self,
        images: int,
        dim: int,
        classes: int,
        *,
        head: HeadKind,
        confidence: float,
        bank_size: int,
        share: float,
    ) -> None:
        super().__init__()
        hidden = {"linear": 0, "mlp": 1, "mlp3": 2}[head]
        self.head = heads.mlp([dim, *[2 * dim] * hidden, classes]).requires_grad_(False)
        self.confidence = confidence
        self.bank = Queue(bank_size, dim, columns={"label": LABEL}, end="slide")
        # Every image's place in a random order, so that a smaller share is a part of a larger one.
        self.register_buffer("usable", torch.randperm(images) < round(share * images))
        self.register_buffer("overflow", torch.zeros((), dtype=torch.int64))
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.train()

    def train(self, mode: bool = True) -> Labeller:
        """Keep the classifier in eval mode."""
        self.training = mode
        self.head.eval()
        return self

    @torch.no_grad()
    def forward(self, teacher_BD: Tensor, labels_B: Tensor, index_B: Tensor) -> Told:
        """Labels for the unit teacher vectors of the images `index_B`; true ones count where they may be used."""
        probability_B, guess_B = self.head(teacher_BD).softmax(1).max(1)
        known_B = self.usable[index_B] & (labels_B >= 0)
        believed_B = guess_B.masked_fill(probability_B < self.confidence, -1)
        return Told(torch.where(known_B, labels_B, believed_B), probability_B, known_B)

    @torch.no_grad()
    def remember(self, teacher_BD: Tensor, labels_B: Tensor, chosen_B: Tensor) -> None:
        """Put the chosen vectors into the memory; those that reach past its end replace its last rows."""
        rows = int(chosen_B.sum())
        self.overflow.logical_or_(self.bank.position + rows > self.bank.size)
        self.bank.push(teacher_BD[chosen_B], label=labels_B[chosen_B])

    def begin(self, step: int, steps_per_epoch: int, times: int, *, epochs: int, empty_as_class: bool) -> None:
        """Called before each step: teaches the classifier `times` an epoch, and starts the memory anew with each.

        What was written in earlier epochs stays until it is overwritten.
        """
        stage = times * step // steps_per_epoch
        before = int(self.stage)
        if stage <= before:
            return
        self.stage.fill_(stage)
        labels_R = self.bank.column("label")
        rows_RD = self.bank.rows
        if empty_as_class:
            labels_R = labels_R.clamp_min(0)
        else:
            rows_RD, labels_R = rows_RD[labels_R >= 0], labels_R[labels_R >= 0]
        self.teach(rows_RD, labels_R, epochs, seed=stage)
        if stage // times > before // times:
            self.bank.position.zero_()
            self.overflow.zero_()

    @torch.enable_grad()
    def teach(self, rows_RD: Tensor, labels_R: Tensor, epochs: int, *, seed: int) -> None:
        """Cross-entropy on fixed vectors by a fresh optimiser, at a constant rate: the published drops come too late.

        The order follows from `seed` alone, so all processes teach the same.
        """
        generator = torch.Generator().manual_seed(seed)
        self.head.train().requires_grad_(True)
        optimiser = torch.optim.SGD(self.head.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        for _ in range(epochs):
            order_R = torch.randperm(len(rows_RD), generator=generator).to(rows_RD.device)
            for part in torch.split(order_R, _BATCH):
                if len(part) < 2:  # no statistics of a single row
                    continue
                optimiser.zero_grad()
                functional.cross_entropy(self.head(rows_RD[part]), labels_R[part]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        optimiser.zero_grad()
        self.head.eval().requires_grad_(False)
