"""Published weights: from this machine where they exist, and a quick error where they cannot be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm
from huggingface_hub import constants, try_to_load_from_cache
from timm.models._hub import check_cached_file

from likewise.checking import answers, not_at_hand

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
        raise not_at_hand(name, address)
    return {}
