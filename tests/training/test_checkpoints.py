"""Checkpoints: equal in every bit, and never anything but whole or absent."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import warnings
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import likewise
from likewise.errors import DiskFull, InputError, LikewiseError
from likewise.files import write_aside
from likewise.training.checkpoints import (
    DamagedCheckpoint,
    all_checkpoints,
    check_room,
    latest,
    load,
    path_for,
    save,
    size_of,
    step_of,
)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{place}/{key!r}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from leaves(item, f"{place}/{number}")
    else:
        yield place, value


def assert_same_bits(found: Any, expected: Any) -> None:
    """Equal structure, types, strides and bits; NaN equals NaN of the same bits."""
    left, right = dict(leaves(found)), dict(leaves(expected))
    assert left.keys() == right.keys()
    for place, value in left.items():
        other = right[place]
        if isinstance(value, Tensor):
            assert value.dtype == other.dtype, place
            assert value.shape == other.shape, place
            assert value.stride() == other.stride(), place
            size = value.element_size()
            as_bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
            assert torch.equal(value.detach().contiguous().view(as_bits), other.detach().contiguous().view(as_bits)), (
                place
            )
        else:
            assert type(value) is type(other), place
            assert value == other or value != value, place  # noqa: PLR0124


def model_and_optimiser(steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 4))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        model(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimiser.step()
    return model, optimiser


def state_of(step: int = 3) -> dict[str, Any]:
    model, optimiser = model_and_optimiser()
    return {
        "method": dict(model.state_dict()),
        "optimizer": optimiser.state_dict(),
        "progress": {
            "step": step,
            "minutes": 0.1 + 0.2,
            "fraction": 1e-300,
            "name": "isd",
            "done": False,
            "none": None,
        },
    }


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    state = state_of()
    state["method"] |= {
        "bf16": torch.randn(5, 3).bfloat16(),
        "half": torch.randn(3).half(),
        "double": torch.tensor([1 / 3, float("nan"), float("-inf"), -0.0], dtype=torch.float64),
        "pointer": torch.tensor(2**62 + 1),
        "filled": torch.tensor([True, False, True]),
        "empty": torch.empty(0, 7),
        "transposed": torch.randn(4, 6).T,
        "bytes": torch.arange(256).to(torch.uint8),
    }
    assert_same_bits(load(save(tmp_path, 3, state)), state)


def test_resumed_optimiser_continues_bit_for_bit(tmp_path: Path) -> None:
    whole, _ = model_and_optimiser(steps=6)
    model, optimiser = model_and_optimiser(steps=3)
    generator_state = torch.get_rng_state()
    path = save(tmp_path, 3, {"method": model.state_dict(), "optimizer": optimiser.state_dict()})

    fresh, after = model_and_optimiser(steps=0)
    state = load(path)
    fresh.load_state_dict(state["method"])
    after.load_state_dict(state["optimizer"])
    torch.set_rng_state(generator_state)
    for _ in range(3):
        after.zero_grad()
        fresh(torch.randn(4, 3, 8, 8)).square().mean().backward()
        after.step()
    assert_same_bits(dict(fresh.state_dict()), dict(whole.state_dict()))


def test_tied_tensors_stay_tied_and_views_do_not_drag_their_storage(tmp_path: Path) -> None:
    tied, large = torch.randn(10), torch.randn(1_000_000)
    path = save(tmp_path, 1, {"method": {"a": tied, "b": tied, "view": large[:4]}})
    assert path.stat().st_size < 10_000
    found = load(path)["method"]
    assert found["a"].untyped_storage().data_ptr() == found["b"].untyped_storage().data_ptr()
    assert torch.equal(found["view"], large[:4])


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"progress": {"loss": np.float64(1.0)}}, r"state\['progress'\]\['loss'\] is of type float64"),
        ({"method": {"queue": [torch.zeros(1), {1, 2}]}}, r"state\['method'\]\['queue'\]\[1\] is of type set"),
        ({"progress": {1.5: 2}}, "key 1.5 of .* is of type float"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, state: dict[str, Any], place: str) -> None:
    with pytest.raises(TypeError, match=place):
        save(tmp_path, 1, state)
    assert all_checkpoints(tmp_path) == []


def test_a_checkpoint_can_run_no_code(tmp_path: Path) -> None:
    path = path_for(tmp_path, 1)
    torch.save({"method": Path("x")}, path)
    with pytest.raises(DamagedCheckpoint, match="cannot be read"):
        load(path)


# Names, order, keeping -----------------------------------------------------------------------------------------------


def steps_in(directory: Path) -> list[int]:
    return [step_of(path) for path in all_checkpoints(directory)]


def test_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 1000, 999_999_999, 1_000_000_000):
        save(tmp_path, step, {"progress": {"step": step}}, keep=3)
    assert steps_in(tmp_path) == [1000, 999_999_999, 1_000_000_000]
    newest = latest(tmp_path)
    assert newest is not None
    assert load(newest)["progress"]["step"] == 1_000_000_000


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 5, {"progress": {"try": 1}})
    save(tmp_path, 5, {"progress": {"try": 2}})
    assert steps_in(tmp_path) == [5]
    assert load(path_for(tmp_path, 5))["progress"]["try"] == 2


def test_nothing_there(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "missing") is None
    with pytest.raises(InputError, match="there is no checkpoint"):
        load(path_for(tmp_path, 5))


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        save(tmp_path, 1, {}, keep=0)
    with pytest.raises(InputError, match="is not a checkpoint"):
        step_of(tmp_path / "model.pt")


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step-12.pt").write_text("not ours either")
    save(tmp_path, 1, {})
    save(tmp_path, 2, {}, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-000000002.pt", "step-12.pt"]


# Damage --------------------------------------------------------------------------------------------------------------


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    match how:
        case "empty":
            content = bytearray()
        case "text":
            content = bytearray(b"this is no checkpoint\n" * 50)
        case "half":
            del content[len(content) // 2 :]
        case "last byte missing":
            del content[-1]
        case "one bit":
            middle = content.index(torch.full((64,), 1.5).numpy().tobytes())
            content[middle + 10] ^= 4
        case "zeros":
            content = bytearray(len(content))
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "text", "half", "last byte missing", "one bit", "zeros"])
def test_damaged_newest_falls_back_with_a_warning(tmp_path: Path, how: str) -> None:
    content = {"method": {"weight": torch.full((64,), 1.5)}}
    good = save(tmp_path, 10, content)
    damaged(bad := save(tmp_path, 20, content), how)
    with pytest.raises(DamagedCheckpoint, match=bad.name):
        load(bad)
    with pytest.warns(UserWarning, match=f"{bad.name} is damaged .*falling back"):
        assert latest(tmp_path) == good


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Any single changed byte is either found, or lies in padding and changes nothing."""
    state = state_of()
    path = save(tmp_path, 1, state)
    content = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(content), 60)
    for place in places.tolist():
        changed = bytearray(content)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        try:
            found = load(path)
        except DamagedCheckpoint:
            continue
        assert_same_bits(found, state)


