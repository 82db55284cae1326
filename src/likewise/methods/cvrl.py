"""CVRL: contrast of two clips of one video with those of the other videos in the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import nn

from likewise.data.batches.streams import Stream
from likewise.encoders import Encoder, heads
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.clips import ClipSettings, clip_columns, clip_streams, judged_by_clips
from likewise.similarity import nt_xent
from likewise.views.policies.pair import two_views
from likewise.views.policies.policy import Crop, ViewPolicy


class CVRL(Method):
    """Contrastive Video Representation Learning.

    Two clips a, b of each of N videos, a gap apart that is rarely long, each with one draw of all augmentations for all
    of its frames. With z the 2N unit embeddings,

        l_a(i) = -log( exp(a_i.b_i/T) / (sum_j exp(a_i.b_j/T) + sum_{j != i} exp(a_i.a_j/T)) ),

    l_b the same with roles exchanged, and L = mean l_a + mean l_b: the sum of two means, twice the loss of SimCLR. All
    clips go through the network together, so that batch statistics are those of both.

    An encoder of images sees frames one by one, and a clip is the mean of their features; a 3D encoder (`r3d_tiny`,
    `r3d50`) sees the clip.

    Qian, Meng, Gong, Yang, Wang, Belongie, Cui: Spatiotemporal Contrastive Video Representation Learning, CVPR 2021,
    arXiv 2008.03800, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Contrastive Video Representation Learning",
        paper="Qian, Meng, Gong, Yang, Wang, Belongie, Cui. Spatiotemporal Contrastive Video Representation Learning. "
        "CVPR 2021, arXiv 2008.03800",
        summary="The plain contrastive baseline for videos, without a teacher or a queue.",
        needs=("videos",),
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(ClipSettings):
        """Settings of CVRL. The defaults are those of the small preset."""

        draw: Literal["clip", "frame"] = "clip"
        """Whether the augmentations of a clip are drawn once, or, for comparison, again for every frame."""
        temperature: float = 0.1
        """T: divides all similarities."""
        embedding: int = 64
        """Length D of the embedding."""
        hidden: int = 256
        """Width of the hidden layers of the projector."""
        layers: int = 2
        """Number of these layers."""
        crop_scale: tuple[float, float] = (0.3, 1.0)
        """Smallest and largest share of a frame that a crop covers."""
        jitter_strength: float = 1.0
        """s: colours change by .8 s, hue by .2 s."""
        solarise: float = 0.1
        """Share of second clips that are solarised; .2 in the paper."""

        def __post_init__(self) -> None:
            super().__post_init__()
            positive("temperature", self.temperature)
            at_least("embedding", self.embedding, 1)
            at_least("hidden", self.hidden, 1)
            at_least("layers", self.layers, 0)
            between("jitter_strength", self.jitter_strength, 0.0, 2.5)
            between("solarise", self.solarise, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """As of all clips; and widths of layers that are not there, draws for each of one frame."""
            none = {} if self.layers else {"hidden": "layers=1 or more"}
            alone = {"draw": "frames=2 or more"} if self.frames == 1 else {}
            return super().idle() | none | alone

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Two clips of every video."""
        return clip_streams(settings)

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        """Video and frame."""
        return clip_columns(settings)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        widths = [encoder.features, *[settings.hidden] * settings.layers, settings.embedding]
        self.network = nn.Sequential(judged_by_clips(encoder, settings), heads.mlp(widths))
        self.views = clip_views(settings, facts)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Contrast of every clip with all clips of the global batch."""
        clips = torch.cat([views["first"].image, views["second"].image])
        a_BD, b_BD = self.network(clips).chunk(2)
        return Terms(2.0 * nt_xent(a_BD, b_BD, self.settings.temperature), {}, a_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"student": self.network[0]}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="muon", learning_rate=0.1, weight_decay=1e-5, warmup=0.075, batch_size=64, epochs=40
            ),
            note="r3d_tiny, clips of 8 frames of 32 px",
        ),
        "kinetics": Preset(
            settings=Settings(frames=16, hidden=2048, layers=3, embedding=128, solarise=0.2),
            optimisation=Optimisation(
                learning_rate=0.32,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=5 / 200,
                batch_size=1024,
                epochs=200,
            ),
            note="the published recipe, Kinetics-400, R3D-50 (r3d50), 224 px",
            differs={"views": "contrast changes around the mean of each frame; published: of the whole clip"},
        ),
    }


def clip_views(settings: CVRL.Settings, facts: Facts) -> dict[str, ViewPolicy]:
    """The views `first` and `second`, of the first and the second clip."""
    strength = settings.jitter_strength
    made = two_views(
        facts.image_size,
        brightness=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blurs=(1.0, 0.1),
        solarises=(0.0, settings.solarise),
    )
    crop = Crop(scale=settings.crop_scale, ratio=(0.5, 2.0))
    return {
        role: replace(view, crop=crop, each_frame=settings.draw == "frame" and settings.frames > 1)
        for role, view in made.items()
    }
