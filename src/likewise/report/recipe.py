"""The lower part of the page: the data, the settings with their reasons, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from likewise.report import charts
from likewise.report.facts import Facts
from likewise.report.sections import section
from likewise.report.text import count, escape, setting

MOST_CLASSES, MOST_BROKEN = 60, 100


def classes(facts: Facts) -> str:
    """How many pictures each class has; nothing without labels."""
    rows, of_what = _counted(facts)
    if len(rows) < 2:
        return ""
    most, least = max(amount for _, amount in rows), min(amount for _, amount in rows)
    times = f"; the largest has {most / least:.1f} times as many as the smallest" if least else ""
    about = f"{count(sum(amount for _, amount in rows), 'picture')}{escape(of_what)}, {len(rows)} classes{times}."
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=lambda row: -row[1])[:MOST_CLASSES]
        about += f" The {MOST_CLASSES} largest are shown."
    return section("Class balance", about, charts.bars(rows), "classes")


def _counted(facts: Facts) -> tuple[list[tuple[str, int]], str]:
    """(class, pictures), and of what they are: all that were evaluated if known, else those on this page."""
    counts = facts.part("classes")
    bank = counts.get("bank")
    if isinstance(bank, list) and bank:
        names = counts.get("names") or []
        named = [str(names[place]) if place < len(names) else str(place) for place in range(len(bank))]
        return list(
            zip(named, map(int, bank), strict=True)
        ), f" of {counts.get('data', 'the data')} that kNN votes with"
    shown = facts.pictures or {}
    return [
        (str(name), int(amount)) for name, amount in shown.get("classes") or []
    ], " of those that this page is made of"


def broken(facts: Facts) -> str:
    """Pictures that could not be read, with reasons."""
    if not facts.broken:
        return ""
    entries = facts.broken[:MOST_BROKEN]
    body = "".join(f"<tr><td>{escape(name)}</td><td class='dim'>{escape(reason)}</td></tr>" for name, reason in entries)
    more = len(facts.broken) - len(entries)
    rest = f'<p class="about">and {more:,} more in broken.json</p>' if more else ""
    table = f'<div class="scroll"><table class="settings"><tbody>{body}</tbody></table></div>{rest}'
    were = "was" if len(facts.broken) == 1 else "were"
    about = f"{count(len(facts.broken), 'picture')} could not be read and {were} left out."
    return section("Broken pictures", about, table, "broken")


# Settings ----------------------------------------------------------------------------------------------------------


def settings(facts: Facts) -> str:
    """What was chosen for this data and machine, and all other settings folded away."""
    resolved = facts.run.get("resolved")
    chosen = [entry for entry in resolved if isinstance(entry, dict)] if isinstance(resolved, list) else []
    rows = "".join(
        f"<tr><td>{escape(entry.get('setting', ''))}</td><td>{escape(setting(entry.get('value')))}</td>"
        f'<td class="dim">{escape(entry.get("reason", ""))}</td></tr>'
        for entry in chosen
    )
    head = "<thead><tr><th>Setting</th><th>Chosen</th><th>Because</th></tr></thead>"
    table = f'<div class="scroll"><table class="settings">{head}<tbody>{rows}</tbody></table></div>' if rows else ""
    general = (
        "variant",
        "seed",
        "batch_size",
        "accumulate",
        "precision",
        "sync_batch_norm",
        "device",
        "compile",
        "budget",
    )
    folded = [
        (f"{facts.title}: settings of the method", facts.part("settings")),
        ("Optimisation", facts.part("optimisation")),
        ("Encoder and input", facts.part("encoder")),
        ("Run", {name: facts.run[name] for name in general if name in facts.run}),
        ("Data", {name: value for name, value in facts.part("data").items() if name != "class_names"}),
        ("Versions", facts.part("versions")),
    ]
    body = table + "".join(_folded(title, values) for title, values in folded if values)
    about = (
        "What was settled from the data and the machine, and why."
        if rows
        else "Everything that this run was made with."
    )
    return section("Settings", about, body, "settings")


def _folded(title: str, values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(setting(value))}</td></tr>" for name, value in values.items()
    )
    return (
        f"<details><summary>{escape(title)}</summary>"
        f'<div class="scroll"><table class="settings"><tbody>{rows}</tbody></table></div></details>'
    )


# Commands ----------------------------------------------------------------------------------------------------------


def commands(facts: Facts) -> str:
    """How to repeat the run, and what to do with it."""
    command = facts.run.get("command")
    steps = [("Repeat this run", str(command))] if command else []
    steps += following(facts)
    body = "".join(f'<p class="step">{escape(what)}</p><pre>{escape(typed)}</pre>' for what, typed in steps)
    return section("Repeat it, and go on", "", body, "commands")


def following(facts: Facts) -> list[tuple[str, str]]:
    """(what for, command) of the steps that make sense from here."""
    path = shlex.quote(str(facts.path))
    data = facts.part("data").get("path")
    found = []
    if facts.run.get("status") in {"interrupted", "running"} and data:
        found.append(("Go on where it ended", f"likewise train {shlex.quote(str(data))} --out {path} --resume"))
    place = shlex.quote(str(data)) if data else "DATA"
    probes = {row.name for row in facts.comparisons}
    if "linear" not in probes or not any("untrained" in row.values for row in facts.comparisons):
        found.append(
            (
                "Score it on labelled pictures, beside the untrained encoder",
                f"likewise evaluate {path} {place} --probe knn linear --untrained",
            )
        )
    else:
        found.append(("Score it on other pictures", f"likewise evaluate {path} OTHER_PICTURES"))
    found.append(("Use the encoder in other programs", f"likewise export {path} --format onnx --out encoder.onnx"))
    return found
