"""Selectors applied again to the trained supernets of a run folder, each time to other batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from dartboard.benchmark.catalogue import Catalogue, Entry
from dartboard.benchmark.errors import InputError, one_line, unknown
from dartboard.harness.checkpoints import FileJournal, locked
from dartboard.harness.devices import describe_device, share_of_threads
from dartboard.harness.engine import Engine, rows
from dartboard.harness.grid import Grid, Method, parse_seeds
from dartboard.harness.jobs import Work, revisit_apart
from dartboard.harness.presets import PRESETS
from dartboard.harness.recorded import missing_plugin
from dartboard.harness.search_run import Chosen, SearchRun
from dartboard.harness.workers import check_jobs
from dartboard.results.records import RunHeader
from dartboard.results.repeats import RepeatKey, RepeatRecord, read_repeats
from dartboard.selectors._budget import Fitted, Knob, check_spent, fitted, knobs_of, setting, turned, whole_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for of each supernet and selector."""

    repeats: int
    budgets: tuple[int | None, ...] = (None,)
    any_time: bool = False  # whether also after 1, 2, 4, ... units of the selector's last knob


def check_plan(plan: Plan) -> None:
    """Refuse a plan of nothing.

    Raises:
        InputError: quoting the number.
    """
    if plan.repeats < 1:
        raise InputError(f"repeat is at least 1; got {plan.repeats}")
    for budget in plan.budgets:
        if budget is not None and budget < 1:
            raise InputError(f"budget is a whole number of images, at least 1; got {budget}")


def narrowed(grid: Grid, *, searchers: Sequence[str], datasets: Sequence[str], seeds: str | None) -> Grid:
    """The grid of only those searches.

    Raises:
        InputError: for one that it has not.
    """
    for kind, names, known in (
        ("searcher of this run", searchers, [method.label for method in grid.searchers]),
        ("data set of this run", datasets, [dataset.label for dataset in grid.datasets]),
        ("seed of this run", parse_seeds(seeds) if seeds is not None else (), grid.seeds),
    ):
        for name in names:
            if name not in known:
                raise unknown(kind, str(name), map(str, known))
    return replace(
        grid,
        searchers=tuple(m for m in grid.searchers if not searchers or m.label in searchers),
        datasets=tuple(d for d in grid.datasets if not datasets or d.label in datasets),
        seeds=grid.seeds if seeds is None else parse_seeds(seeds),
    )


def asked_selectors(header: RunHeader, catalogue: Catalogue, labels: Sequence[str]) -> tuple[Method, ...]:
    """The selectors of these labels: as the run has them, or a name of the catalogue under the run's preset.

    Args:
        header: the run's.
        catalogue: of all selectors.
        labels: () for all of the run's but its yardsticks, ("all",) for all of the catalogue's, too.

    Raises:
        InputError: when there is none of that name, or it is a yardstick, which looks at nothing that could vary.
    """
    methods: list[Method] = []
    named: Iterable[str] = labels
    if not labels or tuple(labels) == ("all",):
        named = dict.fromkeys([*header.selectors, *(entry.name for entry in catalogue if labels)])
    for label in named:
        if label in (method.label for method in methods):
            raise InputError(f"the selector {label!r} is named twice")
        told = header.options.get("selectors", {}).get(label)
        if told is None or "method" not in told:
            entry = catalogue[label]
            if header.preset not in PRESETS:
                raise unknown("preset", header.preset, PRESETS)
            preset = PRESETS[header.preset].selectors.get((entry.of or entry).name, {})
            options = {**preset, **entry.options}
        else:
            entry = _entry(label, told["method"], told.get("origin"), catalogue)
            options = {name: value for name, value in told.items() if name not in ("method", "origin")}
        if entry.control != "truth":
            methods.append(Method(label=label, entry=entry, options=options))
        elif named is labels:
            raise InputError(f"{label!r} reads the table and nothing else: there is nothing to repeat")
    if not methods:
        raise InputError(
            f"the selectors of the run {header.name!r} read the table and nothing else, so that there is nothing to"
            " repeat: name another by --selector"
        )
    return tuple(methods)


def _entry(label: str, name: str, origin: str | None, catalogue: Catalogue) -> Entry:
    """The catalogue's line of a class of that name: the label's own where there is one."""
    for known in (label, name):
        with contextlib.suppress(InputError):
            entry = catalogue[known]
            if known == name or entry.load().name == name:
                return entry
    if origin is not None:
        raise missing_plugin("selector", label, origin)
    return catalogue[name]


