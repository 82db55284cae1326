"""The documentation page of each method, from its card, docstring, settings and the figure of its loss.

`python -m likewise.methods.pages docs/methods` (which is `make docs`) writes them; a test keeps them up to date.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from likewise.methods import find, names
from likewise.methods.drawing import drawings, idea_of
from likewise.methods.ledger import entries, status
from likewise.methods.listing import FILE as LISTING
from likewise.methods.listing import write as write_listing
from likewise.methods.method import Method, Optimisation, Preset

_GENERATED = "<!-- Written by `make docs` from the method's source: change that, not this page. -->"

_MEMORIES = {
    "none": "none",
    "queue": "queue of recent embeddings",
    "bank": "one embedding per image",
    "prototypes": "learned prototypes",
}

_DEPLOYED = {"student": "the encoder that gradients trained", "teacher": "its moving average"}

FIGURES = "figures"
"""Folder of the drawings, beside the pages."""

CLAIMS_FILE = Path(__file__).with_name("claims.json")
"""What the benchmark of claims found, by method; `python -m benchmarks --write` writes it."""

_SETTINGS = (
    "Each setting is a flag (`--queue-size 1024`) and a keyword of `likewise.train` (`queue_size=1024`). The columns "
    "are the presets, chosen with `--variant`; the first is the default, and what another changes is in bold."
)

_SMALL_SCALE = (
    "What the paper claims beside what a few minutes of training on CIFAR-10 show, all arms alike. A claim holds, or "
    "does not, where that is clear at 95 %, and is within noise otherwise; minutes of training show trends."
)
_WHERE_CLAIMS = "`python -m benchmarks.claims` measures them, `benchmarks.started` those from a trained encoder."

_INDEX = (
    "`likewise methods` prints this list, with the methods of other installed packages. `verified` means: equal to the "
    "numbers of the paper's own code on stored vectors, and shown to learn on real images by the code as it is now "
    "(`make learn`); any other is `experimental`. "
    "[Adding a method](../adding-a-method.md) says how to write one."
)


def field_docs(settings: type) -> dict[str, str]:
    """What the docstring under each field of a dataclass says, in the order of the fields, inherited ones first."""
    found: dict[str, str] = {}
    for owner in reversed(settings.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = _string(after)
    return {field.name: found.get(field.name, "") for field in fields(settings)}


def method_page(name: str, method: type[Method]) -> str:
    """The page of one method, in Markdown."""
    card, presets = method.card, method.presets
    teacher = " --teacher runs/TEACHER" if "frozen teacher" in card.needs else ""
    teacher += " --old runs/OLD" if "old encoder" in card.needs else ""
    data = "synthetic:clips" if "videos" in card.needs else "photos/"
    labels = " --labels folders" if {"labels", "some labels"} & set(card.needs) else ""
    beside = " --beside labelled/ --beside-labels folders" if "labelled data beside" in card.needs else ""
    return _page(
        f"{card.title} (`{name}`)",
        card.summary,
        f"```bash\nlikewise train {data} --method {name}{teacher}{labels}{beside}\n```",
        _table(("", ""), _facts(method)),
        "## What it does",
        (inspect.getdoc(method) or "").removeprefix(f"{card.title}.").strip(),
        *_idea(method),
        "## Settings",
        _SETTINGS,
        _settings_table(method.Settings, {key: preset.settings for key, preset in presets.items()}),
        "## Optimisation",
        "\n".join(_notes(presets)),
        _settings_table(Optimisation, {key: preset.optimisation for key, preset in presets.items()}),
        *_measured(name),
        "## Paper",
        f"{card.paper}.",
    )


def index_page(methods: Mapping[str, type[Method]]) -> str:
    """The list of all methods, in Markdown."""
    rows = [
        (
            f"[`{name}`]({name}.md)",
            method.card.title,
            method.card.summary,
            _MEMORIES[method.card.memory],
            ", ".join(method.card.needs) or "images only",
            status(method),
        )
        for name, method in methods.items()
    ]
    return _page(
        "Methods",
        _INDEX,
        _table(("name", "method", "when to choose it", "memory", "needs", "status"), rows),
    )


def pages() -> dict[str, str]:
    """File name -> Markdown of the index and of each method of this package (those of other packages are theirs)."""
    found = {name: find(name) for name in names()}
    own = {name: method for name, method in found.items() if method.__module__.startswith("likewise.")}
    return {"index.md": index_page(own)} | {f"{name}.md": method_page(name, method) for name, method in own.items()}


def _measured(name: str) -> list[str]:
    """What the paper claims and what was measured here, and what the ledger holds; nothing where neither is known."""
    claims = json.loads(CLAIMS_FILE.read_text(encoding="utf-8")).get(name, [])
    entry = entries().get(name)
    parts = []
    if claims:
        rows = [[claim, measured, ahead, seeds, verdict] for claim, measured, ahead, seeds, verdict in claims]
        head = ("claim", "measured here", "ahead of the nearest rival by", "seeds", "")
        parts += [f"{_SMALL_SCALE} {_WHERE_CLAIMS}", _table(head, rows)]
    if entry is not None:
        parts.append(
            f"In about a minute of training ({entry.data}) {entry.measure} went from {100 * entry.untrained:.1f} to "
            f"{100 * entry.score:.1f} % ({'one seed' if entry.seeds == 1 else f'mean of {entry.seeds} seeds'})."
        )
    return ["## Measured here", *parts] if parts else []


def _idea(method: type[Method]) -> list[str]:
    """The figure of the method's loss with its caption, where there is one."""
    idea = idea_of(method)
    if idea is None:
        return []
    return [f"![{idea.caption}]({FIGURES}/{idea.name}.svg)", f"*{idea.caption} Computed by the loss of this package.*"]


