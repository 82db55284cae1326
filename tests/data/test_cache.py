"""The cache: decoded once, whole or not there at all."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import Broken, Source, cached_side, estimate, open_source, prepare, write_broken
from likewise.data.caching import cache as cache_module
from likewise.data.caching import store
from likewise.data.source import BrokenImage, Pixels
from likewise.errors import InputError
from tests.data.images import encoded, flat, noise, save


class Counting(Source):
    """Images that say their number, and count how often they are read."""

    reads = 0
    fails_at: int | None = None
    broken: frozenset[int] = frozenset()
    passing: frozenset[int] = frozenset()
    seconds = 0.0

    def read(self, position: int, short_side: int | None = None) -> Pixels:
        self.reads += 1
        time.sleep(self.seconds)
        if position == self.fails_at:
            raise RuntimeError("the power is gone")
        if position in self.broken:
            raise BrokenImage("worn out")
        if position in self.passing:
            raise BrokenImage("away", passing=True)
        return flat((position % 256, position // 256, 0), 4, 5)


def counting(count: int = 300, **attributes: Any) -> Counting:
    source = Counting(name="counted", fingerprint="f" * 8, names=[f"p{number}" for number in range(count)])
    source.labels = np.arange(count)
    for name, value in attributes.items():
        setattr(source, name, value)
    return source


def numbers(images: Any) -> list[int]:
    pixels = images.gather(np.arange(len(images)))[0].numpy().astype(int)
    return list(pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 0, 1])


def left_over(cache: Path) -> list[str]:
    """What lies in the cache beside whole caches and locks."""
    return [path.name for path in (cache / "pictures").iterdir() if path.name.startswith(".writing")]


@pytest.mark.parametrize("workers", [None, 1, 5])
def test_images_keep_their_order(workers: int | None) -> None:
    images = prepare(counting(), short_side=None, workers=workers)
    assert numbers(images) == list(range(300))
    assert images.sizes.tolist() == [[4, 5]] * 300
    assert images.labels is not None
    assert images.labels.tolist() == list(range(300))
    assert images.name == "counted"


def test_a_second_time_nothing_is_decoded(cache: Path) -> None:
    first = prepare(counting(), short_side=None)
    again = counting()
    second = prepare(again, short_side=None)
    assert again.reads == 0
    assert numbers(second) == numbers(first)
    assert second.fingerprint == first.fingerprint
    assert len(list((cache / "pictures").glob("counted-*"))) == 1


def test_other_sizes_and_other_data_are_other_caches() -> None:
    other = counting()
    other.fingerprint = "0" * 8
    prints = {prepare(counting(), short_side=side).fingerprint for side in (None, 3, 2)}
    prints.add(prepare(other, short_side=None).fingerprint)
    assert len(prints) == 4


def test_labels_are_not_in_the_cache() -> None:
    prepare(counting(broken={0}), short_side=None)
    relabelled = counting()
    relabelled.labels = np.arange(300) * 2
    images = prepare(relabelled, short_side=None)
    assert relabelled.reads == 0
    assert images.labels is not None
    assert images.labels[:2].tolist() == [2, 4]


def test_images_are_reduced(tmp_path: Path) -> None:
    save(tmp_path / "p" / "big.jpg", noise(400, 600))
    save(tmp_path / "p" / "small.png", noise(10, 12))
    save(tmp_path / "p" / "wide.png", noise(2, 20000))
    images = prepare(open_source(tmp_path / "p"), short_side=cached_side(32))
    assert images.sizes.tolist() == [[37, 56], [10, 12], [2, 6]]


def test_cached_side_leaves_room_for_crops() -> None:
    assert [cached_side(size) for size in (28, 32, 224)] == [33, 37, 258]


def test_progress_counts_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    prepare(counting(), short_side=None, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (300, 300)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    prepare(counting(), short_side=None, progress=lambda done, total: calls.append((done, total)))
    assert calls == []


def test_size_is_said_before_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert estimate(counting(), short_side=None).total == 300 * 4 * 5 * 3
    with caplog.at_level(logging.INFO, logger="likewise"):
        prepare(counting(), short_side=None)
    assert "decoding 300 images of counted, about 18.0 kB" in caplog.text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")]
)
def test_sizes_are_readable(size: float, text: str) -> None:
    assert cache_module.readable(size) == text


# Broken images ---------------------------------------------------------------------------------------------------


def test_broken_images_are_left_out_and_listed(tmp_path: Path) -> None:
    for position in range(2):
        source = counting(20, broken={3, 17})
        images = prepare(source, short_side=None)
        assert images.broken == (Broken("p3", "worn out"), Broken("p17", "worn out"))
        kept = [number for number in range(20) if number not in {3, 17}]
        assert numbers(images) == kept
        assert list(images.names) == [f"p{number}" for number in kept]
        assert images.labels is not None
        assert images.labels.tolist() == kept
        assert (source.reads == 0) == (position == 1)
    write_broken(tmp_path / "broken.json", images.broken)
    assert json.loads((tmp_path / "broken.json").read_text())[1] == {"name": "p17", "reason": "worn out"}


def test_what_could_not_be_read_for_a_while_is_tried_again(cache: Path) -> None:
    source = counting(20, broken={3}, passing={17})
    before = prepare(source, short_side=None)
    assert [entry.name for entry in before.broken] == ["p3", "p17"]
    reads = source.reads
    assert prepare(source, short_side=None).fingerprint == before.fingerprint
    assert source.reads == reads + 1
    after = prepare(counting(20, broken={3}), short_side=None)
    assert [entry.name for entry in after.broken] == ["p3"]
    assert after.fingerprint != before.fingerprint
    assert numbers(after) == [number for number in range(20) if number != 3]
    assert numbers(before) == [number for number in range(20) if number not in {3, 17}]
    assert before.positions.tolist() == numbers(before)
    assert after.subset(np.array([5, 2])).positions.tolist() == [6, 2]
    with pytest.raises(FileNotFoundError, match="made anew"):
        pickle.loads(pickle.dumps(before))  # its file is another one now
    assert [path.name for path in (cache / "pictures").iterdir() if not path.name.endswith(".lock")] == [
        store_folder.name for store_folder in (cache / "pictures").glob("counted-*")
    ]


def test_a_file_that_may_be_read_again_is_no_longer_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        save(tmp_path / "photos" / f"{number}.png", noise(seed=number))

    whole = Path.read_bytes

    def stale(path: Path) -> bytes:
        if path.name == "4.png":
            raise OSError(errno.ESTALE, "Stale file handle")
        return whole(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", stale)
        assert prepare(open_source(tmp_path / "photos"), short_side=None).broken[0].reason.endswith("stale file handle")
    assert not prepare(open_source(tmp_path / "photos"), short_side=None).broken


def test_too_many_broken_images_are_an_error(cache: Path) -> None:
    source = counting(20, broken=frozenset(range(5)))
    with pytest.raises(InputError, match=r"5 of 20 images of counted .* share of 20%: p0 \(worn out\).* and 2 more"):
        prepare(source, short_side=None)
    assert left_over(cache) == []
    assert len(prepare(source, short_side=None, max_broken=0.25)) == 15
    with pytest.raises(InputError, match="5 of 20"):  # of the cache, too
        prepare(source, short_side=None, max_broken=0.2)


def test_hopeless_data_are_given_up_early() -> None:
    source = counting(10_000, broken=frozenset(range(5000)))
    with pytest.raises(InputError, match=r"of the first \d+ of 10000 images"):
        prepare(source, short_side=None, max_broken=0.01)
    assert source.reads < 3000


def test_nothing_left_is_an_error_whatever_is_allowed() -> None:
    with pytest.raises(InputError, match="3 of 3 images"):
        prepare(counting(3, broken=frozenset(range(3))), short_side=None, max_broken=1.0)
    with pytest.raises(InputError, match="holds no images"):
        prepare(counting(0), short_side=None)
    with pytest.raises(InputError, match="short_side=0"):
        prepare(counting(3), short_side=0)


def test_a_folder_of_everything_that_goes_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "wild"
    save(folder / "fine.png")
    save(folder / "grey16.png", np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    save(folder / "cmyk.jpg", Image.fromarray(noise()).convert("CMYK"))
    save(folder / "pixel.png", noise(1, 1))
    save(folder / "panorama.png", noise(3, 20_000))
    (folder / "truncated.jpg").write_bytes(encoded(noise(90, 90), "JPEG")[:1500])
    (folder / "zero.png").write_bytes(b"")
    (folder / "letter.jpg").write_text("Dear reader, I am no image.")
    images = prepare(open_source(folder), short_side=37, max_broken=0.5)
    assert list(images.names) == ["cmyk.jpg", "fine.png", "grey16.png", "panorama.png", "pixel.png"]
    reasons = {entry.name: entry.reason for entry in images.broken}
    assert reasons["zero.png"] == "empty file"
    assert reasons["letter.jpg"] == "text, not an image"
    assert "truncated" in reasons["truncated.jpg"]


# Whole or not at all -----------------------------------------------------------------------------------------------


def test_a_failure_leaves_nothing_behind(cache: Path) -> None:
    with pytest.raises(RuntimeError, match="the power is gone"):
        prepare(counting(fails_at=290), short_side=None)
    assert left_over(cache) == []
    assert list((cache / "pictures").glob("counted-*")) == []
    assert numbers(prepare(counting(), short_side=None)) == list(range(300))


@pytest.mark.parametrize("stage", ["fsync", "rename"])
def test_a_failure_in_the_last_moment_leaves_nothing_behind(
    cache: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync", fail) if stage == "fsync" else (Path, "rename", fail)))
        with pytest.raises(InputError, match=r"cannot write decoded images to .*: input/output error"):
            prepare(counting(), short_side=None)
    assert left_over(cache) == []
    assert numbers(prepare(counting(), short_side=None)) == list(range(300))


def prepare_slowly(cache: Path) -> None:
    """What the process does that is killed."""
    os.environ["LIKEWISE_CACHE"] = str(cache)
    prepare(counting(3000, seconds=0.002), short_side=None, workers=1)


def test_a_killed_process_leaves_no_half_cache(cache: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=prepare_slowly, args=(cache,))
    process.start()
    deadline = time.monotonic() + 60
    while not (cache / "pictures").exists() or not left_over(cache):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(left_over(cache)) == 1
    assert list((cache / "pictures").glob("counted-*")) == []
    source = counting(3000)
    assert numbers(prepare(source, short_side=None)) == list(range(3000))
    assert source.reads >= 3000
    assert left_over(cache) == []


def test_damaged_caches_are_made_again(cache: Path) -> None:
    prepare(counting(), short_side=None)
    (folder,) = (cache / "pictures").glob("counted-*")
    for damage in ("pixels.u8", "index.npz", "cache.json"):
        os.truncate(folder / damage, 10)
        source = counting()
        assert numbers(prepare(source, short_side=None)) == list(range(300))
        assert source.reads >= 300


def test_several_at_once_decode_once() -> None:
    sources = [counting(seconds=0.001) for _ in range(4)]
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda source=source: found.append(numbers(prepare(source, short_side=None))))
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(300))] * 4
    assert sorted(source.reads > 0 for source in sources) == [False, False, False, True]


def test_without_locks_the_last_rename_decides(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(_: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("likewise.data.caching.locking._take", no_locks)
    whole = store.Writer.commit

    def overtaken(self: store.Writer, facts: dict[str, Any]) -> None:
        if not list(cache.glob("pictures/counted-*")):
            monkeypatch.setattr(store.Writer, "commit", whole)
            prepare(counting(), short_side=None)
        whole(self, facts)

    monkeypatch.setattr(store.Writer, "commit", overtaken)
    assert numbers(prepare(counting(), short_side=None)) == list(range(300))
    assert left_over(cache) == []


# Room and rights ---------------------------------------------------------------------------------------------------


def test_no_room_is_said_before_anything_is_written(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(cache.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"take about 18.0 kB, and there are 1.0 kB free .*LIKEWISE_CACHE"):
        prepare(counting(), short_side=None)
    assert left_over(cache) == []


def test_room_that_runs_out_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: store.Writer, position: int, pixels: Pixels) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.Writer, "add", full)
    with pytest.raises(InputError, match="no room is left on the disk"):
        prepare(counting(), short_side=None)
    assert left_over(cache) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write decoded images to .*LIKEWISE_CACHE names another place"):
        prepare(counting(), short_side=None, cache_dir=tmp_path / "file")


def test_cache_dir_comes_before_the_variable(cache: Path, tmp_path: Path) -> None:
    prepare(counting(), short_side=None, cache_dir=tmp_path / "elsewhere")
    assert not cache.exists()
    assert list((tmp_path / "elsewhere" / "pictures").glob("counted-*"))
