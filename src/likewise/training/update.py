"""One update of the weights: the training loop repeats it, `likewise doctor` times it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric

from likewise.data import LoadedBatch, Loader
from likewise.data.batches.streams import MAIN
from likewise.encoders import Encoder
from likewise.methods.method import Batch, Method, Progress, Terms, Views, composer
from likewise.training.anchor import Anchor
from likewise.training.finite import OVERFLOWS, FiniteGuard
from likewise.training.optimising import scheduled
from likewise.training.optimising.optimisers import set_decay, set_rate
from likewise.training.planning.resolve import Plan, passes
from likewise.training.refresh import refresh
from likewise.training.seeding import seed_step
from likewise.training.watching.progress import Part
from likewise.views import View, ViewPolicy, make_clip_views, make_views

Observe = Callable[[Progress, Terms], None]


class Stopwatch(Protocol):
    """Receives the times of an update's parts."""

    def enter(self, part: Part) -> None:
        """Time from here on counts for `part`."""


def unobserved(progress: Progress, terms: Terms) -> None:
    """For those who only want the update."""


def stream_roles(method: Method, views: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, ViewPolicy]]:
    """The view policies of each stream, whose roles are `views`; what no other names belongs to the main one."""
    named = {name: roles for name, roles in views.items() if name != MAIN}
    taken = {role for roles in named.values() for role in roles}
    main = {role: policy for role, policy in method.views.items() if role not in taken}
    return {MAIN: main, **{name: {role: method.views[role] for role in roles} for name, roles in named.items()}}


def batch_of(loaded: LoadedBatch) -> Batch:
    """The `Batch` that the method gets beside the views."""
    others = {name: batch_of(other) for name, other in loaded.others.items()}
    return Batch(loaded.ids, loaded.labels, loaded.columns, others)


def views_of(
    method: Method,
    policies: Mapping[str, Mapping[str, ViewPolicy]],
    loaded: LoadedBatch,
    batch: Batch,
    *,
    seed: int,
    step: int,
    rank: int = 0,
    world: int = 1,
) -> Views:
    """The views of all streams by role; `policies` are those of each stream. Images are composed in the main one."""
    place: dict[str, Any] = {"seed": seed, "step": step, "rank": rank, "world": world}
    views: dict[str, View] = {}
    for name, roles in policies.items():
        drawn = loaded if name == MAIN else loaded.others[name]
        if drawn.pixels.dim() > 4:
            views |= make_clip_views(roles, drawn.pixels, drawn.sizes, **place)
        else:
            compose = composer(method, batch) if name == MAIN else None
            marks: dict[str, Any] = {"masks": drawn.masks, "regions": drawn.regions}
            views |= make_views(roles, drawn.pixels, drawn.sizes, **place, **marks, compose=compose)
    return views


class Update:
    """A method and its optimiser, on the device: `refresh` where it is due, then one `step` for each batch."""

    def __init__(
        self,
        fabric: Fabric,
        method: Method,
        optimizer: torch.optim.Optimizer,
        loader: Loader,
        plan: Plan,
        watch: Stopwatch,
    ) -> None:
        """Moves the method to the device: a state that is loaded belongs there, so it is loaded afterwards."""
        self.anchor: Anchor | None = None
        """What is added to the loss of every pass, where the encoder is to stay near where it began."""
        self.fabric, self.method, self.loader, self.plan, self.watch = fabric, method, loader, plan, watch
        self.passes = passes(method, plan)
        for module in method.modules():
            if isinstance(module, Encoder):
                module.parts = plan.accumulate // self.passes
        self.wrapped, self.optimizer = fabric.setup(method, optimizer)
        self.precision = fabric.strategy.precision
        self.roles = stream_roles(method, {name: drawn.views for name, drawn in loader.streams.items()})
        self.guard = FiniteGuard(
            fabric.device,
            names=loader.images.names,
            batch=lambda step: loader.sampler.batch(step).reshape(-1).tolist(),
            overflows=OVERFLOWS if plan.precision == "fp16" else 0,
        )

    def refresh(self, progress: Progress, *, epoch_begins: bool) -> bool:
        """At the start of an epoch, show the method the whole data set if it wants to see it; whether it was shown.

        After the checkpoint of the epoch before, not in it: a run resumed from there refreshes as this one does.
        """
        if not (epoch_begins and self.method.refresh_due(progress.epoch)) and not self.method.refresh_lost():
            return False
        self.watch.enter("refresh")
        seed_step(self.plan.seed, progress.step)  # not by process: all of them must draw the same
        refresh(
            self.method,
            self.loader.images,
            self.plan.encoder,
            progress,
            device=self.fabric.device,
            autocast=self.fabric.autocast,
        )
        return True

    def step(self, loaded: LoadedBatch, progress: Progress, observe: Observe = unobserved) -> None:
        """One update of the weights by a batch; `observe` is shown what each of its passes gave.

        Raises NonFinite where a loss or a gradient is no number, before the weights change.
        """
        plan, optimizer = self.plan, self.optimizer.optimizer
        seed_step(plan.seed, progress.step, self.fabric.global_rank)
        set_rate(optimizer, scheduled.learning_rate(plan.optimisation, progress, plan.epochs))
        set_decay(optimizer, scheduled.weight_decay(plan.optimisation, progress))
        self.method.before_step(progress)
        self._gradients(loaded, progress, observe)
        self.guard.check(progress.step)
        self.precision.unscale_gradients(optimizer)  # in float16 they are scaled up until here
        self.guard.gradients(progress.step, self.method.parameters())
        if plan.optimisation.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), plan.optimisation.clip_norm)
        self.method.after_backward(progress)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.method.after_step(progress)

    def _gradients(self, loaded: LoadedBatch, progress: Progress, observe: Observe) -> None:
        """Forward and backward passes of the parts of a batch, whose gradients add up.

        Where the images of a batch are compared there is one pass of the method; its encoders cut the batch.
        """
        parts = self.passes
        policies = {
            stream: scheduled.views_at(roles, self.plan.optimisation, progress, flip=self.plan.flip)
            for stream, roles in self.roles.items()
        }
        for number in range(parts):
            self.watch.enter("views")
            share = loaded.rows(slice(number, None, parts))  # strided, like the shares of processes
            batch = batch_of(share)
            place = {"rank": self.fabric.global_rank, "world": self.fabric.world_size}
            views = views_of(
                self.method, policies, share, batch, seed=self.plan.seed, step=progress.step * parts + number, **place
            )
            self.watch.enter("model")
            with self.fabric.no_backward_sync(self.wrapped, enabled=number + 1 < parts):
                terms = self.wrapped(views, batch)
                if self.anchor is not None:
                    terms = self.anchor.added(terms, share, self.fabric.autocast)
                self.guard.watch(terms.loss, batch.ids)
                self.fabric.backward(terms.loss / parts)
            observe(progress, terms)

    def settle(self, step: int) -> None:
        """After the last step: raises NonFinite for what is still to be reported of it."""
        self.guard.check(step)
