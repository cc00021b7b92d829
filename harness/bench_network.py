"""The work that `dartboard bench` measures on networks, and how it is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from dartboard.benchmark.compiled import compiled_cells, require_compiler
from dartboard.benchmark.contracts import Batch
from dartboard.benchmark.reference import ReferenceSupernet
from dartboard.benchmark.space import E, O
from dartboard.benchmark.supernet import MixedNetwork, Supernet, SupernetConfig
from dartboard.searchers.darts_v1 import Config, DartsV1
from dartboard.selectors._evaluation import without_each
from dartboard.selectors._passes import Passes
from dartboard.selectors.one_shot_best import re_estimate

if TYPE_CHECKING:
    from dartboard.harness.bench import Settings

CONVOLUTIONS: Final = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
RESHAPES: Final = frozenset({"expand", "permute", "reshape", "squeeze", "t", "transpose", "unsqueeze", "view"})
PARTS: Final = frozenset({"chunk", "narrow", "select", "slice", "split", "split_with_sizes", "unbind"})
VIEWS: Final = RESHAPES | PARTS | {"alias", "as_strided", "as_strided_", "detach", "detach_"}
"""Operations that move no number, by the names that the profiler has for them."""
LOOP: Final = "cpp_fused"
"""In the names of what is compiled on a CPU."""
WAITS: Final = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)


def network_work(target: str, variant: str, settings: Settings) -> Callable[[], object]:
    """`supernet`: a forward pass without gradients. `step`: one of first-order DARTS. `select`: 30 masks, one batch.

    The masks' passes normalise by the batch's statistics or by running ones (`settings.norm`), which are then those of
    the batch under the unmasked mixture.

    The reference step is the published codes': one operation after the other, and each half computes the gradients of
    weights and mixture alike.

    Raises:
        InputError: when something is to be compiled and nothing can be.
    """
    generator = torch.Generator().manual_seed(0)
    norm = settings.norm if target == "select" else "batch"
    config = SupernetConfig(channels=settings.channels, cells_per_stage=settings.cells_per_stage)
    fast = Supernet(config, generator=generator)
    batches = []
    for _ in range(2):
        images = torch.randn(settings.batch_size, 3, settings.image_size, settings.image_size, generator=generator)
        batches.append(Batch(images, torch.randint(0, 10, (settings.batch_size,), generator=generator)))
    train, valid = batches
    if norm == "running":
        re_estimate(fast, torch.full((E, O), 1 / O), [train])
    if variant == "compiled":
        require_compiler(torch.device("cpu"))
        torch._inductor.config.cpp.enable_kernel_profile = True  # each compiled loop tells the profiler of itself
    network: MixedNetwork = ReferenceSupernet(fast) if variant == "reference" else fast
    searcher = DartsV1(network, Config(), generator=generator)
    if target == "step":
        if variant == "reference":
            return lambda: published_step(searcher, train, valid)
        if variant == "compiled":
            return compiled_cells(fast)(lambda: searcher.step(train, valid))
        return lambda: searcher.step(train, valid)
    mixture = searcher.mixture().detach()
    if target == "supernet":
        return torch.no_grad()(lambda: network(train.images, mixture, "batch"))
    masks = torch.cat([without_each(mixture, edge, renormalise=False) for edge in range(E)])
    if variant == "shared":
        return lambda: list(Passes(fast, masks).logits(train.images, norm))
    return torch.no_grad()(lambda: [network(train.images, mask, norm) for mask in masks])


def published_step(searcher: DartsV1, train: Batch, valid: Batch) -> None:
    """First-order DARTS as published code takes it: both halves compute all gradients and use their own."""
    weights = searcher.weights.parameters
    for batch, optimizer in ((valid, searcher.adam), (train, searcher.weights.sgd)):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(F.cross_entropy(searcher.supernet(batch.images, searcher.mixture()), batch.labels))
        if optimizer is searcher.weights.sgd:
            nn.utils.clip_grad_norm_(weights, searcher.config.protocol.gradient_clip)
        optimizer.step()
    for parameter in (searcher.alpha, *weights):
        parameter.grad = None


class Counter(TorchDispatchMode):
    """Counts what is dispatched: operations but views, waits of the host, bytes; keeps the convolutions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.operations = self.host_waits = self.bytes_moved = self.flops = 0
        self.convolutions: list[tuple[Any, tuple[Any, ...]]] = []
        self._flops = FlopCounterMode(display=False)

    def __enter__(self) -> Counter:
        """Begin."""
        self._flops.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]  # as above
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # as above
        self._flops.__exit__(*error)
        self.flops = self._flops.get_total_flops()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation and do it."""
        made = func(*args, **(kwargs or {}))
        if func in WAITS:
            self.host_waits += 1
        if not func.is_view and func is not torch.ops.aten.detach.default:
            self.operations += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs, made)) if isinstance(leaf, Tensor)]
            self.bytes_moved += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if func in CONVOLUTIONS:
            self.convolutions.append((func, tuple(_outline(argument) for argument in args)))
        return made


def run_operations(call: Callable[[], object]) -> int:
    """The outermost operations of `call` as PyTorch's profiler sees them, views left out, and the loops it compiled.

    An operation that is made of others is one; so `Counter`, to which they are several, finds a few more in what is not
    compiled.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        call()
    left = [event for event in profiled.events() or [] if event.cpu_parent is None]
    operations = 0
    while left:
        event = left.pop()
        name = event.name.removeprefix("aten::")
        if name == event.name and LOOP not in name:
            left += event.cpu_children
        elif name not in VIEWS and not (name == "to" and not event.cpu_children):  # `to` what it is already
            operations += 1
    return operations


def _outline(argument: Any) -> Any:
    """A tensor's shape and order in memory, without its numbers; anything else as it is."""
    return torch.empty_like(argument, device="meta") if isinstance(argument, Tensor) else argument


def repeat_convolutions(calls: Sequence[tuple[Any, tuple[Any, ...]]], clock: Callable[[], float]) -> float:
    """Seconds of these convolutions alone, the fastest of three times, on made-up numbers."""
    made: dict[tuple[Any, ...], Tensor] = {}

    def real(argument: Any) -> Any:
        if not isinstance(argument, Tensor):
            return argument
        key = (argument.shape, argument.stride(), argument.dtype)
        if key not in made:
            made[key] = torch.rand_like(argument, device="cpu")
        return made[key]

    ready = [(function, [real(argument) for argument in arguments]) for function, arguments in calls]
    best = float("inf")
    for _ in range(3):
        start = clock()
        for function, arguments in ready:
            function(*arguments)
        best = min(best, clock() - start)
    return best