def test_all_damaged_is_none_with_a_warning_each(tmp_path: Path) -> None:
    for step in (1, 2):
        damaged(save(tmp_path, step, {}), "half")
    with pytest.warns(UserWarning, match="damaged") as warned:
        assert latest(tmp_path) is None
    assert len(warned) == 2


def test_damaged_later_ones_do_not_push_out_new_ones(tmp_path: Path) -> None:
    """After falling back from step 30 to 20, saving step 25 keeps 25, though 30 has the higher number."""
    save(tmp_path, 20, {})
    damaged(save(tmp_path, 30, {}, keep=2), "half")
    save(tmp_path, 25, {}, keep=1)
    assert steps_in(tmp_path) == [25]


# A full disk ---------------------------------------------------------------------------------------------------------


def full(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 0, free)
    monkeypatch.setattr("likewise.training.checkpoints.shutil.disk_usage", lambda _: usage)


def test_without_room_the_last_whole_checkpoint_stays_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"method": {"weight": torch.full((300_000,), 1.5)}}
    for step in (10, 20):
        save(tmp_path, step, state)
    full(monkeypatch, 1000)
    with pytest.warns(UserWarning, match=r"step-0*30\.pt was not written: it takes 1\.2 MB .* has .*step-0*20\.pt"):
        assert save(tmp_path, 30, state) is None
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000020.pt"]
    assert torch.equal(load(path_for(tmp_path, 20))["method"]["weight"], state["method"]["weight"])
    monkeypatch.undo()
    assert save(tmp_path, 40, state) == path_for(tmp_path, 40)


def test_older_checkpoints_make_room_for_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"method": {"weight": torch.zeros(1000)}}
    for step in (10, 20):
        save(tmp_path, step, state)
    full(monkeypatch, 10_000)  # enough, without anything to spare
    save(tmp_path, 30, state)
    assert steps_in(tmp_path) == [20, 30]
    damaged(path_for(tmp_path, 30), "half")
    with pytest.warns(UserWarning, match="damaged"):
        save(tmp_path, 40, state)
    assert steps_in(tmp_path) == [20, 40]


