"""The report's sections below its images: scores, curves, time, data, settings, commands."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from likewise.commands import following, repeated
from likewise.data import Images
from likewise.data.source import files_in_words
from likewise.evaluation.gain import BASELINES
from likewise.evaluation.scores import rule_of
from likewise.files import same_place
from likewise.report.facts import RunFacts, interval_words
from likewise.report.markup import command, details, section, table, tag, text
from likewise.report.numbers import count, minutes, percent, plain, short
from likewise.report.plots import charts
from likewise.report.words import anchored_words, headline, numbered, status_words, time_words, verdict

BARS = 24
"""Classes that are shown by name; more are shown as a profile."""
BROKEN_SHOWN = 200


def masthead(facts: RunFacts) -> str:
    """The run's method, encoder, data and gain."""
    gain = facts.gain
    numbers = ""
    if gain is not None:
        before = (
            tag("span", percent(gain.before), class_="before") + tag("span", "\u2192", class_="arrow")
            if (gain.before is not None)
            else ""
        )
        numbers = tag(
            "div",
            tag("p", before, tag("strong", percent(gain.after)), class_=f"gain {gain.outcome}"),
            tag(
                "p",
                text(gain.what + (", before and after training" if gain.before is not None else "")),
                class_="small",
            ),
            tag("p", text(gain.change), class_=f"change {gain.outcome}") if gain.change else "",
            class_="figure",
        )
    elif facts.images_seen:
        numbers = tag(
            "div",
            tag("p", tag("strong", count(facts.images_seen)), class_="gain"),
            tag("p", "images seen", class_="small"),
            class_="figure",
        )
    title = tag("div", tag("h1", text(facts.path.name)), tag("p", text(headline(facts)), class_="headline"))
    return tag("header", tag("div", title, numbers, class_="hero"), _facts_list(facts))


def _facts_list(facts: RunFacts) -> str:
    encoder, data = facts.part("encoder"), facts.part("data")
    name = str(encoder.get("name", "-"))
    width = f", width {encoder['width']}" if encoder.get("width", 64) != 64 else ""
    size = encoder.get("image_size") or data.get("image_size")
    speed = facts.images_per_second
    word = verdict(facts)
    entries = [
        ("method", f"{facts.run.get('method', '-')}{f', {v}' if (v := facts.run.get('variant')) else ''}"),
        ("encoder", f"{name}{width}{f', {size} px' if size else ''}"),
        ("data", f"{data.get('name', '-')}{f', {count(n)} images' if (n := data.get('images')) else ''}"),
        ("time", f"{minutes(facts.minutes)} on {facts.run.get('device', '-')}" if facts.minutes else "-"),
        ("speed", f"{count(speed)} images/s" if speed else "-"),
        ("status", status_words(facts.run)),
    ]
    cells = [tag("div", tag("dt", text(key)), tag("dd", text(value))) for key, value in entries]
    health = tag("i", class_=f"lamp {word.word.replace(' ', '-')}") + text(word.title)
    cells.insert(5, tag("div", tag("dt", "health"), tag("dd", health)))
    return tag("dl", *cells, class_="facts")


def scores(facts: RunFacts) -> str:
    """Every score with its protocol, the untrained encoder beside it."""
    found = facts.scores
    if not found:
        return ""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for score in found:
        kind = (score.get("variant", ""), score.get("measure", "accuracy"))
        place = (score.get("data"), score.get("split"), rule_of(score["protocol"]))
        groups.setdefault((score.get("name"), score.get("k"), *kind, *place), {})[str(score.get("which"))] = score
    every = ("untrained", "random", "student", "teacher")
    roles = [role for role in every if any(role in group for group in groups.values())]
    several = len({key[4] for key in groups}) > 1
    titles = numbered([_probe(*key[:4]) + (f", {key[4]}" if several else "") for key in groups])
    rows = [_score_row(title, group, roles, facts) for title, group in zip(titles, groups.values(), strict=True)]
    marked = ", the untrained marked" if "untrained" in roles else ""
    changed = ["change, 95 % interval"] if "untrained" in roles else []
    head = ["probe", *(text(role) for role in roles), *changed, f"of all images{marked}", "on"]
    listing = "".join(
        tag("li", tag("b", text(title)), " ", text(next(iter(group.values()))["protocol"]))
        for title, group in zip(titles, groups.values(), strict=True)
    )
    notes = "".join(tag("p", text(note), class_="note") for note in facts.run.get("notes") or [])
    verdicts = "".join(tag("p", text(line), class_="note") for line in _verdicts(facts))
    how = details("How each score was got", tag("ul", listing, class_="protocols"))
    content = verdicts + table(head, rows, "scores") + notes + how
    lead = "The frozen encoder, judged by images whose labels it never learned from."
    if facts.run.get("classifier"):
        lead = "The encoder with its classifier, judged by images that neither learned from."
    return section("scores", "How good it is", lead, content)


