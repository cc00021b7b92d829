"""Evaluations that criteria share: computed once, the same bit for bit, charged to each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from dartboard.benchmark.contracts import Selection, SelectionData
from dartboard.benchmark.streams import stream
from dartboard.harness.grid import Method
from dartboard.harness.prepare import prepare_selector
from dartboard.harness.presets import PRESETS
from dartboard.harness.shared import SharedEvaluations, size_mb
from dartboard.harness.toys import BATCH, toy_images, toy_trained
from dartboard.selectors._catalogue import SELECTORS
from dartboard.selectors._evaluation import digest, score_mixtures, shared_batches, without_each

CPU = torch.device("cpu")
TRAINED = toy_trained()


def toy_data(**fields: Any) -> SelectionData:
    """The toy images in float32, two batches of each half."""
    train, valid = (toy_images(half) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH, **fields)


def select(label: str, data: SelectionData) -> Selection:
    """What the selector of that name answers under the options of the preset `smoke`."""
    entry = SELECTORS[label]
    options = {**PRESETS["smoke"].selectors.get(label, {}), **entry.options}
    selector: Any = prepare_selector(Method(label=label, entry=entry, options=options))
    answer: Selection = selector.select(TRAINED, data, stream(0, label))
    return answer


@pytest.mark.parametrize(
    "labels",
    [
        ("leave-one-out", "shuffled-leave-one-out"),
        ("first-order", "snip", "snip-weights"),
        ("im-quad", "im-quad-indirect"),
    ],
    ids=" ".join,
)
def test_criteria_that_need_the_same_compute_it_once(labels: tuple[str, ...]) -> None:
    """The second and third of a family push not one image through the supernet, and report all that they needed."""
    cache = SharedEvaluations(TRAINED.supernet, CPU)
    answers = []
    for label in labels:
        before = len(cache.entries), cache.hits
        answers.append(select(label, toy_data(seed=3, cache=cache)))
        made, found = len(cache.entries) - before[0], cache.hits - before[1]
        assert (made > 0, found > 0) == (label == labels[0], label != labels[0])
    assert len({answer.images for answer in answers}) == 1
    assert answers[0].images > 0


def keys(cache: SharedEvaluations) -> set[Hashable]:
    """What is kept."""
    return set(cache.entries)


def test_the_key_holds_data_masks_mode_and_weights() -> None:
    """Another image, label, mask, batch-norm mode or weight is another entry; so is a weight changed and set back."""
    trained = toy_trained()
    network = trained.supernet
    cache = SharedEvaluations(network, CPU)
    masks = without_each(trained.searcher.mixture().detach(), 0, renormalise=False)
    images, labels = next(toy_images("valid").in_order(BATCH))

    def score(images: Any = images, labels: Any = labels, masks: Any = masks, norm: Any = "batch") -> int:
        score_mixtures(network, masks, [(images, labels)], norm, cache)
        return len(cache.entries)

    assert [score(), score()] == [1, 1]
    assert score(images=images.flip(0)) == 2
    assert score(labels=labels.flip(0)) == 3
    assert score(masks=masks * 0.5) == 4
    assert score(norm="running") == 5
    weight = next(network.parameters())
    with torch.no_grad():
        weight.mul_(2).div_(2)
    assert score() == 6


def test_nothing_is_kept_of_another_network() -> None:
    """A copy that a criterion may have trained on is evaluated anew each time."""
    cache = SharedEvaluations(TRAINED.supernet, CPU)
    masks = without_each(TRAINED.searcher.mixture().detach(), 0, renormalise=False)
    score_mixtures(toy_trained().supernet, masks, toy_images("valid").in_order(BATCH), "batch", cache)
    assert keys(cache) == set()


def test_what_was_found_is_charged_as_when_it_was_made() -> None:
    """Seconds of found entries add up, whoever made them; a new selection begins at 0."""
    ticks: Iterator[int] = iter([0, 5, 10, 13])  # 5 s for the first entry, 3 s for the second
    cache = SharedEvaluations(TRAINED.supernet, CPU, clock=lambda: float(next(ticks)))
    assert (cache.kept("a", lambda: 1), cache.kept("b", lambda: 2)) == (1, 2)
    assert cache.spared_seconds == 0
    cache.begin(None)
    assert (cache.kept("a", lambda: 9), cache.kept("b", lambda: 9), cache.kept("a", lambda: 9)) == (1, 2, 1)
    assert cache.spared_seconds == 5 + 3 + 5
    cache.begin(None)
    assert cache.spared_seconds == 0


def test_what_does_not_fit_is_not_kept() -> None:
    """Beyond the limit an evaluation is made again and again; what was kept stays."""
    cache = SharedEvaluations(TRAINED.supernet, CPU, limit_mb=1.5)
    megabyte = torch.zeros(2**17, dtype=torch.float64)
    assert size_mb(((megabyte, 3), megabyte)) == 2
    for key in ("a", "b"):
        cache.kept(key, lambda: (megabyte, 1))
    assert (set(cache.entries), cache.size_mb) == ({"a"}, 1)


def test_fewer_batches_are_the_first_of_more() -> None:
    """With a common seed the batches nest, crops included, beyond one pass too, whatever the criterion's generator."""
    drawn = [
        list(shared_batches(toy_data(seed=1), stream(steps), steps=steps)) for steps in (1, 2, 5)
    ]  # 10 images in batches of 6: a pass has 2
    for fewer, more in pairwise(drawn):
        for one, other in zip(fewer, more, strict=False):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
    assert [len(labels) for _, labels in drawn[-1]] == [6, 4, 6, 4, 6]
    assert len(list(shared_batches(toy_data(seed=1), stream(0), steps=None))) == 2
    train = next(shared_batches(toy_data(seed=1), stream(0), steps=1, half="train"))
    assert not torch.equal(train[0], drawn[0][0][0])


