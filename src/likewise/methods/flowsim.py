"""Cross-pixel flow similarity: pixels of a still image are embedded similarly where they move similarly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.data.flow.fields import FlowPlan
from likewise.distributed import common, positions, world
from likewise.encoders import Encoder, heads
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.motion import FlowSettings, flow_rows, share_of_all
from likewise.similarity.dense.motion import (
    embedding_kernel,
    flow_kernel,
    hypercolumns,
    kernel_alignment,
    kernel_contrast,
    kernel_cross_entropy,
)
from likewise.views.geometry.flows import all_points, read_flow
from likewise.views.policies.policy import Colour, ViewPolicy
from likewise.views.policies.presets import weak

LEAST_SIGMA = 0.25
"""Pixels."""


class FlowSim(Method):
    """Cross-pixel optical-flow similarity.

    Of N pixels of each single frame, phi_p is an embedding of the hypercolumn at p (the features of several layers
    there), and f_p the flow from this frame to the next, which is only looked at in training. With

        K_D(p, q) = g cos(phi_p, phi_q),   K_F(p, q) = exp(-|f_p - f_q|^2 / (2 s^2)),
        S_F(p, .) = softmax_q(K_F(p, .) / T_F),   S_D(p, .) = softmax_q(K_D(p, .) / T_D),

    `cross_entropy` is L = -(1/N) sum_p sum_q S_F(p, q) log S_D(p, q), with gradient through S_D alone; `alignment` is
    1 - <K_D, K_F> / (|K_D| |K_F|); `contrastive` sets pixels that move alike against those that do not. All are
    averaged over the images of the batch that show any motion; pixels whose flow does not lead back are left out.

    Mahendran, Thewlis, Vedaldi: Cross Pixel Optical-Flow Similarity for Self-Supervised Learning, ACCV 2018, arXiv
    1807.05636, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Cross-pixel optical-flow similarity",
        paper="Mahendran, Thewlis, Vedaldi. Cross Pixel Optical-Flow Similarity for Self-Supervised Learning. "
        "ACCV 2018, arXiv 1807.05636",
        summary="To learn an encoder of images from videos without labels, above all for dense tasks "
        "such as segmentation.",
        needs=("videos",),
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(FlowSettings):
        """Settings of cross-pixel flow similarity. The defaults are those of the small preset."""

        loss: Literal["cross_entropy", "alignment", "contrastive"] = "cross_entropy"
        """How the two kernels are compared; the paper finds `cross_entropy` best."""
        points: int = 128
        """N: pixels of each image."""
        moving: float = 0.5
        """Share of them that is drawn among pixels which do not move as most of the image does."""
        embedding: int = 16
        """Length D of a pixel's embedding."""
        hidden: int = 128
        """Width of the hidden layer between hypercolumn and embedding; 256 in the paper."""
        scale: float = 1.0
        """g of the cosine; .25 in the paper."""
        temperature: float = 0.1
        """T_D and T_F; 1 in the paper, where both rows are nearly uniform."""
        exclude_self: bool = True
        """Whether a pixel is not compared with itself."""
        sigma: float = 0.0
        """s in pixels; 0: the median distance between the flows of an image, at least .25."""
        still: float = 0.1
        """Pixels: images whose flow deviates less from its mean are left out."""
        jitter: float = 0.2
        """Strength of colour jitter."""
        crop_scale: tuple[float, float] = (0.5, 1.0)
        """Smallest and largest share of the frame that a crop covers."""
        video: str = "video"
        """Column that says which video a frame is of."""
        frame: str = "frame"
        """Column with the place of a frame in its video, a whole number."""

        def __post_init__(self) -> None:
            for name in ("embedding", "hidden"):
                at_least(name, getattr(self, name), 1)
            at_least("points", self.points, 2)
            between("moving", self.moving, 0.0, 1.0)
            for name in ("scale", "temperature"):
                positive(name, getattr(self, name))
            for name in ("sigma", "still", "jitter"):
                at_least(name, getattr(self, name), 0.0)

        def idle(self) -> dict[str, str]:
            """What other losses have no use for."""
            names: tuple[str, ...]
            if self.loss == "alignment":
                names = ("temperature", "exclude_self", "scale")
            else:
                names = () if self.loss == "cross_entropy" else ("exclude_self",)
            return dict.fromkeys(names, "loss=cross_entropy")

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        """Video and frame, which flow is computed by."""
        return settings.video, settings.frame

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings, self.encoder = settings, encoder
        self.head = heads.mlp([sum(tapped(encoder)), settings.hidden, settings.embedding], hidden_norm=None)
        self.flow = FlowPlan(
            source=settings.flow, camera=settings.camera, video=settings.video, frame=settings.frame
        )  # fmt: skip
        self.views = {"still": still_view(settings, facts)}

    def step(self, views: Views, batch: Batch) -> Terms:
        """Embeddings of drawn pixels of each frame against its flow."""
        view, settings = views["still"], self.settings
        assert view.box is not None
        assert view.flip is not None
        side = view.image.shape[-1]
        every_1P2 = all_points(side, view.image.device)
        field_B3GG = flow_rows(self, batch.ids)
        flow_BP2, known_BP = read_flow(
            field_B3GG, view.box, view.flip, every_1P2.expand(len(field_B3GG), -1, 2), side
        )  # fmt: skip
        chosen_BN = drawn_points(flow_BP2, known_BP, settings)
        flow_BN2 = flow_BP2.gather(1, chosen_BN.unsqueeze(2).expand(-1, -1, 2))
        kept_B = known_BP.gather(1, chosen_BN).all(1) & (flow_BN2.std(1).norm(dim=1) > settings.still)
        phi_BND = self.embedded(view.image, every_1P2[0][chosen_BN])
        loss = self.compared(phi_BND[kept_B], flow_BN2[kept_B]) * share_of_all(kept_B)
        loss = loss + 0.0 * phi_BND.sum()  # where nothing moves there is a gradient all the same
        return Terms(loss, {"moving": kept_B.float().mean()}, phi_BND.detach().mean(1))

    def embedded(self, image_B3SS: Tensor, points_BN2: Tensor) -> Tensor:
        """(B, N, D) the embeddings of pixels at x, y."""
        columns, kind = [], next(self.head.parameters()).dtype
        for map_BCHW in taps(self.encoder, image_B3SS):
            stride = -(-image_B3SS.shape[-1] // map_BCHW.shape[-1])  # a map of an odd side is a little larger
            columns.append(hypercolumns([map_BCHW.to(kind)], points_BN2.to(kind), stride * map_BCHW.shape[-1]))
        embedded: Tensor = self.head(torch.cat(columns, 2))
        return embedded

    def compared(self, phi_BND: Tensor, flow_BN2: Tensor) -> Tensor:
        """The loss of images that move; 0 for none."""
        settings = self.settings
        if not len(phi_BND):
            return phi_BND.sum()
        ours_BNN = embedding_kernel(phi_BND, settings.scale)
        theirs_BNN = flow_kernel(flow_BN2, sigma_of(flow_BN2, settings.sigma))
        if settings.loss == "alignment":
            return kernel_alignment(ours_BNN, theirs_BNN)
        heat = settings.temperature
        if settings.loss == "contrastive":
            return kernel_contrast(ours_BNN, theirs_BNN, heat)
        return kernel_cross_entropy(ours_BNN, theirs_BNN, heat, heat, exclude_diagonal=settings.exclude_self)

    def encoders(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"student": self.encoder}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(
                optimiser="adamw", learning_rate=1e-3, weight_decay=1e-4, batch_size=64, epochs=30
            ),
            note="narrow encoders, frames up to 64 px",
        ),
    }


