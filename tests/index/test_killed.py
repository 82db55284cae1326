"""kill -9 at many moments of embedding: every image has one row, of one version, with its vector."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from likewise.encoders import build, save_encoder
from tests.index.conftest import SPEC, write_images

KILLING = """
import os, random, shutil, signal, sys, time
import numpy as np, torch
from pathlib import Path
from likewise.index import open_index
from likewise.index.checkup import check_index
from likewise.index.embedding import embed as embedding
from likewise.upgrading import refreshing
from likewise.verbs.using.upgrade import upgrade

torch.set_num_threads(1)
old, new, images, folder, verb, moments = sys.argv[1:7]
embedding.COMMIT_ROWS = 1
refreshing.refresh.__kwdefaults__["batch"] = 2
index = Path(folder) / "x.index"
names = sorted(path.name for path in Path(images).iterdir())

def embed():
    embedding.embed(old, images, to=index, batch_size=1)

def work():
    embed() if verb == "embed" else upgrade(index, to=new, gate=-1.0)

def anew():
    shutil.rmtree(index, ignore_errors=True)
    if verb == "upgrade":
        apart(embed, None)

def apart(job, seconds):
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        job()
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

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
draw, killed, partial = random.Random(0), 0, 0
anew()
for _ in range(int(moments)):
    killed += apart(work, draw.uniform(0.05, 1.0) * whole) == -signal.SIGKILL
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
print(killed, partial)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the system cannot fork")
@pytest.mark.parametrize(("verb", "moments"), [("embed", 20)])
def test_killed_at_many_moments_every_image_has_one_row_of_one_version(
    verb: str, moments: int, weights: Path, tmp_path: Path
) -> None:
    write_images(tmp_path / "images", 16)
    save_encoder(build(SPEC, seed=5), tmp_path / "new" / "encoder.safetensors")
    words = [weights, tmp_path / "new" / "encoder.safetensors", tmp_path / "images", tmp_path, verb, moments]
    done = subprocess.run(
        [sys.executable, "-c", KILLING, *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    killed, partial = map(int, done.stdout.split()[-2:])
    assert killed >= moments // 4
    assert verb == "upgrade" or partial >= 1
