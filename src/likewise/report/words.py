"""The report's sentences: the headline, the verdict on health with the most likely cause, the next steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from likewise.report.facts import RunFacts
from likewise.report.numbers import count, minutes, percent, plain
from likewise.training.watching.health import LOW_RANK, LOW_SPREAD, ONE_HOT_ENTROPY, UNIFORM_ENTROPY

_ADVICE = {
    "spread": ("learning_rate", "momentum", "temperature", "batch_size"),
    "rank": ("temperature", "learning_rate", "batch_size"),
    "uniform": ("temperature_teacher", "temperature", "momentum"),
    "one-hot": ("temperature_teacher", "temperature"),
}
"""Symptom -> the settings most likely at fault, the likeliest first."""


@dataclass(frozen=True)
class Verdict:
    """Whether a run learned, and why one thinks so."""

    word: str
    """`healthy`, `at risk`, `collapsed`, or `unknown` before anything was measured."""
    title: str
    """The same for people."""
    sentence: str
    """What was seen, and which settings to look at first."""


def headline(facts: RunFacts) -> str:
    """One sentence: who learned what from how much, in which time."""
    data, method = facts.part("data"), str(facts.run.get("method", "This run")).upper().replace("_", " ")
    images = f"{count(data['images'])} images" if isinstance(data.get("images"), int | float) else "images"
    of = f" of {data['name']}" if data.get("name") else ""
    took = f" in {minutes(facts.minutes)}" if facts.minutes else ""
    if facts.run.get("classifier"):
        name, classes = facts.part("encoder").get("name", "An encoder"), len(facts.part("classifier")["class_names"])
        return f"{name} learned {count(classes)} classes from {images}{of}{took}, with labels."
    if facts.run.get("status") == "running":
        return f"{method} is learning from {images}{of}, without labels: {minutes(facts.minutes)} so far."
    return f"{method} learned from {images}{of}{took}, without labels."


def verdict(facts: RunFacts) -> Verdict:
    """The newest verdict on health, in words, with its evidence."""
    word = facts.last("health")
    reason = facts.run.get("reason") or facts.last("health_reason")
    if facts.run.get("status") == "stopped" and word not in {"collapsed", "at risk"}:
        return Verdict("collapsed", "Stopped by itself", f"{reason or 'the reason was not written down'}.")
    if word not in {"healthy", "at risk", "collapsed"}:
        return Verdict("unknown", "Not known yet", "Nothing was measured so far.")
    seen = _evidence(facts)
    if word == "healthy":
        return Verdict(word, "Healthy", seen or "Nothing speaks against it.")
    title = "At risk" if word == "at risk" else "Collapsed"
    if reason:
        return Verdict(word, title, f"{_capital(str(reason))}.")
    symptom, words = _symptom(facts)
    suspects = _suspects(facts, symptom)
    return Verdict(word, title, f"{words} Look first at {suspects}." if suspects else words)


def _evidence(facts: RunFacts) -> str:
    """What speaks for a healthy run."""
    spread, rank, purity = facts.recent("spread"), facts.recent("effective_rank"), facts.recent("purity")
    found = []
    if spread is not None:
        found.append(f"Different images get different embeddings (spread {spread:.2f}, where 1 is best and 0 collapse)")
    if rank is not None:
        found.append(f"they use about {rank:.0f} directions")
    if purity is not None:
        found.append(f"{percent(purity, 0)} of an image's neighbours in the memory share its class")
    if len(found) > 1:
        return f"{', '.join(found[:-1])}, and {found[-1]}."
    return f"{_capital(found[0])}." if found else ""


def _symptom(facts: RunFacts) -> tuple[str, str]:
    """What is wrong with the newest numbers: a key of `_ADVICE`, and words."""
    spread, rank, entropy = facts.recent("spread"), facts.recent("effective_rank"), facts.recent("teacher_entropy")
    if spread is not None and spread < LOW_SPREAD:
        return "spread", f"Different images get almost the same embedding (spread {spread:.3f}, where 1 is best)."
    if rank is not None and rank < LOW_RANK:
        return "rank", f"The embeddings use hardly more than one direction (effective rank {rank:.1f})."
    most = math.log(facts.queue) if facts.queue else math.inf
    if entropy is not None and entropy > UNIFORM_ENTROPY * most:
        words = f"The teacher finds everything equally similar (entropy {entropy:.2f} of at most {most:.2f})."
        return "uniform", words
    if entropy is not None and entropy < ONE_HOT_ENTROPY:
        return "one-hot", f"The teacher sees a single neighbour (entropy {entropy:.3f})."
    return "spread", "The numbers of the last check were out of bounds."


def _suspects(facts: RunFacts, symptom: str) -> str:
    """Settings most likely at fault, with their values."""
    known = {**facts.part("settings"), **facts.part("optimisation")}
    found = [
        f"{name} = {plain(value)}"
        for suspect in _ADVICE[symptom]
        for name, value in known.items()
        if suspect in name and isinstance(value, int | float)
    ]
    return ", ".join(list(dict.fromkeys(found))[:3])


def time_words(shares: dict[str, float]) -> str:
    """Shares of the time, and advice to make it faster."""
    model = shares["model"]
    largest = max(shares, key=lambda part: shares[part])
    if largest == "model":
        return f"{percent(model, 0)} of the time went into the model itself: the machine was kept busy."
    what = {
        "data": "waiting for images: a faster disk or more memory would help",
        "views": "making views: fewer or smaller views, or an accelerator, would help",
        "rest": "neither data, views nor model, but logging and checkpoints: write them less often",
    }
    return f"Most of the time, {percent(shares[largest], 0)}, went into {what[largest]}."


def status_words(run: dict[str, Any]) -> str:
    """`finished 31 Jan 2026`, with the day that belongs to the status."""
    status = str(run.get("status", "unknown"))
    try:
        when = datetime.fromisoformat(str(run.get("finished") or run.get("started")))
    except ValueError:
        return status
    return f"{status} {when.day}\u00a0{when:%b}\u00a0{when.year}"


def numbered(titles: Sequence[str]) -> list[str]:
    """The titles, of which those that are there several times get a number: `knn k=20 [1]`, `knn k=20 [2]`."""
    return [
        f"{title} [{titles[: place + 1].count(title)}]" if titles.count(title) > 1 else title
        for place, title in enumerate(titles)
    ]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def anchored_words(found: Mapping[str, Any]) -> str:
    """What an anchored run kept and gained, in a sentence."""
    recall = found["recall"]
    result = (
        f"vectors stored before: cosine {found['cosine']:.3f}, {_share(recall)} of their 10 nearest found by new "
        f"queries ({found['images']:,} images)"
    )
    if "gain" not in found:
        return result
    gain = found["gain"]
    return (
        f"{result}; by class (recall@1) old among old {_share(found['old'])}, new among old {_share(found['across'])}, "
        f"new among new {_share(found['new'])}: gain {100 * gain['mean']:+.1f} points ({100 * gain['low']:+.1f} to "
        f"{100 * gain['high']:+.1f})"
    )


def _share(interval: Mapping[str, float]) -> str:
    return f"{100 * interval['mean']:.1f} %"