class Reselection:
    """One plan on one run folder, which can be interrupted and goes on with the repeats that are not there yet.

    Args:
        engine: of the folder's grid, with the selectors that are asked for.
        plan: what is asked for.
    """

    def __init__(self, engine: Engine, plan: Plan) -> None:
        check_plan(plan)
        self.engine, self.plan = engine, plan
        self.ok: set[RepeatKey] = set()
        self.failed: set[RepeatKey] = set()

    def run(self, *, jobs: int = 1) -> int:
        """Select whatever has no record yet.

        Args:
            jobs: from how many supernets at once, each in a process of its own.

        Returns:
            How many supernets could not be had; the listener is told of each.

        Raises:
            InputError: when the folder's records came about otherwise, none of its trained supernets is left, or `jobs`
                is less than 1.
        """
        check_jobs(jobs)
        engine = self.engine
        with locked(engine.folder, engine.listener.end), share_of_threads(jobs):
            engine.header()  # so that another table, other images or other options are refused
            self.recall()
            if jobs == 1:
                visited, lost = engine.revisit(self.repeat)
            else:
                visited, lost = revisit_apart(engine, partial(repeating, plan=self.plan), jobs, self.count)
            if not visited and not lost:
                raise InputError(
                    f"{str(engine.folder)!r} keeps no trained supernet (searches/*/checkpoint.pt) of those asked for:"
                    " `dartboard run` trains them anew in a folder of its own"
                )
            return lost

    def recall(self) -> None:
        """Read from the folder which repeats have a record."""
        for record in read_repeats(self.engine.folder):
            self.count(record.key, record.ok)

    def count(self, key: RepeatKey, ok: bool) -> None:
        """Count a repeat that has its record."""
        (self.ok if ok else self.failed).add(key)
        (self.failed if ok else self.ok).discard(key)

    def repeat(self, run: SearchRun) -> None:
        """All repeats on one trained supernet."""
        run.search()
        for repeat in range(1, self.plan.repeats + 1):
            run.forget()
            for label in self.engine.selectors:
                for budget in self.plan.budgets:
                    self._select(run, label, repeat, budget)

    def _select(self, run: SearchRun, label: str, repeat: int, budget: int | None) -> None:
        """One repeat of one selector, with the parts that are asked for."""
        base = RepeatKey(*run.key, label, repeat, budget, None)
        selector: Any = self.engine.selectors[label]
        data = run.data(run.intact(), "repeat", repeat)
        try:
            fit = Fitted(selector, {}) if budget is None else fitted(selector, data, budget)
            knob = next(reversed(knobs_of(selector)), None)
            whole = None if knob is None else setting(fit.selector, knob.field)
            units = parts(knob, whole_of(fit.selector, knob, data)) if self.plan.any_time and knob else ()
        except Exception as error:  # noqa: BLE001  (what a selector tells of itself can fail like its choice)
            if not self._done(base):
                self._append(run, base, error=error)
            return
        for part in [*units, None]:
            key = base._replace(part=part)
            if self._done(key):
                continue
            effort = whole if part is None else part
            told: dict[str, Any] = {"knob": None if knob is None else knob.field, "effort": effort}
            marks = [f"{word}{n}" for word, n in (("budget", budget), ("part", part)) if n is not None]
            name = "--".join(["repeat", label, str(repeat), *marks])
            journal = FileJournal(run.folder / f"{name}.pt", self.engine.device)
            try:
                chooser = fit.selector if part is None or knob is None else turned(fit.selector, {knob.field: part})
                trained = run.intact()
                data = replace(run.data(trained, "repeat", repeat), journal=journal)
                chosen = run.apply(trained, label, chooser, data, "repeat", repeat)
                if budget is not None:
                    check_spent(label, chosen.selection.images, budget)
                self._append(run, key, chosen=chosen, **told)
            except Exception as error:  # noqa: BLE001  (a failing repeat is a record, and the rest goes on)
                self._append(run, key, error=error, **told)
            else:
                journal.remove()

    def _done(self, key: RepeatKey) -> bool:
        return key in self.ok or (key in self.failed and not self.engine.retry_failed)

    def _append(
        self,
        run: SearchRun,
        key: RepeatKey,
        *,
        chosen: Chosen | None = None,
        error: Exception | None = None,
        **told: Any,
    ) -> None:
        """Write a repeat's record."""
        engine = self.engine
        known = ("dartboard_version", "torch_version", "commit")
        record = RepeatRecord(
            **key._asdict(),
            **told,
            status="failed" if error else "ok",
            error=one_line(error) if error else None,
            control=engine.selectors[key.selector].control,
            table_sha256=engine.truth.provenance.sha256,
            device=describe_device(engine.device),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            **{name: engine.versions[name] for name in known},
        )
        if chosen is not None:
            selection, metric = chosen.selection, engine.metric(run.dataset.label)
            record = replace(
                record,
                cell=str(selection.cell),
                cell_number=selection.cell.number,
                metric=str(metric),
                accuracy=engine.truth.lookup(selection.cell, metric),
                regret=engine.truth.regret(selection.cell, metric),
                rank=engine.truth.rank(selection.cell, metric),
                scores=None if selection.scores is None else rows(selection.scores),
                selection_images=selection.images,
                selection_gradient_images=selection.gradient_images,
                selection_seconds=chosen.seconds,
                selection_memory_mb=chosen.memory_mb,
            )
        engine.keep(record)
        self.count(key, record.ok)
        engine.listener.end(f"{key}: {f'failed: {record.error}' if error else f'{record.accuracy:.2f} %'}")


def repeating(engine: Engine, *, plan: Plan) -> Work:
    """Selects from a trained supernet by a plan."""
    again = Reselection(engine, plan)
    again.recall()
    return lambda number: engine.revisit_one(engine.searches[number], again.repeat)


def parts(knob: Knob, whole: int) -> Iterator[int]:
    """1, 2, 4, ... units of a knob, as far as they are less than the `whole` of them."""
    unit = 1
    while unit < whole:
        if unit >= knob.least:
            yield unit
        unit *= 2


def asked_keys(keys: Iterable[RepeatKey], plan: Plan, labels: Sequence[str]) -> list[RepeatKey]:
    """Those of `keys` that a plan asked for."""
    return [
        key
        for key in keys
        if key.selector in labels
        and key.repeat <= plan.repeats
        and key.budget in plan.budgets
        and (plan.any_time or key.part is None)
    ]
