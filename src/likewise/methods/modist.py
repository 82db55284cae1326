"""MoDist: contrast of clips with clips of the same video, and with the motion in the same clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from likewise.data.batches.streams import Stream
from likewise.data.flow.fields import FlowPlan
from likewise.distributed import gather
from likewise.encoders import Encoder, heads
from likewise.encoders.own import R3D
from likewise.memory import LABEL, Queue
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, between, positive
from likewise.methods.parts.clips import ClipSettings, clip_columns, clip_streams, judged_by_clips
from likewise.methods.parts.motion import FlowSettings, flow_rows, share_of_all
from likewise.similarity import contrast, unit
from likewise.similarity.dense.motion import flow_edges
from likewise.similarity.read import Exclude
from likewise.teachers import Momentum, evaluated
from likewise.views.geometry.flows import flow_map
from likewise.views.policies.pair import strong_views
from likewise.views.policies.policy import Crop
from likewise.views.policies.presets import weak
from likewise.views.view import View

ROLES = ("first", "second")
CHANNELS = {"edges": 1, "flow": 2, "difference": 3}
DEPTHS = {"tiny": (1, 1, 1, 1), "r50": (3, 4, 6, 3)}


class MoDist(Method):
    """Motion distillation: a network of images learns from one that sees motion alone.

    Of two clips 1, 2 of each video, v is the visual embedding and m that of the motion in the SAME clip, cropped by a
    draw of its own. q are students, k their moving averages, Q_v and Q_m queues of earlier keys of either, and
    I(q, k, Q) = -log( exp(q.k/T) / (exp(q.k/T) + sum_j exp(q.Q_j/T)) ):

        L_vv = (I(q_v1, k_v2, Q_v) + I(q_v2, k_v1, Q_v)) / 2,   L_mm likewise with Q_m,
        L_vm = (I(q_v1, k_m1, Q_m) + I(q_v2, k_m2, Q_m)) / 2,   L_mv = (I(q_m1, k_v1, Q_v) + I(q_m2, k_v2, Q_v)) / 2,
        L = w_vv L_vv + w_mm L_mm + w_x (L_vm + L_mv).

    Motion is seen as edges: the Sobel gradient of the flow's length, cut and divided by `edge`. Clips in which nothing
    moves take no part in the terms with motion. Only the visual network is used afterwards.

    Rows of a queue that no key was written to are left out: beside noise one vector for all clips has a low loss, and a
    single step of a short run is enough to collapse to it. So are keys of the query's own video, of which a queue that
    is longer than an epoch always holds some.

    Order inside a step: both averages move, all clips through all networks, four terms, then the keys enter the queues;
    in the first step, when these are empty, before the terms.

    Xiao, Tighe, Modolo: MoDist: Motion Distillation for Self-supervised Video Representation Learning, 2021, arXiv
    2106.09703 (later MaCLR, ECCV 2022), section 3.
    """

    card: ClassVar[Card] = Card(
        title="Motion Distillation",
        paper="Xiao, Tighe, Modolo. MoDist: Motion Distillation for Self-supervised Video Representation Learning. "
        "2021, arXiv 2106.09703; later MaCLR, ECCV 2022",
        summary="For videos where plain contrast learns backgrounds and appearance instead of motion.",
        needs=("videos",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(ClipSettings, FlowSettings):
        """Settings of MoDist. The defaults are those of the small preset."""

        law: Literal["decreasing", "uniform", "increasing", "none", "power"] = "uniform"
        """How the gap between the two clips of a video is drawn."""
        motion: Literal["edges", "flow", "difference"] = "edges"
        """What the motion network sees: flow edges, flow itself, or differences of neighbouring frames of the clip."""
        layout: Literal["tiny", "r50"] = "tiny"
        """Layers of the motion network: as `r3d_tiny` or as `r3d50`."""
        motion_width: int = 8
        """Channels of its first stage."""
        edge: float = 3.0
        """Pixels of a view at which flow and its edges are cut, and by which they are divided; 10 at 224 px."""
        still: float = 0.02
        """Pixels: clips whose mean edge, or mean flow, is less take no part in the terms with motion."""
        queue_size: int = 2048
        """Rows of each of the two queues."""
        temperature: float = 0.1
        """T: divides all similarities."""
        momentum: float = 0.99
        """Share of their old weights that the averages keep at each step."""
        embedding: int = 64
        """Length D of embeddings."""
        shared_heads: bool = True
        """Whether terms within and across the two kinds of input have the same heads."""
        weight_visual: float = 1.0
        """w_vv."""
        weight_motion: float = 1.0
        """w_mm."""
        weight_cross: float = 1.0
        """w_x: weight of both terms across; 0 is contrast of clips alone, beside that of motion."""
        motion_first: float = 0.0
        """Share of the budget in which the motion term alone is learned."""
        crop_scale: tuple[float, float] = (0.3, 1.0)
        """Smallest and largest share of a frame that a crop covers."""

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("queue_size", "embedding", "motion_width"):
                at_least(name, getattr(self, name), 1)
            for name in ("temperature", "edge"):
                positive(name, getattr(self, name))
            for name in ("weight_visual", "weight_motion", "weight_cross", "still"):
                at_least(name, getattr(self, name), 0.0)
            for name in ("momentum", "motion_first"):
                between(name, getattr(self, name), 0.0, 1.0)

        def idle(self) -> dict[str, str]:
            """As of all clips; and what is said of flow where none is looked at."""
            unseen = () if self.motion != "difference" else ("flow", "camera", "edge", "still")
            return super().idle() | dict.fromkeys(unseen, "motion=edges")

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
        self.settings, dim = settings, settings.embedding
        self.visual = nn.Sequential(judged_by_clips(encoder, settings), projector(encoder.features, settings))
        motion = motion_network(settings)
        self.moving = nn.Sequential(motion, projector(motion.head_hidden_size, settings))
        self.visual_keys, self.moving_keys = Momentum(self.visual), Momentum(self.moving)
        width = dim if settings.shared_heads else 2 * dim
        self.visual_queue, self.moving_queue = (
            Queue(settings.queue_size, width, columns={"video": LABEL}) for _ in range(2)
        )
        self.within, self.across = slice(0, dim), slice(width - dim, width)
        self.alone = settings.motion_first > 0.0
        crop = Crop(scale=settings.crop_scale, ratio=(0.5, 2.0))
        looks = strong_views(ROLES, facts.image_size)
        motions = dict.fromkeys((f"{role}_motion" for role in ROLES), weak(facts.image_size))
        self.views = {role: replace(view, crop=crop) for role, view in (looks | motions).items()}
        if settings.motion != "difference":
            self.flow = FlowPlan(
                source=settings.flow, check=False, camera=settings.camera, video=settings.video, frame=settings.frame
            )

    def before_step(self, progress: Progress) -> None:
        """Move both averages; see whether the motion term is still alone."""
        self.visual_keys.update(self.visual, self.settings.momentum)
        self.moving_keys.update(self.moving, self.settings.momentum)
        self.alone = progress.fraction < self.settings.motion_first

    def step(self, views: Views, batch: Batch) -> Terms:
        """Four terms against the queues as they were; then the keys of both clips enter them."""
        settings = self.settings
        motion = [self.motion_of(views[f"{role}_motion"], batch.ids[:, at]) for at, role in enumerate(ROLES)]
        moves_B = motion[0].moves & motion[1].moves
        looks, moved = torch.cat([views[role].image for role in ROLES]), torch.cat([each.image for each in motion])
        q_v, q_m = self.visual(looks).chunk(2), self.moving(moved).chunk(2)
        k_v, k_m = self.keys(self.visual_keys, looks).chunk(2), self.keys(self.moving_keys, moved).chunk(2)
        everyone_B, video_B = torch.ones_like(moves_B), batch.columns[settings.video]
        begins = not len(self.visual_queue)
        if begins:
            self.remember(k_v, k_m, moves_B, video_B)
        terms = {
            "vv": self.both(q_v, k_v[::-1], self.visual_queue, self.within, everyone_B, video_B),
            "mm": self.both(q_m, k_m[::-1], self.moving_queue, self.within, moves_B, video_B),
            "vm": self.both(q_v, k_m, self.moving_queue, self.across, moves_B, video_B),
            "mv": self.both(q_m, k_v, self.visual_queue, self.across, moves_B, video_B),
        }
        with_motion_alone = 0.0 if self.alone else 1.0
        cross = settings.weight_cross * (terms["vm"] + terms["mv"])
        loss = with_motion_alone * (settings.weight_visual * terms["vv"] + cross) + settings.weight_motion * terms["mm"]
        found = self.found(q_v[0], k_m[0], moves_B, video_B)
        if not begins:
            self.remember(k_v, k_m, moves_B, video_B)
        parts = {name: term.detach() for name, term in terms.items()}
        return Terms(loss, {**parts, "moving": moves_B.float().mean(), "found": found}, q_v[0].detach())

    def remember(self, k_v: Sequence[Tensor], k_m: Sequence[Tensor], moves_B: Tensor, video_B: Tensor) -> None:
        """Write the keys of both clips into the queues, those of motion where something moves."""
        videos_B, everywhere_B = gather(video_B), gather(moves_B)
        for k in k_v:
            self.visual_queue.push(gather(k), video=videos_B)
        for k in k_m:
            self.moving_queue.push(gather(k)[everywhere_B], video=videos_B[everywhere_B])

    def motion_of(self, view: View, index_BF: Tensor) -> Motion:
        """The motion in a clip, as the motion network's input, cropped as the view is."""
        image, settings = view.image, self.settings
        if settings.motion == "difference":
            clip = image.unsqueeze(2) if image.dim() == 4 else image
            later = torch.cat([clip[:, :, 1:], clip[:, :, -1:]], 2)
            return Motion(later - clip, torch.ones(len(clip), dtype=torch.bool, device=clip.device))
        assert view.box is not None
        assert view.flip is not None
        frames, side = index_BF.shape[1], image.shape[-1]
        field_N3GG = flow_rows(self, index_BF).flatten(0, 1)
        box_N4, flip_N = (part.repeat_interleave(frames, 0) for part in (view.box, view.flip))
        flow_N2SS = flow_map(field_N3GG, box_N4, flip_N, side)
        if settings.motion == "edges":
            seen = flow_edges(flow_N2SS, settings.edge)
            strength_N = seen.mean((1, 2, 3))
        else:
            seen = flow_N2SS.clamp(-settings.edge, settings.edge)
            strength_N = flow_N2SS.norm(dim=1).mean((1, 2))
        clip = (seen / settings.edge).view(-1, frames, *seen.shape[1:]).transpose(1, 2).to(image.dtype)
        return Motion(clip, strength_N.view(-1, frames).mean(1) >= settings.still)

    def keys(self, teacher: Momentum, clips: Tensor) -> Tensor:
        """(2B, D or 2D) unit keys; of two heads each is of unit length."""
        k_BD = teacher(clips)
        return unit(k_BD.view(len(k_BD), -1, self.settings.embedding)).flatten(1)

    def both(
        self,
        queries: tuple[Tensor, ...],
        keys: tuple[Tensor, ...],
        queue: Queue,
        head: slice,
        kept_B: Tensor,
        video_B: Tensor,
    ) -> Tensor:
        """The mean of both clips' contrasts with the keys of other videos, over the clips that are kept."""
        rows_KD, temperature = queue.rows[:, head], self.settings.temperature
        no_other = no_others(queue, video_B[kept_B])
        losses = [
            contrast(q_BD[kept_B][:, head], k_BD[kept_B][:, head], rows_KD, temperature, exclude=no_other)
            if bool(kept_B.any())
            else 0.0 * q_BD.sum()
            for q_BD, k_BD in zip(queries, keys, strict=True)
        ]
        return torch.stack(losses).mean() * share_of_all(kept_B)

    @torch.no_grad()
    def found(self, q_BD: Tensor, k_BD: Tensor, kept_B: Tensor, video_B: Tensor) -> Tensor:
        """Share of clips that are nearer to their own motion than to that of any other video in the queue."""
        q_BD, k_BD = unit(q_BD[:, self.across]), k_BD[:, self.across]
        own_B = (q_BD * k_BD).sum(1)
        queue = self.moving_queue
        alike_BK = q_BD @ queue.rows[:, self.across].to(q_BD.dtype).T
        best_B = alike_BK.masked_fill_(no_others(queue, video_B)(0, queue.size), -torch.inf).amax(1)
        return ((own_B > best_B) & kept_B).sum() / kept_B.sum().clamp(min=1)

    def encoders(self) -> dict[str, nn.Module]:
        """The visual network and its average."""
        return evaluated(self.visual, self.visual_keys)

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.1, weight_decay=1e-4, batch_size=64, epochs=40),
            note="r3d_tiny, clips of 8 frames of 32 px",
        ),
        "kinetics": Preset(
            settings=Settings(
                frames=8,
                stride=8,
                layout="r50",
                motion_width=8,
                edge=10.0,
                queue_size=65_536,
                momentum=0.994,
                embedding=128,
            ),
            optimisation=Optimisation(learning_rate=0.4, weight_decay=1e-4, batch_size=512, epochs=200),
            note="the published recipe as far as it is known, Kinetics-400, R3D-50 (r3d50), 224 px",
            differs={
                "teacher": "a constant momentum; published: perhaps one that rises to 1",
                "memory": "noise and keys of the query's own video are no negatives; published: all rows",
            },
        ),
    }


class Motion(NamedTuple):
    """The motion of a clip."""

    image: Tensor
    """(B, channels, F, S, S)."""
    moves: Tensor
    """(B,) bool."""


def no_others(queue: Queue, video_B: Tensor) -> Exclude:
    """Which rows of the queue are no keys of other videos: noise, and those of each query's own."""

    def exclude(start: int, stop: int) -> Tensor:
        own_BC = video_B.unsqueeze(1) == queue.column("video")[start:stop]
        return own_BC | queue.unwritten(start, stop)

    return exclude


def projector(features: int, settings: MoDist.Settings) -> nn.Module:
    """A hidden layer and the embedding; twice where terms across have heads of their own."""
    made = [
        heads.mlp([features, features, settings.embedding], hidden_norm=None)
        for _ in range(1 if settings.shared_heads else 2)
    ]
    return made[0] if len(made) == 1 else heads.Beside(*made)


def motion_network(settings: MoDist.Settings) -> R3D:
    """A narrow 3D ResNet for what moves."""
    width = settings.motion_width
    widths = (width, 2 * width, 4 * width, 8 * width)
    return R3D(
        widths,
        depths=DEPTHS[settings.layout],
        large=settings.layout == "r50",
        channels=CHANNELS[settings.motion],
    )
