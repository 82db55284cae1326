"""NNCLR: contrast with the nearest neighbour of a view among earlier images, instead of the view itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, positive
from likewise.similarity import contrast_in_batch, neighbours, nt_xent, purity, unit
from likewise.views.policies.pair import two_views

Denominator = Literal["predictions", "both"]


class FriendContrast(NamedTuple):
    """The loss of one direction and where it came from."""

    loss: Tensor
    """Scalar, mean over the batch."""
    rows: Tensor
    """(B,) row of the support that stands for each image."""


def friend_contrast(
    projection_BD: Tensor,
    prediction_BD: Tensor,
    support_KD: Tensor,
    temperature: float,
    denominator: Denominator = "predictions",
) -> FriendContrast:
    """L(1, 2) of arXiv 2104.14548, eq. 3: the friend of view 1 must pick the prediction made from view 2.

    L = mean_i -log( exp(f_i.p_i/T) / sum_j exp(f_i.p_j/T) ), with f_i the row of `support_KD` nearest to unit
    projection i, p_j the unit predictions of the other view, j over the global batch. Gradient goes to the predictions
    alone. `both` is NT-Xent between friends and predictions: either side picks, and stands in the denominator.
    """
    found = neighbours(unit(projection_BD), support_KD, 1)
    rows_B = found.rows[:, 0]
    compare = contrast_in_batch if denominator == "predictions" else nt_xent
    return FriendContrast(compare(support_KD[rows_B], prediction_BD, temperature), rows_B)


class NNCLR(Method):
    """Nearest-Neighbour Contrastive Learning of visual Representations.

    SimCLR whose anchor is a friend: with Q a queue of unit projections of earlier batches, NN(z) the row of Q nearest
    to z, and p the unit prediction predictor(projection),

        L(1, 2) = mean_i -log( exp(NN(z1_i).p2_i/T) / sum_j exp(NN(z1_i).p2_j/T) ),   L = (L(1, 2) + L(2, 1)) / 2

    An image so has positives that are other images, and depends less on augmentation. There is no teacher.

    Order inside a step: both views, search in the queue as it was, loss, then the projections of view 1 enter it.

    Dwibedi, Aytar, Tompson, Sermanet, Zisserman: With a Little Help from My Friends, ICCV 2021, arXiv 2104.14548.
    """

    card: ClassVar[Card] = Card(
        title="Nearest-Neighbour Contrastive Learning of Visual Representations",
        paper="Dwibedi, Aytar, Tompson, Sermanet, Zisserman. With a Little Help from My Friends: Nearest-Neighbor "
        "Contrastive Learning of Visual Representations. ICCV 2021, arXiv 2104.14548",
        summary="Contrast that depends little on augmentation, for images of which nobody knows which changes do not "
        "matter; slower to start than SimCLR.",
        memory="queue",
        within_batch=True,
        repeats=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of NNCLR. The defaults are those of the small preset."""

        queue_size: int = 1024
        """Rows of the support set Q, which may be longer than the data: an image is then in it several times."""
        temperature: float = 0.2
        """T: divides all similarities."""
        hidden: int = 512
        """Width of both hidden layers of the projector."""
        embedding: int = 128
        """Length D of projections and predictions."""
        predictor_hidden: int = 512
        """Width of the predictor's hidden layer."""
        denominator: Denominator = "predictions"
        """What a friend is contrasted with: the predictions alone (paper), or NT-Xent with the other friends too."""
        views: Literal["strong", "crops"] = "strong"
        """strong: the BYOL pair of views. crops: crop and flip only, the paper's test of independence from colour."""
        solarise: float = 0.2
        """Share of second views that are solarised."""
        crop_scale: tuple[float, float] = (0.08, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            at_least("queue_size", self.queue_size, 1)
            positive("temperature", self.temperature)
            for name in ("hidden", "embedding", "predictor_hidden"):
                at_least(name, getattr(self, name), 1)

        def idle(self) -> dict[str, str]:
            """Colours of views that are crops alone."""
            return {} if self.views == "strong" else {"solarise": "views=strong"}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        hidden, dim = settings.hidden, settings.embedding
        projector = heads.mlp([encoder.features, hidden, hidden, dim], last_norm="batch")
        self.network = nn.Sequential(encoder, projector)
        self.predictor = heads.mlp([dim, settings.predictor_hidden, dim])
        self.queue = Queue(settings.queue_size, dim, columns={"label": LABEL})
        colour = settings.views == "strong"
        self.views = two_views(
            facts.image_size,
            scale=settings.crop_scale,
            solarises=(0.0, settings.solarise),
            colour=colour,
        )

    def step(self, views: Views, batch: Batch) -> Terms:
        """Friends of each view contrast with predictions of the other; then view 1 enters the queue."""
        z_BD, other_BD = (self.network(views[role].image) for role in ("first", "second"))
        forth = self._contrast(z_BD, self.predictor(other_BD))
        back = self._contrast(other_BD, self.predictor(z_BD))
        parts, labels = {}, batch.labels
        if labels is not None:
            rows_B2 = torch.stack([forth.rows, back.rows], 1)
            parts["purity"] = purity(labels, self.queue.column("label")[rows_B2])
        self.queue.push(gather(unit(z_BD.detach())), label=gather(labels))
        return Terms((forth.loss + back.loss) / 2, parts, z_BD.detach())

    def _contrast(self, projection_BD: Tensor, prediction_BD: Tensor) -> FriendContrast:
        settings = self.settings
        return friend_contrast(
            projection_BD, prediction_BD, self.queue.rows, settings.temperature, settings.denominator
        )

    def encoders(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"student": self.network[0]}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.12, weight_decay=5e-4, epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "cifar": Preset(
            settings=Settings(queue_size=65_536, hidden=2048, embedding=256, predictor_hidden=4096),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=0.4,
                weight_decay=1e-5,
                trust=0.02,
                decay_norms_and_biases=False,
                warmup=0.01,
                epochs=1000,
            ),
            normalisation="cifar10",
            note="the recipe usual for CIFAR, ResNet-18; warm-up as in the paper",
        ),
        "imagenet": Preset(
            settings=Settings(queue_size=98_304, temperature=0.1, hidden=2048, embedding=256, predictor_hidden=4096),
            optimisation=Optimisation(
                optimiser="lars",
                learning_rate=4.8,
                weight_decay=1e-6,
                decay_norms_and_biases=False,
                warmup=0.01,
                batch_size=4096,
                epochs=1000,
            ),
            note="the published recipe, ImageNet, ResNet-50: rate .3 x batch/256",
        ),
    }
