"""An index: searchable vectors of images, with ids, paths and columns, in one embedding space.

index = open_index("photos.index")
index.search("query.jpg", k=5).hits[0]
index.ids, index.paths, index.columns, index.vectors(), index.fingerprint
"""

from __future__ import annotations

from likewise.index.index import Index, create, is_index, open_index
from likewise.index.space import Space
from likewise.index.stores.protocol import Hit, Hits

__all__ = ["Hit", "Hits", "Index", "Space", "create", "is_index", "open_index"]
