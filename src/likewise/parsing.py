"""Parsing of a command line to the dataclass of a verb (`likewise.cli`): help, checks, and errors of one line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, TypeVar, cast, get_type_hints

import tyro
from tyro.conf import DisallowNone, OmitArgPrefixes

from likewise.errors import InputError, nearest, unknown

T = TypeVar("T")
_KINDS = {"FLOAT": "a number", "INT": "a whole number", "STR": "text"}
"""What the parser calls the kinds of values, and what people call them."""
_SEVERAL = re.compile(r"Error parsing (?P<flag>\S+): Could not [a-z ]+:? \[(?P<found>[^\]]*)\]")
_KIND = re.compile(
    r"Error parsing (?P<flag>\S+): no type matching (?P<kind>.+) could be instantiated from \[(?P<found>.*)\]"
)
_CONVERTED = re.compile(
    r"Error parsing (?P<flag>--\S+): "
    r"(?:invalid literal for (?P<whole>int)\(\)[^:]*|could not convert string to float): '(?P<found>[^']*)'"
)
_REFUSED = re.compile(r"Error parsing (?P<what>[^\s:]+): (?P<reason>.*?)(?: ─{4}| -{4}|$)")
"""What the check of a value said, behind the flag or the group of flags that it stands in."""
_CHOICE = re.compile(
    r"invalid choice '(?P<found>.*)' for argument '(?P<flag>\S+)'\. Expected one of \((?P<choices>.*?)\)"
)
_NO_VALUE = re.compile(  # tyro 1.0 writes `'('--minutes',)'`
    r"Missing value for argument '(?:\(')?(?P<flag>[^']+)'(?:,\)')?\. Expected (?P<count>\d+) values"
)
_NEEDED = re.compile(r"Missing from (?P<program>[^:]+):")
_NEEDED_NAME = re.compile(r"^[│| ] {5}(?=\S)(?!likewise )(.+?) *[│|]?$", re.MULTILINE)
_STRAY = re.compile(r"Unrecognized options: (?P<found>.*?) [─-]{4}")
SEEDS = 2**32
"""Seeds lie below this number, which is what every generator of random numbers takes."""
_EDGE = re.compile(r"^[│╭╰|+ ]+|[│╮╯|+ ]+$")
"""The box around a message, which is of plain characters or missing where the terminal knows no others."""


def parse(shape: type[T], words: Sequence[str], program: str, description: str) -> T:
    """Parse `words` into `shape`. Raises InputError with one line for an unknown flag or a value that cannot be."""
    if not {"-h", "--help"} & set(words):
        _check_flags(shape, words, program)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            found = tyro.cli(
                _documented(shape), args=list(words), prog=program, description=description, config=(DisallowNone,)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _in_our_words(complaint.getvalue()) from None
    for name, value in _leaves(found):
        if (name == "seed" or name.endswith("_seed")) and not 0 <= value < SEEDS:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is given {value}: allowed is a whole number from 0 to {SEEDS - 1}")
    return cast("T", found)


def explicit(parsed: Any, words: Sequence[str]) -> dict[str, Any]:
    """Values of the flags that stand in `words`, by name: what was asked for, as opposed to what is a default."""
    values = dict(_leaves(parsed))
    named = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    return {name: value for name, value in values.items() if name in named or f"no_{name}" in named}


def value_of(words: Sequence[str], flag: str, default: T) -> str | T:
    """The value that `--flag` has in `words`; needed before parsing, where it decides what the other flags are."""
    for here, following in itertools.pairwise([*words, ""]):
        if here == f"--{flag}":
            return following
        if here.startswith(f"--{flag}="):
            return here.partition("=")[2]
    return default


def _documented(shape: type[Any]) -> type[Any]:
    """A subclass of `shape` that says in its help the defaults that are values, and nothing where none is."""
    hints = get_type_hints(shape, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(shape):
        hint, default = hints.get(field.name, field.type), field.default
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            group = _documented(type(default))
            default = group(**{one.name: getattr(default, one.name) for one in dataclasses.fields(default)})
            hint = OmitArgPrefixes[group]  # type: ignore[valid-type, misc]
        elif default is None or default == ():
            hint = Annotated[hint, tyro.conf.arg(help_behavior_hint="")]
        has_default = default is not dataclasses.MISSING
        fields.append((field.name, hint, dataclasses.field(default=default) if has_default else dataclasses.field()))
    made = dataclasses.make_dataclass(shape.__name__, fields, bases=(shape,), frozen=True, kw_only=True)
    made.__doc__ = shape.__doc__
    return made


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if dataclasses.is_dataclass(held):
            yield from _leaves(held)
        else:
            yield field.name, held


def _names(shape: Any) -> Iterator[str]:
    for field in dataclasses.fields(shape):
        if dataclasses.is_dataclass(field.default):
            yield from _names(field.default)
        else:
            yield field.name


def _check_flags(shape: Any, words: Sequence[str], program: str) -> None:
    """Name the first unknown flag with its nearest spelling, before the parser would, in one line."""
    allowed = {f"--{name.rstrip('_').replace('_', '-')}" for name in _names(shape)}
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        known = flag in allowed or f"--{flag.removeprefix('--no-')}" in allowed
        if flag.startswith("--") and not known:
            near = nearest(flag, sorted(allowed))
            hint = "" if near is None else f"did you mean {near!r}? "
            raise InputError(f"unknown option {flag!r}: {hint}{program} --help lists all")


def _in_our_words(complaint: str) -> InputError:
    """The parser's boxed message as one line that names what was found and what is allowed."""
    said = " ".join(_EDGE.sub("", line) for line in complaint.splitlines())
    return _wrong_value(said) or InputError(_missing_or_stray(said, complaint))


