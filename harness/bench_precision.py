"""`dartboard bench precision`: what arithmetic short of double does to the numbers that choose a cell.

A supernet is trained by first-order DARTS on the embedded digits in float32, and copied into float64, where every
number is taken as the truth. The same numbers in less:

    gradient    of the validation loss in alpha, on each of some batches: ‖g - g₆₄‖/‖g₆₄‖ and the cosine of g and g₆₄,
                the mean over the batches, one a round
    criterion   its scores with the same draws: Spearman's correlation with those of float64, the mean over the edges
                where float64's differ; and on how many edges both choose the same operation

`tf32` and `bfloat16` are float32 weights with convolutions and matrix products in less; TF32 exists on CUDA only.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from dartboard.benchmark.contracts import Batch, SelectionData, TrainedSupernet
from dartboard.benchmark.epochs import steps_of_epoch
from dartboard.benchmark.image_halves import search_halves
from dartboard.benchmark.image_sources import load_images
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.space import Cell, E
from dartboard.benchmark.streams import stream
from dartboard.benchmark.supernet import SupernetConfig
from dartboard.harness.columns import columns
from dartboard.harness.devices import describe_device, find_device, tf32, threads
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_selector
from dartboard.searchers._training import evaluate, resolve_protocol
from dartboard.searchers.darts_v1 import Config, DartsV1
from dartboard.selectors._catalogue import SELECTORS

if TYPE_CHECKING:
    from dartboard.harness.bench import Settings

PRECISIONS: Final = ("float32", "tf32", "bfloat16")
CRITERIA: Final = {  # with options that make them quick
    "first-order": {},
    "snip": {},
    "fisher": {},
    "leave-one-out": {"batches": 4},
    "shapley-exact-edge": {"batches": 1},
    "im-alpha": {"batches": 4},
}
EPOCHS: Final = 8
ARCHITECTURE_RATE: Final = 1e-2  # so that the mixture has left its start after so few epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A criterion's scores beside those of float64."""

    name: str
    correlation: float | None  # None: float64's scores are equal on every edge
    same_edges: int  # of E


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What became of the numbers."""

    name: str
    error: float  # of alpha's gradient, relative
    cosine: float
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionReport:
    """What `dartboard bench precision --json` prints."""

    settings: Settings
    machine: str
    precisions: tuple[Precision, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"target": "precision", **asdict(self)}

    def as_text(self) -> list[str]:
        """A table and what it says."""
        names = [criterion.name for criterion in self.precisions[0].criteria]
        rows = [("", "error of alpha's gradient", "cosine", *names)]
        for p in self.precisions:
            told = (f"{_figure(c.correlation)}, {c.same_edges}/{E}" for c in p.criteria)
            rows.append((p.name, f"{100 * p.error:.3g} %", f"{p.cosine:.6f}", *told))
        size = f"C={self.settings.channels}, N={self.settings.cells_per_stage}, {self.settings.image_size} pixels"
        return [
            f"precision: {size}, batch {self.settings.batch_size}, digits, {EPOCHS} epochs; {self.machine}",
            *columns(rows),
            "against float64; a criterion: Spearman's correlation on an edge, and the edges of the same choice",
        ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def measure_precision(settings: Settings) -> PrecisionReport:
    """Train on the embedded digits, and measure each precision that there is, on a GPU where there is one."""
    with threads(settings.threads):
        return _measure(settings, find_device("auto"))


def _measure(settings: Settings, device: torch.device) -> PrecisionReport:
    images = load_images("digits")
    settings = replace(settings, image_size=min(settings.image_size, images.image_size))
    halves = {
        dtype: search_halves(images, image_size=settings.image_size, device=device, dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    }
    trained = _trained(settings, halves[torch.float32], device)
    exact = _converted(trained, torch.float64)
    truth = _gradients(exact, halves[torch.float64][1], settings)
    scores = _scores(exact, halves[torch.float64], settings.batch_size)
    precisions = []
    for name in PRECISIONS:
        if name == "tf32" and device.type != "cuda":
            continue
        with arithmetic(name, device):
            found = _gradients(trained, halves[torch.float32][1], settings)
            ours = _scores(trained, halves[torch.float32], settings.batch_size)
        precisions.append(
            Precision(
                name=name,
                error=float(((found - truth).norm(dim=1) / truth.norm(dim=1)).mean()),
                cosine=float(torch.cosine_similarity(found, truth, dim=1).mean()),
                criteria=tuple(agreement(criterion, ours[criterion], scores[criterion]) for criterion in CRITERIA),
            )
        )
    machine = f"torch {torch.__version__}, {describe_device(device)}"
    return PrecisionReport(settings=settings, machine=machine, precisions=tuple(precisions))


def agreement(name: str, ours: NDArray[np.float64], truth: NDArray[np.float64]) -> Criterion:
    """How scores (E, O) compare with the true ones."""
    correlations = []
    for mine, other in zip(ours, truth, strict=True):
        if np.ptp(other) > 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # constant scores have no rank correlation: counted as 0
                correlations.append(float(np.nan_to_num(spearmanr(mine, other).statistic)))
    pairs = zip(Cell.from_scores(ours).operations, Cell.from_scores(truth).operations, strict=True)
    return Criterion(
        name=name,
        correlation=sum(correlations) / len(correlations) if correlations else None,
        same_edges=sum(a == b for a, b in pairs),
    )


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Compute float32 as `precision` has it."""
    if precision == "bfloat16":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
    elif precision == "tf32":
        with tf32():
            yield
    else:
        yield