def anchored(facts: RunFacts) -> str:
    """What a run that was held near its start, or an older encoder, kept of it, and gained; nothing of other runs."""
    found = facts.part("anchored")
    older, weight = facts.run.get("compatible_with"), plain(facts.run.get("anchor"))
    how = f"--compatible-with {older} (weight {weight})" if older else f"--anchor {weight}"
    title = "Comparable with an older encoder" if older else "Near where it started"
    lead = f"Trained with {how}, on images of the run."
    return section("anchored", title, lead, tag("p", text(anchored_words(found)))) if found else ""


def _verdicts(facts: RunFacts) -> list[str]:
    """Whether training helped, a sentence for each data set."""
    found = facts.part("verdicts")
    of = {data: f"On {data}: " if len(found) > 1 else "" for data in found}
    lines = [f"{of[data]}{sentence}." for data, sentence in found.items()]
    return [line[:1].upper() + line[1:] for line in lines]


def _score_row(title: str, group: dict[str, dict[str, Any]], roles: Sequence[str], facts: RunFacts) -> list[str]:
    values = {role: float(score["value"]) for role, score in group.items()}
    is_share = all(score.get("unit", "share") == "share" for score in group.values())
    best = max(values.values()) if is_share else None
    result = {role: percent(value) if is_share else f"{value:.4g}" for role, value in values.items()}
    cells = [
        (tag("b", text(result[role])) if values[role] == best else text(result[role])) if role in values else "-"
        for role in roles
    ]
    trained = [value for role, value in values.items() if role not in BASELINES]
    after = max(trained or values.values())
    before = values.get("untrained")
    marks = f'<b style="width:{100 * max(0.0, after):.2f}%"></b>'
    if before is not None:
        marks += f'<u style="left:{100 * max(0.0, before):.2f}%"></u>'
    where = next(iter(group.values()))
    on = f"{count(where.get('n', 0))} {where.get('split', '')} images"
    changed = [_changed(group, facts)] if "untrained" in roles else []
    return [text(title), *cells, *changed, tag("i", marks, class_="gauge") if is_share else "", text(on)]


def _changed(group: dict[str, dict[str, Any]], facts: RunFacts) -> str:
    """The change of the first trained encoder in a row, with its interval."""
    trained = next((score for role, score in group.items() if role not in BASELINES), None)
    change = None if trained is None else facts.change_of(trained)
    if change is None:
        return "-"
    words = interval_words(change, change["difference"]).partition(" points")
    span = words[2].partition(",")[0]
    return tag("span", text(words[0] + span), class_=f"change {change['outcome']}")


def _probe(name: Any, k: Any, variant: str, measure: str) -> str:
    if name == "linear" and not variant:
        return "linear probe"
    if name == "knn" and not variant:
        return f"{k} nearest, weighted" if k == 200 else f"{k} nearest" if k != 1 else "nearest neighbour"
    words = [str(name), variant, "" if k is None else f"k={k}", "" if measure == "accuracy" else measure]
    return " ".join(word for word in words if word)


def training(facts: RunFacts) -> str:
    """The verdict on health and the curves."""
    word = verdict(facts)
    banner = tag(
        "div",
        tag("i", class_=f"lamp {word.word.replace(' ', '-')}"),
        tag("div", tag("h3", text(word.title)), tag("p", text(word.sentence))),
        _timeline(facts),
        class_="verdict",
    )
    cards = "".join(_curves(facts))
    if not cards and not facts.metrics:
        return section("training", "How it went", "", banner)
    return section(
        "training", "How it went", "Over the minutes of training.", banner, tag("div", cards, class_="charts")
    )