def _wrong_value(said: str) -> InputError | None:
    """The error where a value is not what its flag takes; None where that is not what is wrong."""
    if found := _KIND.search(said):
        return _wrong_kind(found["flag"], found["found"], found["kind"])
    if found := _CONVERTED.search(said):
        return _wrong_kind(found["flag"], found["found"], "INT" if found["whole"] else "FLOAT")
    if found := _SEVERAL.search(said):
        usage = re.search(rf"Argument helptext: {re.escape(found['flag'])} ([^a-z]+)", said)
        return _wrong_kind(found["flag"], found["found"], usage[1] if usage else "")
    if found := _CHOICE.search(said):
        choices = re.findall(r"'([^']*)'", found["choices"])
        return unknown(found["flag"], found["found"], [choice for choice in choices if choice != "None"])
    return None


def _missing_or_stray(said: str, complaint: str) -> str:
    """What is wrong where something is missing or too much, in a line."""
    if found := _NO_VALUE.search(said):
        return f"{found['flag']} needs {'a value' if found['count'] == '1' else found['count'] + ' values'}"
    if found := _NEEDED.search(said):
        return f"{found['program']} needs {' and '.join(_whole(_NEEDED_NAME.findall(complaint)))}"
    if found := _STRAY.search(said):
        return f"{found['found']!r} is not expected there: see --help"
    if found := _REFUSED.search(said):
        return f"{found['what']}: {found['reason']}" if found["what"].startswith("--") else found["reason"]
    return _first_paragraph(complaint)


def _whole(lines: Iterable[str]) -> list[str]:
    """Names, of which one that was too long for the box goes on behind its comma in the next line."""
    names: list[str] = []
    for line in lines:
        if names and names[-1].endswith(","):
            names[-1] += line
        else:
            names.append(line)
    return names


def _wrong_kind(flag: str, found: str, kind: str) -> InputError:
    """The error for a value of another kind than `kind`, which is as the parser writes it, such as `INT`."""
    values = " ".join(re.findall(r"""['"]([^'"]*)['"]""", found)) or found
    names = re.findall("FLOAT|INT|STR", kind)
    wanted = _KINDS[names[0]] if names else "another kind of value"
    if "[" in kind:
        wanted += " or several"
    elif len(names) > 1:
        wanted += f", {len(names)} times"
    return InputError(f"{flag} is given {values!r}: allowed is {wanted}")


def _first_paragraph(complaint: str) -> str:
    """The first paragraph of a boxed message, as one line."""
    lines = [_EDGE.sub("", line) for line in complaint.splitlines()]
    message: list[str] = []
    for line in lines[1:]:
        if not line or line.startswith(("─", "--", "Got errors")):
            if message:
                break
            continue
        message.append(line)
    return " ".join(message) or "the arguments could not be understood"
