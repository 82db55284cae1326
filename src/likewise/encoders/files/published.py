"""Published weights: from this machine where they exist, and a quick error where they cannot be fetched."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm
from huggingface_hub import constants, try_to_load_from_cache
from timm.models._hub import check_cached_file

from likewise.errors import InputError

WAIT = 2.0
"""Seconds that a server has to answer in. Left alone, the libraries would try for most of a minute."""
_FILES = ("model.safetensors", "pytorch_model.bin")


def at_hand(name: str) -> dict[str, Any]:
    """What timm has to be told so that it takes weights that are on this machine; empty where it fetches them.

    Raises `InputError` where they are not here and the server that has them does not answer within `WAIT` seconds.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None:
        return {}
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        for file in (config.hf_hub_filename, *_FILES):
            found = file and try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(found, str) and Path(found).is_file():
                return {"file": found}
        address, offline = constants.ENDPOINT, constants.HF_HUB_OFFLINE
    elif config.url:
        if check_cached_file(config.url):
            return {}
        address, offline = config.url if isinstance(config.url, str) else config.url[0], False
    else:
        return {}
    if offline or not answers(address):
        host = urlparse(address).hostname
        raise InputError(
            f"the published weights of {name!r} are not on this machine, and {host} cannot be reached: fetch them "
            "where there is a network, or name a run directory or a .safetensors file"
        )
    return {}


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
