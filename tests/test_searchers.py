from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.errors import InputError
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_searcher
from dartboard.searchers._catalogue import SEARCHERS
from dartboard.searchers._training import (
    PROTOCOLS,
    Protocol,
    WeightTrainer,
    architecture_adam,
    cosine,
    evaluate,
    initial_logits,
    resolve_protocol,
    step_with,
)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        (
            "ucla",  # darts-pt's nasbench201 folder
            {
                "epochs": 100,
                "batch_size": 64,
                "order": "architecture-first",
                "weight_learning_rate": 0.025,
                "weight_learning_rate_min": 0.001,
                "weight_momentum": 0.9,
                "weight_decay": 3e-4,
                "nesterov": False,
                "gradient_clip": 5,
                "clip_includes_architecture": False,
                "architecture_learning_rate": 3e-4,
                "architecture_betas": (0.5, 0.999),
                "architecture_decay": 1e-3,
                "track_running_stats": True,
                "split": "contiguous",
                "train_order": "epoch",  # its loader begins anew each step, a defect: each image once is what is meant
                "valid_order": "fresh",  # one batch of a newly shuffled loader each step
            },
        ),
        (
            "autodl",  # AutoDL-Projects' NAS-Bench-201 algorithms, DARTS-V1
            {
                "epochs": 50,
                "batch_size": 64,
                "order": "weights-first",
                "weight_learning_rate": 0.025,
                "weight_learning_rate_min": 0.001,
                "weight_momentum": 0.9,
                "weight_decay": 5e-4,
                "nesterov": True,
                "gradient_clip": 5,
                "clip_includes_architecture": True,
                "architecture_learning_rate": 3e-4,
                "architecture_betas": (0.5, 0.999),
                "architecture_decay": 1e-3,
                "track_running_stats": False,
                "split": "random",
                "train_order": "epoch",
                "valid_order": "paired",  # a partner drawn at random for each training image
            },
        ),
    ],
)
def test_the_protocols_are_the_published_ones(name: str, published: dict[str, Any]) -> None:
    """Every field of both protocols is what the repositories named here have."""
    protocol = PROTOCOLS[name]
    assert {field: getattr(protocol, field) for field in protocol.__dataclass_fields__} == published


def test_the_learning_rate_at_known_epochs() -> None:
    """0.025 at first, halfway (0.025 + 0.001)/2, a quarter of the way 0.001 + 0.012(1 + 1/√2), 0.001 where it ends."""
    rates = [cosine(epoch, 100, 0.025, 0.001) for epoch in (0, 25, 50, 100)]
    assert rates == pytest.approx([0.025, 0.001 + 0.012 * (1 + 2**-0.5), 0.013, 0.001], rel=1e-15)


@pytest.mark.parametrize("epochs", [1, 7, 50, 100])
def test_the_schedule_is_pytorchs_cosine(epochs: int) -> None:
    """The rate that SGD really has in each epoch is `CosineAnnealingLR`'s, and stays at its end beyond the last."""
    trainer = WeightTrainer(nn.Linear(2, 2), Protocol(epochs=epochs))
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.025)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(other, T_max=epochs, eta_min=0.001)
    for epoch in range(epochs + 1):
        trainer.begin_epoch(epoch)
        assert trainer.sgd.param_groups[0]["lr"] == trainer.learning_rate
        assert trainer.learning_rate == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        other.step()
        schedule.step()
    for epoch in (epochs + 1, 3 * epochs):
        trainer.begin_epoch(epoch)
        assert trainer.learning_rate == pytest.approx(0.001, rel=1e-15)


def test_a_restart_forgets_momentum_and_fixes_the_rate() -> None:
    """After `restart` the first step is w - ξ(g + λw) at the new rate, which no epoch and no checkpoint changes."""
    layer = nn.Linear(1, 1, bias=False)
    trainer = WeightTrainer(layer, Protocol(weight_decay=0.5, gradient_clip=0))
    weight = next(layer.parameters())
    for _ in range(3):
        trainer.descend(10 * weight.sum())
    trainer.restart(0.125)
    for epoch in (0, 7, 1000):
        trainer.begin_epoch(epoch)
        assert trainer.learning_rate == 0.125
    with torch.no_grad():
        weight.fill_(2)
    trainer.descend(3 * weight.sum())
    assert float(weight.detach()) == 2 - 0.125 * (3 + 0.5 * 2)
    twin = WeightTrainer(layer, trainer.protocol)
    twin.load_state_dict(trainer.state_dict())
    twin.begin_epoch(3)
    twin.descend(3 * weight.sum())
    after = 1.5 - 0.125 * (0.9 * 4 + 3 + 0.5 * 1.5)
    assert float(weight.detach()) == pytest.approx(after, rel=1e-6)  # float32


