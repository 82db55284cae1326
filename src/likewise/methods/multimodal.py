"""Five contrastive terms between images, captions and tags, with momentum keys and queues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather
from likewise.encoders import Encoder, norms
from likewise.encoders.passes.shuffling import shuffled
from likewise.errors import InputError
from likewise.memory import LABEL, Queue
from likewise.memory import Column as Beside
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.texts.captions import (
    Captions,
    Reader,
    caption_column,
    check_captioned,
    draws,
    part_of_mean,
    without_words,
)
from likewise.methods.parts.texts.five_terms import FiveTerms, Networks, tag_sets, taught
from likewise.similarity import contrast, unit
from likewise.similarity.texts.tags import contrast_matches, rank_by_margin, shared_tags
from likewise.teachers import Momentum
from likewise.views.policies.pair import strong_views


class Said(NamedTuple):
    """The captions of a batch: two of each image, whether it has any, and which the first is."""

    first: Tensor
    second: Tensor
    has: Tensor
    """(B,) bool."""
    number: Tensor
    """(B,) int64 of the second caption, of which the keys are."""


class Multimodal(Method):
    """Multimodal Contrastive Training, after its paper: this project's own definition where that leaves things open.

    Two views of an image, two captions of it (of one caption twice the same, each with a tenth of its words left out),
    and its tags. Queries q come from encoders and heads, unit keys k from their moving averages; queues Q hold earlier
    keys. With a head of its own for each term:

        L_ii = -log( exp(q.k/T) / (exp(q.k/T) + sum_Q exp(q.Q/T)) )          image with its other view
        L_tag = the same of each row Q that shares more than `tag_threshold` tags, averaged over these
        L_cc = as L_ii, of captions
        L_ic = mean_Q [margin - q.k + q.Q]_+                                 image with its caption's key
        L_ci = the same of caption with its image's key

    `cross_form` makes the last two a sum over the queue, as published, or a softmax like L_ii. A term of weight 0 has
    no head and no queue. Equal captions in a queue are not negatives. Images without a caption take part in the first
    two terms alone.

    Order inside a step: keys' networks move, all look, all five losses against the queues as they were, then the keys
    enter them, those with tags together with these.

    The method is described by patent US 12,223,439 of Adobe Inc.: ask before commercial use.

    Yuan, Lin, Kuen, Zhang, Wang, Maire, Kale, Faieta: CVPR 2021, arXiv 2104.12836; no code was published.
    """

    card: ClassVar[Card] = Card(
        title="Multimodal contrastive training (after the paper)",
        paper="Yuan, Lin, Kuen, Zhang, Wang, Maire, Kale, Faieta. Multimodal Contrastive Training for Visual "
        "Representation Learning. CVPR 2021, arXiv 2104.12836. Patented: US 12,223,439",
        summary="When images have captions, and perhaps tags, and better features of images are wanted. Patented: ask "
        "before commercial use.",
        needs=("pairs",),
        memory="queue",
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings(FiveTerms):
        """Settings of multimodal. The defaults are those of the small preset."""

    @classmethod
    def columns(cls, settings: Settings) -> tuple[str, ...]:
        """The captions, and the tags."""
        return tuple(name for name in (settings.captions if settings.reads else "", settings.tags) if name)

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        self.settings = settings
        norms.convert(encoder, split=settings.split_batch_norm)
        self.networks = Networks(encoder, settings)
        self.teacher = Momentum(self.networks)
        for part in self.networks.untaught(settings):
            part.requires_grad_(False)
        self.reader = Reader(settings)
        self.captions = Captions(caption_column(facts.columns, settings.captions), settings) if settings.reads else None
        if settings.reads and facts.columns:
            check_captioned(facts.columns, settings.captions)
        sets_CT = tag_sets(facts.columns.get(settings.tags))
        self.register_buffer("tag_sets", sets_CT, persistent=False)
        tags = Beside(fill=0, width=sets_CT.shape[1], dtype=sets_CT.dtype)
        own, cross = settings.embedding, settings.cross_embedding

        def queue(dim: int, **columns: Beside) -> Queue:
            return Queue(settings.queue_size, dim, columns=columns)

        made = {
            "image": queue(own) if settings.image_weight else None,
            "tags": queue(own, tags=tags) if settings.tags and settings.tag_weight else None,
            "caption": queue(own, caption=LABEL) if settings.caption_weight else None,
            "captions_of_images": queue(cross, caption=LABEL) if settings.to_caption_weight else None,
            "images_of_captions": queue(cross, caption=LABEL) if settings.to_image_weight else None,
        }
        self.queues = nn.ModuleDict({name: each for name, each in made.items() if each is not None})
        self.views = strong_views(("first", "second"), facts.image_size, scale=settings.crop_scale)
        self.at = 0

    def before_step(self, progress: Progress) -> None:
        """Move the networks of the keys."""
        self.at = progress.step
        self.teacher.update(self.networks, self.settings.momentum)

    def step(self, views: Views, batch: Batch) -> Terms:
        """Five terms against the queues as they were; then the keys enter them."""
        settings, said = self.settings, self.said(batch)
        seen, read = self.networks(views["first"].image, None if said is None else said.first)
        key_seen, key_read = self.keys(views["second"].image, None if said is None else said.second)
        found: dict[str, Tensor] = {}
        if "image" in self.queues:
            found["image"] = settings.image_weight * contrast(
                seen["own"], key_seen["own"], self.rows("image"), settings.temperature
            )
        if "tags" in self.queues:
            found["tag"] = settings.tag_weight * self.by_tags(seen["tags"], batch)
        if said is not None:
            found |= self.by_captions(seen, read, key_seen, key_read, said)
        self.remember(key_seen, key_read, batch, said)
        embedding = seen["own"] if "own" in seen else next(iter(seen.values()))
        return Terms(
            torch.stack(list(found.values())).sum(),
            {name: loss.detach() for name, loss in found.items()},
            embedding.detach(),
        )

    def said(self, batch: Batch) -> Said | None:
        """Two captions of each image, with some words left out; None where no term reads any."""
        if self.captions is None:
            return None
        codes_B, settings = batch.columns[self.settings.captions], self.settings
        first_B, second_B = self.captions.pick_two(codes_B, draws(self.at, codes_B, 2))
        views = [
            without_words(texts, draws(self.at, codes_B, settings.words, salt), settings.dropped_words)
            for salt, texts in ((1, self.captions.read(first_B)), (2, self.captions.read(second_B)))
        ]
        return Said(views[0], views[1], self.captions.has(codes_B), second_B)

    @torch.no_grad()
    def keys(self, image: Tensor, texts: Tensor | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Unit keys by head, of images (permuted for their pass where wanted) and of captions."""
        slow = cast("Networks", self.teacher.network)
        features_BF = shuffled(slow.image, image) if self.settings.shuffle else slow.image(image)
        both = slow.heads_of(slow.of_image, features_BF), slow.of_texts(texts)
        of_image, of_text = ({name: unit(key_BD) for name, key_BD in side.items()} for side in both)
        return of_image, of_text

    def rows(self, name: str) -> Tensor:
        """(K, D) of a queue."""
        return cast("Queue", self.queues[name]).rows

    def column(self, name: str, column: str) -> Tensor:
        """A column of a queue."""
        return cast("Queue", self.queues[name]).column(column)

    def by_tags(self, query_BD: Tensor, batch: Batch) -> Tensor:
        """The contrast with rows that share tags, as its part of the mean over processes."""
        tags_BT = self.tag_sets[batch.columns[self.settings.tags]]  # type: ignore[index]
        match_BK = shared_tags(tags_BT, self.column("tags", "tags"), self.settings.tag_threshold)
        loss = contrast_matches(query_BD, self.rows("tags"), match_BK, self.settings.temperature)
        return loss * part_of_mean(match_BK.any(1))

    def by_captions(
        self,
        seen: Mapping[str, Tensor],
        read: Mapping[str, Tensor],
        key_seen: Mapping[str, Tensor],
        key_read: Mapping[str, Tensor],
        said: Said,
    ) -> dict[str, Tensor]:
        """The terms with captions, over the images that have one."""
        settings, share, has = self.settings, part_of_mean(said.has), said.has
        asked: list[tuple[str, float, str, str, Tensor, Tensor]] = []
        if "caption" in self.queues:
            asked.append(("caption", settings.caption_weight, "caption", "nce", read["own"], key_read["own"]))
        form = settings.cross_form
        if "captions_of_images" in self.queues:
            pair = (seen["cross"], key_read["cross"])
            asked.append(("to_caption", settings.to_caption_weight, "captions_of_images", form, *pair))
        if "images_of_captions" in self.queues:
            pair = (read["cross"], key_seen["cross"])
            asked.append(("to_image", settings.to_image_weight, "images_of_captions", form, *pair))
        found = {}
        for name, weight, queue, how, query_BD, key_BD in asked:
            if not bool(has.any()):
                found[name] = 0.0 * query_BD.sum()
                continue
            same_BK = said.number[has].unsqueeze(1) == self.column(queue, "caption")
            loss = self.crossed(how, query_BD[has], key_BD[has], self.rows(queue), same_BK)
            found[name] = weight * share * loss
        return found

    def crossed(self, form: str, query_BD: Tensor, key_BD: Tensor, rows_KD: Tensor, same_BK: Tensor) -> Tensor:
        """A query with its key against a queue, in which rows of the same caption do not count."""
        if form == "nce":
            without: Callable[[int, int], Tensor] = lambda start, stop: same_BK[:, start:stop]  # noqa: E731
            return contrast(query_BD, key_BD, rows_KD, self.settings.temperature, exclude=without)
        reduction: Literal["sum", "mean"] = "sum" if form == "rank_sum" else "mean"
        return rank_by_margin(query_BD, key_BD, rows_KD, self.settings.margin, reduction=reduction, exclude_BK=same_BK)

    @torch.no_grad()
    def remember(
        self, key_seen: Mapping[str, Tensor], key_read: Mapping[str, Tensor], batch: Batch, said: Said | None
    ) -> None:
        """Put the keys of all processes into their queues; those of captions where there is one."""
        queues = cast("Mapping[str, Queue]", self.queues)
        if "image" in queues:
            queues["image"].push(gather(key_seen["own"]))
        if "tags" in queues:
            tags_BT = self.tag_sets[batch.columns[self.settings.tags]]  # type: ignore[index]
            queues["tags"].push(gather(key_seen["tags"]), tags=gather(tags_BT))
        if said is None:
            return
        has, number = gather(said.has), gather(said.number)
        for name, keys, head in (
            ("caption", key_read, "own"),
            ("captions_of_images", key_read, "cross"),
            ("images_of_captions", key_seen, "cross"),
        ):
            if name in queues:
                queues[name].push(gather(keys[head])[has], caption=number[has])

    def image_joint(self, features_BF: Tensor) -> Tensor:
        """(B, D) unit vectors of pooled features, by the head that captions are compared with."""
        return unit(cast("Tensor", self._crossing().of_image["cross"](features_BF)))

    def text_joint(self, texts: Sequence[str]) -> Tensor:
        """(T, D) unit vectors of texts."""
        networks = self._crossing()
        place = next(networks.of_text["cross"].parameters()).device
        return unit(networks.of_texts(self.reader(texts).to(place))["cross"])

    def _crossing(self) -> Networks:
        if "cross" not in self.networks.of_image:
            raise InputError("this run compared no images with captions: to_caption_weight above 0 does")
        return self.networks

    def encoders(self) -> dict[str, nn.Module]:
        """The image encoder of the queries."""
        return {"student": self.networks.image}

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Images; texts at their own rate."""
        networks = self.networks
        yield {"params": taught(networks.image, networks.of_image)}
        text = taught(networks.text, networks.of_text) if self.settings.reads else []
        if text:
            yield {"params": text, "rate": self.settings.text_rate}

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(optimiser="adamw", learning_rate=1e-3, weight_decay=1e-4, epochs=30),
            note="narrow encoders, images up to 64 px, both networks from scratch",
        ),
        "coco": Preset(
            settings=Settings(
                queue_size=65_536,
                temperature=0.07,
                momentum=0.999,
                embedding=128,
                cross_embedding=1024,
                cross_form="rank_sum",
                to_caption_weight=1e-4,
                to_image_weight=1e-4,
                text_width=768,
                text_layers=6,
                vocabulary=50_000,
            ),
            optimisation=Optimisation(learning_rate=0.03, weight_decay=1e-4, batch_size=512, epochs=200),
            note="after the paper, COCO with ResNet-50; batch, rate and lengths are not certain",
            differs={
                "heads": "texts are read by a transformer of ours, from scratch; published: a trained BERT-base, "
                "trained further"
            },
        ),
    }
