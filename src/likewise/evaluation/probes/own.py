"""The probe `own`: the classifier that a run's method trained, on the query images.

Shapes: Q images, C classes of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data import Images
from likewise.encoders.embedding import rows, view_of
from likewise.errors import InputError
from likewise.evaluation.probes.protocol import Features
from likewise.evaluation.scores import Score
from likewise.methods.method import Method
from likewise.methods.whole import restore
from likewise.runs import RunDirectory


class Classifying(nn.Module):
    """A method as a network from images to logits."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        """(B, C) logits of (B, 3, S, S)."""
        return self.method.logits(image)


def logits_of(run: RunDirectory, images: Images) -> Tensor:
    """(Q, C) what the classifier of a run makes of the centre of each image.

    Raises InputError where the run's method has none, or the run does not hold its method.
    """
    method = restore(run)
    if type(method).logits is Method.logits:
        raise InputError(f"{run.path} has no classifier of its own: its method trains none; the probe linear fits one")
    encoder = method.encoders()[method.card.deploy]
    network = Classifying(method)
    positions = np.arange(len(images))
    found = [rows_BC for _, rows_BC in rows(network, images, positions, view_of(encoder.spec))]  # type: ignore[arg-type]
    return torch.cat(found)


def own_scores(run: RunDirectory | None, images: Images, features: Features) -> list[Score]:
    """Accuracy of the run's own classifier on the queries. Raises InputError as `logits_of`, and without a run."""
    if run is None:
        raise InputError("the probe own scores the classifier that a run trained: name a run directory")
    logits_QC = logits_of(run, images)
    names = run.read().get("data", {}).get("class_names")
    predicted_Q = renumbered(logits_QC.argmax(1).cpu(), names, features.class_names)
    return [features.score("own", None, predicted_Q, "the classifier that the method trained, eval mode")]


def renumbered(predicted_Q: Tensor, names: Sequence[str] | None, wanted: Sequence[str] | None) -> Tensor:
    """Classes by the numbers of the data that is scored; -1 where it has no class of the name, which is wrong."""
    if not names or not wanted or list(names) == list(wanted):
        return predicted_Q
    number = {name: position for position, name in enumerate(wanted)}
    table_C = torch.tensor([number.get(name, -1) for name in names])
    return table_C[predicted_Q]
