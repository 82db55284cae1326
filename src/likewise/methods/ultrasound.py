"""Contrast of the frames of a scan with the speech recorded with it, from easy to hard pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.batches.streams import MAIN, Rows, Stream
from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.texts.narration import (
    STAGES,
    Curriculum,
    Listener,
    Speech,
    has_speech,
    negatives,
    scans_together,
)
from likewise.similarity.texts.narration import affinity_levels, contrast_by_level
from likewise.views import Crop, ViewPolicy


class Ultrasound(Method):
    """Video-speech contrast with graded negatives, after its paper; the definitions are this project's own.

    A sample is a frame of a scan and the speech around it, as a log-mel spectrogram. With v and s their unit
    embeddings, negatives are graded by how near they are: level 0 is another scan; in the same scan 1, 2 and 3 are
    further than d3, d2 and d1 seconds; nearer ones are never negatives. At stage n, levels 0 to n are allowed:

        L_cont = -log( exp(v.s/T) / (exp(v.s/T) + sum_allowed exp(v.s_j/T)) ), both directions, mean over frames that
                 have an allowed negative
        L_cls = cross-entropy of a classifier of pairs, as many true as drawn ones, half of these from level n
        L = a L_cls + b L_cont

    Training begins with other scans alone; the next level joins where the loss of the last three epochs fell by less
    than 1 %, and each quarter of the budget at the latest. Frames without speech around them are left out. Gradient
    goes to both sides, of all processes; there is no queue and no average.

    The paper's full definitions were not at hand: how nearness is graded, the classifier and all numbers are ours. A
    clip is a single frame here.

    After Jiao, Cai, Alsharid, Drukker, Papageorghiou, Noble: Self-supervised Contrastive Video-Speech Representation
    Learning for Ultrasound, MICCAI 2020, arXiv 2008.06607.
    """

    card: ClassVar[Card] = Card(
        title="Contrastive video-speech learning (after the paper)",
        paper="Jiao, Cai, Alsharid, Drukker, Papageorghiou, Noble. Self-supervised Contrastive Video-Speech "
        "Representation Learning for Ultrasound. MICCAI 2020, arXiv 2008.06607",
        summary="When somebody talks about what is recorded: frames with the columns scan, time and speech. Needs "
        "several scans of a minute or more.",
        needs=("pairs",),
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of ultrasound. The defaults are those of the small preset."""

        scan: str = "scan"
        """Column that says which recording a frame is from."""
        time: str = "time"
        """Column with the moment of a frame, in whole numbers."""
        time_unit: float = 0.001
        """Seconds of one unit of that column: it holds milliseconds."""
        speech: str = "speech"
        """Column with the .wav file of the scan, which begins at time 0; a .wav beside the image does as well."""
        seconds: float = 2.0
        """Seconds of speech around a frame."""
        loudness: float = 0.5
        """Frames are left out whose speech is softer than this share of the recording's root mean square."""
        mel_bands: int = 40
        """Bands of the spectrogram."""
        per_scan: int = 8
        """Frames of one scan in a batch, at most; half of a small batch, so that two scans are in it."""
        edges: tuple[float, float, float] = (2.0, 10.0, 40.0)
        """d1, d2, d3: seconds between the levels of nearness."""
        curriculum: bool = True
        """Whether hard negatives join later; without it all are there from the start."""
        temperature: float = 0.1
        """T: divides all similarities."""
        classification_weight: float = 1.0
        """a: weight of the classifier of pairs."""
        contrast_weight: float = 1.0
        """b: weight of the contrast."""
        embedding: int = 128
        """Length of the vectors of the contrast."""
        hidden: int = 512
        """Width of the classifier of pairs."""
        listener_width: int = 16
        """Width of the network that hears."""
        crop_scale: tuple[float, float] = (0.5, 1.0)
        """Smallest and largest share of a frame that a crop covers."""

        def __post_init__(self) -> None:
            for name in ("time_unit", "seconds", "temperature"):
                positive(name, getattr(self, name))
            between("loudness", self.loudness, 0.0, 10.0)
            for name, least in (
                ("mel_bands", 4),
                ("per_scan", 1),
                ("embedding", 1),
                ("hidden", 1),
                ("listener_width", 1),
            ):
                at_least(name, getattr(self, name), least)
            for name in ("classification_weight", "contrast_weight"):
                at_least(name, getattr(self, name), 0.0)
            if not self.classification_weight and not self.contrast_weight:
                raise InputError("classification_weight and contrast_weight are both 0: one has to be above")
            if len([*self.edges]) != 3 or not 0 <= self.edges[0] < self.edges[1] < self.edges[2]:
                raise InputError(f"edges={self.edges} must be three rising numbers of seconds, such as 2 10 40")

        def idle(self) -> Mapping[str, str]:
            """What belongs to a term of weight 0."""
            found = {} if self.classification_weight else {"hidden": "classification_weight above 0"}
            if not self.contrast_weight:
                found |= dict.fromkeys(("temperature", "embedding"), "contrast_weight above 0")
            return found

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        """Scan, time and speech."""
        return (settings.scan, settings.time, settings.speech)

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Frames with speech, several of each scan."""

        def heard(rows: Rows) -> NDArray[np.bool_]:
            kept = has_speech(
                rows.columns, settings.speech, settings.time, seconds=settings.seconds, unit=settings.time_unit,
                bands=settings.mel_bands, quiet=settings.loudness,
            )  # fmt: skip
            if not kept.any():
                raise InputError(f"no image has speech in the column {settings.speech!r}: --loudness 0 keeps soft ones")
            return kept

        together = scans_together(settings.scan, settings.per_scan, others=settings.curriculum)
        return {MAIN: Stream(draw=together, where=heard)}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.encoder, self.listener = encoder, Listener(settings.listener_width)
        seen, heard, dim = encoder.features, self.listener.features, settings.embedding
        contrasts, classifies = settings.contrast_weight > 0, settings.classification_weight > 0
        self.seen_head = heads.mlp([seen, seen, dim], hidden_norm=None) if contrasts else None
        self.heard_head = heads.mlp([heard, heard, dim], hidden_norm=None) if contrasts else None
        self.pairs = heads.mlp([seen + heard, settings.hidden, 2], hidden_norm=None) if classifies else None
        self.curriculum = Curriculum()
        self.speech = Speech(facts.columns.get(settings.speech), settings.mel_bands, settings.seconds)
        time = facts.columns.get(settings.time)
        self.times_U = None if time is None else time.listed()
        self.views = {"frame": ViewPolicy(size=facts.image_size, crop=Crop(scale=settings.crop_scale))}
        self.at = 0

    def before_step(self, progress: Progress) -> None:
        """Which stage is on."""
        self.at = progress.step
        self.curriculum.begin(progress.epoch, progress.fraction)

    @property
    def stage(self) -> int:
        """Hardest level of negatives that is allowed."""
        return int(self.curriculum.stage) if self.settings.curriculum else STAGES - 1

    def step(self, views: Views, batch: Batch) -> Terms:
        """Frames and speech of the whole batch."""
        settings, columns = self.settings, batch.columns
        image = views["frame"].image
        time_B = columns[settings.time]
        if self.times_U is not None:  # times that lie far apart come as positions in a list of them
            time_B = torch.from_numpy(self.times_U).to(time_B.device)[time_B]
        seconds_B = time_B.to(image.dtype) * settings.time_unit
        h_BF = self.encoder(image)
        g_BG = self.listener(self.speech.around(seconds_B, columns[settings.speech]).to(image.dtype))
        levels = affinity_levels(gather(columns[settings.scan]), gather(seconds_B), settings.edges)
        loss = h_BF.new_zeros((), dtype=torch.promote_types(h_BF.dtype, torch.float32))
        parts: dict[str, Tensor] = {}
        if self.seen_head is not None and self.heard_head is not None:
            v_ND, s_ND = (gather_with_gradient(part) for part in (self.seen_head(h_BF), self.heard_head(g_BG)))
            found = contrast_by_level(v_ND, s_ND, levels, self.stage, settings.temperature)
            loss = loss + settings.contrast_weight * found.loss
            parts |= {"contrast": found.loss.detach(), "anchors": found.anchors.float()}
        if self.pairs is not None:
            result = self.classified(self.pairs, gather_with_gradient(h_BF), gather_with_gradient(g_BG), levels)
            loss = loss + settings.classification_weight * result
            parts["classification"] = result.detach()
        self.curriculum.watch(loss)
        parts["stage"] = loss.new_tensor(float(self.stage)).detach()
        return Terms(loss, parts, h_BF.detach())

    def classified(self, classifier: nn.Module, h_NF: Tensor, g_NG: Tensor, levels_NN: Tensor) -> Tensor:
        """Cross-entropy of true pairs and as many drawn ones; 0 where no frame has an allowed negative."""
        generator = torch.Generator().manual_seed(1_000_003 * self.at + 7)
        drawn_NN = torch.rand(levels_NN.shape, generator=generator)
        frames_P, other_P = negatives(levels_NN, self.stage, drawn_NN)
        seen = torch.cat([h_NF[frames_P], h_NF[frames_P]])
        heard = torch.cat([g_NG[frames_P], g_NG[other_P]])
        logits: Tensor = classifier(torch.cat([seen, heard], 1))
        if not len(frames_P):
            return logits.sum() + 0.0 * (h_NF.sum() + g_NG.sum())
        truth = torch.arange(2 * len(frames_P), device=logits.device) < len(frames_P)
        return F.cross_entropy(logits.float() if logits.dtype != torch.float64 else logits, truth.long())

    def encoders(self) -> dict[str, nn.Module]:
        """The encoder of frames."""
        return {"student": self.encoder}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="adamw", learning_rate=1e-3, weight_decay=1e-4, batch_size=64, epochs=40
            ),
            note="narrow encoders, frames up to 64 px; the paper's numbers are not known",
        ),
    }
