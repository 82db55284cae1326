"""`likewise recipes`: list or run chains of training runs."""

from __future__ import annotations

import json

from likewise.cli.shared import print_next


def run(words: list[str]) -> None:
    """List the recipes, or carry out the one that is named."""
    from likewise import recipes
    from likewise.commands import command
    from likewise.parsing import parse

    if not words or words[0].startswith("-"):
        _list(words)
        return
    module = recipes.find(words[0])
    parsed = parse(module.Recipe, words[1:], f"likewise recipes {words[0]}", _title(module.__doc__))
    runs = recipes.carry_out(parsed.out, module.stages(parsed))
    for one in runs:
        print(f"run     {one.path}")
    print_next(command("evaluate", runs[-1].path))


def _list(words: list[str]) -> None:
    from likewise import recipes
    from likewise.errors import InputError

    titles = {name: _title(recipes.find(name).__doc__) for name in recipes.names()}
    if "--json" in words:
        print(json.dumps(titles, indent=2))
        return
    if words and words[0] not in {"-h", "--help"}:
        raise InputError(f"likewise recipes takes the name of a recipe or --json, not {words[0]}")
    print(
        "usage: likewise recipes [NAME DATA --out DIR ...]\n\nChains of training runs; each goes on where it stopped.\n"
    )
    for name, title in titles.items():
        print(f"  {name:<12} {title}")
    print("\nlikewise recipes NAME --help shows what can be set.")


def _title(text: str | None) -> str:
    """First line of a module's description."""
    return (text or "").strip().splitlines()[0]
