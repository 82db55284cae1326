"""`likewise explore`: a map of a collection by the features of an encoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next

if TYPE_CHECKING:
    from likewise.verbs.looking.explore import Explored


@dataclass(frozen=True, kw_only=True)
class Explore:
    """Arguments of `likewise explore`."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, .safetensors or .onnx file, or the name of a timm model with --pretrained."""
    data: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="DATA")] = ()
    """Images to look at; by default what the run was trained on."""
    out: str | None = None
    """HTML file to write: one page that opens offline."""
    serve: str | None = None
    """Folder for the same page with its thumbnails as files; it is then served on this machine until Ctrl-C."""
    port: int = 0
    """Port to serve at; 0 takes a free one."""
    parquet: str | None = None
    """Parquet table to write, which embedding-atlas opens, and FiftyOne with a few lines."""
    labels: str | None = None
    """Label column, or `folders` where sub-folders are the classes."""
    split: str | None = None
    """The only split to look at; by default all."""
    metadata: str | None = None
    """CSV, TSV or Parquet table with a column `name` (or `path`) and more to search and to colour by."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which images are shown to the encoder; by default the encoder's own."""
    layout: Literal["tsne", "pca"] = "tsne"
    """How images are placed; pca is quick and shows less."""
    clusters: int | None = None
    """Clusters to colour by; by default 1 to 40, more of them for more images."""
    images: int = 100_000
    """Images on the map at most, evenly spread over the data."""
    thumbnails: float | None = None
    """Megabytes that thumbnails may take; by default 48 in one file and 480 where they are served."""
    overwrite: bool = False
    """Replace what exists."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.checking import check_port
    from likewise.errors import InputError
    from likewise.parsing import parse

    parsed = parse(Explore, words, "likewise explore", "Look at a collection as an encoder sees it.")
    if len(parsed.data) > 1:
        raise InputError(f"{len(parsed.data)} data sets on one map: name one")
    from likewise.verbs.looking.explore import explore

    check_port(parsed.port)
    if parsed.serve is not None and _is_served_again(parsed):
        serve(Path(parsed.serve), parsed.port)
        return
    same = ("out", "parquet", "labels", "split", "metadata", "which", "pretrained", "image_size", "layout", "clusters")
    how = {name: getattr(parsed, name) for name in (*same, "images", "thumbnails", "overwrite", "quiet")}
    found = explore(parsed.run, parsed.data[0] if parsed.data else None, folder=parsed.serve, **how)
    if parsed.json:
        print(json.dumps(found.to_json(), indent=2))
    elif parsed.quiet:
        print(found.page or found.table)
    else:
        _tell(found)
    if parsed.serve is not None:
        serve(Path(parsed.serve), parsed.port)


def _is_served_again(parsed: Explore) -> bool:
    """Whether the folder holds a page that is only to be served once more."""
    return not parsed.overwrite and parsed.serve is not None and (Path(parsed.serve) / "index.html").is_file()


def _tell(found: Explored) -> None:
    """What was written, and what to do with it."""
    if found.page is not None:
        size = f"{found.page_bytes / 1e6:.1f} MB"
        print(f"page    {found.page} ({size}, {found.images:,} images, thumbnails of {found.thumbnail} px)")
    if found.table is not None:
        print(f"table   {found.table} ({found.images:,} rows)")
    print(f"found   {found.copies:,} exact copies among the {found.pairs:,} nearest pairs")
    for note in found.notes:
        print(f"note    {note}")
    if found.page is not None and found.page.suffix:
        print_next(f"open {found.page} in a browser")
    elif found.table is not None and found.page is None:
        print_next(f"embedding-atlas {found.table} --x x --y y --neighbors neighbors --image image")


def serve(folder: Path, port: int) -> None:
    """Serve the folder on the loopback interface until Ctrl-C."""
    from likewise.exploring.serving import address, server

    with server(folder, port) as running:
        print(f"serving {folder} at {address(running)}; Ctrl-C ends it", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()