def _timeline(facts: RunFacts) -> str:
    """The verdict over time, as a strip."""
    words = [str(line["health"]) for line in facts.metrics if line.get("health")]
    if len(words) < 2:
        return ""
    runs: list[list[Any]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1][1] += 1
        else:
            runs.append([word, 1])
    strip = "".join(
        tag("i", class_=word.replace(" ", "-"), style=f"flex-grow:{length}", title=word) for word, length in runs
    )
    shares = {word: sum(length for other, length in runs if other == word) / len(words) for word, _ in runs}
    said = "Over time: " + ", ".join(f"{word} {percent(share, 0)}" for word, share in shares.items())
    return tag("div", strip, class_="timeline", role="img", aria_label=said) + tag("p", text(said), class_="small")


def _curves(facts: RunFacts) -> list[str]:
    def curve(name: str, title: str, **options: Any) -> str:
        x, y = facts.curve(name)
        return charts.line_chart(title, x, y, **options)

    highest = charts.Reference(math.log(facts.queue), f"ln K = {math.log(facts.queue):.2f}") if facts.queue else None
    whole = {"form": lambda value: percent(value, 0)}
    return [
        curve("loss", "Loss", smooth=True, note="What is minimised. Its level alone says little about the features."),
        curve("knn", "Nearest neighbours", note=_online_words(facts), **whole),
        curve(
            "purity",
            "Purity",
            smooth=True,
            note="Share of memory neighbours of the same class. Rises when it learns.",
            **whole,
        ),
        curve(
            "teacher_entropy",
            "Teacher entropy",
            smooth=True,
            floor=0.0,
            reference=highest,
            note="Nats. At ln K the teacher cannot decide; at 0 it sees one neighbour.",
        ),
        curve("spread", "Spread", floor=0.0, ceiling=1.0, note="1: embeddings fill the sphere. 0: all the same."),
        curve("effective_rank", "Effective rank", floor=0.0, note="Directions that the embeddings really use."),
        curve("learning_rate", "Learning rate", floor=0.0, note="Follows the share of the budget that is used."),
        curve("images_per_second", "Images per second", smooth=True, floor=0.0, note="End to end."),
    ]


def _online_words(facts: RunFacts) -> str:
    """What was measured while training."""
    online = facts.part("online")
    if not online:
        return "Accuracy on a fixed sample while training."
    k, sample = online.get("k", 0), count(online.get("pictures", 0))
    others = "its nearest other" if k == 1 else f"its {k} nearest others"
    return f"Accuracy while training: each of {sample} images, always the same, classified by {others}."


def time_spent(facts: RunFacts) -> str:
    """Shares of the time by part."""
    shares = facts.time_shares
    if shares is None:
        return ""
    parts = [
        charts.Segment(
            {"rest": "logging, saving"}.get(name, name),
            share,
            f"{percent(share, 0)}, {minutes(share * facts.minutes)}" if facts.minutes else percent(share, 0),
        )
        for name, share in shares.items()
    ]
    return section("time", "Where the time went", time_words(shares), charts.stacked_bar(parts))


def data(facts: RunFacts, images: Images | None) -> str:
    """Balance of the classes, and images that could not be read."""
    content = _balance(facts, images) + _beside(facts)
    if facts.broken:
        rows = [
            [tag("code", text(entry.get("name", ""))), text(entry.get("reason", ""))]
            for entry in facts.broken[:BROKEN_SHOWN]
        ]
        more = len(facts.broken) - BROKEN_SHOWN
        tail = tag("p", text(f"and {more:,} more, in broken.json"), class_="small") if more > 0 else ""
        title = f"{count(len(facts.broken))} {'image' if len(facts.broken) == 1 else 'images'} could not be read"
        content += tag("h3", text(title)) + table(["image", "why it was left out"], rows, "broken") + tail
    return section("data", "What it learned from", "", content)


