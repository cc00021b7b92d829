"""One search of a grid, with its checkpoints, and the selections from its supernet."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.compiled import compiled_cells
from dartboard.benchmark.contracts import Searcher, Selection, SelectionData, Selector, TrainedSupernet
from dartboard.benchmark.epochs import EpochMeter, EpochResult, steps_of_epoch
from dartboard.benchmark.images import ImageSplit
from dartboard.benchmark.partial import build_supernet
from dartboard.benchmark.space import Cell
from dartboard.benchmark.streams import derive, stream
from dartboard.benchmark.supernet import Supernet, SupernetConfig
from dartboard.harness.checkpoints import FileJournal, fitting, load_state, save_state
from dartboard.harness.diagnose import PreparedDiagnostic, measure, missing, of_epoch
from dartboard.harness.diagnostics._subject import CellPass, Subject
from dartboard.harness.grid import Dataset
from dartboard.harness.guard import Meddled, untouched
from dartboard.harness.prepare import PreparedSearcher
from dartboard.harness.shared import SharedEvaluations
from dartboard.results.diagnostics import DiagnosticRecord, append_diagnostic, keep_diagnostics
from dartboard.results.records import EpochRecord, SearchKey, append_epoch, keep_epochs, search_folder
from dartboard.selectors._budget import Fitted, check_spent, fitted

if TYPE_CHECKING:
    from dartboard.harness.engine import Engine


class Listener(Protocol):
    """Who is told how a grid goes on."""

    def begin(self, what: str, steps: int, /) -> None:
        """A search or a selection begins, of so many steps."""

    def advance(self, steps: int, total: int, note: str = "", /) -> None:
        """So many of its steps are done; the note says what came of the last."""

    def end(self, line: str) -> None:
        """It is over; the line says how."""

    def runs(self, done: int, total: int, /) -> None:
        """So many of all runs have a record."""

    def lane(self) -> Listener:
        """Who is told of one of several searches at once."""


class Chosen(NamedTuple):
    """A selection, and what it took by the clock: as if it had been alone, whatever it found computed already."""

    selection: Selection
    seconds: float
    memory_mb: float | None  # what it added to the memory in use, at its peak; None: not measured here


class SearchRun:
    """One search of a grid, and the selections from it; nothing is loaded before it is needed."""

    def __init__(self, engine: Engine, searcher: PreparedSearcher, dataset: Dataset, seed: int) -> None:
        self.engine, self.searcher, self.dataset, self.seed = engine, searcher, dataset, seed
        self.key = SearchKey(searcher.label, dataset.label, seed)
        self.folder = search_folder(engine.folder, self.key)
        self.shared: SharedEvaluations | None = None  # by the selections from its supernet
        self.trained: TrainedSupernet | None = None  # as the search left it
        self.facts: dict[str, Any] = {}  # what records tell of it, as far as it has come

    @cached_property
    def halves(self) -> tuple[ImageSplit, ImageSplit]:
        """The images for the weights, and those for the architecture."""
        return self.engine.halves(self.dataset.label, self.searcher.protocol, device=self.engine.device)

    def search(self) -> TrainedSupernet:
        """Train to the last epoch or until the method is finished, from the last checkpoint if there is one."""
        engine, protocol = self.engine, self.searcher.protocol
        train, valid = self.halves
        self.facts |= {"image_size": train.image_size, "train_images": len(train), "valid_images": len(valid)}
        root = derive(self.seed, "search")
        supernet = build_supernet(
            self.searcher.supernet_config(
                SupernetConfig(
                    channels=engine.grid.channels,
                    cells_per_stage=engine.grid.cells_per_stage,
                    num_classes=train.num_classes,
                    track_running_stats=protocol.track_running_stats,
                )
            ),
            generator=stream(root, "supernet"),
            device=engine.device,
            dtype=engine.dtype,
        )
        searcher: Searcher = self.searcher.factory(
            supernet, self.searcher.config, generator=stream(root, "architecture")
        )
        checkpoint = self.folder / "checkpoint.pt"
        kept = load_state(checkpoint, engine.device)
        state: dict[str, Any] = {"epoch": 0, "steps": 0, "images": 0, "seconds": 0.0, "trajectory": []}
        if kept is not None:
            with fitting(checkpoint, self.key.searcher):
                searcher.load_state_dict(kept.pop("searcher"))
                state = {**{name: kept[name] for name in state}, **kept}
        keep_epochs(self.folder, state["epoch"])
        keep_diagnostics(self.folder, state["epoch"])
        steps = train.steps(protocol.batch_size)
        engine.listener.begin(str(self.key), protocol.epochs * steps)
        for epoch in range(state["epoch"], protocol.epochs):
            if searcher.finished:
                break
            started = time.perf_counter()
            meter = EpochMeter()
            batches = steps_of_epoch(searcher, train, valid, protocol, epoch=epoch, seed=root)
            with compiled_cells(supernet) if engine.grid.compile else nullcontext():
                for step, result in enumerate(batches, start=1):
                    meter.add(result)
                    engine.listener.advance(epoch * steps + step, protocol.epochs * steps)
            done = meter.result()
            seconds = time.perf_counter() - started
            mixture = average(searcher.mixture())
            if not np.isfinite([done.train_loss, done.valid_loss]).all() or not np.isfinite(mixture).all():
                raise FloatingPointError(
                    f"the search diverged in epoch {epoch + 1}: training loss {done.train_loss},"
                    f" validation loss {done.valid_loss}; lower a learning rate"
                )
            state["epoch"] = epoch + 1
            state["steps"] += done.steps
            state["images"] += done.images
            state["seconds"] += seconds
            state["trajectory"].append(mixture.tolist())
            cell = self._write_epoch(epoch, done, mixture, searcher, seconds)
            self._diagnose_epoch(searcher, mixture, state["trajectory"])
            save_state(checkpoint, {**state, "searcher": searcher.state_dict()})
            accuracy = engine.truth.lookup(cell, engine.metric(self.dataset.label))
            engine.listener.advance(
                (epoch + 1) * steps,
                protocol.epochs * steps,
                f"epoch {epoch + 1}/{protocol.epochs}: valid {done.valid_accuracy:.1f} %, argmax {accuracy:.2f} %",
            )
        if "valid_accuracy" not in state:
            state["valid_accuracy"] = self._accuracy(supernet, searcher.mixture().detach())
            save_state(checkpoint, {**state, "searcher": searcher.state_dict()})
        self.facts |= {
            "search_epochs": state["epoch"],
            "search_steps": state["steps"],
            "search_images": state["images"],
            "search_seconds": state["seconds"],
            "supernet_accuracy_valid": state["valid_accuracy"],
        }
        told = f"{state['epoch']} epochs"
        if state["epoch"] < protocol.epochs:
            told += f" of {protocol.epochs}, where it ended by itself,"
            engine.listener.advance(state["steps"], state["steps"])
        engine.listener.end(f"{self.key}: {told} in {state['seconds']:.0f} s")
        self.trained = TrainedSupernet(
            searcher=searcher,
            mixture=average(searcher.mixture()),
            trajectory=np.array(state["trajectory"], dtype=np.float64),
        )
        return self.trained

    def intact(self) -> TrainedSupernet:
        """What the search has trained: from its checkpoint again, where a selector was found to have changed it."""
        return self.trained or self.search()

    def _write_epoch(
        self, epoch: int, result: EpochResult, mixture: NDArray[np.float64], searcher: Searcher, seconds: float
    ) -> Cell:
        cell = Cell.from_scores(mixture)
        weights = getattr(searcher, "weights", None)
        append_epoch(
            self.folder,
            EpochRecord(
                epoch=epoch + 1,
                mixture=tuple(map(tuple, mixture.tolist())),
                cell=str(cell),
                accuracies=self.engine.accuracies(cell),
                train_loss=result.train_loss,
                valid_loss=result.valid_loss,
                train_accuracy=result.train_accuracy,
                valid_accuracy=result.valid_accuracy,
                learning_rate=None if weights is None else weights.learning_rate,
                seconds=seconds,
            ),
        )
        return cell

    @torch.no_grad()
    def _accuracy(self, supernet: Supernet, mixture: Tensor) -> float:
        """The trained supernet's accuracy on the validation half, in percent, by its running statistics."""
        size = self.searcher.protocol.batch_size
        _, valid = self.halves
        correct = torch.zeros((), dtype=torch.int64, device=self.engine.device)
        for images, labels in valid.in_order(size):
            correct += (supernet(images, mixture, "running").argmax(-1) == labels).sum()
        return 100 * int(correct) / len(valid)

    @property
    def lacking(self) -> str | None:
        """Why there is no trained supernet to go back to, in words; None: there is one."""
        state = load_state(self.folder / "checkpoint.pt", torch.device("cpu"))
        if state is None:
            return "it keeps no checkpoint"
        return None if "valid_accuracy" in state else "its search is not over; `dartboard run` goes on with it"

    def _diagnose_epoch(self, searcher: Searcher, mixture: NDArray[np.float64], trajectory: list[Any]) -> None:
        """Measure what is asked for of the epoch that is just over."""
        asked = of_epoch(self.engine.diagnostics, len(trajectory))
        if asked:
            now = TrainedSupernet(searcher=searcher, mixture=mixture, trajectory=np.array(trajectory, dtype=np.float64))
            shared: dict[str, CellPass] = {}
            for prepared in asked:
                self._measure(prepared, now, len(trajectory), shared)

    def diagnose(self, trained: TrainedSupernet) -> None:
        """Measure what is asked for of the trained supernet and has no record."""
        engine, epochs = self.engine, len(trained.trajectory)
        shared: dict[str, CellPass] = {}
        for prepared, epoch in missing(self.folder, engine.diagnostics, epochs, retry_failed=engine.retry_failed):
            dear = epoch is None
            if dear:
                engine.listener.begin(f"{self.key}, {prepared.name}", 1)
            past = trained
            if epoch is not None and epoch < epochs:
                past = replace(trained, mixture=trained.trajectory[epoch - 1], trajectory=trained.trajectory[:epoch])
            record = self._measure(prepared, past, epoch, shared)
            if dear:
                engine.listener.advance(1, 1)
                told = f"failed: {record.error}" if record.error else f"{record.images:,} images"
                engine.listener.end(f"{self.key}, {prepared.name}: {told}, {record.diagnostic_seconds:.1f} s")

    def _measure(
        self, prepared: PreparedDiagnostic, trained: TrainedSupernet, epoch: int | None, shared: dict[str, CellPass]
    ) -> DiagnosticRecord:
        """Measure one thing and write it down; `shared` is what the others of this supernet have computed."""
        engine, journal = self.engine, FileJournal(self.folder / f"diagnostic--{prepared.name}.pt", self.engine.device)
        dear = epoch is None
        train, valid = self.halves
        data = SelectionData(
            train=train,
            valid=valid,
            batch_size=self.searcher.protocol.batch_size,
            journal=journal if dear else None,
            progress=engine.listener.advance if dear else None,
        )
        root = derive(self.seed, "diagnose", self.key.dataset, "trained" if epoch is None else epoch)
        subject = Subject(
            trained=trained,
            data=data,
            truth=engine.truth,
            metric=engine.metric(self.dataset.label),
            root=derive(root, prepared.name),
            shared_root=derive(root, "shared"),
            shared=shared,
        )
        record = measure(prepared, subject, epoch=epoch, who=str(self.key))
        append_diagnostic(self.folder, record)
        if dear:
            journal.remove()
        return record

    def journal(self, label: str) -> FileJournal:
        """Where a long selection keeps its progress."""
        return FileJournal(self.folder / f"selection--{label}.pt", self.engine.device)

    def data(self, trained: TrainedSupernet, *names: str | int) -> SelectionData:
        """What a selection from `trained` may look at.

        All criteria look at the same batches: those of a stream named by the seed, the data set and `names`.
        """
        if self.shared is None or self.shared.network is not trained.supernet:
            self.shared = SharedEvaluations(trained.supernet, self.engine.device)
        train, valid = self.halves
        return SelectionData(
            train=train,
            valid=valid,
            batch_size=self.searcher.protocol.batch_size,
            progress=self.engine.listener.advance,
            seed=derive(self.seed, "select", "images", self.key.dataset, *names),
            epoch_images=math.ceil(self.facts["search_images"] / max(1, self.facts["search_epochs"])),
            cache=self.shared,
        )

    def select(self, trained: TrainedSupernet, label: str) -> Chosen:
        """Let one selector choose.

        Raises:
            OverBudget: when it cannot keep to the grid's budget.
            Meddled: when the selector changed the trained supernet or the global random state.
        """
        engine, selector, budget = self.engine, self.engine.selectors[label], self.engine.grid.budget
        if not hasattr(selector, "select"):
            return Chosen(selector.choose(engine.truth, engine.metric(self.dataset.label)), 0.0, 0.0)
        data = replace(self.data(trained), journal=self.journal(label))
        fit = Fitted(selector, {}) if budget is None else fitted(selector, data, budget)
        chosen = self.apply(trained, label, fit.selector, data)
        if budget is None:
            return chosen
        check_spent(label, chosen.selection.images, budget)
        notes = {**chosen.selection.notes, "within_budget": dict(fit.values)}
        return chosen._replace(selection=replace(chosen.selection, notes=notes))

    def apply(
        self, trained: TrainedSupernet, label: str, selector: Selector, data: SelectionData, *names: str | int
    ) -> Chosen:
        """Let `selector` choose by `data`, its own draws from a stream named by `label` and `names`; and measure it.

        Raises:
            Meddled: when the selector changed the trained supernet or the global random state.
        """
        engine, name, shared = self.engine, f"{self.key}, {label}", self.shared
        assert shared is not None
        engine.listener.begin(name, 1)
        shared.begin(engine.memory)
        generator = stream(self.seed, "select", self.key.searcher, self.key.dataset, label, *names)
        try:
            with untouched(trained, name), engine.memory.part() as memory:
                started = time.perf_counter()
                selection = selector.select(trained, data, generator)
                if engine.device.type == "cuda":
                    torch.cuda.synchronize(engine.device)
                seconds = time.perf_counter() - started + shared.spared_seconds
        except Meddled:
            self.trained = None
            raise
        engine.listener.advance(1, 1)
        added = (memory.added_mb, shared.spared_mb)
        return Chosen(selection, seconds, max((mb for mb in added if mb is not None), default=None))

    def forget(self) -> None:
        """Keep no evaluation any more: what comes next looks at other batches."""
        self.shared = None


def average(mixture: Tensor) -> NDArray[np.float64]:
    """(E, O) of a mixture (E, O) or (cells, E, O), on the host."""
    values: NDArray[np.float64] = mixture.detach().double().cpu().numpy()
    return values if values.ndim == 2 else values.mean(axis=0)
