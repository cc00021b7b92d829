"""Single-level DARTS."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.streams import stream
from dartboard.harness.toys import toy_supernet
from dartboard.searchers._training import resolve_protocol
from dartboard.searchers.single_level import Config, SingleLevel


def make(**options: object) -> SingleLevel:
    """A fresh one in float64."""
    protocol, own = resolve_protocol({"epochs": 3, "batch_size": 6, **options}, {})
    searcher = SingleLevel(
        toy_supernet(dtype=torch.float64), Config(protocol=protocol, **own), generator=stream(0, "a")
    )
    searcher.begin_epoch(0, torch.Generator())
    return searcher


def batch(seed: int, size: int = 6) -> Batch:
    """Random images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64)
    return Batch(images, torch.arange(size) % 3)


@pytest.mark.parametrize("clip", [0.0, 0.05])
@pytest.mark.parametrize("counts", [False, True])
def test_a_step_is_plain_pytorch_on_one_loss(clip: float, counts: bool) -> None:
    """On `train`, the step equals backward, clip_grad_norm_, SGD and Adam of PyTorch on a copy."""
    searcher = make(gradient_clip=clip, clip_includes_architecture=counts)
    network, alpha = copy.deepcopy(searcher.supernet), searcher.alpha.detach().clone().requires_grad_()
    weights = list(network.parameters())
    p = searcher.config.protocol
    sgd = torch.optim.SGD(weights, lr=p.weight_learning_rate, momentum=p.weight_momentum, weight_decay=p.weight_decay)
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    for seed in range(3):
        train = batch(seed)
        F.cross_entropy(network(train.images, alpha.softmax(-1)), train.labels).backward()
        assert alpha.grad is not None
        kept = alpha.grad.clone()
        if clip:
            torch.nn.utils.clip_grad_norm_([*weights, *([alpha] if counts else [])], clip)
        alpha.grad = kept  # Adam sees the gradient as it is; only the norm of the weights' clipping may count it
        sgd.step()
        adam.step()
        sgd.zero_grad()
        adam.zero_grad()
        searcher.step(train, batch(100))
    torch.testing.assert_close(searcher.alpha, alpha, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(searcher.supernet.parameters(), weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_on_both_halves_the_loss_is_the_mean_over_all_images() -> None:
    """With halves of 6 and 3 images the gradient is that of the 9 images' mean cross-entropy."""
    searcher = make(data="both", gradient_clip=0.0, weight_decay=0.0)
    train, valid = batch(0), batch(1, 3)
    network = copy.deepcopy(searcher.supernet)
    logits = network(torch.cat([train.images, valid.images]), searcher.mixture().detach())
    loss = F.cross_entropy(logits, torch.cat([train.labels, valid.labels]))
    expected = torch.autograd.grad(loss, list(network.parameters()))
    before = [w.detach().clone() for w in searcher.supernet.parameters()]
    result = searcher.step(train, valid)
    assert result.images == 9
    mean = (6 * result.train_loss + 3 * result.valid_loss) / 9
    torch.testing.assert_close(mean, loss.detach(), rtol=1e-12, atol=0)
    for old, new, gradient in zip(before, searcher.supernet.parameters(), expected, strict=True):
        torch.testing.assert_close(old - new, 0.025 * gradient, rtol=1e-9, atol=1e-12)


def test_on_train_the_validation_batch_trains_nothing() -> None:
    """Two steps that differ in their validation batch alone leave the same supernet and the same logits."""
    first, second = make(), make()
    results = [searcher.step(batch(0), batch(seed)) for searcher, seed in ((first, 1), (second, 2))]
    assert results[0].valid_loss != results[1].valid_loss
    assert torch.equal(first.alpha, second.alpha)
    for name, value in first.supernet.state_dict().items():
        assert torch.equal(value, second.supernet.state_dict()[name]), name


def test_unknown_data_are_refused() -> None:
    """`data` has two values."""
    with pytest.raises(InputError, match="'valid'"):
        Config(data="valid")  # type: ignore[arg-type]  # the wrong value is the point
