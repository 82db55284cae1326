"""SetSim: each cell of a query map is pulled to a set of cells of the key map; DenseCL is the set of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, heads, norms
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import between, positive
from likewise.methods.parts.moco import MocoSettings, shuffled_pass
from likewise.similarity import contrast, unit
from likewise.similarity.dense.sets import (
    attentional,
    cosines,
    geometric,
    nearest,
    placed,
    set_contrast,
    with_nearest,
)
from likewise.teachers import Momentum, with_statistics_of
from likewise.views import View
from likewise.views.policies.pair import strong_views

Sets = Literal["attention", "geometry", "attention_geometry", "nearest"]


class Seen(NamedTuple):
    """Output of a dense network for a view."""

    embedding: Tensor
    """(B, D) of the whole view."""
    cells: Tensor
    """(B, N, D) of each cell."""
    map: Tensor
    """(B, N, C) backbone map that cells are matched by."""


class DenseNetwork(nn.Module):
    """An encoder with a head for the pooled features and one, of 1x1 convolutions, for the cells of its map.

    Gives all of an image in one row, so that rows can be permuted and gathered; `split` takes it apart.
    """

    def __init__(self, encoder: Encoder, dim: int) -> None:
        super().__init__()
        self.encoder, self.dim, self.channels = encoder, dim, encoder.map_features
        self.head = heads.mlp([encoder.features, encoder.features, dim], hidden_norm=None)
        self.dense_head = heads.mlp([self.channels, self.channels, dim], hidden_norm=None)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D + N (D + C))."""
        pooled_BF, map_BCHW = self.encoder.with_map(x_B3HW)
        map_BNC = map_BCHW.flatten(2).transpose(1, 2)
        parts = (self.head(pooled_BF), self.dense_head(map_BNC).flatten(1), map_BNC.flatten(1))
        return torch.cat([part.to(parts[0].dtype) for part in parts], 1)

    def split(self, out: Tensor) -> Seen:
        """The parts of what `forward` gives."""
        count = (out.shape[1] - self.dim) // (self.dim + self.channels)
        embedding, cells, last = torch.split(out, [self.dim, count * self.dim, count * self.channels], 1)
        return Seen(
            embedding,
            torch.unflatten(cells, 1, (count, self.dim)),
            torch.unflatten(last, 1, (count, self.channels)),
        )


