"""The upper part of the page: the result in words, the numbers, what the encoder finds alike, the scores."""

from __future__ import annotations

import json
from typing import Any

from likewise.report import charts, scoring
from likewise.report.facts import TONES, Facts
from likewise.report.scoring import Comparison
from likewise.report.text import count, duration, escape, number, percent, shown

STATUSES = {
    "finished": ("good", "finished"),
    "running": ("plain", "not finished"),
    "interrupted": ("warn", "interrupted"),
    "stopped": ("bad", "stopped"),
}


def section(title: str, about: str, body: str, name: str) -> str:
    """A titled part of the page; `about` and `body` are HTML."""
    told = f'<p class="about">{about}</p>' if about else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{told}{body}</section>'


# The result --------------------------------------------------------------------------------------------------------


def header(facts: Facts) -> str:
    """What was trained on what for how long, and what came of it."""
    tone, status = STATUSES.get(str(facts.run.get("status")), ("plain", str(facts.run.get("status", "unknown"))))
    started = str(facts.run.get("started") or "")[:10]
    about = [
        f"<b>{escape(facts.path.resolve().name)}</b>",
        escape(facts.encoder),
        escape(facts.part("data").get("name", "")),
        escape(duration(facts.minutes)) if facts.minutes is not None else "",
        escape(started),
    ]
    spans = "".join(f"<span>{part}</span>" for part in about if part)
    return (
        f'<header><div class="eyebrow">{spans}<span class="pill {tone}">{escape(status)}</span></div>'
        f'<h1>{escape(facts.title)}</h1><p class="lead">{_lead(facts)}</p></header>'
    )


def _lead(facts: Facts) -> str:
    data = facts.part("data")
    images = data.get("images")
    of = count(images, "picture") if isinstance(images, int) else "the pictures"
    time = f" in {duration(facts.minutes)}" if facts.minutes is not None else ""
    told = [
        f"{escape(facts.encoder)} looked at {escape(of)} of {escape(data.get('name', 'the data'))}{escape(time)}, "
        "without labels."
    ]
    best = scoring.headline(facts.comparisons)
    if best is not None:
        told.append(
            f"<strong>Its {best.k} nearest neighbours name the right class for {percent(best.after)}</strong> of "
            f"{escape(count(best.n, 'picture') if best.n else 'the pictures')} held out"
            + (f"; before training it was {percent(best.before)}." if best.before is not None else ".")
        )
    if facts.run.get("status") == "stopped" and facts.run.get("reason"):
        told.append(f"<strong>{escape(_sentence(str(facts.run['reason'])))}</strong>")
    return " ".join(told)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


# Numbers -----------------------------------------------------------------------------------------------------------


def tiles(facts: Facts) -> str:
    """Four numbers: kNN, linear probe, pace, health."""
    verdict = facts.health
    spread, rank = _last(facts, "spread"), _last(facts, "effective_rank")
    seen = _last(facts, "images")
    pace = facts.typical("images_per_second")
    state = f"spread {shown(spread)}, effective rank {shown(rank)}" if spread is not None or rank is not None else ""
    return (
        '<div class="tiles">'
        + _score_tile("Nearest neighbours", scoring.headline(facts.comparisons))
        + _score_tile("Linear probe", scoring.linear(facts.comparisons))
        + _tile("Pace", f"{shown(pace)} <small>images/s</small>", f"{shown(seen)} looked at" if seen else "")
        + _tile("Health", escape(verdict or "unknown"), escape(state), TONES.get(verdict or "", ""))
        + "</div>"
    )


def _tile(what: str, value: str, note: str, tone: str = "") -> str:
    return (
        f'<div class="tile"><div class="what">{escape(what)}</div><div class="value {tone}">{value}</div>'
        f'<div class="note">{note}</div></div>'
    )


def _score_tile(what: str, row: Comparison | None) -> str:
    if row is None:
        return _tile(what, "<small>not scored yet</small>", "see the next commands below")
    what = f"{what}, k = {row.k}" if row.k is not None else what
    before = f"untrained {percent(row.before)}" if row.before is not None else escape(row.split)
    return _tile(what, percent(row.after), charts.dumbbell(row.before, row.after) + before)


def _last(facts: Facts, name: str) -> float | None:
    values = facts.curve(name)[1]
    return values[-1] if values else None


# Pictures ----------------------------------------------------------------------------------------------------------


