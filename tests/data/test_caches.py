"""`likewise cache`: what decoded images take, and how they are removed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from likewise.cli import main
from likewise.data import Images, open_source, prepare
from likewise.data.caching.caches import manage
from likewise.data.caching.derived import derive
from likewise.data.caching.locking import exclusive
from likewise.errors import InputError
from tests.data.images import noise, save

DAY = 86400


def folder_of(cache: Path, name: str) -> Path:
    """The only cache of a data set."""
    (found,) = (cache / "pictures").glob(f"{name}-*")
    return found


@pytest.fixture
def caches(tmp_path: Path, cache: Path) -> Path:
    """Caches of two folders: `old`, last used 40 days ago, and `new`."""
    for name, count in (("old", 2), ("new", 3)):
        for number in range(count):
            save(tmp_path / name / f"{number}.png", noise(seed=number))
        prepare(open_source(tmp_path / name), short_side=8)
    before = time.time() - 40 * DAY
    for file in (folder_of(cache, "old"), *folder_of(cache, "old").iterdir()):
        os.utime(file, (before, before))
    return cache


def states(result: object) -> list[tuple[str, str]]:
    rows = result.to_json()["caches"]  # type: ignore[attr-defined]
    return [(row["data"], row["state"]) for row in rows]


def test_caches_are_listed_the_longest_unused_first(caches: Path) -> None:
    (caches / "features").mkdir()
    (caches / "features" / "a.npy").write_bytes(bytes(3000))
    found = manage()
    assert states(found) == [("old", "ready"), ("new", "ready")]
    old = found.to_json()["caches"][0]
    assert (old["images"], old["short_side"]) == (2, 8)
    assert old["bytes"] == sum(file.stat().st_size for file in folder_of(caches, "old").iterdir())
    assert 39 < found.caches[0].days < 41
    assert "2 caches" in found.to_text()
    assert "not cleared by this: features 3.0 kB" in found.to_text()
    assert [cache.data for cache in manage(older_than=30).caches] == ["old"]
    assert [cache.data for cache in manage(["new"]).caches] == ["new"]
    with pytest.raises(InputError, match=r"unknown cache 'knew'.*new"):
        manage(["knew"])
    with pytest.raises(InputError, match="0 or more"):
        manage(older_than=-1)


def test_use_is_noted(caches: Path, tmp_path: Path) -> None:
    images = prepare(open_source(tmp_path / "old"), short_side=8)
    assert len(images) == 2
    assert manage(["old"]).caches[0].days < 1


def test_clearing_by_age_and_by_name(caches: Path, tmp_path: Path) -> None:
    cleared = manage(older_than=30, clear=True)
    assert states(cleared) == [("old", "removed")]
    assert [path.name for path in (caches / "pictures").iterdir() if path.is_dir()] == [folder_of(caches, "new").name]
    assert states(manage([folder_of(caches, "new").name[:12]], clear=True)) == [("new", "removed")]
    assert list((caches / "pictures").iterdir()) == []
    assert "nothing of that kind" in manage().to_text()
    assert len(prepare(open_source(tmp_path / "new"), short_side=8)) == 3


def test_what_is_in_use_stays(caches: Path, tmp_path: Path) -> None:
    images = prepare(open_source(tmp_path / "old"), short_side=8)
    part = images.subset(np.arange(1))
    del images
    assert states(manage(["old"], clear=True)) == [("old", "in use")]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).image(0), part.image(0))
    del part
    assert states(manage(["old"], clear=True)) == [("old", "removed")]


def test_what_another_process_uses_stays(caches: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from likewise.data import open_source, prepare\n"
        f"images = prepare(open_source({str(tmp_path / 'old')!r}), short_side=8)\n"
        "print(len(images), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"2\n"
        assert sorted(states(manage(clear=True))) == [("new", "removed"), ("old", "in use")]
        other.communicate()
    assert states(manage(clear=True)) == [("old", "removed")]


def test_what_is_unfinished_or_of_another_version_is_told(caches: Path) -> None:
    key = folder_of(caches, "new").name.rpartition("-")[2]
    left = caches / "pictures" / f".writing-new-{key}-0123abcd"
    left.mkdir()
    (left / "pixels.u8").write_bytes(bytes(10))
    facts = folder_of(caches, "old") / "cache.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format": 1}))
    assert sorted(states(manage())) == [("new", "ready"), ("new", "unfinished"), ("old", "outdated")]
    with exclusive(caches / "pictures" / f".{key}.lock", "new"):
        assert ("new", "in use") in states(manage([left.name], clear=True))
    assert len(manage(clear=True).removed) == 3


def test_the_verb(caches: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[1].startswith("old ")
    assert "next    likewise cache --older-than 30 --clear" in told
    assert main(["cache", "old", "--clear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["caches"][0]["state"] == "removed"
    assert main(["cache", "knew"]) == 2


def test_images_are_copies_where_their_pixels_are_equal(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / "p" / f"{number}.png", noise(seed=number % 3))
    save(tmp_path / "p" / "4.bmp", noise(seed=1))
    save(tmp_path / "p" / "5.png", noise(16, 12, seed=1).reshape(12, 16, 3).transpose(1, 0, 2))
    images: Images = prepare(open_source(tmp_path / "p"), short_side=None)
    assert images.copies == 2
    assert images.digests[1] == images.digests[4] != images.digests[0]
    assert images.subset(np.array([0, 2])).copies == 0


def test_arrays_made_of_images_are_listed_and_cleared_too(caches: Path, tmp_path: Path) -> None:
    images = prepare(open_source(tmp_path / "new"), short_side=8)
    held = derive(images, "teacher", "key", lambda index: np.zeros((len(index), 4), np.float32))
    rows = {row["holds"]: row for row in manage(["new"]).to_json()["caches"]}
    assert (rows["teacher"]["data"], rows["teacher"]["images"], rows["teacher"]["state"]) == ("new", 3, "in use")
    kept = manage(["new"], clear=True)
    assert (caches / "derived").is_dir()
    assert {cache.holds for cache in kept.removed} == set(), "what is mapped stays"
    del held, images
    folder = next((caches / "derived").glob("new-*"))
    left = folder.with_name(f".writing-{folder.name}")
    left.mkdir()
    (left / "rows.bin").write_bytes(bytes(16))
    assert sorted(states(manage(["new"]))) == [("new", "ready"), ("new", "ready")]
    found = manage(clear=True)
    assert sorted(cache.holds for cache in found.removed) == ["array", "images", "images", "teacher"]
    assert not [path for path in (caches / "derived").iterdir() if path.is_dir()]
