"""Fisher: per-image gradients of the gates, and the copy that shows every operation's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.layers import Norm
from dartboard.benchmark.reference import Operation, ReferenceSupernet
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors._operations import observed
from dartboard.selectors.fisher import Config, Fisher

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def test_by_single_images() -> None:
    """With running statistics the images are independent, and the score is ½ mean (p ∂ℓ_n/∂p)², one image at a time."""
    trained = toy_trained(torch.float64)
    answer = Fisher(Config(norm="running", batches=2)).select(trained, toy_data(), stream(0, "select"))
    squares, seen = torch.zeros(E, O, dtype=torch.float64), 0
    for images, labels in toy_data().valid.epoch(BATCH, stream(0, "select"), steps=2):
        for image, label in zip(images, labels, strict=True):
            mixture = trained.searcher.mixture().detach().requires_grad_()
            loss = F.cross_entropy(trained.supernet(image[None], mixture, "running"), label[None])
            squares += (mixture * torch.autograd.grad(loss, mixture)[0]).detach().square()
            seen += 1
    np.testing.assert_allclose(answer.scores, (squares / (2 * seen)).numpy(), rtol=1e-9, atol=1e-18)
    assert answer.images == answer.gradient_images == seen
    assert NONE not in answer.cell.operations


def test_by_what_each_image_shows() -> None:
    """With batch statistics it is ½ mean (Σ_cells <p·y_n, ∂ℓ/∂(p·y_n)>)², taken from the readable network's hooks."""
    trained = toy_trained(torch.float64)
    answer = Fisher(Config(batches=1)).select(trained, toy_data(), stream(0, "select"))
    images, labels = next(toy_data().valid.epoch(BATCH, stream(0, "select"), steps=1))
    network, p = ReferenceSupernet(trained.supernet), trained.searcher.mixture().detach()
    kept: list[tuple[int, int, Tensor]] = []

    # A skip's output is its input, so the hook gives a new tensor back, whose gradient is the output's own.
    for block in network.blocks:
        for edge, operations in enumerate(getattr(block, "edges", [])):
            for operation in operations:

                def fresh(module: Operation, _: Any, output: Tensor, edge: int = edge) -> Tensor:
                    own = output.clone()
                    if not own.requires_grad:
                        own.requires_grad_()
                    kept.append((edge, module.index, own))
                    return own

                operation.register_forward_hook(fresh)
    loss = F.cross_entropy(network(images, p, "batch"), labels, reduction="sum")
    gradients = torch.autograd.grad(loss, [output for *_, output in kept])
    shown = torch.zeros(BATCH, E, O, dtype=torch.float64)
    for (edge, operation, output), gradient in zip(kept, gradients, strict=True):
        shown[:, edge, operation] += (output * gradient).detach().sum((1, 2, 3))
    np.testing.assert_allclose(answer.scores, shown.square().mean(0).numpy() / 2, rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_the_observed_copy_computes_the_same(norm: Norm) -> None:
    """A copy that shows its outputs gives the supernet's logits, shows every operation but `none`, and is a copy."""
    trained = toy_trained(torch.float64)
    images, _ = next(toy_data().valid.epoch(BATCH, stream(0, "select")))
    seen: list[tuple[int, int, int]] = []

    def watch(cell: int, edge: int, operation: int, output: Tensor) -> Tensor:
        seen.append((cell, edge, operation))
        return output

    network = observed(trained.supernet, watch)
    mixture = trained.searcher.mixture().detach()
    torch.testing.assert_close(
        network(images, mixture, norm), trained.supernet(images, mixture, norm), rtol=1e-10, atol=1e-12
    )
    assert sorted(seen) == [(c, e, o) for c in range(3) for e in range(E) for o in range(1, O)]
    own = {p.data_ptr() for p in trained.supernet.parameters()}
    assert not any(p.data_ptr() in own for p in network.parameters())
