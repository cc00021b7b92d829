"""Our results held against published ones: comparable only under one protocol, and then by an interval."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from dartboard.results.published import QUERY_SEARCHES, WHOLE, Published, Setting
from dartboard.results.records import RunHeader, RunRecord

CONFIDENCE: Final = 0.95
"""Of the interval for the difference of two means."""

Word = Literal["agrees", "differs", "not told", "not comparable"]
"""not told: ours is off their mean, of which no spread is known; not comparable: of another protocol or table, or of
fewer than two seeds."""

WORDS: Final[Mapping[str, str]] = {
    "searched_on": "the data set of the search",
    "train_images": "the number of search images",
    "image_size": "the images' size",
    "epochs": "the epochs of the search",
    "recipe": "the recipe of training",
    "batch_norm": "the batch norm of the search cells",
    "none_allowed": "whether `none` may be chosen",
    "halves": "the split into halves",
    "channels": "the supernet's C",
    "cells_per_stage": "the supernet's N",
}
"""Each field of a `Setting` in words."""

RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ucla": {
        "batch_size": 64,
        "order": "architecture-first",
        "weight_learning_rate": 0.025,
        "weight_learning_rate_min": 0.001,
        "weight_momentum": 0.9,
        "weight_decay": 3e-4,
        "nesterov": False,
        "gradient_clip": 5.0,
        "architecture_learning_rate": 3e-4,
        "architecture_decay": 1e-3,
    },
    "autodl": {
        "batch_size": 64,
        "order": "weights-first",
        "weight_learning_rate": 0.025,
        "weight_learning_rate_min": 0.001,
        "weight_momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": True,
        "gradient_clip": 5.0,
        "architecture_learning_rate": 3e-4,
        "architecture_decay": 1e-3,
    },
}
"""The two recipes of the literature; the other fields of a protocol have their own place in a `Setting`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What we measured of one method with one selector, over seeds."""

    method: str  # the label, which is the catalogue's name where the grid gave none of its own
    selector: str  # likewise
    setting: Setting
    accuracies: Mapping[str, tuple[float, ...]]  # percent, by metric, one for each seed
    table_official: bool


def ours(records: Iterable[RunRecord], header: RunHeader) -> list[Ours]:
    """What a run folder has of each search method, data set and selector, in the order of the records.

    A method goes by its label: `darts-v1@slow` is `darts-v1`, and the setting tells in what it departs.
    """
    members: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        if record.ok:
            members.setdefault((record.searcher, record.dataset, record.selector), []).append(record)
    found = []
    for (searcher, _, selector), rows in members.items():
        of_searcher = _options(header, "searchers", searcher)
        of_selector = _options(header, "selectors", selector)
        metrics = dict.fromkeys(metric for record in rows for metric in record.accuracies)
        found.append(
            Ours(
                method=_catalogue_name(searcher),
                selector=_catalogue_name(selector),
                setting=_setting(rows[0], header, of_searcher, of_selector),
                accuracies={m: tuple(r.accuracies[m] for r in rows if m in r.accuracies) for m in metrics},
                table_official=all(record.table_official is True for record in rows),
            )
        )
    return found


def _options(header: RunHeader, kind: str, label: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = header.options.get(kind, {}).get(label, {})
    return options


def _catalogue_name(label: str) -> str:
    """The name that published rows use: the label without what a grid or a report of several runs put behind it."""
    return re.split(r"@| \[", label)[0]


def _setting(record: RunRecord, header: RunHeader, searcher: Mapping[str, Any], selector: Mapping[str, Any]) -> Setting:
    protocol: Mapping[str, Any] = searcher.get("protocol", {})
    tracked = protocol.get("track_running_stats")
    images = header.images.get(record.dataset, {})
    halves = (record.train_images, record.valid_images)
    source = str(images.get("name", record.dataset))
    return Setting(
        searched_on=source if source in WHOLE else f"{source} (a pack of images)",
        train_images=None if None in halves else sum(half or 0 for half in halves),
        image_size=record.image_size,
        epochs=protocol.get("epochs", record.search_epochs),
        recipe=_recipe(protocol),
        batch_norm=None if tracked is None else ("running" if tracked else "batch"),
        none_allowed=not (selector.get("exclude_none") or searcher.get("exclude_none")),
        halves=protocol.get("split"),
        channels=record.channels,
        cells_per_stage=record.cells_per_stage,
    )


def _recipe(protocol: Mapping[str, Any]) -> str | None:
    """The nearest of `RECIPES`, and in what the protocol departs from it: `ucla but weight_decay=0.001`."""
    if not protocol:
        return None
    departures = {
        name: [f"{key}={protocol.get(key)}" for key, value in sorted(recipe.items()) if protocol.get(key) != value]
        for name, recipe in RECIPES.items()
    }
    nearest = min(departures, key=lambda name: len(departures[name]))
    return f"{nearest} but {', '.join(departures[nearest])}" if departures[nearest] else nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether our number agrees with a published one, and why that is so."""

    word: Word
    reasons: tuple[str, ...]  # in words, at least one
    difference: float | None = None  # ours less theirs, in points, whatever the word; None where we have no number
    low: float | None = None  # of the interval for the difference; None where the word is "not comparable"
    high: float | None = None