class SetSim(Method):
    """Set similarity for dense representations.

    MoCo v2 with a second contrast: each cell u_i of the query's map has a set P(i) of positive cells v_j of the key's,
    against a queue of pooled dense keys,

        L_set = mean_i -1/|P(i)| sum_{j in P(i)} ( u_i.v_j/T - log Z_i ),
        Z_i   = sum_{j in P(i)} exp(u_i.v_j/T) + sum_k exp(u_i.Q_k/T),      L = (1 - w) L_moco + w L_set.

    Sets are found on the backbone's maps: `attention` pairs salient cells that are similar; `geometry` cells that
    show the same place of the image; `nearest` each cell with its most similar one, which is DenseCL. `with_nearest`
    adds each cell's most similar one to sets that are not empty. Where a cell lies in its image follows from the crop's
    box; the published code measures boxes from pixel centre to pixel centre, which differs by less than a pixel.

    Order inside a step: the key encoder moves, both look, both losses against the queues as they were, then the keys
    enter: the global ones, and of each image the mean of its dense keys, normalised after the mean.

    Wang, Li, Zhang, Wan, Zheng, Wang, Gong, Liu: Exploring Set Similarity for Dense Self-supervised Representation
    Learning, CVPR 2022, arXiv 2107.08712, section 3. DenseCL: Wang et al., CVPR 2021, arXiv 2011.09157.
    """

    card: ClassVar[Card] = Card(
        title="Set similarity for dense features (SetSim)",
        paper="Wang, Li, Zhang, Wan, Zheng, Wang, Gong, Liu. Exploring Set Similarity for Dense Self-supervised "
        "Representation Learning. CVPR 2022, arXiv 2107.08712",
        summary="For segmentation and detection, and for images with several objects; `--sets nearest` is DenseCL.",
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(MocoSettings):
        """Settings of SetSim. The defaults are those of the small preset."""

        temperature: float = 0.2
        """T: divides all similarities."""
        sets: Sets = "attention_geometry"
        """How positive cells are found; the paper's form is attention with `with_nearest`."""
        with_nearest: bool = False
        """Add each cell's most similar one to its set, where it has one."""
        attention_threshold: float = 0.7
        """Channel energy, 0 to 1 within an image, from which a cell is salient."""
        similarity_threshold: float = 0.2
        """Cosine from which two salient cells are a pair."""
        geometry_threshold: float = 0.5
        """Diagonals of a cell within which two cells show the same place."""
        set_weight: float = 0.5
        """w: weight of the dense loss beside MoCo's."""

        def __post_init__(self) -> None:
            super().__post_init__()
            between("attention_threshold", self.attention_threshold, 0.0, 1.0)
            between("similarity_threshold", self.similarity_threshold, -1.0, 1.0)
            positive("geometry_threshold", self.geometry_threshold)
            between("set_weight", self.set_weight, 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """Thresholds of cells that are not looked for in that way."""
            unused: dict[str, str] = {}
            if "attention" not in self.sets:
                unused = dict.fromkeys(("attention_threshold", "similarity_threshold"), "sets=attention")
            if "geometry" not in self.sets:
                unused["geometry_threshold"] = "sets=geometry"
            if self.sets == "nearest":
                unused["with_nearest"] = "sets=attention"
            return unused

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        norms.convert(encoder, split=settings.split_batch_norm)
        self.student = DenseNetwork(encoder, settings.embedding)
        self.teacher = Momentum(self.student)
        self.queue = Queue(settings.queue_size, settings.embedding, columns={"label": LABEL})
        self.dense_queue = Queue(settings.queue_size, settings.embedding)
        self.views = strong_views(("first", "second"), facts.image_size, scale=settings.crop_scale)

    def before_step(self, progress: Progress) -> None:
        """Move the key encoder towards the query encoder as it was before this step's update."""
        self.teacher.update(self.student, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Contrast of the views and of their cells; then both kinds of keys enter their queues."""
        first, second, settings = views["first"], views["second"], self.settings
        query = self.student.split(self.student(first.image))
        with torch.no_grad():
            key = self.student.split(shuffled_pass(self.teacher, second.image, shuffle=settings.shuffle))
        match_BNN = self.matches(query.map, key.map, first, second)
        overall = contrast(query.embedding, key.embedding, self.queue.rows, settings.temperature)
        dense = set_contrast(query.cells, key.cells, self.dense_queue.rows, match_BNN, settings.temperature)
        self.queue.push(gather(unit(key.embedding)), label=gather(batch.labels))
        self.dense_queue.push(gather(unit(key.cells.mean(1))))
        parts = {
            "global": overall.detach(),
            "dense": dense.detach(),
            "pairs": match_BNN.float().sum(2).mean(),
        }
        loss = (1.0 - settings.set_weight) * overall + settings.set_weight * dense
        return Terms(loss, parts, query.embedding.detach())

    def matches(self, query_BNC: Tensor, key_BNC: Tensor, first: View, second: View) -> Tensor:
        """(B, N, N) which cells of the key are positives of which of the query."""
        settings, query_BNC = self.settings, query_BNC.detach()
        if settings.sets == "nearest":
            return nearest(cosines(query_BNC, key_BNC))
        match_BNN = torch.zeros(*query_BNC.shape[:2], key_BNC.shape[1], dtype=torch.bool, device=key_BNC.device)
        if "attention" in settings.sets:
            match_BNN = attentional(query_BNC, key_BNC, settings.attention_threshold, settings.similarity_threshold)
        if "geometry" in settings.sets:
            side = round(query_BNC.shape[1] ** 0.5)
            seen, shown = (placed(corners(view), side, side) for view in (first, second))
            match_BNN = match_BNN | geometric(seen, shown, settings.geometry_threshold)
        return with_nearest(match_BNN, cosines(query_BNC, key_BNC)) if settings.with_nearest else match_BNN

    def encoders(self) -> dict[str, nn.Module]:
        """Query encoder as student, key encoder as teacher, with the student's running statistics."""
        teacher = self.teacher.network.get_submodule("encoder")
        return {"student": self.student.encoder, "teacher": with_statistics_of(teacher, self.student.encoder)}

    _published: ClassVar = Settings(queue_size=65_536, momentum=0.999, shuffle=True)
    _long: ClassVar = Optimisation(
        learning_rate=0.12, weight_decay=1e-4, schedule="cosine_epoch", batch_size=512, epochs=200
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(embedding=64),
            optimisation=Optimisation(learning_rate=0.06, weight_decay=5e-4, epochs=30),
            note="narrow encoders, images up to 64 px",
        ),
        "release": Preset(
            settings=_published,
            optimisation=_long,
            note="as the official script: attention or geometry, ImageNet, ResNet-50",
        ),
        "paper": Preset(
            settings=replace(_published, sets="attention", with_nearest=True),
            optimisation=_long,
            note="as the paper: attention, enlarged by nearest neighbours, ImageNet, ResNet-50",
        ),
        "densecl": Preset(
            settings=replace(_published, sets="nearest"),
            optimisation=replace(_long, learning_rate=0.03, batch_size=256),
            note="DenseCL in this frame: each cell and its most similar one, ImageNet, ResNet-50",
        ),
    }


def corners(view: View) -> Tensor:
    """(B, 4) x1, y1, x2, y2 of a view in its image, in shares of its sides; a mirrored one has x2 < x1."""
    assert view.box is not None
    top_B, left_B, height_B, width_B = view.box.unbind(1)
    x1_B, x2_B = left_B, left_B + width_B
    if view.flip is not None:
        x1_B, x2_B = torch.where(view.flip, x2_B, x1_B), torch.where(view.flip, x1_B, x2_B)
    return torch.stack([x1_B, top_B, x2_B, top_B + height_B], 1)