def test_a_disk_that_fills_up_while_writing_leaves_nothing_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch makes an assertion of its own of what the system says."""
    good = save(tmp_path, 10, {"method": {"weight": torch.zeros(10)}})

    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            if self.tell() + len(content) > 50_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

        def fileno(self) -> int:
            return -1

    monkeypatch.setattr(Path, "open", lambda path, mode: path.touch() or Full())
    with pytest.warns(UserWarning, match=r"was not written: .* the last one, step-000000010.pt, stays"):
        assert save(tmp_path, 20, {"method": {"weight": torch.zeros(100_000)}}) is None
    assert list(tmp_path.iterdir()) == [good]


def test_other_files_name_the_full_disk_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_text("before")
    with pytest.raises(DiskFull, match=r"encoder\.safetensors could not be written: No space left"), write_aside(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_room_is_looked_at_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.zeros(10_000_000)
    state = {"weight": weight, "tied": weight, "part": weight[:5]}
    assert size_of(state) == 40_000_000
    check_room(tmp_path / "run" / "checkpoints", state, 40_000_000)
    full(monkeypatch, 120_000_000)
    with pytest.raises(InputError, match=r"a checkpoint takes up to 120\.0 MB, and .* has 120\.0 MB left: free some"):
        check_room(tmp_path / "run" / "checkpoints", state, 40_000_000)


# A writer that dies --------------------------------------------------------------------------------------------------

WRITER = """
import json, os, resource, signal, sys
from pathlib import Path
import torch
from likewise.training import (checkpoints)
from likewise import files

torch.set_num_threads(1)

def state(step):
    return {"method": {"weight": torch.full((20_000,), float(step))}, "progress": {"step": step}}

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def arrange(point):
    kind, _, number = point.partition(":")
    if kind == "bytes":  # the kernel kills the writer at exactly this many bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), int(number)))
    elif kind == "fsync":
        calls, real = [], os.fsync
        os.fsync = lambda fd: die() if len(calls) == int(number) else (calls.append(fd), real(fd))
    elif kind == "exit":
        os.fsync = lambda fd: os._exit(9)
    elif kind == "rename":
        Path.replace = die
    elif kind == "unlink":  # the first call tidies the renamed partial file, later ones remove old checkpoints
        calls, real = [], Path.unlink
        def unlink(self, missing_ok=False):
            if len(calls) == int(number):
                die()
            calls.append(self)
            real(self, missing_ok=missing_ok)
        Path.unlink = unlink

for point, directory in json.loads(sys.argv[1]).items():
    directory = Path(directory)
    for step in (10, 20):
        checkpoints.save(directory, step, state(step))
    child = os.fork()
    if child == 0:
        arrange(point)
        checkpoints.save(directory, 30, state(30))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(json.dumps([point, os.waitstatus_to_exitcode(status)]))
"""

POINTS = {
    "bytes:1": 20,
    "bytes:5000": 20,
    "bytes:60000": 20,
    "bytes:80500": 20,
    "fsync:0": 20,
    "exit": 20,
    "rename": 20,
    "unlink:0": 30,
    "fsync:1": 30,
    "unlink:1": 30,
}
"""Where the writer of step 30 dies, and the newest step that must be whole afterwards."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, int]]:
    """Directories in which a writer died, by the place of death, and its exit codes. One process, a fork a place."""
    if not hasattr(os, "fork"):
        pytest.skip("the fault injection needs fork")
    places = {point: tmp_path_factory.mktemp("killed") for point in POINTS}
    command = [sys.executable, "-c", WRITER, json.dumps({point: str(path) for point, path in places.items()})]
    source = str(Path(likewise.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    return places, dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_writer_leaves_a_whole_checkpoint(killed: tuple[dict[str, Path], dict[str, int]], point: str) -> None:
    directory, code = killed[0][point], killed[1][point]
    assert code != 0, "the writer survived: the fault was not injected"
    with warnings.catch_warnings(action="error"):  # nothing damaged lies under a checkpoint's name
        newest = latest(directory)
    assert newest is not None
    step = step_of(newest)
    assert step == POINTS[point]
    assert torch.equal(load(newest)["method"]["weight"], torch.full((20_000,), float(step)))

    save(directory, 40, {"progress": {"step": 40}})  # the resumed run goes on and tidies up
    assert latest(directory) == path_for(directory, 40)
    assert not list(directory.glob(".*")), "a partial file of the dead writer is still there"


def test_a_disk_that_fails_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = save(tmp_path, 10, {"method": {"weight": torch.ones(10)}})

    def failing(*arguments: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(LikewiseError, match=r"could not be written: .*Input/output error.*earlier ones are untouched"):
        save(tmp_path, 20, {})
    assert latest(tmp_path) == good
    assert [path.name for path in tmp_path.iterdir()] == [good.name]


# Files ---------------------------------------------------------------------------------------------------------------


def test_write_aside_replaces_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def break_off() -> None:
        with write_aside(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_text() == "old"
    with write_aside(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]
