"""Stores by their address: `postgresql://...#table` and `qdrant://.../collection` are servers, all else is a folder."""

from __future__ import annotations

import re
from pathlib import Path

from likewise.index.space import Space
from likewise.index.stores.protocol import Store

_SERVER = re.compile(r"(?P<kind>postgres(?:ql)?|qdrant)://")


def is_address(path: str | Path) -> bool:
    """Whether `path` is the address of an index on a server."""
    return bool(_SERVER.match(str(path)))


def remote(address: str, space: Space | None) -> Store | None:
    """The store of a server's address, made for `space` where one is given; None for a path."""
    kind = _SERVER.match(address)
    if kind is None:
        return None
    if kind["kind"] == "qdrant":
        from likewise.index.stores.qdrant import QdrantStore

        return QdrantStore.create(address, space) if space else QdrantStore(address)
    from likewise.index.stores.postgres import PostgresStore

    return PostgresStore.create(address, space) if space else PostgresStore(address)
