"""What videos teach, on drawn clips of which action, appearance, masks and flow are known.

    python -m benchmarks.motion --videos 200 --epochs 15 flowsim cvrl modist

`flowsim`: whether pixels of one layer are more alike than others on frames of other videos (area under the curve of the
similarity of two pixels), against the same networks untrained. `cvrl`: accuracy of the action of other videos, with one
draw of the augmentations a clip against one a frame, and with gaps that are rarely long against uniform ones. `modist`:
the same accuracy with and without the terms across, and of the appearance.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import likewise
from benchmarks import arms
from benchmarks.results import STORE as RESULTS
from likewise.data import open_source, prepare
from likewise.data.videos.synthetic import known_of
from likewise.encoders import build
from likewise.methods.flowsim import FlowSim
from likewise.methods.whole import restore

COMPARED: dict[str, dict[str, dict[str, Any]]] = {
    "cvrl": {"one draw a clip": {}, "one draw a frame": {"draw": "frame"}, "uniform gaps": {"law": "uniform"}},
    "modist": {"with motion": {"flow": "exact"}, "clips alone": {"flow": "exact", "weight_cross": 0.0}},
}
FRAMES, PIXELS = 64, 200
STORE = RESULTS / "motion.json"


def section(file: Path) -> str:
    """The part of `RESULTS.md` about motion."""
    about = (
        "`python -m benchmarks.motion`: drawn clips of 32 px; accuracy is of actions and appearances of other videos, "
        "`r3d_tiny`; of flowsim the area under the curve of whether two pixels lie on one layer, ResNet-18 of width 16."
    )
    return arms.section(file, "Motion", about)


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trends", nargs="*", default=["flowsim", *COMPARED])
    parser.add_argument("--videos", type=int, default=1000, help="to train on")
    parser.add_argument("--judged", type=int, default=1000, help="videos with labels; a quarter as many are asked")
    parser.add_argument("--epochs", type=float, default=30.0)
    parser.add_argument("--only", nargs="*", help="forms of a method to train, by a part of their names")
    parser.add_argument("--out", type=Path, default=STORE, help="JSON file that the scores are added to")
    asked = parser.parse_args()
    budget = f"{asked.videos} videos, epochs {asked.epochs:g}"
    with tempfile.TemporaryDirectory() as folder:
        for trend in asked.trends:
            for arm, scores in of_flow(asked, folder) if trend == "flowsim" else of_actions(trend, asked, folder):
                print(trend, arm, json.dumps(scores), flush=True)
                arms.add(asked.out, trend, budget, arm, 0, scores)


def of_actions(name: str, asked: argparse.Namespace, folder: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Accuracy of action and appearance before training and after each form of it."""
    data, judged = f"synthetic:clips:32:{asked.videos}", f"synthetic:clips:32:{asked.judged}"
    for number, (form, settings) in enumerate(COMPARED[name].items()):
        if asked.only and not any(part in form for part in asked.only):
            continue
        run = likewise.train(
            data,
            method=name,
            encoder="r3d_tiny",
            epochs=asked.epochs,
            batch_size=32,
            out=f"{folder}/{name}-{number}",
            online_probe=False,
            report=False,
            quiet=True,
            **settings,
        )
        scores: dict[str, dict[str, float]] = {"untrained": {}, form: {}}
        for labels in ("action", "appearance"):
            found = likewise.evaluate(
                run, judged, probe=("knn", "linear"), labels=labels, untrained=number == 0, report=False, quiet=True
            )
            for score in found.scores:
                kind = f"{labels}, {score.name}{'' if score.k is None else f' k={score.k}'}"
                scores["untrained" if score.which == "untrained" else form][kind] = round(score.value, 4)
        yield from ((arm, each) for arm, each in scores.items() if each)


def of_flow(asked: argparse.Namespace, folder: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Area under the curve before and after, over frames of other videos."""
    videos = max(4, asked.videos // 5)
    run = likewise.train(
        f"synthetic:clips:32:{videos}",
        method="flowsim",
        flow="exact",
        width=16,
        epochs=max(1.0, asked.epochs / 3),
        out=f"{folder}/flowsim",
        online_probe=False,
        report=False,
        quiet=True,
    )
    trained = restore(run)
    assert isinstance(trained, FlowSim)
    images = prepare(open_source(f"synthetic:clips:32:{videos}", split="test"), short_side=37)
    spread = np.linspace(0, len(images) - 1, FRAMES).astype(int)
    shown = images.gather(spread)[0].permute(0, 3, 1, 2).float() / 255.0
    spec = trained.encoder.spec
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (spec.mean, spec.std))
    masks = [known_of(images.names[at])[1] for at in spread]  # type: ignore[index]
    fresh = FlowSim(build(spec, seed=0), trained.settings, _facts(spec.image_size)).eval()
    for which, method in (("untrained", fresh), ("trained", trained)):
        value = layer_auc(method, (shown - mean) / std, masks)
        yield which, {f"same layer, AUC over {FRAMES} frames": round(value, 4)}


def _facts(side: int) -> Any:
    from likewise.methods.method import Facts

    return Facts(images=1000, batch_size=64, image_size=side)


@torch.no_grad()
def layer_auc(method: FlowSim, image_B3SS: torch.Tensor, masks: list[Any]) -> float:
    """Mean over images: how well the similarity of two pixels says whether both or none are on a shape."""
    found = []
    generator = np.random.default_rng(0)
    for image_3SS, mask in zip(image_B3SS, masks, strict=True):
        on = generator.permutation(np.argwhere(mask > 250))[: PIXELS // 2]
        off = generator.permutation(np.argwhere(mask == 0))[: PIXELS // 2]
        if not len(on) or not len(off):
            continue
        points = torch.from_numpy(np.concatenate([on, off])[None, :, ::-1].copy()).float()
        phi_ND = torch.nn.functional.normalize(method.embedded(image_3SS[None], points)[0], dim=1)
        layer = torch.arange(len(on) + len(off)) < len(on)
        above = torch.triu_indices(len(layer), len(layer), 1)
        same = layer[above[0]] == layer[above[1]]
        found.append(roc_auc_score(same.numpy(), (phi_ND @ phi_ND.T)[above[0], above[1]].numpy()))
    return float(np.mean(found))


if __name__ == "__main__":
    main()
