"""`likewise embed`: write the vectors of a data set to an index or a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import Data, print_next


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Arguments of `likewise embed`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, .safetensors or .onnx file, or the name of a timm model with --pretrained."""
    data: Positional[Data]
    to: str
    """An index (photos.index), a .parquet or .npz file, or the address of a server (see the docs)."""
    split: str | None = None
    """Split of the data; by default all of it."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes: kept as the column `label`."""
    columns: str | None = None
    """CSV or Parquet file with a column `id`; its other columns are kept beside the rows."""
    shard: str | None = None
    """3/16: the third of 16 parts, each by a process of its own; the last one puts them together."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which images are shown; by default the encoder's own."""
    batch_size: int = 256
    """Images that go through the encoder together."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """cpu, cuda or mps; by default an accelerator where there is one."""
    precision: Literal["float32", "bf16"] = "float32"
    """Number format of the products."""
    ray: str | None = None
    """A Ray cluster that looks at the images: its address, `auto` for the one this machine is in, or `local`."""
    dtype: Literal["float32", "float16"] = "float32"
    """Number format of the vectors in a new index."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(Embed, words, "likewise embed", "Embed images into an index or a file.")
    from likewise.commands import command
    from likewise.index.embedding.embed import embed
    from likewise.training.planning.machine import detect
    from likewise.training.watching.progress import decoding

    names = ("to", "split", "labels", "columns", "shard", "which", "pretrained", "image_size", "batch_size")
    how = {name: getattr(parsed, name) for name in (*names, "precision", "ray", "dtype")}
    device = parsed.device if parsed.ray is not None else detect(parsed.device).device
    with decoding(parsed.to, enabled=not parsed.quiet, verb="embed") as progress:
        done = embed(parsed.run, parsed.data, device=device, progress=progress, **how)
    print(json.dumps(done.to_json(), indent=2) if parsed.json else done.counts if parsed.quiet else done)
    if not parsed.json and not parsed.quiet and done.path.endswith(".index"):
        from likewise.index import open_index

        print_next(command("search", done.path, f"id:{open_index(done.path).ids[0]}"))
