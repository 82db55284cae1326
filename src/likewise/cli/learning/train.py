"""`likewise train`: train an encoder."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from tyro.conf import OmitArgPrefixes, Positional

from likewise.cli.shared import Data, method_shapes, tell_run
from likewise.cli.teacher import check_teacher

if TYPE_CHECKING:
    pass


def train_arguments(method: str, variant: str | None) -> type[Any]:
    """Arguments of `likewise train` with the settings of `method`, whose defaults are those of `variant`.

    Raises InputError for a method or variant that does not exist.
    """
    asked, session, settings = method_shapes(method, variant)
    fields: list[tuple[str, Any, Any]] = [
        ("data", Positional[Data], dataclasses.field()),
        ("run", OmitArgPrefixes[type(session)], dataclasses.field(default=session)),  # type: ignore[misc]
        ("training", OmitArgPrefixes[type(asked)], dataclasses.field(default=asked)),  # type: ignore[misc]
        (method, OmitArgPrefixes[type(settings)], dataclasses.field(default=settings)),  # type: ignore[misc]
    ]
    return dataclasses.make_dataclass("Train", fields, frozen=True, kw_only=True)


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    check_teacher(words)
    from likewise.parsing import explicit, parse, value_of

    shape = train_arguments(value_of(words, "method", "isd"), value_of(words, "variant", None))
    parsed = parse(shape, words, "likewise train", "Learn an encoder from images without labels.")
    asked = explicit(parsed, words)
    from likewise.runs import command_line
    from likewise.verbs.learning.train import train

    asked.pop("data", None)
    run = train(parsed.data, command=command_line(["likewise", "train", *words]), **asked)
    if os.environ.get("RANK", "0") == "0":  # one process of several speaks for all
        tell_run(run, quiet=parsed.run.quiet)