def neighbours(facts: Facts) -> str:
    """Query pictures, each with what the encoder finds most similar."""
    shown_pictures = facts.pictures or {}
    rows = shown_pictures.get("rows") or []
    if not rows:
        return ""
    about = (
        f"On the left a picture, beside it the {count(len(rows[0]['near']), 'most similar one', 'most similar ones')} among "
        f"{shown_pictures['shown']:,} of the training set, with the cosine of their features. "
        "The pictures on the left are spread evenly over the data, not chosen by result."
    )
    agreement = shown_pictures.get("agreement")
    key = ""
    if agreement:
        about += (
            f" Over all {agreement['of']:,}, {percent(agreement['share'], 0)} of the {agreement['k']} nearest share the "
            f"class; chance would be {percent(agreement['chance'], 0)}."
        )
        key = (
            '<div class="key"><span><i class="back-good"></i>same class</span>'
            '<span><i class="back-bad"></i>another class, named below</span></div>'
        )
    return section("What it finds alike", about, f'{key}<div class="alike">{"".join(map(_row, rows))}</div>', "alike")


def _row(row: dict[str, Any]) -> str:
    query = row["query"]
    name = query["label"] or str(query["name"]).rsplit("/", 1)[-1]
    first = f'<figure class="query">{_image(query)}<figcaption>{escape(name)}</figcaption></figure>'
    return f'<div class="one">{first}{"".join(map(_neighbour, row["near"]))}</div>'


def _neighbour(card: dict[str, Any]) -> str:
    agrees = card["agrees"]
    kind = {True: " agrees", False: " differs", None: ""}[agrees]
    other = f" <b>{escape(card['label'])}</b>" if agrees is False else ""
    similarity = number(card["similarity"])
    said = f"{similarity:.2f}" if similarity is not None else ""
    return f'<figure class="near{kind}">{_image(card)}<figcaption>{said}{other}</figcaption></figure>'


def _image(card: dict[str, Any]) -> str:
    about = escape(" · ".join(part for part in (card["label"], card["name"]) if part))
    return f'<img src="{escape(card["src"])}" alt="{about}" title="{about}" loading="lazy">'


def picture_map(facts: Facts) -> str:
    """Where the pictures lie to one another."""
    found = (facts.pictures or {}).get("map")
    if not found:
        return ""
    legend = "".join(
        f'<span><i style="background:{escape(colour)}"></i>{escape(name)}</span>' for name, colour in found["legend"]
    )
    about = (
        f"{count(found['pictures'], 'picture')} by their features: close together means alike to the encoder (t-SNE of 30 "
        "principal components, moved onto a grid so that none hides another; distances between far groups mean little)."
        + (" Frames show the class, which training never saw." if legend else "")
    )
    body = (
        f'<div class="map"><img src="{escape(found["src"])}" width="{found["width"]}" height="{found["height"]}" '
        f'alt="Map of {found["pictures"]} pictures by similarity" data-columns="{found["columns"]}" '
        f'data-rows="{found["rows"]}" data-cells="{escape(json.dumps(found["cells"]))}">'
        + (f'<div class="key">{legend}</div>' if legend else "")
        + "</div>"
    )
    return section("The map", about, body, "map")


# Scores ------------------------------------------------------------------------------------------------------------


def scores(facts: Facts) -> str:
    """Every score with its protocol, the untrained encoder beside the trained one."""
    rows = facts.comparisons
    if not rows:
        return ""
    roles = [role for role in scoring.ROLES if any(role in row.values for row in rows)]
    head = "".join(f'<th class="figure">{escape(role)}</th>' for role in roles)
    body = "".join(_score_row(row, roles) for row in rows)
    table = (
        f'<div class="scroll"><table><thead><tr><th>Probe</th>{head}<th>Protocol</th><th>Data</th>'
        f'<th class="figure">Pictures</th></tr></thead><tbody>{body}</tbody></table></div>'
    )
    about = "Top-1 accuracy with frozen features. Only numbers of the same row may be compared with one another."
    if "untrained" in roles:
        about += " Untrained is the same encoder with the weights it started from."
    return section("Scores", about, table, "scores")


def _score_row(row: Comparison, roles: list[str]) -> str:
    best = max(row.values.values())
    cells = "".join(
        f'<td class="figure{" best" if row.values.get(role) == best and len(row.values) > 1 else ""}">'
        f"{percent(row.values.get(role), 2)}</td>"
        for role in roles
    )
    where = " · ".join(part for part in (row.data, row.split) if part)
    amount = f"{row.n:,}" if isinstance(row.n, int) else ""
    return (
        f'<tr><td class="name">{escape(row.title)}</td>{cells}<td class="dim">{escape(row.protocol)}</td>'
        f'<td class="dim">{escape(where)}</td><td class="figure dim">{amount}</td></tr>'
    )