def _beside(facts: RunFacts) -> str:
    """What the folder holds that was not read, and exact copies among what was."""
    data = facts.part("data")
    left_out, copies = data.get("left_out") or {}, data.get("copies") or 0
    result = [f"Left out of the folder: {files_in_words(left_out)}."] if left_out else []
    if copies:
        result.append(f"{count(copies)} of {count(data.get('images', 0))} images are exact copies of another one.")
    return tag("p", text(" ".join(result))) if result else ""


def _balance(facts: RunFacts, images: Images | None) -> str:
    """Images of each class: of the training data where that was counted, else of those shown here."""
    data, evaluated = facts.part("data"), facts.part("classes")
    if not same_place(str(evaluated.get("data")), str(data.get("path"))):
        evaluated = {}  # of other images than the run learned from
    counted, names, where = data.get("class_counts"), data.get("class_names"), "in the data"
    if not counted and evaluated.get("bank"):
        counted, names = evaluated["bank"], evaluated.get("names")
        where = f"among the {sum(counted):,} images whose labels the scores rest on"
    if not counted and images is not None and images.labels is not None and (images.labels >= 0).any():
        counted = np.bincount(images.labels[images.labels >= 0]).tolist()
        names, where = images.class_names, f"among the {len(images):,} images of this report"
    if not counted or len(counted) < 2:
        return ""
    named = [str(names[value]) if names and value < len(names) else f"class {value}" for value in range(len(counted))]
    present = [value for value in counted if value > 0]
    ratio = max(present) / min(present)
    words = f"{len(present)} classes {where}, " + (
        f"the largest {ratio:.3g} times the smallest." if ratio > 1.05 else "all of about the same size."
    )
    if len(counted) <= BARS:
        order = sorted(range(len(counted)), key=lambda value: -counted[value])
        chart = charts.bars([named[value] for value in order], [counted[value] for value in order], count)
    else:
        chart = charts.profile(counted, words)
    return tag("h3", "Classes") + tag("p", text(words), class_="small") + chart


def settings(facts: RunFacts) -> str:
    """Settings that were chosen automatically, with the reason; and all settings."""
    rows = [
        [tag("code", text(entry.get("setting", ""))), text(_value(entry.get("value"))), text(entry.get("reason", ""))]
        for entry in facts.run.get("resolved") or []
        if isinstance(entry, dict)
    ]
    content = table(["setting", "value", "because"], rows, "settings") if rows else ""
    groups = [
        ("settings", "Settings of the method"),
        ("optimisation", "Optimisation"),
        ("encoder", "Encoder"),
        ("budget", "Budget"),
        ("versions", "Versions"),
    ]
    for key, title in groups:
        values = facts.part(key)
        if values:
            listed = [[tag("code", text(name)), text(_value(value))] for name, value in values.items()]
            content += details(title, table(["setting", "value"], listed, "settings"))
    lead = "What was not asked for was chosen from the data and the machine." if rows else ""
    return section("settings", "How it was set", lead, content)


def repeat(facts: RunFacts) -> str:
    """The command that repeats the run, and the next ones."""
    line = facts.run.get("command")
    content = ""
    if line:
        seed = facts.run.get("seed")
        note = "Same data, same settings, another directory" + (f", seed {seed}." if seed is not None else ".")
        content += tag("h3", "Repeat it") + command(repeated(str(line))) + tag("p", text(note), class_="small")
    proposals = following(facts.path, facts.run)
    onwards = "".join(tag("li", tag("span", text(why)), command(what)) for why, what in proposals)
    return section("next", "Again, and onwards", "", content, tag("h3", "Next"), tag("ul", onwards, class_="next"))


def footer(facts: RunFacts) -> str:
    """The version that wrote the page, and its data."""
    data = facts.part("data")
    fingerprint = f", data {str(data['fingerprint'])[:12]}" if data.get("fingerprint") else ""
    return tag("footer", text(f"likewise {facts.run.get('likewise', '')}{fingerprint}, {facts.path}"))


def _value(value: Any) -> str:
    if isinstance(value, list | dict):
        written = plain(value)
        return written if len(written) <= 80 else json.dumps(value)[:80] + "\u2026"
    return short(value) if isinstance(value, float) and abs(value) < 1e-3 else plain(value)
