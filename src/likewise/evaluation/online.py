"""A light score for use while training goes on."""

from __future__ import annotations

import torch

from likewise.data import Images
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.evaluation import knn
from likewise.evaluation.features import Precision, extract


def online_knn(
    encoder: Encoder,
    bank: Images,
    query: Images,
    *,
    k: int = 20,
    device: torch.device | str | None = None,
    precision: Precision = "bf16",
) -> float:
    """Accuracy, 0 to 1, of the majority of the `k` nearest pictures of `bank` for each of `query`.

    Meant for fixed subsets of a few thousand labelled pictures, the same at every call, so that the values make a
    curve. In bfloat16 by default, so not the number that `evaluate` reports. The encoder is left in the mode it was in.
    Raises InputError where pictures have no labels.
    """
    if bank.labels is None or query.labels is None or (bank.labels < 0).any() or (query.labels < 0).any():
        raise InputError("a score while training needs pictures that all have labels: take subsets of labelled ones")
    bank_NF = extract(encoder, bank, device=device, precision=precision)
    query_QF = extract(encoder, query, device=device, precision=precision)
    found = knn.neighbours(query_QF, bank_NF, min(k, len(bank)))
    predicted_Q = knn.majority(found, torch.from_numpy(bank.labels), min(k, len(bank)))
    return knn.accuracy(predicted_Q, torch.from_numpy(query.labels))
