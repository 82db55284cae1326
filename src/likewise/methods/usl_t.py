"""USL-T: a trained clustering of unlabelled images, with one cluster for each label of the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.batches.orders import Following, Order
from likewise.data.batches.streams import MAIN, Drawing, Rows, Stream, shuffled
from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.similarity.prototypes.self_label import agree, confident
from likewise.views import CutOut, centre, random_magnitudes

ROLES = ("plain", "strong", "neighbour")
"""Views of a step: the image as it is, changed, and one of its neighbours, changed."""
_DECOUPLED = {"optimiser": "decay apart from the gradient (AdamW); published: Adam, with the decay in the gradient"}


class USLT(Method):
    """Unsupervised Selective Labeling, training-based.

    `heads` linear classifiers of `clusters` clusters each stand on the encoder, which begins with the weights of a run
    (`--start`). With a the logits of the changed image, w those of the image as it is and g those of a changed
    neighbour, w and g without gradient, the loss is the sum over heads of

        L_global = mean over images with max softmax(w) > threshold of v CE(a, argmax w),  v: clusters weigh the same
        L_local  = mean KL( r(softmax(g - adjust log mu)) || softmax(a) ),  r(p)_c = p_c^(1/T) / sum p^(1/T)

    and L = sum L_global + local_weight sum L_local. mu is the running mean of softmax(g), one for each head, updated
    after its use: it lowers the logits of large clusters, so that none swallows the others. No labels are looked at.

    Neighbours are rows of a table that was made of the start's features (`neighbours`, an .npy file; `likewise recipes
    usl_t` makes it); without one an image is its own only neighbour. What is labelled afterwards is the surest image of
    each cluster (`likewise.selection.usl_t.picks`).

    Order inside a step: the image changed, the image as it is, the neighbour, each in a pass of its own in train mode;
    for each head the losses, then its mean.

    Wang, Lian, Yu: Unsupervised Selective Labeling for More Effective Semi-Supervised Learning, ECCV 2022, arXiv
    2110.03006, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Unsupervised Selective Labeling, training-based",
        paper="Wang, Lian, Yu. Unsupervised Selective Labeling for More Effective Semi-Supervised Learning. ECCV 2022, "
        "arXiv 2110.03006",
        summary="To choose which images to label, with more effort than USL: continues another run.",
        uniform_prior=True,
        within_batch=True,
        whole_images=True,
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of USL-T. The defaults are those of the small preset."""

        clusters: int = 40
        """m: clusters, as many as images will be labelled."""
        heads: int = 3
        """Cluster heads; the first one's clusters are picked from."""
        neighbours: str = ""
        """Table of neighbours, (images, K) positions in an .npy file; empty: an image is its own neighbour."""
        threshold: float = 0.95
        """Probability above which an image is sure of its cluster."""
        balanced: bool = True
        """Whether clusters weigh the same in the global loss, whatever number of images is sure of them."""
        mean: Literal["weights", "batch"] = "weights"
        """What the sum of the global loss is divided by: the weights (CIFAR-10), or all images of the batch."""
        local_weight: float = 5.0
        """Weight of the local losses."""
        adjust: float = 5.0
        """How much the logarithm of a cluster's running mean is taken from its logit."""
        sharpen: float = 0.25
        """T: targets of the local loss are taken to the power 1 / T."""
        mean_momentum: float = 0.5
        """Share of its old value that the running mean keeps at each step."""
        frozen: bool = False
        """Whether the encoder stays as it is, in eval mode, as on ImageNet."""

        def __post_init__(self) -> None:
            at_least("clusters", self.clusters, 2)
            at_least("heads", self.heads, 1)
            between("threshold", self.threshold, 0.0, 1.0)
            at_least("local_weight", self.local_weight, 0.0)
            at_least("adjust", self.adjust, 0.0)
            positive("sharpen", self.sharpen)
            between("mean_momentum", self.mean_momentum, 0.0, 1.0)

    @classmethod
    def streams(cls, settings: Settings, facts: Facts) -> Mapping[str, Stream]:
        """Each image twice and one of its neighbours."""
        return {MAIN: Stream(draw=with_neighbours(settings.neighbours))}

    means: Tensor

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder.requires_grad_(not settings.frozen)
        self.heads = nn.ModuleList(nn.Linear(encoder.features, settings.clusters) for _ in range(settings.heads))
        self.register_buffer("means", torch.full((settings.heads, settings.clusters), 1.0 / settings.clusters))
        size = facts.image_size
        plain = centre(size)
        strong = replace(plain, flip=0.5, operations=random_magnitudes(4, reach=0.1), cut_out=CutOut(side=0.5))
        self.views = dict(zip(ROLES, (plain, strong, strong), strict=True))

    def train(self, mode: bool = True) -> USLT:
        """A frozen encoder stays in eval mode."""
        super().train(mode)
        if self.settings.frozen:
            self.encoder.eval()
        return self

    def step(self, views: Views, batch: Batch) -> Terms:
        """The losses of all heads over the whole batch."""
        settings = self.settings
        features_BF = self.encoder(views["strong"].image)
        anchor = [gather_with_gradient(logits) for logits in self.clustered(features_BF)]
        with torch.no_grad():
            plain, near = (
                [gather(logits) for logits in self.clustered(self.encoder(views[role].image))]
                for role in ("plain", "neighbour")
            )
        alone, together = [], []
        for number, (a_BC, w_BC, g_BC) in enumerate(zip(anchor, plain, near, strict=True)):
            alone.append(confident(w_BC, a_BC, settings.threshold, balanced=settings.balanced, mean=settings.mean))
            found = agree(
                a_BC,
                g_BC,
                self.means[number].to(g_BC.dtype),
                adjust=settings.adjust,
                sharpen=settings.sharpen,
                momentum=settings.mean_momentum,
            )
            together.append(found.loss)
            self.means[number] = found.mean
        sure, local = torch.stack(alone).sum(), torch.stack(together).sum()
        kept = (plain[0].softmax(1).amax(1) > settings.threshold).to(sure.dtype).mean()
        parts = {"global": sure.detach(), "local": local.detach(), "sure": kept}
        return Terms(sure + settings.local_weight * local, parts, features_BF.detach())

    def clustered(self, features_BF: Tensor) -> list[Tensor]:
        """Logits of the clusters by each head, (B, clusters), in float32 at least."""
        found = [head(features_BF) for head in self.heads]
        return [logits.to(torch.promote_types(logits.dtype, torch.float32)) for logits in found]

    def assigned(self, image: Tensor) -> Tensor:
        """(B, 2) cluster of each image by the first head, and how sure all heads are of theirs on average, 0 to 1."""
        share = [logits.softmax(1) for logits in self.clustered(self.encoder(image))]
        sure_B = torch.stack([each.amax(1) for each in share]).mean(0)
        return torch.stack([share[0].argmax(1).to(sure_B.dtype), sure_B], 1)

    def encoders(self) -> dict[str, nn.Module]:
        """The one network there is."""
        return {"student": self.encoder}

    _published: ClassVar[dict[str, Any]] = {
        "optimiser": "adamw",
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "schedule": "constant",
        "batch_size": 1024,
        "epochs": 200,
    }

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="adamw", learning_rate=1e-4, weight_decay=1e-4, schedule="constant", batch_size=256, epochs=20
            ),
            note="narrow encoders, images up to 64 px; --start names the run to go on from",
        ),
        "cifar10": Preset(
            settings=Settings(),
            optimisation=Optimisation(**_published),
            note="the published recipe for 40 labels of CIFAR-10, ResNet-18; its threshold is not known to us",
            differs=_DECOUPLED,
        ),
        "cifar100": Preset(
            settings=Settings(clusters=400, mean="batch"),
            optimisation=Optimisation(**_published),
            note="the published recipe for 400 labels of CIFAR-100, ResNet-18; its threshold is not known to us",
            differs=_DECOUPLED,
        ),
    }


class WithNeighbour:
    """The order of images, each twice and then one of its neighbours: (B, 3, 1) positions."""

    def __init__(self, lead: Order, following: Order) -> None:
        self._lead, self._following = lead, following
        self.steps_per_epoch = lead.steps_per_epoch

    def batch(self, step: int) -> NDArray[np.int64]:
        """(B, 3, 1) positions, in the order of the views."""
        ids_B = self._lead.batch(step)
        return np.stack([ids_B, ids_B, self._following.batch(step)], 1)[:, :, None]


def with_neighbours(path: str) -> Drawing:
    """Images in shuffled order with neighbours from the table in `path`."""

    def drawing(rows: Rows, batch_size: int, seed: int) -> Order:
        count = len(rows.labels_M)
        lead = shuffled(rows, batch_size, seed)
        return WithNeighbour(lead, Following(lead, table_of(path, count) if path else np.arange(count), seed))

    return drawing


def table_of(path: str, images: int) -> NDArray[np.int64]:
    """(N, K) positions of neighbours. Raises InputError where the file holds no such table of these images."""
    try:
        table_NK = np.load(Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"neighbours={path!r} holds no table of neighbours in NumPy's .npy format: {error}") from error
    if table_NK.ndim != 2 or table_NK.dtype.kind not in "iu" or len(table_NK) != images or not table_NK.size:
        found = f"{table_NK.dtype} {table_NK.shape}"
        raise InputError(f"neighbours={path!r} is {found}, and whole numbers ({images}, K) are needed: a row an image")
    if table_NK.min() < 0 or table_NK.max() >= images:
        raise InputError(f"neighbours={path!r} names images outside 0 to {images - 1}: it is of other data")
    return np.asarray(table_NK, np.int64)
