"""Semi-supervised scores on frozen features: the linear probe of a few of the labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data.splitting.subsets import per_class, share_of
from likewise.evaluation.probes import linear
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score


def draws(labels: NDArray[np.int64], settings: ProbeSettings, seed: int) -> list[tuple[str, str, NDArray[np.int64]]]:
    """What is learned from: for each draw its name, its description, and the positions of its pictures."""
    if settings.labels_per_class:
        return [
            (f"{k} labels per class", f"{k} pictures of each class (seed {seed})", per_class(labels, k, seed))
            for k in settings.labels_per_class
        ]
    return [
        (f"{100 * share:g}% of the labels", f"a stratified {100 * share:g} % of the bank (seed {seed})", rows)
        for share in settings.label_shares
        for rows in [share_of(labels, share, seed)]
    ]


def label_scores(features: Features, settings: ProbeSettings) -> list[Score]:
    """The linear probe of each draw."""
    scores = []
    for name, described, rows in draws(features.bank_labels_N.cpu().numpy(), settings, features.seed):
        index = torch.from_numpy(rows).to(features.bank_NF.device)
        probe = linear.fit(features.bank_NF[index], features.bank_labels_N[index], seed=features.seed)
        words = f"linear probe of {described}, {len(rows):,} labels, {linear.settings_text(probe, features.seed)}"
        scores.append(features.score("labels", None, probe.predict(features.query_QF), words, variant=name))
    return scores
