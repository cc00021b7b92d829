"""What holds for every searcher: small named checks on a toy search of seconds."""

from __future__ import annotations

import copy
import gc
import io
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dartboard.benchmark.catalogue import Entry
from dartboard.benchmark.contracts import Batch, Searcher
from dartboard.benchmark.space import E, O
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.grid import Method
from dartboard.harness.guard import differences, flat, global_random_state
from dartboard.harness.prepare import prepare_searcher
from dartboard.harness.toys import BATCH, OPTIONS, TORCH_DTYPES, toy_epoch, toy_images, toy_supernet
from dartboard.harness.verify import check_configuration_frozen, check_described, require
from dartboard.searchers._training import Protocol
from dartboard.selectors._tuning import Projected


@dataclass(frozen=True, slots=True, kw_only=True)
class SearcherCase:
    """A searcher on the toy problem."""

    entry: Entry
    factory: Any
    config: Any
    protocol: Protocol
    supernet: SupernetConfig  # of the kind that it asks for, at the benchmark's size

    @classmethod
    def of(cls, entry: Entry, **options: Any) -> SearcherCase:
        """The case of a catalogue's entry, with options over the toy's.

        Raises:
            InputError: when it cannot be loaded or configured.
        """
        method = Method(label=entry.name, entry=entry, options={**entry.options, **OPTIONS, **options})
        prepared = prepare_searcher(method)
        return cls(
            entry=entry,
            factory=prepared.factory,
            config=prepared.config,
            protocol=prepared.protocol,
            supernet=prepared.supernet_config(SupernetConfig()),
        )

    def build(
        self,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        supernet: Supernet | None = None,
    ) -> Searcher:
        """A fresh searcher, with a fresh supernet unless one is given."""
        if supernet is None:
            supernet = self.toy_supernet(seed=seed, dtype=dtype, device=device)
        searcher: Searcher = self.factory(supernet, self.config, generator=stream(seed, "architecture"))
        return searcher

    def toy_supernet(
        self, *, seed: int = 0, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Supernet:
        """A fresh toy supernet of the kind that the searcher asks for."""
        track = self.protocol.track_running_stats
        return toy_supernet(track=track, seed=seed, dtype=dtype, device=device, like=self.supernet)

    def train(self, searcher: Searcher, epochs: Sequence[int], *, seed: int = 0) -> list[Tensor]:
        """Train for the epochs of these numbers; the mixture after each."""
        trajectory = []
        for epoch in epochs:
            toy_epoch(searcher, self.protocol, epoch, seed=seed)
            trajectory.append(searcher.mixture().detach().clone())
        return trajectory


def check_mixture_on_simplex(case: SearcherCase) -> None:
    """At every moment the mixture has rows that are not negative and sum to 1, and asking for it changes nothing."""
    searcher = case.build()
    _require_simplex(searcher, "at the start")
    for epoch in range(case.protocol.epochs):
        toy_epoch(searcher, case.protocol, epoch)
        _require_simplex(searcher, f"after epoch {epoch}")


def check_no_preference_at_start(case: SearcherCase) -> None:
    """Before the first step every operation weighs 1/O to within a hundredth."""
    for seed in range(3):
        mixture = case.build(seed=seed).mixture().detach()
        farthest = float((mixture - 1 / O).abs().max())
        require(farthest <= 0.01, f"with seed {seed} a mixing weight starts {farthest:.3g} away from 1/{O}")


def check_trains_the_supernet_it_is_given(case: SearcherCase) -> None:
    """An epoch moves the weights of the very supernet that was given, and lets its statistics learn."""
    supernet = case.toy_supernet()
    searcher = case.build(supernet=supernet)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    case.train(searcher, [0])
    require(searcher.supernet is supernet, "it trains another supernet than the one it was given")
    for name in ("stem.weight", "classifier.weight", "stem_norm.running_mean"):
        require(not torch.equal(supernet.state_dict()[name], before[name]), f"an epoch did not move {name}")


def check_step_results(case: SearcherCase) -> None:
    """A step's result holds detached scalars, and counts what was really seen and pushed forward."""
    searcher = case.build()
    pushed: list[int] = []
    searcher.supernet.register_forward_pre_hook(lambda _, arguments: pushed.append(len(arguments[0])))
    results = toy_epoch(searcher, case.protocol, 0)
    told = sum(result.images for result in results)
    require(told == sum(pushed), f"the steps of an epoch tell of {told} images and pushed {sum(pushed)}")
    for step, result in enumerate(results):
        for name in ("train_loss", "valid_loss", "train_correct", "valid_correct"):
            value = getattr(result, name)
            require(value.shape == () and not value.requires_grad, f"{name} is not a detached scalar")
            require(bool(value.isfinite()), f"{name} is {float(value)} in step {step}")
        for half in ("train", "valid"):
            seen, correct = getattr(result, f"{half}_seen"), getattr(result, f"{half}_correct")
            require(0 < seen <= BATCH, f"{half}_seen is {seen}, of batches of {BATCH}")
            require(correct.dtype == torch.int64 and 0 <= int(correct) <= seen, f"{half}_correct is {correct}")


def check_same_seed_same_trajectory(case: SearcherCase) -> None:
    """Equal seeds give equal states bit for bit, whatever the global random state, which is left alone."""
    states = []
    for global_seed in (1, 2):
        with _global_seed(global_seed):
            before = global_random_state()
            searcher = case.build()
            case.train(searcher, [0])
            changed = differences(before, global_random_state())
            require(not changed, f"a search draws from {', '.join(changed)}")
            states.append(flat(searcher.state_dict()))
            _require_same(states[0], states[-1], "two searches with equal seeds")


def check_state_round_trip(case: SearcherCase) -> None:
    """A searcher built alike and given the state, read back from a file, goes on bit for bit; fine-tuned ones, too."""
    for done, fine_tuning in ((0, False), (1, False), (1, True)):
        first, second = case.build(), case.build(seed=1)
        case.train(first, range(done))
        if fine_tuning:
            first.restart_weight_optimizer(0.01)
            case.train(first, [done])
        second.load_state_dict(_through_a_file(first.state_dict()))
        when = f"after {done} epoch(s){' and a restart of the weights' + chr(39) + ' optimiser' if fine_tuning else ''}"
        _require_same(flat(first.state_dict()), flat(second.state_dict()), f"state and restored state {when}")
        for searcher in (first, second):
            case.train(searcher, [done + 1])
        _require_same(flat(first.state_dict()), flat(second.state_dict()), f"search and restored search {when}")


def check_deep_copy_independent(case: SearcherCase) -> None:
    """A deep copy goes on exactly as the original would, with its own optimiser, and never moves the original."""
    searcher = case.build()
    case.train(searcher, [0])
    twin = copy.deepcopy(searcher)
    before = {k: v.clone() if isinstance(v, Tensor) else v for k, v in flat(searcher.state_dict()).items()}
    weights = _weights(twin)
    case.train(twin, [1])
    _require_same(before, flat(searcher.state_dict()), "the original before and after its copy was trained")
    require(not torch.equal(_weights(twin), weights), "the copy's optimiser does not move the copy's weights")
    case.train(searcher, [1])
    _require_same(flat(searcher.state_dict()), flat(twin.state_dict()), "the original and its copy, trained alike")


def check_restart_of_the_weights_optimiser(case: SearcherCase) -> None:
    """After a restart, the weights move at the given constant rate: at a tiny one they all but stand still."""
    searcher = case.build()
    case.train(searcher, [0])
    searcher.restart_weight_optimizer(1e-12)
    before = _weights(searcher)
    case.train(searcher, [2])
    moved = float((_weights(searcher) - before).abs().max())
    require(moved < 1e-7, f"at a rate of 1e-12 a weight moved by {moved:.3g}")


def check_epochs_beyond_the_last(case: SearcherCase) -> None:
    """A selector that trains on counts epochs beyond the protocol's; schedules stay at their end."""
    searcher = case.build()
    case.train(searcher, [case.protocol.epochs - 1])
    for epoch in (case.protocol.epochs, 10 * case.protocol.epochs):
        case.train(searcher, [epoch])
        _require_simplex(searcher, f"in epoch {epoch} of {case.protocol.epochs}")


def check_finished(case: SearcherCase) -> None:
    """Before it began a search is not finished; asking changes nothing, and what ended stays so, restored or not."""
    searcher, ended = case.build(), False
    require(searcher.finished is False, f"before the first epoch finished is {searcher.finished!r}")
    for epoch in range(case.protocol.epochs + 1):
        toy_epoch(searcher, case.protocol, epoch)
        before = {k: v.clone() if isinstance(v, Tensor) else v for k, v in flat(searcher.state_dict()).items()}
        answers = [searcher.finished, searcher.finished]
        _require_same(before, flat(searcher.state_dict()), "the state before and after finished was asked for")
        restored = case.build(seed=1)
        restored.load_state_dict(_through_a_file(searcher.state_dict()))
        answers.append(restored.finished)
        require(all(a is answers[0] for a in answers), f"finished, asked twice and of a restored copy, is {answers}")
        require(isinstance(answers[0], bool), f"finished is {answers[0]!r}, neither True nor False")
        require(answers[0] or not ended, f"it was finished before epoch {epoch}, and is not any more")
        ended = answers[0]


def check_meta_device(case: SearcherCase) -> None:
    """A full epoch runs on the `meta` device: no tensor hides on the host, and no step waits for a value."""
    searcher = case.build(device="meta")
    for result in toy_epoch(searcher, case.protocol, 0):
        require(result.train_loss.device.type == "meta", "a step's loss left the device")
    require(searcher.mixture().device.type == "meta", "the mixture left the device")


def check_float32_and_float64(case: SearcherCase) -> None:
    """The search keeps the supernet's dtype, and its first step sees the same loss in both."""
    losses = []
    for dtype in TORCH_DTYPES:
        searcher = case.build(dtype=dtype)
        losses.append(float(toy_epoch(searcher, case.protocol, 0)[0].train_loss))
        for name, tensor in [("the mixture", searcher.mixture()), *searcher.supernet.named_parameters()]:
            require(tensor.dtype == dtype, f"{name} is {tensor.dtype} in a supernet of {dtype}")
            require(bool(tensor.isfinite().all()), f"{name} is not finite in {dtype}")
    # The initial weights are drawn in float32 and widened, so that only rounding (1e-7 an operation) differs; a step of
    # Adam magnifies it where a gradient is nearly 0.
    require(abs(losses[0] - losses[1]) < 1e-2, f"the first loss is {losses[0]} in float32, {losses[1]} in float64")


def check_loss_goes_down(case: SearcherCase) -> None:
    """On three colours, at most 30 epochs take a tenth off the supernet's loss."""
    protocol = replace(case.protocol, epochs=30)
    case = replace(case, protocol=protocol, config=replace(case.config, protocol=protocol))
    searcher = case.build()
    images = toy_images("train")
    (batch,) = (Batch(*each) for each in images.in_order(len(images)))

    @torch.no_grad()
    def loss() -> float:
        return float(F.cross_entropy(searcher.supernet(batch.images, searcher.mixture(), "batch"), batch.labels))

    before = loss()
    for epoch in range(30):
        case.train(searcher, [epoch])
        if loss() < 0.9 * before:
            return
    require(False, f"the loss was {before:.4f} and is {loss():.4f} after 30 epochs")


def check_memory_does_not_grow(case: SearcherCase) -> None:
    """After the first epoch, no further epoch leaves more tensors behind, nor a longer graph."""
    searcher = case.build()
    tensors, steps = [], []
    for epoch in range(3):
        toy_epoch(searcher, case.protocol, epoch)
        gc.collect()
        alive = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
        tensors.append(len(alive))
        steps.append(_graph_size(alive))
        del alive
    require(tensors[2] <= tensors[1], f"live tensors after each epoch: {tensors}")
    require(steps[2] <= steps[1], f"operations in the graphs of live tensors, after each epoch: {steps}")


def check_settled_edges(case: SearcherCase) -> None:
    """With some edges settled to one operation (DARTS-PT), their rows stay one-hot and get a gradient of exactly 0."""
    searcher = case.build(dtype=torch.float64)
    case.train(searcher, [0])
    searcher.supernet = network = Projected(searcher.supernet)
    network.settle(1, 3)
    network.settle(4, 0)
    gradients: list[Tensor] = []
    passes: list[nn.Module] = []

    def listen(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        passes.append(module)
        if arguments[1].requires_grad:
            arguments[1].register_hook(gradients.append)

    network.register_forward_pre_hook(listen)
    weights = _weights(searcher)
    case.train(searcher, [1])
    require(bool(passes), "a step does not go through `searcher.supernet`, where the settled edges are")
    rows = network.project(searcher.mixture())[..., [1, 4], :]
    one_hot = torch.eye(O, dtype=rows.dtype)[[3, 0]].expand_as(rows)
    require(torch.equal(rows, one_hot), f"settled rows became {rows.tolist()}")
    require(all(bool((g[..., [1, 4], :] == 0).all()) for g in gradients), "a settled row has a gradient other than 0")
    require(not torch.equal(_weights(searcher), weights), "behind settled edges, no weight moves")


CHECKS: Final = (
    check_described,
    check_configuration_frozen,
    check_mixture_on_simplex,
    check_no_preference_at_start,
    check_trains_the_supernet_it_is_given,
    check_step_results,
    check_same_seed_same_trajectory,
    check_state_round_trip,
    check_deep_copy_independent,
    check_restart_of_the_weights_optimiser,
    check_epochs_beyond_the_last,
    check_finished,
    check_meta_device,
    check_float32_and_float64,
    check_loss_goes_down,
    check_memory_does_not_grow,
    check_settled_edges,
)
"""In the order in which they are run."""


def _graph_size(tensors: Sequence[Tensor]) -> int:
    """The number of operations that the tensors' graphs remember."""
    seen: set[Any] = set()
    left = [tensor.grad_fn for tensor in tensors]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [before for before, _ in node.next_functions]
    return len(seen)


def _weights(searcher: Searcher) -> Tensor:
    """All weights of the supernet as one vector of their own."""
    return nn.utils.parameters_to_vector(searcher.supernet.parameters()).detach()


def _require_simplex(searcher: Searcher, when: str) -> None:
    mixture = searcher.mixture().detach()
    shape = tuple(mixture.shape)
    require(shape[-2:] == (E, O) and len(shape) in (2, 3), f"the mixture has shape {shape} {when}")
    require(bool(mixture.isfinite().all()) and bool((mixture >= 0).all()), f"a mixing weight is negative {when}")
    off = float((mixture.sum(-1) - 1).abs().max())
    require(off < 1e-5, f"a row of the mixture sums to 1 only within {off:.3g} {when}")
    require(torch.equal(mixture, searcher.mixture()), f"the mixture is another when asked for again {when}")


def _require_same(one: dict[str, Any], other: dict[str, Any], what: str) -> None:
    changed = differences(one, other)
    require(not changed, f"{what} differ in {', '.join(changed[:3])}")


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """The state as a checkpoint would give it back: nothing but tensors, numbers and containers survives."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    read: dict[str, Any] = torch.load(file, weights_only=True)
    return read


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators for a while."""
    states = torch.random.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  (put back below)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the claim is about the global state)
    random.seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  (as it was)
        random.setstate(states[2])
