"""What every method is run on: a tiny encoder, tiny images, and a handful of steps."""

from __future__ import annotations

import atexit
import copy
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import wavfile
from torch import Tensor
from torch.nn import Module

from likewise import methods
from likewise.data.batches.loading import LoadedBatch
from likewise.data.batches.streams import MAIN, Stream, evenly, order_of, shuffled
from likewise.data.source import Column
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.methods.method import Batch, Beside, Facts, Method, Progress, Terms, Views, made
from likewise.methods.whole import save_method
from likewise.runs import RunDirectory, plain
from likewise.training.refresh import refresh
from likewise.training.seeding import seed_step
from likewise.training.update import batch_of, stream_roles, views_of

SIDE, BATCH, IMAGES, CLASSES = 16, 8, 96, 3
SPEC = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=SIDE)
ALL = methods.names()


def needs(method: type[Method]) -> dict[str, Any]:
    """Settings that the method cannot do without."""
    by = TAUGHT_BY.get(methods.name_of(method), "moco_v2")
    wanted = {"frozen teacher": "teacher", "old encoder": "old"}
    return {name: teacher(by) for need, name in wanted.items() if need in method.card.needs}


TAUGHT_BY = {"hsakd": "hsakd"}
"""Methods whose teachers are runs of a certain method."""


@functools.cache
def teacher(by: str = "moco_v2") -> str:
    """A run that others learn from, once per process: wider, for larger and otherwise scaled images."""
    folder = Path(tempfile.mkdtemp(prefix="likewise-teacher-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    spec = dataclasses.replace(
        SPEC, name="resnet18", width=12, image_size=20, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)
    )
    method_class = methods.find(by)
    changes = {"role": "teacher"} if by == "hsakd" else {"queue_size": 32}
    settings = dataclasses.replace(next(iter(method_class.presets.values())).settings, **changes)
    facts = Facts(images=IMAGES, batch_size=BATCH, image_size=20, classes=CLASSES, mean=spec.mean, std=spec.std)
    with torch.random.fork_rng():  # the same in every process, whenever it is made
        torch.manual_seed(7)
        method = made(method_class, build(spec, seed=7), settings, facts)
    run = RunDirectory(folder)
    run.save_encoders(method.encoders())
    run.write(method=by, settings=plain(settings), encoder=plain(spec))
    save_method(method, facts, folder)
    return str(folder)


def small_settings(method: type[Method], **changes: Any) -> Any:
    """The first preset of a method, fitted to the tiny data set."""
    settings = next(iter(method.presets.values())).settings
    if getattr(settings, "queue_size", 0):  # 0 stands for no queue where that is possible
        changes = {"queue_size": 32, **changes}
    if getattr(settings, "per_class", 0):  # two processes share the supports equally
        changes = {"per_class": 2, **changes}
    if getattr(settings, "per_scan", 0):
        changes = {"per_scan": 2, **changes}
    if hasattr(settings, "pseudo_labels"):  # labels that change at each step are the harder case
        changes = {"pseudo_labels": "online", **changes}
    changes = {**needs(method), **changes}
    return dataclasses.replace(settings, **changes)