def compare(published: Published, ours: Ours) -> Verdict:
    """Hold ours against a published number.

    Comparable are two numbers of one protocol only: every field of `Setting` is known of both and the same (a method's
    own options are taken to be the published ones), the table is the official one, and we have at least two seeds. Then
    they agree where the 95 % interval for the difference of the means holds 0, and differ where it does not: Welch's,
    from both standard deviations. Where the publication prints no spread or no number of runs the interval is that of
    our seeds alone: it can show that the two agree, and where it does not hold 0, nothing is told, for their mean may
    be as far off. The interval is widened by half a unit of the last printed figure, 0.005.
    """
    values = ours.accuracies.get(published.metric, ())
    difference = math.fsum(values) / len(values) - published.mean if values else None
    reasons = _obstacles(published, ours, len(values))
    if reasons or difference is None:
        return Verdict(word="not comparable", reasons=tuple(reasons), difference=difference)
    margin = 0.005 + _half_width(values, published)
    low, high = difference - margin, difference + margin
    agrees = low <= 0 <= high
    exact = published.std is None or published.n is None
    reason = (
        f"the {CONFIDENCE:.0%} interval of the difference, {low:+.2f} to {high:+.2f} points over {len(values)} seeds, "
        f"{'holds' if agrees else 'does not hold'} 0"
    )
    if exact:
        reason += " (of our seeds alone: no spread or number of runs is known of theirs)"
    return Verdict(
        word="agrees" if agrees else "not told" if exact else "differs",
        reasons=(reason,),
        difference=difference,
        low=low,
        high=high,
    )


def _obstacles(published: Published, ours: Ours, seeds: int) -> list[str]:
    """Why the two cannot be compared; empty where they can."""
    reasons = []
    if published.method in QUERY_SEARCHES:
        reasons.append("theirs has a budget of simulated training time, ours of trained cells")
    else:
        names = [entry.name for entry in fields(Setting)]
        pairs = {name: (getattr(published.setting, name), getattr(ours.setting, name)) for name in names}
        reasons += [
            f"{WORDS[name]}: {_said(there)} there, {_said(here)} here"
            for name, (there, here) in pairs.items()
            if None not in (there, here) and there != here
        ]
        for whose, place in (("their", 0), ("our", 1)):
            unknown = [WORDS[name] for name, pair in pairs.items() if pair[place] is None]
            if unknown:
                reasons.append(f"not known of {whose} number: {', '.join(unknown)}")
    if not ours.table_official:
        reasons.append("our table is not the official one")
    if not seeds:
        reasons.append("no seed of ours has this accuracy")
    elif seeds == 1:
        reasons.append("ours is one seed, which has no spread")
    return reasons


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _half_width(values: Sequence[float], published: Published) -> float:
    """Half of Welch's interval for the difference of the means (B. L. Welch, Biometrika 34, 1947)."""
    from scipy.special import stdtrit

    n = len(values)
    mean = math.fsum(values) / n
    ours = math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n
    theirs = 0.0
    if published.std is not None and published.n is not None and published.n > 1:
        theirs = published.std**2 / published.n
    if ours + theirs == 0:
        return 0.0
    shares = ours**2 / (n - 1) + (theirs**2 / (published.n - 1) if theirs and published.n else 0.0)
    freedom = (ours + theirs) ** 2 / shares
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(ours + theirs)
