"""Video files, decoded by PyAV, and DICOM loops as data: an image is a frame, at their rate or a lower one.

What is inside a file is known when it is opened, from its packets alone; frames are decoded when they are read, forward
wherever possible. Files that do not give all of their frames as they are meant to be seen are left out, by name.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.data.decoding.decoded import BrokenImage
from likewise.data.decoding.pixels import fit
from likewise.data.fingerprints import digest, digest_files, file_facts
from likewise.data.labels import NONE
from likewise.data.source import Column, Pixels, Source
from likewise.data.sources.files import short_name
from likewise.data.sources.levels import FOLDERS, folder_labels, is_folders
from likewise.data.sources.walking import Tree, printable
from likewise.data.splitting.splits import are_splits, counts_of, in_order, pick_split
from likewise.data.videos import dicom
from likewise.errors import InputError, missing

ENDINGS = dicom.ENDINGS | frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".ts", ".3gp")
)
PREFIX = "video:"
"""`video:8:FOLDER` takes 8 frames a second of each video."""
_OPEN = 4  # files
_KEPT_BYTES = 64 << 20
_FAR = 300  # frames that are rather skipped than decoded
_IN_ORDER = 64  # frames whose order is looked at
_UNEVEN = 0.25  # of the usual distance that two distances of frames may differ by


class Contents(NamedTuple):
    """The video stream of a file, as its header describes it."""

    times_T: NDArray[np.int64]
    """When each frame is shown, rising, in units of the stream."""
    rate: Fraction
    """Frames a second."""


def contents_of(path: Path) -> Contents:
    """The frames of a file. Raises BrokenImage where they cannot be had as they are meant to be seen."""
    if dicom.is_dicom(path):
        count, rate = dicom.frames_of(path)
        return Contents(np.arange(count), rate)
    with _opened(path) as (container, stream):
        try:
            first = next(container.decode(stream))
            container.seek(0)
            times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
            _check_order(container, stream, times)
        except StopIteration as error:
            raise BrokenImage("there is no frame in it") from error
        except OSError as error:
            raise BrokenImage(f"cannot be decoded: {_reason(error)}") from error
        times_T = np.sort(np.array(times, np.int64))
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        _check_look(first)
        _check_times(times_T, float(stream.time_base), rate, int(stream.frames), _length(container, stream))
    return Contents(times_T, rate)


def _check_look(frame: Any) -> None:
    """Refuse frames that are stored otherwise than they are shown. Raises BrokenImage."""
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        raise BrokenImage(f"{bits}-bit colour")
    if frame.rotation % 360:
        raise BrokenImage(f"rotated by {frame.rotation % 360} degrees")


def _check_order(container: Any, stream: Any, times: Sequence[int]) -> None:
    """Refuse frames that are stored in another order than they are shown in, where the file does not say which.

    Frames are decoded for it where that may be: where each needs later ones, and times rise as they are stored. Raises
    BrokenImage.
    """
    if not stream.codec_context.has_b_frames or any(late < early for early, late in itertools.pairwise(times)):
        return
    container.seek(0)
    shown = [frame.pts for frame in itertools.islice(container.decode(stream), _IN_ORDER)]
    if None in shown or any(late < early for early, late in itertools.pairwise(shown)):
        raise BrokenImage("it does not say in which order its frames are shown")


def _check_times(times_T: NDArray[np.int64], unit: float, rate: Fraction, stated: int, seconds: float) -> None:
    """Refuse files that end early, and frames at uneven distances. Raises BrokenImage."""
    last = float(times_T[-1] - times_T[0]) * unit if len(times_T) else 0.0
    if len(times_T) < stated or last < seconds - 1.0:
        raise BrokenImage(f"truncated: {len(times_T):,} frames, {last:.1f} of {seconds:.1f} seconds")
    apart = np.diff(times_T) * unit
    if len(apart) and float(apart.max() - apart.min()) > _UNEVEN / float(rate):
        raise BrokenImage("a variable frame rate")


def _length(container: Any, stream: Any) -> float:
    """Seconds that a file says it has of video, 0 where it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return 0.0 if not container.duration or container.streams.audio else container.duration / 1e6


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its video stream. Raises BrokenImage where there is none."""
    import av

    try:
        container = av.open(str(path))
    except (OSError, ValueError) as error:
        raise BrokenImage(f"cannot be opened: {_reason(error)}") from error
    with container:
        if not container.streams.video:
            raise BrokenImage("no video in it" + (", only sound" if container.streams.audio else ""))
        yield container, container.streams.video[0]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].lower()


class _Player:
    """One file, played forward as frames are asked for; frames on the way are kept for who asks next."""

    def __init__(self, path: Path, contents: Contents, wanted: NDArray[np.int64]) -> None:
        self._path, self._contents = path, contents
        self._wanted = frozenset(wanted.tolist())
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._frames: Iterator[Any] | None = None
        self._next = 0
        self._kept: OrderedDict[tuple[int, int | None], Pixels] = OrderedDict()
        self._bytes = 0

    def frame(self, number: int, short_side: int | None) -> Pixels:
        """Frame `number`, counted from 0. Raises BrokenImage."""
        with self._lock:
            found = self._kept.get((number, short_side))
            return self._played_to(number, short_side) if found is None else found

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._stack.close()
            self._frames = None

    def _played_to(self, number: int, short_side: int | None) -> Pixels:
        goes_on = self._frames is not None and 0 <= number - self._next <= _FAR
        try:
            # Some containers lead to frames that nothing before can be decoded with: then from further back.
            for start in dict.fromkeys((None if goes_on else number, max(0, number - _FAR), 0)):
                if start is not None:
                    self._begin_at(start)
                found = self._forward_to(number, short_side)
                if found is not None:
                    return found
        except (OSError, ValueError) as error:
            raise BrokenImage(f"cannot be decoded: {_reason(error)}") from error
        raise BrokenImage("this frame cannot be decoded")

    def _forward_to(self, number: int, short_side: int | None) -> Pixels | None:
        """Frame `number` if it is among those that come; frames on the way that are wanted are kept."""
        assert self._frames is not None
        for frame in self._frames:
            at = int(np.searchsorted(self._contents.times_T, frame.pts))
            self._next = at + 1
            if at in self._wanted:
                pixels = fit(frame.to_ndarray(format="rgb24"), short_side)
                self._keep((at, short_side), pixels)
            if at == number:
                return pixels
            if at > number:
                break
        return None

    def _begin_at(self, number: int) -> None:
        """Open the file anew and go to the last frame before `number` that decoding can begin with."""
        self._stack.close()
        container, stream = self._stack.enter_context(_opened(self._path))
        if number:
            container.seek(int(self._contents.times_T[number]), stream=stream, backward=True)
        self._frames = container.decode(stream)

    def _keep(self, key: tuple[int, int | None], pixels: Pixels) -> None:
        self._kept[key] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


@dataclass(kw_only=True, eq=False)
class VideoSource(Source):
    """Frames of video files."""

    paths: Sequence[Path]
    """(V,) the files."""
    contents: Sequence[Contents]
    """(V,) what is in them."""
    video_N: NDArray[np.int64]
    """(N,) the file of each frame."""
    frame_N: NDArray[np.int64]
    """(N,) its number in it."""
    _players: OrderedDict[int, _Player | dicom.CineLoop] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        """Decode one frame. Raises BrokenImage."""
        return self._player(int(self.video_N[position])).frame(int(self.frame_N[position]), short_side)

    def _player(self, video: int) -> _Player | dicom.CineLoop:
        """The player of a file; those used longest ago are closed."""
        with self._lock:
            player = self._players.pop(video, None)
            if player is None:
                player = self._opened(video)
            self._players[video] = player
            if len(self._players) > _OPEN:
                self._players.popitem(last=False)[1].close()
            return player

    def _opened(self, video: int) -> _Player | dicom.CineLoop:
        path = self.paths[video]
        if dicom.is_dicom(path):
            return dicom.CineLoop(path)
        return _Player(path, self.contents[video], self.frame_N[self.video_N == video])


def has_videos(names: Sequence[str]) -> bool:
    """Whether there are files that end like videos."""
    return any(Path(name).suffix.lower() in ENDINGS for name in names)


def parsed(text: str) -> tuple[float | None, str]:
    """Frames a second and path of `video:8:FOLDER` or `video:FOLDER`. Raises InputError for a rate that is none."""
    rest = text.removeprefix(PREFIX)
    rate, colon, path = rest.partition(":")
    if not colon or Path(rest).expanduser().exists():
        return None, rest
    try:
        found = float(rate)
    except ValueError:
        found = 0.0
    if not 0.0 < found < float("inf"):
        raise InputError(f"{text!r}: a rate in frames a second comes after {PREFIX}, such as {PREFIX}8:{path}")
    return found, path


def splits_of(tree: Tree) -> tuple[str, ...]:
    """Splits of a folder of videos: its own folders, where they are called `train`, `test` and so on."""
    tops = {name.partition("/")[0] for name in _videos(tree) if "/" in name}
    return tuple(in_order(sorted(tops))) if are_splits(tops) else ()


def open_videos(
    root: Path, tree: Tree, *, rate: float | None = None, split: str | None = None, labels: str | None = None
) -> VideoSource:
    """The frames of all videos of a folder, or of the one file that `root` is.

    With `rate` as many frames a second as that, of videos that have more. Labels only with labels="folders" or the
    like. Raises InputError where no video can be read, for splits and labels that do not exist, and without PyAV or
    pydicom where it takes them.
    """
    if not all(dicom.is_dicom(Path(name)) for name in _videos(tree)):
        _need_av()
    place = printable(str(root))
    if labels not in {None, NONE} and not is_folders(labels):
        raise InputError(f"labels={labels!r} of the videos in {place}: allowed are {FOLDERS!r} and {NONE!r}")
    splits = splits_of(tree)
    chosen = pick_split(split, splits, f"the folder {place}")
    marks = [name.partition("/")[0] if splits else "" for name in _videos(tree)]
    names = [name for name, mark in zip(_videos(tree), marks, strict=True) if chosen in {None, mark}]
    files, contents, skipped = _looked_at(root, names)
    if not files:
        why = f": {next(iter(skipped))}" if skipped else ""
        raise InputError(f"no video in {place} can be read{why}")
    numbers = [_thinned(each, rate) for each in contents]
    video_N = np.repeat(np.arange(len(files)), [len(each) for each in numbers])
    frame_N = np.concatenate(numbers)
    kept = [printable(name) for name in files]
    inside = [name.partition("/")[2] if splits else name for name in files]
    found = folder_labels(place, inside, labels) if is_folders(labels) else None
    single = root.is_file()
    paths = [root if single else root / name for name in files]
    return VideoSource(
        name=short_name(root),
        fingerprint=digest(digest_files(map(file_facts, paths, kept), paths), rate),
        names=[f"{kept[video]}#{frame}" for video, frame in zip(video_N, frame_N, strict=True)],
        labels=found.values[video_N] if found else None,
        class_names=found.names if found else None,
        splits=splits,
        split=chosen,
        split_counts=counts_of(marks) if splits else {},
        left_out=dict(skipped + _others(tree)),
        columns={"video": Column(video_N, tuple(kept)), "frame": Column(frame_N)},
        paths=paths,
        contents=contents,
        video_N=video_N,
        frame_N=frame_N,
    )


def _need_av() -> None:
    """Raise InputError where PyAV is not installed; let it say nothing itself."""
    try:
        import av
    except ImportError as error:
        raise missing("av", "video", "reading videos") from error
    av.logging.set_level(av.logging.PANIC)


def _videos(tree: Tree) -> list[str]:
    return sorted(name for name in tree.others if Path(name).suffix.lower() in ENDINGS)


def _others(tree: Tree) -> Counter[str]:
    return Counter({ending: count for ending, count in tree.left_out.items() if ending not in ENDINGS})


def _looked_at(root: Path, names: Sequence[str]) -> tuple[list[str], list[Contents], Counter[str]]:
    """The files that can be read, what is in them, and the others by their names with the reason."""
    files, contents, skipped = [], [], Counter[str]()
    for name in names:
        try:
            contents.append(contents_of(root if root.is_file() else root / name))
            files.append(name)
        except BrokenImage as broken:
            skipped[f"{printable(name)} ({broken.reason})"] += 1
    return files, contents, skipped


def _thinned(contents: Contents, rate: float | None) -> NDArray[np.int64]:
    """Numbers of the frames that are taken: all, or those nearest to `rate` a second."""
    count = len(contents.times_T)
    step = 1.0 if rate is None else max(1.0, float(contents.rate) / rate)
    return np.unique(np.rint(np.arange(0, count - 0.5, step)).astype(np.int64))