def make(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> Method:
    """A method on the tiny encoder, with everything drawn from `seed`: a copy, as building takes longer."""
    built, random = made_once(name, seed, dtype, tuple(changes.items()))
    torch.set_rng_state(random)
    return copy.deepcopy(built)


@functools.lru_cache(maxsize=16)
def made_once(name: str, seed: int, dtype: torch.dtype, changes: tuple[tuple[str, Any], ...]) -> tuple[Method, Tensor]:
    """The method that `make` copies, and the state that building it left torch's generator in."""
    method = methods.find(name)
    torch.manual_seed(seed)
    settings = small_settings(method, **dict(changes))
    built = made(method, build(SPEC, seed=seed), settings, facts_of(method.columns(settings)))
    built.to(dtype).train()
    if built.flow is not None:
        built.flows = flows(IMAGES)
    refresh_before(built, Progress(0, 0.0, 0))
    return built, torch.get_rng_state()


@functools.cache
def some_images() -> tuple[Tensor, Tensor]:
    """(96, 20, 20, 3) uint8 images of three textures, and their labels."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(IMAGES) % CLASSES
    grid = torch.arange(20.0)
    waves = torch.stack([torch.sin(grid * (0.4 + 0.5 * c)) for c in range(CLASSES)])
    base = waves[labels].unsqueeze(1) * waves[labels].unsqueeze(2)  # (N, 20, 20)
    noise = torch.randn(IMAGES, 20, 20, 3, generator=generator)
    return ((base.unsqueeze(3) + 0.5 * noise) * 50 + 128).clamp(0, 255).to(torch.uint8), labels


def flows(count: int) -> NDArray[np.float16]:
    """(count, 3, 20, 20) flow for methods that learn from it: a square moves on its own, not at all in some videos."""
    generator = torch.Generator().manual_seed(6)
    rows = torch.zeros(count, 3, 20, 20)
    rows[:, :2] = 0.3 * torch.randn(count, 2, 1, 1, generator=generator)
    rows[:, :2, 5:14, 6:16] += 2.0 * torch.randn(count, 2, 1, 1, generator=generator)
    rows *= (torch.arange(count) % 8 / 8.0).square().view(-1, 1, 1, 1)  # by the video, see `column_called`
    rows[:, 2] = 1.0
    return rows.numpy().astype(np.float16)


class Data:
    """The images, as the loop has them. With `few`, every fourth label is known."""

    name = "textures"

    def __init__(self, names: tuple[str, ...] = (), *, few: bool = False) -> None:
        self.pixels, labels = some_images()
        self.labels = labels.numpy() if not few else np.where(np.arange(IMAGES) % 4 == 0, labels.numpy(), -1)
        self.columns = {name: column_called(name) for name in names}
        self.names = [f"{number}.png" for number in range(IMAGES)]

    def __len__(self) -> int:
        return IMAGES

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return self.pixels[index], torch.full((len(index), 2), 20)


CAPTIONS = (
    "a dark square\nthe square",
    "two stripes",
    "赤い 車",
    "noise on the left\nnoise\nmuch noise",
    "grey",
    "a b c",
)
"""Texts of the images; some have several captions."""


@functools.cache
def sounds() -> tuple[str, ...]:
    """Sound files of eight scans, a tone that changes, and its loudness, every seven seconds; made once per process."""
    folder = Path(tempfile.mkdtemp(prefix="likewise-sounds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    seconds = np.arange(84 * 2000) / 2000
    for scan in range(8):
        wave = np.sin(2 * np.pi * (200 + 60 * ((seconds // 7 + scan) % 9)) * seconds)
        wavfile.write(
            folder / f"{scan}.wav", 2000, (20000 * wave * (1 + (seconds // 7 + scan) % 4) / 4).astype(np.int16)
        )
    return tuple(str(folder / f"{scan}.wav") for scan in range(8))


def column_called(name: str) -> Column:
    """A column of the images: places in a video, or which of eight videos, scans, coarser classes; captions."""
    place = np.arange(IMAGES)
    if name in {"video/another", "frame/another"}:
        return Column(7 - place // 3 % 8)
    if name == "time":
        return Column(place // 8 * 7000)
    if name == "speech":
        return Column(place % 8, sounds())
    if name == "tags":
        return Column(place % 4, ("left\nblue\nbig", "left\nblue", "right\nbig", "red"))
    if name == "caption":
        return Column(np.where(place % 12 == 11, -1, place % len(CAPTIONS)), CAPTIONS)
    return Column(place // 8 if name == "frame" else place % (4 if "/" in name else 8))


def facts_of(names: tuple[str, ...] = ()) -> Facts:
    """What every method is told."""
    columns = {name: column_called(name) for name in names}
    known = {"images": IMAGES, "classes": CLASSES, "labelled": IMAGES}
    beside = Beside(images=IMAGES, classes=CLASSES)
    return Facts(**known, batch_size=BATCH, image_size=SIDE, steps_per_epoch=12, beside=beside, columns=columns)


def refresh_before(method: Method, progress: Progress) -> None:
    """Show a method that wants it the whole data set, as the loop does at the start of an epoch."""
    if method.refresh_due(progress.epoch):
        refresh(method, Data(), SPEC, progress)


def batch_at(method: Method, step: int, *, size: int = BATCH, rank: int = 0, world: int = 1) -> tuple[Views, Batch]:
    """The views of one step, or this process's share of them, from the streams that the method declares."""
    settings = getattr(method, "settings", None)
    names = type(method).columns(settings)
    streams = type(method).streams(settings, facts_of(names))
    data = Data(names, few=any(stream.keep != "all" or stream.draw is evenly for stream in streams.values()))
    loaded = {name: loaded_at(data, name, stream, step, size)[rank::world] for name, stream in streams.items()}
    main = loaded.pop(MAIN)
    main = main._replace(others=loaded, **marks(method, main.ids))
    batch = batch_of(main)
    roles = stream_roles(method, {name: stream.views for name, stream in streams.items()})
    views = views_of(method, roles, main, batch, seed=3, step=step, rank=rank, world=world)
    dtype = next(method.parameters()).dtype
    return {role: view._replace(image=view.image.to(dtype)) for role, view in views.items()}, batch


class Share:
    """The batch of one stream, of which a slice is the share of a process."""

    def __init__(self, data: Data, index: NDArray[np.int64]) -> None:
        self.data, self.index = data, index

    def __getitem__(self, rows: slice) -> LoadedBatch:
        index = self.index[rows]
        first = index.reshape(len(index), -1)[:, 0]
        pixels, sizes = self.data.gather(index.reshape(-1))
        labels = torch.from_numpy(self.data.labels[first])
        columns = {name: torch.from_numpy(column.values[first]) for name, column in self.data.columns.items()}
        shaped = [part.reshape(*index.shape, *part.shape[1:]) for part in (pixels, sizes)]
        return LoadedBatch(*shaped, torch.from_numpy(index), labels, columns)


def loaded_at(data: Data, name: str, stream: Stream, step: int, size: int) -> Share:
    """The batch of a stream; that of a plain one goes through the images in their order."""
    if stream.draw is shuffled and stream.keep == "all" and stream.where is None:
        return Share(data, (np.arange(size) + step * size) % IMAGES)
    order = order_of(name, stream, data, min(size, BATCH), 3)  # type: ignore[arg-type]
    index = order.batch(step)
    if index.ndim == 3 and size > len(index):  # of clips: there are as many videos as a batch has
        index = np.concatenate([order.batch(step + more) for more in range(-(-size // len(index)))])[:size]
    return Share(data, index)


def marks(method: Method, index: Tensor) -> dict[str, Tensor]:
    """Masks of a square in each image, at another place in each, and boxes around them; where the method wants some."""
    if not method.masks:
        return {}
    corner_B2 = torch.stack([index % 9, index % 7], 1)
    at_2HW = torch.stack(torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij"))
    inside_B2HW = (at_2HW >= corner_B2[..., None, None]) & (at_2HW < corner_B2[..., None, None] + 9)
    regions_B14 = torch.cat([corner_B2 / 20, torch.full((len(index), 2), 9 / 20)], 1).unsqueeze(1)
    return {"masks": 255 * inside_B2HW.all(1).to(torch.uint8), "regions": regions_B14}


def optimizer_of(method: Method) -> torch.optim.Optimizer:
    return torch.optim.SGD(list(method.parameter_groups()), lr=0.05, momentum=0.9)


def one_step(
    method: Method,
    optimizer: torch.optim.Optimizer,
    step: int,
    wrapped: Module | None = None,
    rank: int = 0,
    world: int = 1,
) -> Terms:
    """One optimiser step in the order of the training loop, through a distributed wrapper where there is one.

    Each step is an epoch of its own, so that what happens between epochs happens.
    """
    progress = Progress(step, step / 10, step)
    if step:
        refresh_before(method, progress)
    seed_step(3, step, rank)
    method.before_step(progress)
    views, batch = batch_at(method, step, rank=rank, world=world)
    terms: Terms = (wrapped or method)(views, batch)
    optimizer.zero_grad()
    terms.loss.backward()
    method.after_backward(progress)
    optimizer.step()
    method.after_step(progress)
    return terms


def student_of(method: Method) -> Encoder:
    student = method.encoders()["student"]
    assert isinstance(student, Encoder)
    return student
