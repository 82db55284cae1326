"""SimCLR: contrast of the two views of an image with all other views in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from likewise.encoders import Encoder, heads
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity import nt_xent
from likewise.views.policies.pair import two_views
from likewise.views.policies.policy import Filter


class SimCLR(Method):
    """A Simple framework for Contrastive Learning of Representations.

    Both views of N images go through one network; with z the 2N unit embeddings and (i, j) views of one image,

        l(i, j) = -log( exp(z_i.z_j/T) / sum_{k != i} exp(z_i.z_k/T) ),   L = mean of l(i, j) and l(j, i) over images.

    The 2N - 2 other views are negatives, with gradient, those of other processes too. No teacher and no memory, so a
    large batch helps: it is all that an image is compared with.

    Chen, Kornblith, Norouzi, Hinton: SimCLR, ICML 2020, arXiv 2002.05709, section 2 and algorithm 1.
    """

    card: ClassVar[Card] = Card(
        title="Simple framework for Contrastive Learning of Representations",
        paper="Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual "
        "Representations. ICML 2020, arXiv 2002.05709",
        summary="The plain contrastive baseline, and a strong one in short budgets.",
        within_batch=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of SimCLR. The defaults are those of the small preset."""

        temperature: float = 0.2
        """T: divides all similarities. The paper has .5 for CIFAR-10 and .1 for ImageNet."""
        embedding: int = 128
        """Length D of the embedding."""
        hidden: int = 0
        """Width of the projector's hidden layer; 0 stands for the encoder's features F, as in the paper."""
        jitter_strength: float = 0.5
        """s: colours change by .8 s, hue by .2 s. The paper has 1 for ImageNet and .5 for CIFAR-10."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers; .08 to 1 in the paper."""
        interpolation: Filter = "bilinear"
        """What crops are resized by; bicubic in the official code."""
        last_norm: bool = False
        """End the projector with a layer without bias and a batch norm without shift, as the official code does."""

        def __post_init__(self) -> None:
            positive("temperature", self.temperature)
            at_least("embedding", self.embedding, 1)
            at_least("hidden", self.hidden, 0)
            between("jitter_strength", self.jitter_strength, 0.0, 2.5)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        features, strength = encoder.features, settings.jitter_strength
        projector = heads.mlp(
            [features, settings.hidden or features, settings.embedding],
            hidden_bias=not settings.last_norm,
            last_bias=not settings.last_norm,
            last_norm="batch_no_shift" if settings.last_norm else None,
        )
        self.network = nn.Sequential(encoder, projector)
        self.views = two_views(
            facts.image_size,
            scale=settings.crop_scale,
            brightness=0.8 * strength,
            saturation=0.8 * strength,
            hue=0.2 * strength,
            blurs=(0.5, 0.5),
            solarises=(0.0, 0.0),
            interpolation=settings.interpolation,
        )

    def step(self, views: Views, batch: Batch) -> Terms:
        """Contrast of every view with all views of the global batch, which share their batch statistics."""
        images = torch.cat([views["first"].image, views["second"].image])
        z_BD, other_BD = self.network(images).chunk(2)
        return Terms(nt_xent(z_BD, other_BD, self.settings.temperature), {}, z_BD.detach())

    def encoders(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"student": self.network[0]}

    _official: ClassVar[dict[str, Any]] = {"crop_scale": (0.08, 1.0), "interpolation": "bicubic", "last_norm": True}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="muon", learning_rate=0.1, weight_decay=5e-4, batch_size=128, epochs=30
            ),
            note="narrow encoders, images up to 64 px, minutes of training",
        ),
        "cifar": Preset(
            settings=Settings(temperature=0.5, **_official),
            optimisation=Optimisation(
                optimiser="lars",
                lars_form="simclr",
                learning_rate=4.0,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=0.01,
                batch_size=1024,
                epochs=1000,
            ),
            differs={"views": "normalised by ImageNet's statistics; published: values of 0 to 1, not normalised"},
            note="the published CIFAR-10 recipe (appendix B.9), ResNet-50: rate 1.0 x batch/256",
        ),
        "imagenet": Preset(
            settings=Settings(temperature=0.1, jitter_strength=1.0, **_official),
            optimisation=Optimisation(
                optimiser="lars",
                lars_form="simclr",
                learning_rate=4.8,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=0.1,
                batch_size=4096,
                epochs=100,
            ),
            differs={"views": "normalised by ImageNet's statistics; published: values of 0 to 1, not normalised"},
            note="the published ImageNet recipe, ResNet-50: rate .3 x batch/256, 10 epochs of warm-up",
        ),
    }
