"""One update of the weights and what belongs to it: the training loop repeats it, `likewise doctor` times it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from lightning_fabric import Fabric

from likewise.data import LoadedBatch, Loader
from likewise.methods.method import Batch, Method, Progress, Terms, composer
from likewise.training import scheduled
from likewise.training.finite import OVERFLOWS, FiniteGuard
from likewise.training.optimisers import set_decay, set_rate
from likewise.training.progress import Part
from likewise.training.refresh import refresh
from likewise.training.resolve import Plan
from likewise.training.seeding import seed_step
from likewise.views import make_views

Observe = Callable[[Progress, Terms], None]


class Watch(Protocol):
    """Whoever wants to know where the time goes."""

    def enter(self, part: Part) -> None:
        """From here on the time belongs to `part`."""


def unobserved(progress: Progress, terms: Terms) -> None:
    """For those who only want the update."""


class Update:
    """A method and its optimiser, on the device: `refresh` where it is due, then one `step` for each batch."""

    def __init__(
        self, fabric: Fabric, method: Method, optimizer: torch.optim.Optimizer, loader: Loader, plan: Plan, watch: Watch
    ) -> None:
        """Moves the method to the device: a state that is loaded belongs there, so it is loaded afterwards."""
        self.fabric, self.method, self.loader, self.plan, self.watch = fabric, method, loader, plan, watch
        self.wrapped, self.optimizer = fabric.setup(method, optimizer)
        self.precision = fabric.strategy.precision
        self.guard = FiniteGuard(
            fabric.device,
            names=loader.images.names,
            batch=lambda step: loader.sampler.batch(step).tolist(),
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
        self.method.after_backward(progress)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.method.after_step(progress)

    def _gradients(self, loaded: LoadedBatch, progress: Progress, observe: Observe) -> None:
        """Forward and backward passes of the parts of a batch, whose gradients add up."""
        parts = self.plan.accumulate
        policies = scheduled.views_at(self.method.views, self.plan.optimisation, progress, flip=self.plan.flip)
        for number in range(parts):
            self.watch.enter("views")
            share = slice(number, None, parts)  # strided, like the shares of processes
            batch = Batch(loaded.index[share], None if loaded.labels is None else loaded.labels[share])
            views = make_views(
                policies,
                loaded.pixels[share],
                loaded.sizes[share],
                seed=self.plan.seed,
                step=progress.step * parts + number,
                rank=self.fabric.global_rank,
                world=self.fabric.world_size,
                compose=composer(self.method, batch),
                masks=None if loaded.masks is None else loaded.masks[share],
                regions=None if loaded.regions is None else loaded.regions[share],
            )
            self.watch.enter("model")
            with self.fabric.no_backward_sync(self.wrapped, enabled=number + 1 < parts):
                terms = self.wrapped(views, batch)
                self.guard.watch(terms.loss, batch.index)
                self.fabric.backward(terms.loss / parts)
            observe(progress, terms)

    def settle(self, step: int) -> None:
        """After the last step: raises NonFinite for what is still to be reported of it."""
        self.guard.check(step)
