"""Batch norms over groups and over processes, against ordinary batch norms on the same rows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from likewise.encoders import EncoderSpec, build, norms
from likewise.encoders.norms import GroupedBatchNorm, SplitBatchNorm1d, SplitBatchNorm2d, SyncBatchNorm, group_count
from likewise.errors import InputError
from tests.processes import in_two

VECTORS = Path(__file__).parents[1] / "golden" / "vectors" / "moco_v2.npz"


def test_official_split_batch_norm() -> None:
    with np.load(VECTORS) as file:
        v = {key: torch.from_numpy(file[key]) for key in file.files if key.startswith("splitbn")}
    norm = SplitBatchNorm2d(v["splitbn_input"].shape[1], splits=int(v["splitbn_splits"])).double()
    exact = {"rtol": 0.0, "atol": 1e-9}
    torch.testing.assert_close(norm(v["splitbn_input"]), v["splitbn_output"], **exact)
    torch.testing.assert_close(norm.running_mean, v["splitbn_running_mean"], **exact)
    torch.testing.assert_close(norm.running_var, v["splitbn_running_var"], **exact)


def one_by_one(norm: nn.Module, x: Tensor, splits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Output and running statistics, each group through its own copy of an ordinary batch norm."""
    copies = [copy.deepcopy(norm) for _ in range(splits)]
    y = torch.empty_like(x)
    for group, own in enumerate(copies):
        y[group::splits] = own(x[group::splits])
    mean = torch.stack([own.get_buffer("running_mean") for own in copies]).mean(0)
    var = torch.stack([own.get_buffer("running_var") for own in copies]).mean(0)
    return y, mean, var


@settings(max_examples=30, deadline=None)
@given(
    groups=st.integers(1, 4), rows=st.integers(2, 4), side=st.integers(0, 3), momentum=st.sampled_from([0.1, 0.7, None])
)
def test_each_group_is_normalised_as_if_it_were_alone(
    groups: int, rows: int, side: int, momentum: float | None
) -> None:
    shape = (groups * rows, 3) if side == 0 else (groups * rows, 3, side, side)
    x = torch.randn(shape, dtype=torch.float64) * 5 + 2
    plain = (nn.BatchNorm1d if side == 0 else nn.BatchNorm2d)(3, momentum=momentum).double()
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    expected = one_by_one(plain, x, groups)
    split = norms.convert(copy.deepcopy(plain), split=groups)
    torch.testing.assert_close(split(x), expected[0])
    torch.testing.assert_close(split.get_buffer("running_mean"), expected[1])
    torch.testing.assert_close(split.get_buffer("running_var"), expected[2])


