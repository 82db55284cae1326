"""Image data: any source, decoded once into a memory-mapped cache, gathered in whole batches.

source = open_source("photos/", labels="folders")
images = prepare(source, short_side=cached_side(96))
sampler = Sampler(len(images), 256, seed=0)
for batch in Loader(images, sampler, device="cuda").batches(first_step=0): ...
"""

from __future__ import annotations

from likewise.data.batches.loading import LoadedBatch, Loader
from likewise.data.batches.sampling import Sampler
from likewise.data.caching.cache import Size, cached_side, estimate, prepare
from likewise.data.describing import Description, describe
from likewise.data.images import Images
from likewise.data.source import Broken, BrokenImage, Source, write_broken
from likewise.data.sources.opening import open_source, split_names
from likewise.data.splitting.splits import held_out_split, training_split

__all__ = [
    "Broken",
    "BrokenImage",
    "Description",
    "Images",
    "LoadedBatch",
    "Loader",
    "Sampler",
    "Size",
    "Source",
    "cached_side",
    "describe",
    "estimate",
    "held_out_split",
    "open_source",
    "prepare",
    "split_names",
    "training_split",
    "write_broken",
]
