"""Checks of what a person gives: keyword values against the fields of a dataclass, ports, and servers.

Keywords of calls from Python are held to what the command line takes.
"""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlparse

from likewise.errors import InputError, unknown

WAIT = 2.0
"""Seconds that a server has to answer in. Left alone, the libraries would try for most of a minute."""


def check_port(port: int) -> None:
    """Raise InputError for a number that is no port."""
    if not 0 <= port < 65536:
        raise InputError(f"port {port} does not exist: allowed are 0 (any free one) to 65535")


def check_kinds(shape: type[Any], values: Mapping[str, Any]) -> None:
    """Raise InputError for a value that the field of its name in the dataclass `shape` does not take.

    Numbers of NumPy are numbers, a list is as good as a tuple, and a path as its text. Names that are no fields are
    left to others.
    """
    hints = get_type_hints(shape)
    for name, value in values.items():
        if name in hints:
            check_kind(name, value, hints[name])


def check_kind(name: str, value: object, hint: Any) -> None:
    """Raise InputError, with the nearest spelling where it is one of several words, unless `hint` takes `value`."""
    if _takes(hint, value) or _takes(hint, _plain(value)):
        return
    words = [word for part in (hint, *get_args(hint)) if get_origin(part) is Literal for word in get_args(part)]
    if words and isinstance(value, str):
        raise unknown(name, value, map(str, words))
    allowed = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    raise InputError(f"{name}={value!r} is not of the kind that is wanted: allowed is {allowed}")


def _takes(hint: Any, value: object) -> bool:
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    try:
        check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True


def _plain(value: object) -> object:
    """`value` with the types that hints name: numbers of Python, tuples, and paths as text."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def not_at_hand(name: str, address: str) -> InputError:
    """The error for a timm model whose published weights are not here, nor to be had from the server at `address`."""
    return InputError(
        f"the published weights of {name!r} are not on this machine, and {urlparse(address).hostname} cannot be "
        "reached: fetch them where there is a network, or name a run directory or a .safetensors file"
    )


def answers(address: str) -> bool:
    """Whether a server says anything, yes or no, within `WAIT` seconds; names are looked up in that time, too."""
    parts = urlparse(address)
    said = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(f"{parts.scheme}://{parts.netloc}/", method="HEAD")  # noqa: S310
            urllib.request.urlopen(request, timeout=WAIT).close()  # noqa: S310  # the address is one of timm's
        except urllib.error.HTTPError:
            pass  # an answer, too
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLError):  # others bring certificates of their own
                return
        except OSError:
            return
        said.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(WAIT)
    return said.is_set()