def write_pages(out: Path) -> list[Path]:
    """Write all pages into the folder `out` and remove those of methods that are no more; returns what was written."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for file_name, text in pages().items():
        path = out / file_name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    (out / FIGURES).mkdir(exist_ok=True)
    for file_name, drawing in drawings().items():
        path = out / FIGURES / file_name
        path.write_text(drawing, encoding="utf-8")
        written.append(path)
    for path in {*out.glob("*.md"), *(out / FIGURES).glob("*.svg")} - set(written):
        path.unlink()
    return written


def _page(title: str, *parts: str) -> str:
    """A page of paragraphs; empty ones are left out."""
    return "\n\n".join(part for part in (_GENERATED, f"# {title}", *parts) if part) + "\n"


def _facts(method: type[Method]) -> Iterable[tuple[str, str]]:
    """The card as rows of a table."""
    card = method.card
    yield "needs", ", ".join(card.needs) or "images only"
    yield "memory", _MEMORIES[card.memory]
    yield "smallest batch", str(card.smallest_batch)
    yield "assumes balanced clusters", "yes: take care with skewed data" if card.uniform_prior else "no"
    yield "weights to use afterwards", f"{card.deploy}: {_DEPLOYED[card.deploy]}, without heads"
    yield "status", status(method)


def _notes(presets: Mapping[str, Preset]) -> Iterable[str]:
    """Where the numbers of each preset come from, and where they are not the published ones."""
    for key, preset in presets.items():
        if preset.note:
            yield f"- `{key}`: {preset.note}"
        yield from (f"    - not as published: {row}: {how}" for row, how in preset.differs.items())


def _settings_table(owner: type, presets: Mapping[str, Any]) -> str:
    """One row a field: its value in each preset, and what it means."""
    docs = field_docs(owner)
    default = next(iter(presets.values()))

    def cells(field_name: str) -> list[str]:
        usual = getattr(default, field_name)
        values = [getattr(preset, field_name) for preset in presets.values()]
        return [_value(value) if value == usual else f"**{_value(value)}**" for value in values]

    rows = [(f"`{name}`", *cells(name), meaning) for name, meaning in docs.items()]
    return _table(("setting", *(f"`{key}`" for key in presets), "meaning"), rows)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _string(node: ast.stmt | None) -> str:
    """The text of a bare string statement, on one line; empty for anything else."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(inspect.cleandoc(node.value.value).split())
    return ""


def main() -> None:
    """Write the pages into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m likewise.methods.pages", description=main.__doc__)
    parser.add_argument("out", type=Path, help="folder of the pages, such as docs/methods")
    for path in write_pages(parser.parse_args().out):
        print(path)
    write_listing()
    print(LISTING)


if __name__ == "__main__":
    main()