def still_view(settings: FlowSim.Settings, facts: Facts) -> ViewPolicy:
    """A mild crop, a flip, and a little colour jitter."""
    view = weak(facts.image_size, scale=settings.crop_scale)
    jitter = settings.jitter
    colour = Colour(brightness=jitter, contrast=jitter, saturation=jitter, hue=min(0.5, jitter / 2))
    return replace(view, colour=colour if jitter else None)


def tapped(encoder: Encoder) -> list[int]:
    """Channels of the maps that a hypercolumn is made of."""
    backbone = encoder.backbone
    if not hasattr(backbone, "forward_intermediates"):
        return [encoder.map_features]
    return [int(stage["num_chs"]) for stage in backbone.feature_info]  # type: ignore[union-attr]


def taps(encoder: Encoder, image_B3SS: Tensor) -> list[Tensor]:
    """These maps: those of all stages, or the last one of encoders without stages."""
    return (
        encoder.stages(image_B3SS) if hasattr(encoder.backbone, "forward_intermediates") else [encoder.map(image_B3SS)]
    )


def drawn_points(flow_BP2: Tensor, known_BP: Tensor, settings: FlowSim.Settings) -> Tensor:
    """(B, N) int64 different pixels of each image: first some that move on their own, then any; reliable ones first.

    Drawn for the images of all processes together.
    """
    count, pixels = flow_BP2.shape[:2]
    wanted = min(settings.points, pixels)
    moving = min(wanted, round(settings.moving * wanted))
    draw_BP = common(torch.rand(count * world(), pixels, device=flow_BP2.device))[positions(flow_BP2)]
    draw_BP = draw_BP + 2.0 * known_BP
    own_BP = (flow_BP2 - flow_BP2.median(1, keepdim=True).values).norm(dim=2) > 0.5
    first_BM = (draw_BP + 1.0 * (own_BP & known_BP)).topk(moving, dim=1).indices
    rest_BP = draw_BP.scatter(1, first_BM, -1.0)
    return torch.cat([first_BM, rest_BP.topk(wanted - moving, dim=1).indices], 1)


def sigma_of(flow_BN2: Tensor, sigma: float) -> Tensor:
    """(B, 1, 1) the width of the flow kernel of each image, in pixels."""
    if sigma:
        return flow_BN2.new_full((len(flow_BN2), 1, 1), sigma)
    apart_BNN = torch.cdist(flow_BN2, flow_BN2)
    return apart_BNN.flatten(1).median(1).values.clamp(min=LEAST_SIGMA).view(-1, 1, 1)
