"""XMoCo: each term, its gradient, and the weighted sum as the method makes it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from adapters import Vectors, same
from likewise.methods.method import Facts
from likewise.methods.xmoco import XMoCo, cross_consistency, queue_consistency, uniformity
from likewise.similarity import contrast


class AsGiven(nn.Identity):
    """The place of an encoder that is not asked."""

    features = 4


def check_terms(v: Vectors) -> None:
    key, queue = v["key"], v["queue"]
    terms: dict[str, Callable[[Tensor], Tensor]] = {
        "infonce": lambda q: contrast(q, key, queue, v.number("temperature")),
        "cross_symmetric": lambda q: cross_consistency(q, key, form="symmetric"),
        "cross_teacher": lambda q: cross_consistency(q, key, form="teacher"),
        "cross_queue": lambda q: queue_consistency(q, key, queue),
        "uniform": lambda q: uniformity(q, key, v.number("temperature_uniform")),
    }
    for name, term in terms.items():
        query = v.leaf("query")
        loss = term(query)
        loss.backward()
        same(loss, v[f"loss_{name}"], 1e-8)
        assert query.grad is not None
        same(query.grad, v[f"grad_query_{name}"], 1e-8)


def check_sum(v: Vectors) -> None:
    size, dim = v["queue"].shape
    settings = XMoCo.Settings(
        queue_size=size,
        embedding=dim,
        temperature=v.number("temperature"),
        temperature_uniform=v.number("temperature_uniform"),
        weight_cross=v.number("weight_cross"),
        weight_uniform=v.number("weight_uniform"),
    )
    facts = Facts(images=size, batch_size=len(v["query"]), image_size=1)
    method = XMoCo(AsGiven(), settings, facts).double()  # type: ignore[arg-type]
    method.queue.rows.copy_(v["queue"])
    query = v.leaf("query")
    loss, _ = method.loss(query, v["key"])
    loss.backward()
    same(loss, v["loss"], 1e-8)
    assert query.grad is not None
    same(query.grad, v["grad_query"], 1e-8)