def _trained(settings: Settings, halves: tuple[ImageSplit, ImageSplit], device: torch.device) -> TrainedSupernet:
    options = {"epochs": EPOCHS, "batch_size": settings.batch_size, "architecture_learning_rate": ARCHITECTURE_RATE}
    protocol, _ = resolve_protocol(options, {})
    size = SupernetConfig(
        channels=settings.channels, cells_per_stage=settings.cells_per_stage, num_classes=halves[0].num_classes
    )
    supernet = build_supernet(size, generator=stream(0, "supernet"), device=device)
    searcher = DartsV1(supernet, Config(protocol=protocol), generator=stream(0, "architecture"))
    trajectory = []
    for epoch in range(EPOCHS):
        for _ in steps_of_epoch(searcher, *halves, protocol, epoch=epoch, seed=0):
            pass
        trajectory.append(searcher.mixture().detach().double().cpu().numpy())
    return TrainedSupernet(searcher=searcher, mixture=trajectory[-1], trajectory=np.stack(trajectory))


def _converted(trained: TrainedSupernet, dtype: torch.dtype) -> TrainedSupernet:
    """A copy whose supernet and logits have another precision."""
    searcher = copy.deepcopy(trained.searcher)
    assert isinstance(searcher, DartsV1)
    searcher.supernet.to(dtype)
    searcher.alpha = torch.nn.Parameter(searcher.alpha.detach().to(dtype))
    return TrainedSupernet(searcher=searcher, mixture=trained.mixture, trajectory=trained.trajectory)


def _gradients(trained: TrainedSupernet, valid: ImageSplit, settings: Settings) -> Tensor:
    """(rounds, E·O) in float64: alpha's gradient of the validation loss on each batch, batch norm by the batch."""
    searcher = trained.searcher
    assert isinstance(searcher, DartsV1)
    rows = []
    for images, labels in valid.epoch(settings.batch_size, stream(0, "gradient"), steps=settings.rounds):
        half = evaluate(lambda x: searcher.supernet(x, searcher.mixture(), "batch"), Batch(images, labels))
        (gradient,) = torch.autograd.grad(half.loss, [searcher.alpha])
        rows.append(gradient.double().flatten())
    return torch.stack(rows)


def _scores(
    trained: TrainedSupernet, halves: tuple[ImageSplit, ImageSplit], batch_size: int
) -> dict[str, NDArray[np.float64]]:
    data = SelectionData(train=halves[0], valid=halves[1], batch_size=batch_size)
    found = {}
    for name, options in CRITERIA.items():
        entry = SELECTORS[name]
        selector = prepare_selector(Method(label=name, entry=entry, options={**entry.options, **options}))
        assert hasattr(selector, "select")
        scores = selector.select(trained, data, stream(0, name)).scores
        assert scores is not None
        found[name] = scores
    return found
