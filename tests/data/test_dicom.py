"""Cine loops of DICOM files: frames, grey values and colours as they are meant to be seen, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from likewise.data import open_source, prepare
from likewise.errors import InputError

HALF = {"RescaleSlope": "0.5", "RescaleIntercept": "0"}


def loop(path: Path, frames: NDArray[Any], kind: str = "MONOCHROME2", **said: Any) -> Path:
    """A file with these frames, (T, H, W) or (T, H, W, 3) of 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    data.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    if frames.ndim == 4:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = kind
    data.BitsAllocated = data.BitsStored = 8 * frames.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(frames.dtype.kind == "i")
    for name, value in said.items():
        setattr(data, name, value)
    data.PixelData = frames.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def rising(count: int, dtype: Any = np.uint8, step: int = 10) -> NDArray[Any]:
    """Frames that are each of one value."""
    return np.broadcast_to((step * np.arange(count)).astype(dtype)[:, None, None], (count, 16, 20)).copy()


def test_a_folder_of_loops_is_a_folder_of_videos(tmp_path: Path) -> None:
    loop(tmp_path / "a.dcm", rising(5), FrameTime="40")
    loop(tmp_path / "b.dcm", rising(4), RecommendedDisplayFrameRate="10")
    source = open_source(tmp_path, columns=("video", "frame"))
    assert source.names[:2] == ["a.dcm#0", "a.dcm#1"]
    assert source.columns["video"].values.tolist() == [0] * 5 + [1] * 4
    assert source.columns["frame"].values.tolist() == [*range(5), *range(4)]
    pixels, _ = prepare(source, short_side=16).gather(np.arange(9))
    assert pixels[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 0, 10, 20, 30]
    assert open_source(f"video:5:{tmp_path / 'b.dcm'}").names == ["b.dcm#0", "b.dcm#2"]


def test_colours_and_grey_values_that_fall_are_seen_as_they_are_meant(tmp_path: Path) -> None:
    colours = np.zeros((2, 16, 16, 3), np.uint8)
    colours[1] = (200, 100, 50)
    assert open_source(loop(tmp_path / "c.dcm", colours, "RGB")).read(1)[3, 3].tolist() == [200, 100, 50]
    assert open_source(loop(tmp_path / "d.dcm", rising(3), "MONOCHROME1")).read(2)[0, 0].tolist() == [235] * 3


def test_bytes_that_stand_for_themselves_stay_as_they_are(tmp_path: Path) -> None:
    source = open_source(loop(tmp_path / "e.dcm", rising(3), RescaleSlope="1", RescaleIntercept="0"))
    assert [int(source.read(frame)[0, 0, 0]) for frame in range(3)] == [0, 10, 20]


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    table = {"Red": [0, 255, 10], "Green": [0, 100, 20], "Blue": [0, 50, 30]}
    said: dict[str, Any] = {}
    for colour, values in table.items():
        said[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        said[f"{colour}PaletteColorLookupTableData"] = np.array([256 * value for value in values], np.uint16).tobytes()
    source = open_source(loop(tmp_path / "p.dcm", rising(3, step=1), "PALETTE COLOR", **said))
    assert [source.read(frame)[0, 0].tolist() for frame in range(3)] == [[0, 0, 0], [255, 100, 50], [10, 20, 30]]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, [0, 64, 128, 191, 255]),
        ({"WindowCenter": "2000.5", "WindowWidth": "2001"}, [0, 0, 128, 255, 255]),
        ({"WindowCenter": ["1000.5", "9"], "WindowWidth": ["2001", "9"], **HALF}, [0, 64, 128, 191, 255]),
    ],
)  # fmt: skip
def test_more_than_8_bits_are_shown_by_the_window_or_the_range_of_the_loop(
    said: dict[str, Any], expected: list[int], tmp_path: Path
) -> None:
    source = open_source(loop(tmp_path / "x.dcm", rising(5, np.uint16, 1000), **said))
    found = [int(source.read(frame)[0, 0, 0]) for frame in range(5)]
    assert np.abs(np.array(found) - expected).max() <= 1


def test_values_below_0_are_kept(tmp_path: Path) -> None:
    frames = rising(3, np.int16, 1000) - np.int16(1000)
    source = open_source(loop(tmp_path / "x.dcm", frames))
    assert [int(source.read(frame)[0, 0, 0]) for frame in range(3)] == [0, 128, 255]


def test_files_without_frames_are_left_out_by_name(tmp_path: Path) -> None:
    loop(tmp_path / "good.dcm", rising(2))
    (tmp_path / "text.dcm").write_text("no DICOM")
    empty = pydicom.dcmread(tmp_path / "good.dcm")
    del empty.Rows, empty.Columns, empty.PixelData
    empty.save_as(tmp_path / "report.dcm")
    source = open_source(tmp_path)
    assert len(source) == 2
    assert sorted(name.partition(" ")[0] for name in source.left_out) == ["report.dcm", "text.dcm"]
    assert any("no images in it" in name for name in source.left_out)
    assert any("no DICOM file: it does not begin like one" in name for name in source.left_out)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/text.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match=r"no video in .*alone can be read: text\.dcm \(no DICOM file"):
        open_source(tmp_path / "alone")


def test_what_no_package_decodes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        is_available = False

    monkeypatch.setattr("pydicom.pixels.decoders.base.get_decoder", lambda kind: Without())
    with pytest.raises(InputError, match=r"stored as Explicit VR Little Endian, which no installed package decodes"):
        open_source(loop(tmp_path / "x.dcm", rising(2)))


def test_a_loop_that_ends_early_is_left_out(tmp_path: Path) -> None:
    path = loop(tmp_path / "x.dcm", rising(20))
    path.write_bytes(path.read_bytes()[:-1600])
    with pytest.raises(InputError, match=r"x\.dcm \(truncated: [\d,]+ bytes, and its 20 frames alone take 6,400\)"):
        open_source(path)
