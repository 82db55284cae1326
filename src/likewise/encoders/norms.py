"""Batch norms over another batch than their process's: a part of it, or that of all processes.

All keep the parameters, buffers and state dict keys of the `nn.BatchNorm` they replace, and in evaluation mode they
are that `nn.BatchNorm`. Shapes: N rows of one process, C channels, L positions, S groups of the global batch,
P groups that have rows in this process, M rows of one such group.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from likewise.errors import InputError


def group_count(rows: int, splits: int) -> int:
    """Groups that a batch of `rows` is cut into: the most up to `splits` that are equal and of two rows at least."""
    return max(groups for groups in range(1, splits + 1) if rows % groups == 0 and (groups == 1 or rows >= 2 * groups))


class GroupedBatchNorm(_BatchNorm):
    """Batch norm over S interleaved groups of the batch: row n belongs to group n mod S.

    Each group is normalised by its own mean and variance. The running statistics become the mean over groups of what
    each group would have made of them. With `across_processes` the batch is that of all processes, where row b of
    process r is row b * world + r: the order in which the loader deals rows out, so that any number of processes
    normalises a batch as one process does. S > 1 then needs equally many rows in every process.
    """

    across_processes: ClassVar[bool] = False

    def __init__(self, num_features: int, splits: int = 1, **batch_norm: Any) -> None:
        """As `nn.BatchNorm2d(num_features, **batch_norm)`, over `splits` groups."""
        super().__init__(num_features, **batch_norm)
        if splits < 1:
            raise InputError(f"a batch norm splits a batch into 1 group or more, not {splits}")
        self.splits = splits

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) or (N, C, ...) -> the same shape, then through what timm hangs on a norm (dropout, activation)."""
        x = self._normalised(x)
        for after in self.children():
            x = after(x)
        return x

    def extra_repr(self) -> str:
        """The settings, as printed with a model."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, splits={self.splits}"

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"a batch norm needs rows and channels, not a tensor of {input.ndim} axes")

    def _normalised(self, x: Tensor) -> Tensor:
        shared = self.across_processes and dist.is_initialized()
        world, rank = (dist.get_world_size(), dist.get_rank()) if shared else (1, 0)
        splits = group_count(x.shape[0] * world, self.splits)
        if not self.training or world == splits == 1:
            return super().forward(x)
        self._check_input_dim(x)
        share = self._share_of_batch()
        if splits % world == 0:
            return self._within_process(x, splits // world, world, share)
        groups = (torch.arange(splits // math.gcd(splits, world), device=x.device) * world + rank) % splits
        y, mean_SC, var_SC, count_S1 = _normalise(x, self.weight, self.bias, self.eps, groups, splits, world)
        if self.running_mean is not None and self.running_var is not None:
            unbiased_SC = var_SC * count_S1 / (count_S1 - 1).clamp(min=1)
            self.running_mean.lerp_(mean_SC.mean(0).to(self.running_mean.dtype), share)
            self.running_var.lerp_(unbiased_SC.mean(0).to(self.running_var.dtype), share)
        return y

    def _share_of_batch(self) -> float:
        """Weight of this batch in the running statistics; counts the batch."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return self.momentum or 0.0

    def _within_process(self, x: Tensor, groups: int, world: int, share: float) -> Tensor:
        """Normalise `groups` groups that lie in this process wholly, as channels of one ordinary batch norm."""

        def repeated(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.repeat(groups)

        running = repeated(self.running_mean), repeated(self.running_var)
        grouped = _groups_as_channels(x, groups)
        y = F.batch_norm(grouped, *running, repeated(self.weight), repeated(self.bias), True, share, self.eps)
        for own, updated in zip((self.running_mean, self.running_var), running, strict=True):
            if own is None or updated is None:
                continue
            own.copy_(updated.view(groups, -1).mean(0))
            if world > 1:
                dist.all_reduce(own)
                own.div_(world)
        return _channels_as_groups(y, groups)


class SplitBatchNorm2d(GroupedBatchNorm, nn.BatchNorm2d):
    """Batch norm of maps (N, C, H, W) over S interleaved groups of this process's rows.

    Imitates S devices on one (MoCo's notebook), so that the statistics of a batch do not tell which key belongs to
    which query.
    """


class SplitBatchNorm1d(GroupedBatchNorm, nn.BatchNorm1d):
    """Batch norm of vectors (N, C) over S interleaved groups of this process's rows."""


class SyncBatchNorm(GroupedBatchNorm):
    """Batch norm over the rows of all processes, for maps and vectors, with any backend of torch.distributed.

    Equal to an ordinary batch norm of one process that holds the concatenated batch, gradients included; in a single
    process it is that ordinary batch norm. Statistics are reduced in float64 whatever the input is.
    """

    across_processes = True


class _Normalise(torch.autograd.Function):
    """Normalise each group of rows by its statistics, summed over processes in both directions."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        groups_P: Tensor,
        splits: int,
        world: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the normalised x, and mean (S, C), variance (S, C) and number of values (S, 1) of every group."""
        x_MPCL = _grouped(x, len(groups_P))
        var_PC, mean_PC = torch.var_mean(x_MPCL.to(_accurate(x)), dim=(0, 3), correction=0)
        count = x_MPCL.shape[0] * x_MPCL.shape[3]
        mean_SC, var_SC, count_S1 = _combine(mean_PC, var_PC, count, groups_P, splits, world)
        mean_PC1 = mean_SC[groups_P].to(_accurate(x))[..., None]
        rate_PC1 = (var_SC[groups_P] + eps).rsqrt().to(_accurate(x))[..., None]
        gain_PC1 = rate_PC1 if weight is None else rate_PC1 * weight[:, None]
        y_MPCL = (x_MPCL - mean_PC1).mul_(gain_PC1)
        if bias is not None:
            y_MPCL += bias[:, None]
        ctx.save_for_backward(x, weight, mean_PC1, rate_PC1, groups_P, count_S1)
        ctx.world = world
        ctx.mark_non_differentiable(mean_SC, var_SC, count_S1)
        # A view of y_MPCL could not be changed in place by the activation that follows; this also keeps x's layout.
        return torch.empty_like(x).copy_(y_MPCL.reshape(x.shape)), mean_SC, var_SC, count_S1

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias. Those of weight and bias are this process's share, as everywhere else."""
        x, weight, mean_PC1, rate_PC1, groups_P, count_S1 = ctx.saved_tensors
        grad_MPCL = _grouped(grad, len(groups_P)).to(mean_PC1.dtype)
        unit_MPCL = (_grouped(x, len(groups_P)) - mean_PC1).mul_(rate_PC1)
        sums_PC2 = torch.stack([grad_MPCL.sum((0, 3)), (grad_MPCL * unit_MPCL).sum((0, 3))], dim=-1)
        grad_bias, grad_weight = sums_PC2.sum(0).unbind(-1)
        means_PC2 = _reduced(sums_PC2, groups_P, len(count_S1), ctx.world)[groups_P] / count_S1[groups_P, :, None]
        gain_PC1 = rate_PC1 if weight is None else rate_PC1 * weight[:, None]
        shift, slope = means_PC2.to(mean_PC1.dtype).unbind(-1)
        grad_x = unit_MPCL.mul_(-slope[..., None]).add_(grad_MPCL).sub_(shift[..., None]).mul_(gain_PC1)
        grad_x = grad_x.to(x.dtype).reshape(x.shape)
        return (grad_x, *((None, None) if weight is None else (grad_weight, grad_bias)), None, None, None, None)


_normalise = cast("Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]", _Normalise.apply)


def _groups_as_channels(x: Tensor, groups: int) -> Tensor:
    """(N, C, ...) -> (M, P C, ...): row n = m P + p becomes channels p C .. p C + C of row m; the layout stays."""
    if not _in_channels_last(x):
        return x.reshape(x.shape[0] // groups, groups * x.shape[1], *x.shape[2:])
    rows, channels, height, width = x.shape
    x_MPHWC = x.permute(0, 2, 3, 1).view(rows // groups, groups, height, width, channels)
    return x_MPHWC.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)


class _ChannelsAsGroups(torch.autograd.Function):
    """The way back, into a tensor that is nobody's view, so that the activation that follows can change it in place."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, groups: int) -> Tensor:
        """(M, P C, ...) -> (N, C, ...)."""
        ctx.groups = groups
        if not _in_channels_last(y):
            return torch.clone(y.reshape(y.shape[0] * groups, y.shape[1] // groups, *y.shape[2:]))
        rows, channels, height, width = y.shape
        shape = (rows * groups, channels // groups, height, width)
        x = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=torch.channels_last)
        y_MHWPC = y.permute(0, 2, 3, 1).view(rows, height, width, groups, channels // groups)
        x.permute(0, 2, 3, 1).view(rows, groups, height, width, -1).copy_(y_MHWPC.permute(0, 3, 1, 2, 4))
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The first way, for the gradient."""
        return _groups_as_channels(grad, ctx.groups), None


_channels_as_groups = cast("Callable[..., Tensor]", _ChannelsAsGroups.apply)


def _in_channels_last(x: Tensor) -> bool:
    """Whether blocks of channels can be moved as they lie, which takes half the time of changing the layout twice."""
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _accurate(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(N, C) or (N, C, ...) -> (M, P, C, L) with row n in group n mod P; a view for either memory format."""
    x_NCL = x.flatten(2) if x.ndim > 2 else x[..., None]
    return x_NCL.reshape(-1, groups, *x_NCL.shape[1:])


def _reduced(values_P: Tensor, groups_P: Tensor, splits: int, world: int) -> Tensor:
    """Sum the values (P, ...) of this process's groups into those (S, ...) of all groups over all processes."""
    values_S = values_P.new_zeros((splits, *values_P.shape[1:])).index_copy_(0, groups_P, values_P)
    if world > 1:
        dist.all_reduce(values_S)
    return values_S


def _combine(
    mean_PC: Tensor, var_PC: Tensor, count: int, groups_P: Tensor, splits: int, world: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (S, C), variance (S, C) and number of values (S, 1) of the groups over all processes, in one reduction.

    Sums of squares lose all digits of a variance that is small against the mean, hence float64.
    """
    mean, var = mean_PC.double(), var_PC.double()
    moments = torch.cat([torch.ones_like(mean[:, :1]), mean, var + mean.square()], dim=1) * count
    moments_S = _reduced(moments, groups_P, splits, world)
    count_S1 = moments_S[:, :1].clone()
    mean_SC, square_SC = (moments_S[:, 1:] / count_S1).chunk(2, dim=1)
    return mean_SC, (square_SC - mean_SC.square()).clamp(min=0), count_S1


def convert(module: nn.Module, split: int | None = None, sync: bool = False) -> nn.Module:
    """Replace every batch norm inside `module`, in place, by one over another batch; returns `module`.

    `split` groups of the batch are normalised apart (None leaves the groups as they are); with `sync` the batch is
    that of all processes. Parameters and buffers stay the same objects under the same keys. A `module` that is itself
    a batch norm is not changed: its replacement is returned. A module with a true attribute `whole_batch` sees the
    same rows in all processes already and is left alone.
    """
    if (split in {None, 1} and not sync) or getattr(module, "whole_batch", False):
        return module
    if isinstance(module, _BatchNorm):
        splits = split or (module.splits if isinstance(module, GroupedBatchNorm) else 1)
        return _converted(module, splits, sync)
    for name, child in module.named_children():
        setattr(module, name, convert(child, split, sync))
    return module


def see_a_part(module: nn.Module) -> bool:
    """Whether a batch norm inside `module` takes its statistics of a part of the global batch.

    That is where the batch is split, or where each of several processes normalises its own share.
    """
    several = dist.is_initialized() and dist.get_world_size() > 1

    def sees_a_part(norm: _BatchNorm) -> bool:
        if isinstance(norm, GroupedBatchNorm):
            return norm.splits > 1 or (several and not norm.across_processes)
        return several

    return any(isinstance(norm, _BatchNorm) and sees_a_part(norm) for norm in module.modules())


def _converted(norm: _BatchNorm, splits: int, sync: bool) -> GroupedBatchNorm:
    """A norm with the state and settings of `norm`, over another batch."""
    kind: type[GroupedBatchNorm] = GroupedBatchNorm
    if sync:
        kind = SyncBatchNorm
    elif isinstance(norm, nn.BatchNorm1d):
        kind = SplitBatchNorm1d
    elif isinstance(norm, nn.BatchNorm2d):
        kind = SplitBatchNorm2d
    new = kind(norm.num_features, splits, eps=norm.eps, momentum=norm.momentum)
    new.affine, new.track_running_stats = norm.affine, norm.track_running_stats
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    for name, after in norm.named_children():
        new.add_module(name, after)
    return new.train(norm.training)
