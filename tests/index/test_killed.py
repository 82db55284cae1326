"""kill -9 at random moments of embedding and of an upgrade: every image has one row, of one version, with its vector.

`LIKEWISE_KILLS=50` tries so many moments of each; by default a few, which takes seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from likewise.encoders import build, save_encoder
from tests.index.conftest import SPEC, write_images

KILLING = """
import functools, os, random, shutil, signal, sys, time
import numpy as np, torch
from pathlib import Path
from likewise.index import open_index
from likewise.index.checkup import check_index
from likewise.index.embedding import work as working
from likewise.index.embedding.embed import embed as embedded
from likewise.upgrading import planning, refreshing
from likewise.verbs.using.upgrade import upgrade

torch.set_num_threads(1)
old, new, images, folder, verb, moments = sys.argv[1:7]
working.COMMIT_ROWS = 1
refreshing.refresh.__kwdefaults__["batch"] = 2
planning.plan_sheet = functools.partial(planning.plan_sheet, forms=("ridge",))
index, prepared = Path(folder) / "x.index", Path(folder) / "prepared.index"
names = sorted(path.name for path in Path(images).iterdir())

def embed():
    embedded(old, images, to=index, batch_size=1)

def work():
    embed() if verb == "embed" else upgrade(index, to=new, gate=-1.0)

def anew():
    shutil.rmtree(index, ignore_errors=True)
    if verb == "upgrade":
        shutil.copytree(prepared, index)

def version():
    return (index / "manifest.json").stat().st_mtime_ns if (index / "manifest.json").exists() else 0

def apart(job, seconds, *, once_written=False):
    before, child = version(), os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        job()
        os._exit(0)
    if seconds is not None:
        end = time.monotonic() + 60
        while once_written and version() == before and time.monotonic() < end:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

apart(embed, None)
shutil.copytree(index, prepared)
anew()
truth = {}
began = time.perf_counter()
if verb == "upgrade":
    truth[0] = dict(zip(open_index(index).ids, open_index(index).vectors()))
assert apart(work, None) == 0
whole = time.perf_counter() - began
done = open_index(index)
truth[len(done.spaces) - 1] = dict(zip(done.ids, np.array(done.vectors())))
assert sorted(done.ids) == names and set(done.versions) == {len(done.spaces) - 1}
draw, killed, partial, tries = random.Random(0), 0, 0, 0
anew()
while killed < int(moments) and tries < 5 * int(moments):
    tries += 1
    late = tries % 2 == 1  # a moment after its first commit; else any, most of which lie before that
    seconds = draw.uniform(0, 0.1) * whole if late else draw.uniform(0.03, 0.7) * whole
    killed += apart(work, seconds, once_written=late) == -signal.SIGKILL
    if not (index / "manifest.json").exists():
        continue
    held = open_index(index)
    ids, versions = held.ids, held.versions
    assert len(ids) == len(set(ids)) and set(ids) <= set(names)
    if verb == "upgrade":
        assert sorted(ids) == names
    for number in set(versions.tolist()):
        of = [one for one, version in zip(ids, versions) if version == number]
        expected = np.stack([truth[number][one] for one in of])
        assert np.abs(held.vectors(number) - expected).max() < 1e-5
    finished = len(ids) == len(names) and (verb == "embed" or (versions == 1).all())
    partial += not finished and (verb == "embed" or len(set(versions.tolist())) == 2)
    if finished:
        anew()
assert apart(work, None) == 0
assert sorted(open_index(index).ids) == names and len(set(open_index(index).versions)) == 1
assert not check_index(index).wrong
print(killed, partial, tries)
"""


MOMENTS = int(os.environ.get("LIKEWISE_KILLS", "4"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.parametrize("verb", ["embed", "upgrade"])
def test_killed_at_random_moments_every_image_has_one_row_of_one_version(
    verb: str, weights: Path, tmp_path: Path
) -> None:
    write_images(tmp_path / "images", 24)
    save_encoder(build(SPEC, seed=5), tmp_path / "new" / "encoder.safetensors")
    words = [weights, tmp_path / "new" / "encoder.safetensors", tmp_path / "images", tmp_path, verb, MOMENTS]
    done = subprocess.run(
        [sys.executable, "-c", KILLING, *map(str, words)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    killed, partial, tries = map(int, done.stdout.split()[-3:])
    print(f"{verb}: ended by kill -9 at {killed} moments in {tries} tries, after {partial} of them it was half done")
    assert killed == MOMENTS
    assert partial >= 1