@given(rows=st.integers(1, 200), splits=st.integers(1, 16))
def test_batches_of_any_size_are_cut(rows: int, splits: int) -> None:
    groups = group_count(rows, splits)
    assert rows % groups == 0
    assert groups <= splits
    assert groups == 1 or rows // groups >= 2, "one row alone has no variance"
    assert [g for g in range(groups + 1, splits + 1) if rows % g == 0 and rows // g >= 2] == []


def test_short_batch_and_evaluation() -> None:
    norm = SplitBatchNorm1d(3, splits=8).double()
    norm.load_state_dict(nn.BatchNorm1d(3).state_dict())
    x = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(norm(x), nn.BatchNorm1d(3).double()(x))
    norm.eval()
    torch.testing.assert_close(norm(x[:1]), (x[:1] - norm.running_mean) / (norm.running_var + norm.eps).sqrt())


@pytest.mark.parametrize("side", [1, 2, 5])
def test_gradients_in_channels_last_are_those_of_the_plain_layout(side: int) -> None:
    x, weight = torch.randn(8, 6, side, side, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        norm = SplitBatchNorm2d(6, splits=4).double()
        norm.weight.data.copy_(weight)
        leaf = x.clone(memory_format=memory_format).requires_grad_()
        (torch.relu_(norm(leaf)) * x.cos()).sum().backward()  # in place, as in residual networks
        found.append([leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var])
    for plain, last in zip(*found, strict=True):
        torch.testing.assert_close(last, plain)


def test_channels_last_stays_and_changes_nothing() -> None:
    x = torch.randn(8, 6, 4, 4)
    expected = SplitBatchNorm2d(6, splits=4)(x)
    found = SplitBatchNorm2d(6, splits=4)(x.to(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5), (6, 4, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sync_in_one_process_is_batch_norm(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape).to(dtype)
    plain = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(4)
    sync = norms.convert(copy.deepcopy(plain), sync=True)
    assert isinstance(sync, SyncBatchNorm)
    assert torch.equal(sync(x), plain(x))
    assert all(torch.equal(sync.state_dict()[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "efficientnet_lite0"])
def test_convert_keeps_keys_weights_and_the_function(name: str) -> None:
    encoder = build(EncoderSpec(name=name, image_size=32, stem="small")).eval()
    x = torch.randn(4, 3, 32, 32)
    before, expected = dict(encoder.state_dict(keep_vars=True)), encoder(x)
    norms.convert(encoder, split=2, sync=True)
    after = encoder.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[key] is value for key, value in before.items())
    assert torch.equal(encoder(x), expected)
    converted = [module for module in encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert all(type(module) is SyncBatchNorm and module.splits == 2 and not module.training for module in converted)


def test_sync_after_split_keeps_the_groups() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyBatchNorm1d())
    network(torch.randn(4, 3, 2, 2))
    norms.convert(network, split=4)
    assert [type(network[1]), type(network[3])] == [SplitBatchNorm2d, SplitBatchNorm1d]
    norms.convert(network, sync=True)
    assert isinstance(network[1], SyncBatchNorm)
    assert network[1].splits == 4
    assert norms.convert(network) is network


def test_no_groups_are_refused() -> None:
    with pytest.raises(InputError, match="1 group or more"):
        GroupedBatchNorm(3, splits=0)


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """A network, a batch far from zero mean, and weights that make a loss of the output."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 7), nn.BatchNorm1d(7)
    ).double()
    x, weights = torch.randn(24, 3, 6, 6, dtype=torch.float64) + 3, torch.randn(24, 7, dtype=torch.float64)
    return {"network": network, "x": x, "weights": weights, "splits": [1, 2, 3, 4, 16]}


def steps_of(rank: int, job: dict[str, Any]) -> dict[int, Any]:
    """What one of two processes makes of every second row, by number of groups."""
    return {splits: step(job, copy.deepcopy(job["network"]), rank, splits) for splits in job["splits"]}


def step(job: dict[str, Any], network: nn.Module, rank: int, splits: int) -> dict[str, Any]:
    """Outputs, gradients (those of parameters summed over processes), and the state afterwards."""
    norms.convert(network, split=splits, sync=True)
    x = job["x"][rank::2].clone().requires_grad_()
    y = network(x)
    (y * job["weights"][rank::2]).sum().backward()
    for parameter in network.parameters():
        dist.all_reduce(parameter.grad)
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"y": y.detach(), "x": x.grad, "gradients": gradients, "state": network.state_dict()}


@pytest.fixture(scope="module")
def of_two(job: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[dict[int, Any]]:
    """What each of two processes made of its half of the batch, by number of groups."""
    return in_two(steps_of, tmp_path_factory.mktemp("two"), job)


@pytest.mark.parametrize(
    "splits",
    [
        pytest.param(1, id="all rows together"),
        pytest.param(2, id="a group in each process"),
        pytest.param(4, id="groups within a process"),
        pytest.param(3, id="groups across processes"),
        pytest.param(16, id="16 do not divide 24, 12 do"),
    ],
)
def test_two_processes_are_one(splits: int, job: dict[str, Any], of_two: list[dict[int, Any]]) -> None:
    network = norms.convert(copy.deepcopy(job["network"]), split=splits)
    x = job["x"].clone().requires_grad_()
    y = network(x)
    (y * job["weights"]).sum().backward()
    assert x.grad is not None
    for rank in range(2):
        found = of_two[rank][splits]
        torch.testing.assert_close(found["y"], y.detach()[rank::2])
        torch.testing.assert_close(found["x"], x.grad[rank::2])
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(found["gradients"][name], parameter.grad)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(found["state"][key], value)
