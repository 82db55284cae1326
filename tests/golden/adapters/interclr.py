"""InterCLR: both branches with every strategy and margin, then bank, labels and centroids after the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from adapters import Vectors, same
from likewise.encoders import Encoder, EncoderSpec, build
from likewise.methods.interclr import InterCLR
from likewise.methods.method import Facts
from likewise.similarity import contrast, unit
from likewise.similarity.labelled.by_label import STRATEGIES, Strategy, contrast_across, draw_negatives, draw_positives


def check_intra(v: Vectors) -> None:
    query = v.leaf("query")
    loss = contrast(query, v["key"], v["queue"], v.number("temperature"))
    loss.backward()
    same(loss, v["intra_loss"], 1e-8)
    assert query.grad is not None
    same(query.grad, v["grad_query_intra"], 1e-8)


def inter(v: Vectors, name: str, query: Tensor) -> Tensor:
    """The inter branch with the images that the official code drew."""
    bank, arc = v["feature_bank"], name == "arc"
    return contrast_across(
        query,
        bank[v[f"inter_{name}_positive"]],
        bank[v[f"inter_{name}_negatives"]],
        v.number("temperature"),
        margin=v.number("inter_arc_margin" if arc else "inter_margin"),
        form="arc" if arc else "cosine",
    )


def check_inter(v: Vectors) -> None:
    for name in (*STRATEGIES, "arc"):
        query = v.leaf("query")
        loss = inter(v, name, query)
        loss.backward()
        same(loss, v[f"inter_{name}_loss"], 1e-8)
        assert query.grad is not None
        same(query.grad, v[f"inter_{name}_grad_query"], 1e-8)


def drawn(v: Vectors, strategy: Strategy, seed: int = 0) -> Tensor:
    """(B, n) what the library draws."""
    columns = v.number("pool") if strategy in {"semihard", "semieasy"} else v.number("negatives")
    labels = v["label_bank"]
    uniform = torch.rand(len(v["query"]), columns, generator=torch.Generator().manual_seed(seed))
    found = draw_negatives(
        v["query"], v["feature_bank"], labels[v["indices"]], labels, v.number("negatives"), strategy, uniform
    )
    assert found.counted.all()
    return found.rows


def check_hard_negatives(v: Vectors) -> None:
    expected = v["inter_hard_negatives"].sort(1).values
    assert drawn(v, "hard").sort(1).values.equal(expected)
    assert v["inter_arc_negatives"].sort(1).values.equal(expected)


def check_drawn_images(v: Vectors) -> None:
    """Official and own draws keep the same rules: label, and place in the order of similarity."""
    labels = v["label_bank"]
    own = labels[v["indices"]].unsqueeze(1)
    order = (unit(v["query"]) @ v["feature_bank"].T).argsort(1, descending=True)
    pools = {"semihard": order[:, : v.number("pool")], "semieasy": order[:, -v.number("pool") :], "random": order}
    for strategy, pool in pools.items():
        assert strategy in STRATEGIES
        for rows in (v[f"inter_{strategy}_negatives"], drawn(v, strategy), drawn(v, strategy, 1)):
            assert (labels[rows] != own).all()
            assert (rows.unsqueeze(2) == pool.unsqueeze(1)).any(2).all()
    for name in (*STRATEGIES, "arc"):
        assert (labels[v[f"inter_{name}_positive"]] == own[:, 0]).all()
    uniform = torch.rand(len(own), generator=torch.Generator().manual_seed(0))
    assert (labels[draw_positives(own[:, 0], labels, uniform)] == own[:, 0]).all()


def check_total(v: Vectors) -> None:
    weight = InterCLR.Settings().inter_weight
    intra = contrast(v["query"], v["key"], v["queue"], v.number("temperature"))
    total = (1 - weight) * intra + weight * inter(v, "semihard", v["query"])
    same(total, v["total_loss_semihard"], 1e-8)


def method_with(v: Vectors) -> InterCLR:
    """The method with the bank, the labels and the centroids of the file."""
    bank, clusters = v["feature_bank"], v["centroids"]
    settings = InterCLR.Settings(
        queue_size=len(v["queue"]),
        embedding=bank.shape[1],
        clusters=len(clusters),
        bank_momentum=v.number("bank_momentum"),
        pseudo_labels="online",
    )
    encoder = build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=16), seed=0)
    assert isinstance(encoder, Encoder)
    method = InterCLR(encoder, settings, Facts(images=len(bank), batch_size=len(v["query"]), image_size=16)).double()
    method.bank.write(torch.arange(len(bank)), bank)
    method.clusters.labels.copy_(v["label_bank"])
    method.clusters.centroids.copy_(clusters)
    return method


def check_bank_labels_and_centroids(v: Vectors) -> None:
    method = method_with(v)
    method.clusters.recompute(method.bank.rows)
    same(method.clusters.centroids, v["centroids"], 1e-8)
    changed = method.take_in(v["indices"], unit(v["key"]))
    same(method.bank.rows, v["bank_after"], 1e-8)
    assert method.clusters.labels.equal(v["labels_after"])
    same(changed, v["change_ratio"], 1e-6)
    method.clusters.recompute(method.bank.rows)
    same(method.clusters.centroids, v["centroids_after"], 1e-8)
