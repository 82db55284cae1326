"""Whether a server can be reached, found out within two seconds and without what the libraries that use it import."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import urlparse

from likewise.errors import InputError

WAIT = 2.0
"""Seconds that a server has to answer in. Left alone, the libraries would try for most of a minute."""


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