def test_the_initial_logits_are_a_thousandth_of_normal_numbers() -> None:
    """(E, O) draws of 1e-3·N(0, 1), the same in float32 and float64 but for rounding, from the generator alone."""
    draws = np.stack(
        [
            initial_logits(torch.Generator().manual_seed(seed), torch.zeros(1, dtype=torch.float64)).detach().numpy()
            for seed in range(200)
        ]
    )
    assert draws.shape == (200, 6, 5)
    # 6,000 draws: the mean of 1e-3·N(0, 1) is within 4·1e-3/√6000, its standard deviation within 4·1e-3/√12000.
    assert abs(draws.mean()) < 5.2e-5
    assert abs(draws.std() - 1e-3) < 3.7e-5
    single = initial_logits(torch.Generator().manual_seed(0), torch.zeros(1))
    assert single.dtype == torch.float32
    assert single.requires_grad
    torch.testing.assert_close(single.detach().double(), torch.from_numpy(draws[0]), rtol=1e-7, atol=0)


def test_adam_has_the_protocols_figures() -> None:
    """The architecture's Adam takes rate, betas and decay from the protocol."""
    protocol = Protocol(architecture_learning_rate=0.5, architecture_betas=(0.25, 0.75), architecture_decay=0.125)
    group = architecture_adam([nn.Parameter(torch.zeros(1))], protocol).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"], group["amsgrad"]) == (0.5, (0.25, 0.75), 0.125, False)


def test_a_step_with_given_gradients_keeps_none() -> None:
    """`step_with` applies the gradients that it is given and clears them."""
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    step_with(torch.optim.SGD([parameter], lr=0.5), [parameter], [torch.tensor([2.0, 4.0])])
    assert parameter.tolist() == [0.0, 0.0]
    assert parameter.grad is None


def test_evaluate_counts_hits_and_means_the_loss() -> None:
    """Cross-entropy log 2 for even logits of two classes; the first class wins a tie; the loss keeps its graph."""
    logits = torch.zeros(4, 2, requires_grad=True)
    half = evaluate(lambda _: logits, Batch(torch.zeros(4, 3, 2, 2), torch.tensor([0, 0, 0, 1])))
    assert float(half.loss.detach()) == pytest.approx(np.log(2), rel=1e-6)
    assert (int(half.correct), half.images) == (3, 4)
    assert half.loss.requires_grad
    assert not half.correct.requires_grad


def test_options_override_the_method_which_overrides_the_protocol() -> None:
    """A field comes from the options, else from the method's own departure, else from the named protocol."""
    own = {"autodl": {"order": "architecture-first", "epochs": 7}}
    protocol, rest = resolve_protocol({"protocol": "autodl", "epochs": 3, "temperature": 2}, own)
    assert (protocol.epochs, protocol.order, protocol.weight_decay) == (3, "architecture-first", 5e-4)
    assert rest == {"temperature": 2}
    assert resolve_protocol({}, own) == (PROTOCOLS["ucla"], {})
    betas, _ = resolve_protocol({"architecture_betas": [0.9, 0.99]}, {})
    assert betas.architecture_betas == (0.9, 0.99)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs is at least 1; got 0"),
        ({"epochs": 2.5}, "epochs is a whole number; got 2.5"),
        ({"batch_size": 0}, "batch_size is at least 1; got 0"),
        ({"weight_decay": -1e-4}, "weight_decay is not negative; got -0.0001"),
        ({"architecture_decay": float("nan")}, "architecture_decay is not negative; got nan"),
        ({"gradient_clip": -1}, "gradient_clip is not negative; got -1"),
        ({"weight_momentum": -0.9}, "weight_momentum is at least 0 and below 1; got -0.9"),
        (
            {"architecture_betas": (0.5, 1.0)},
            "architecture_betas are two numbers, at least 0 and below 1; got (0.5, 1.0)",
        ),
        ({"architecture_betas": (0.5,)}, "architecture_betas are two numbers, at least 0 and below 1; got (0.5,)"),
        ({"weight_learning_rate": 0}, "weight_learning_rate is greater than 0; got 0"),
        ({"architecture_learning_rate": float("nan")}, "architecture_learning_rate is greater than 0; got nan"),
        ({"nesterov": True, "weight_momentum": 0}, "nesterov needs a weight_momentum greater than 0; got 0"),
        ({"order": "weights first"}, "unknown order 'weights first'; did you mean 'weights-first'?"),
        ({"train_order": "random"}, "unknown train_order 'random'"),
        ({"protocol": "udla"}, "unknown protocol 'udla'; did you mean 'ucla'?"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    """A figure outside its range or an unknown word is refused in one line that quotes it."""
    with pytest.raises(InputError) as refused:
        resolve_protocol(fields, {})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixed_produkt": "exact"}, "unknown option of the searcher 'mine' 'mixed_produkt'; did you mean"),
        ({"mixed_product": "exakt"}, "searcher mine: unknown mixed_product 'exakt'; did you mean 'exact'?"),
        ({"epochs": "many"}, "searcher mine: epochs is a whole number; got 'many'"),
        ({"weight_decay": "much"}, "searcher mine: weight_decay is a number; got 'much'"),
    ],
)
def test_options_that_do_not_fit_a_searcher_are_refused(options: dict[str, Any], message: str) -> None:
    """An unknown option, an unknown value and a wrong type are told with the method's label."""
    with pytest.raises(InputError) as refused:
        prepare_searcher(Method(label="mine", entry=SEARCHERS["darts-v2"], options=options))
    assert message in str(refused.value)
