"""`RESULTS.md` from the stored JSON objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
STORE = FOLDER / "results"
PAGE = FOLDER / "RESULTS.md"
ORDER = (
    "views",
    "similarity",
    "loop",
    "knn",
    "linear",
    "index",
    "selection",
    "discovery",
    "distilling",
    "start",
    "accuracy_per_minute",
)
OTHERS = ("audit", "dense", "few_labels")
"""Those that are run by their own names, and told when they are stored."""
HEAD = """\
# Results

Written by `make bench` from the JSON objects in `results/`; not edited by hand. How to measure, and what the figures
do not say: [docs/performance.md](../docs/performance.md).
"""


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(met: bool | None) -> str:
    """What became of a target."""
    return "not judged" if met is None else "met" if met else "**missed**"


def section(found: dict[str, Any], name: str) -> str:
    """One benchmark, with the remarks of that name."""
    where, load = found["machine"], found.get("load_before")
    minutes = found["took_seconds"] / 60
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    call = found.get("call") or f"python -m benchmarks.{found['benchmark']}{' --quick' if found['quick'] else ''}"
    threads = f"{found['threads']} thread{'s' * (found['threads'] != 1)}"
    measured = f"`{call}`, {found['measured']}, {minutes:.1f} minutes, {threads} on {where['processor']} "
    measured += f"({where['processors']} processors, {where['capability']})"
    measured += "." if load is None else f", load before {load:g}."
    parts = [f"## {found['title']}", found["protocol"], measured]
    for found_table in found["tables"]:
        parts += [f"**{found_table['caption']}**", table(found_table["columns"], found_table["rows"])]
    parts += [f"![{found['title']}](results/{name})" for name in found["pictures"]]
    if found["targets"]:
        rows = [[goal["what"], goal["wanted"], goal["found"], verdict(goal["met"])] for goal in found["targets"]]
        parts.append(table(["target", "wanted", "found", ""], rows))
    parts += [f"Note: {note}" for note in found["notes"]]
    if (remarks := STORE / f"{name}.md").exists():
        parts.append(remarks.read_text(encoding="utf-8").strip())
    return "\n\n".join([*parts, f"<sub>{versions}; Python {where['python']}; {where['system']}</sub>"])


def write(store: Path = STORE, page: Path = PAGE) -> Path:
    """Write the page from everything that is stored: of each benchmark `NAME.json` and further forms, `NAME-*.json`."""
    paths = [
        path
        for name in (*ORDER, *OTHERS)
        for path in (store / f"{name}.json", *sorted(store.glob(f"{name}-*.json")))
        if path.exists()
    ]
    parts = [HEAD.strip(), *(section(json.loads(path.read_text(encoding="utf-8")), path.stem) for path in paths)]
    from benchmarks import adapting, longer, motion, upgrade, where, words  # not above, for the same reason as claims

    told = (upgrade, adapting, longer, where, words, motion)
    parts += [each.section(file) for each in told if (file := store / each.STORE.name).exists()]
    if (store / "claims").is_dir():
        from benchmarks import claims_report  # not above: claims are shown with the tables of this module

        parts.append(claims_report.section(store / "claims"))
        if store == STORE:
            claims_report.write_for_pages()
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page