def test_digests_tell_dtype_shape_and_contents() -> None:
    """Equal bytes in another shape or dtype are another tensor; a copy is the same."""
    x = torch.arange(6, dtype=torch.int64)
    told = [digest(t) for t in (x, x.view(2, 3), x.view(torch.float64), x + 1)]
    assert len(set(told)) == 4
    assert digest(x.clone()) == told[0]
    assert digest(torch.arange(12)[::2].contiguous() // 2) == told[0]
    assert digest(torch.arange(12)[::2]) == digest(torch.arange(12)[::2].contiguous())


def test_the_engine_shares_within_a_supernet_and_not_beyond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache for each supernet; the second criterion of a family costs what it would alone, by images and by clock."""
    from dartboard.harness import search_run
    from dartboard.harness.engine import Engine
    from dartboard.harness.grid import Overrides, read_grid
    from dartboard.harness.progress import Lines
    from dartboard.results.records import read_records
    from dartboard.searchers._catalogue import SEARCHERS

    made: list[SharedEvaluations] = []

    def remember(*arguments: Any) -> SharedEvaluations:
        made.append(SharedEvaluations(*arguments))
        return made[-1]

    monkeypatch.setattr(search_run, "SharedEvaluations", remember)
    small = ("images.train_images=64", "images.valid_images=64", "search.epochs=1")
    chosen = Overrides(selectors=("leave-one-out", "shuffled-leave-one-out", "prior"), seeds="0-1", settings=small)
    grid = read_grid("smoke", chosen, searchers=SEARCHERS, selectors=SELECTORS)
    Engine(grid, tmp_path, device="cpu", listener=Lines()).run()
    assert len(made) == 2
    assert made[0].network is not made[1].network
    assert all(cache.hits == 2 for cache in made)  # the two batches of 64 images
    records = {record.key: record for record in read_records(tmp_path)}
    for key, record in records.items():
        assert record.selection_memory_mb is None or record.selection_memory_mb >= 0
        assert record.peak_memory_mb is not None
        if key.selector == "shuffled-leave-one-out":
            first = records[key._replace(selector="leave-one-out")]
            assert record.selection_images == first.selection_images == 30 * 64
            assert record.selection_seconds is not None
            assert first.selection_seconds is not None
            assert record.selection_seconds > first.selection_seconds / 2
            assert record.scores is not None
            assert first.scores is not None
            assert [sorted(map(float, filter(None, row))) for row in record.scores] == [
                sorted(map(float, filter(None, row))) for row in first.scores
            ]


def test_without_a_common_seed_each_draws_its_own() -> None:
    """A selector used alone draws its batches from its generator, as the contract has it."""
    one, other = (next(shared_batches(toy_data(), stream(s), steps=1))[0] for s in (0, 1))
    assert not torch.equal(one, other)
    expected = next(toy_images("valid").epoch(BATCH, stream(0), steps=1))[0]
    assert torch.equal(one, expected)
    assert replace(toy_data(), seed=4).cache is None
