"""What each operation costs: how the loss would rise with its mixing weight, on training and on held-out images.

S. Xie, S. Hu, X. Ren, C. Chen, L. Lin, "Understanding the wiring evolution in differentiable neural architecture
search", AISTATS 2021, arXiv:2009.01272. With p_l the mixture of cell l and L the mean cross-entropy of a batch,

    c_l[e, o] = ∂L/∂p_l[e, o],    cost = Σ_l c_l,    edge cost = Σ_l Σ_o p_l[e, o] c_l[e, o]
    ∂L/∂(logit of `none` on e) = -Σ_l p_l[e, none] Σ_o p_l[e, o] c_l[e, o]        as `none` itself costs nothing

so that `none` grows on an edge whose cost is positive. With H the entropy of a prediction, L - H = Σ_k π_k z_k - z_y
for logits z, π = softmax(z), label y: on learnt images the loss is below the entropy, on held-out ones often above;
that is the paper's account of why `none` wins where the architecture is trained on held-out images.

What must hold in exact arithmetic (`identity_error` is the largest violation, relative to the largest |p·c|). Between a
node and the next batch norm, rectified convolutions do not feel the node's scale, so that with batch norm by the batch

    Σ_in Σ_o p·c = Σ_out p·c of skip and pooling only      for the nodes 1 and 2 of every cell, and for node 3 where
                                                           another cell follows (a reduction's shortcut carries cost)
    Σ_in Σ_o p·c = 0                                       for node 3 of the last cell: a batch norm follows

The error is rounding and batch norm's epsilon, 1e-5 against the variance of what is normalised, and so shows nodes that
have all but died; with partial channels there is none, as the identities are others. By the second line the paper's
route of `none` from the output does not exist here.

Differences from the paper: a node's own cost is carried by mixing weights, not by samples; the identities are those of
this supernet, derived for it and proved by test.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.space import EDGES, NONE, POOL, SKIP
from dartboard.harness.diagnostics._subject import CellPass, Measurement, Subject


def in_edges(node: int) -> list[int]:
    """The edges that end in a node."""
    return [e for e, (target, _) in enumerate(EDGES) if target == node]


def out_edges(node: int) -> list[int]:
    """The edges that begin in a node."""
    return [e for e, (_, source) in enumerate(EDGES) if source == node]


def identity_violations(shares: Tensor, cells_per_stage: int) -> Tensor:
    """(k,): the left less the right side of every identity, given p·c (cells, E, O)."""
    by_edge = shares.sum(-1)  # (cells, E)
    linear = shares[..., SKIP] + shares[..., POOL]
    cells = len(shares)
    entering = {n: by_edge[:, in_edges(n)].sum(1) for n in (1, 2, 3)}  # (cells,) each
    leaving = {n: linear[:, out_edges(n)].sum(1) for n in (0, 1, 2)}
    followed = [cell for cell in range(cells - 1) if (cell + 1) % cells_per_stage]
    following = [cell + 1 for cell in followed]
    violations = [entering[1] - leaving[1], entering[2] - leaving[2]]
    return torch.cat([*violations, entering[3][followed] - leaving[0][following], entering[3][-1:]])


def predictions(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Loss and entropy of predictions, all together and of the images classified rightly and wrongly."""
    logits = logits.double()
    loss = F.cross_entropy(logits, labels, reduction="none")
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    right = logits.argmax(-1) == labels

    def of(chosen: Tensor) -> dict[str, Any]:
        count = int(chosen.sum())
        means = (float(part[chosen].mean()) if count else None for part in (loss, entropy))
        return {"images": count, **dict(zip(("loss", "entropy"), means, strict=True))}

    means = {"loss": float(loss.mean()), "entropy": float(entropy.mean()), "excess": float((loss - entropy).mean())}
    return means | {"right": of(right), "wrong": of(~right)}


def summarise(found: CellPass, cells_per_stage: int | None) -> dict[str, Any]:
    """The costs of one batch; `cells_per_stage` is None where the identities are not those of the network."""
    mixtures, gradients = found.mixtures.double(), found.gradients.double()
    shares = mixtures * gradients
    by_cell = shares.sum(-1)
    largest = float(shares.abs().max())
    error = None
    if cells_per_stage is not None and largest:
        error = float(identity_violations(shares, cells_per_stage).abs().max()) / largest
    return {
        "cost": gradients.sum(0).cpu().numpy(),
        "edge_cost": by_cell.sum(0).cpu().numpy(),
        "by_cell": by_cell.cpu().numpy(),
        "none_gradient": (0 - mixtures[..., NONE] * by_cell).sum(0).cpu().numpy(),
        **predictions(found.logits, found.labels),
        "identity_error": error,
    }


def measure(subject: Subject) -> Measurement:
    """On one batch of each half, with the same weights."""
    size = subject.trained.supernet.config
    plain = size.partial == 1 and not size.edge_normalisation
    values: dict[str, Any] = {}
    seen = 0
    for half, found in subject.passes():
        values[half] = summarise(found, size.cells_per_stage if plain else None)
        seen += len(found.labels)
    gap = values["valid"]["edge_cost"] - values["train"]["edge_cost"]
    return Measurement({**values, "edge_cost_gap": gap}, seen, seen)
