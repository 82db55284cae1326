"""Notes on the train and query images of an evaluation: copies, classes of one image or of none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from likewise.data import Images
from likewise.data.decoding.pixels import Range
from likewise.data.describing import class_counts, labels_in_words, values_in_words

_NAMED = 5


def remarks(bank: Images, query: Images, ranges: Mapping[str, Range] | None, *, needs_labels: bool) -> list[str]:
    """Notes on train and query images; those on the classes last."""
    notes = [*_shown(bank, ranges), *_copies(bank, query), *_strangers(bank, query), *_singles(bank)]
    return [*notes, f"labels: {labels_in_words(class_counts(bank))} in the bank"] if needs_labels else notes


def _singles(bank: Images) -> list[str]:
    """A note where the bank has classes of one image: what is said of them says little."""
    assert bank.labels is not None
    counts = np.bincount(bank.labels)
    alone = np.flatnonzero(counts == 1)
    if not len(alone):
        return []
    names = [bank.class_names[value] if bank.class_names else str(value) for value in alone[:_NAMED]]
    more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
    return [f"classes {', '.join(names)}{more} have one image in the bank: probes know next to nothing of them"]


def _shown(bank: Images, trained: Mapping[str, Range] | None) -> list[str]:
    """Notes on what became black and white in images of other numbers than 0 to 255."""
    notes = values_in_words(bank.ranges)
    others = [] if trained is None else [kind for kind, span in bank.ranges.items() if trained.get(kind) != span]
    if trained is not None and others:
        result = ", ".join(f"{trained[kind].low:g} to {trained[kind].high:g}" for kind in others if kind in trained)
        notes.append(f"the encoder was trained with other values ({result or '0 to 255'}), which do not suit these")
    return notes


def _copies(bank: Images, query: Images) -> list[str]:
    """A note where queries are in the bank as well: they find themselves."""
    count = int(np.isin(query.digests, bank.digests).sum())
    return [f"{count:,} of {len(query):,} queries have an exact copy in the bank"] if count else []


def _strangers(bank: Images, query: Images) -> list[str]:
    """A note where queries have classes that the bank lacks: they can only be wrong."""
    assert bank.labels is not None
    assert query.labels is not None
    missing = np.setdiff1d(query.labels, bank.labels)
    if not len(missing):
        return []
    names = [query.class_names[value] if query.class_names else str(value) for value in missing[:_NAMED]]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    lost = int(np.isin(query.labels, missing).sum())
    result = (
        f"classes {', '.join(names)}{more} are not in the bank, so their {lost:,} images count as wrong: "
        "give a bank that has them"
    )
    return [result]
