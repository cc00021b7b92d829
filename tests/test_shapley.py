"""Shapley values against brute force over all orders and all coalitions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dartboard.benchmark.contracts import SelectionData
from dartboard.benchmark.errors import InputError
from dartboard.benchmark.space import NONE, E, O
from dartboard.benchmark.streams import split_off, stream
from dartboard.harness.toys import toy_images, toy_trained
from dartboard.selectors import shapley, shapley_exact_edge
from dartboard.selectors._evaluation import Scores
from dartboard.selectors.shapley import Shapley, kept, permutation_marginals
from dartboard.selectors.shapley_exact_edge import ShapleyExactEdge, exact_shapley

BATCH = 6


def toy_data() -> SelectionData:
    """The toy images in double precision."""
    train, valid = (toy_images(half, dtype=torch.float64) for half in ("train", "valid"))
    return SelectionData(train=train, valid=valid, batch_size=BATCH)


def by_all_orders(players: int, worth: Callable[[frozenset[int]], float]) -> list[float]:
    """Shapley's definition: the mean over all orders of what a player adds to those before it."""
    total, orders = [0.0] * players, list(permutations(range(players)))
    for order in orders:
        before: frozenset[int] = frozenset()
        for player in order:
            total[player] += (worth(before | {player}) - worth(before)) / len(orders)
            before |= {player}
    return total


def game(coalitions: NDArray[np.float64]) -> Scores:
    """A worth with interactions between the first four players; minus it is the loss."""
    a, b, c, d = coalitions[:, :4].T
    accuracy = 10 + 40 * a * b + 15 * c - 5 * a * c + 30 * b * c * d
    return Scores(accuracy, -2 * accuracy, len(coalitions))


def test_exact_values_are_the_mean_over_all_orders() -> None:
    """For random games of 1 to 5 players, the formula over coalitions equals the definition over orders."""
    rng = np.random.default_rng(0)
    for players in range(1, 6):
        worth = rng.normal(size=2**players)
        expected = by_all_orders(players, lambda s, worth=worth: worth[sum(1 << i for i in s)])
        np.testing.assert_allclose(exact_shapley(worth), expected, atol=1e-12)
        assert exact_shapley(worth).sum() == pytest.approx(worth[-1] - worth[0])


@pytest.mark.parametrize("value", ["accuracy", "loss"])
def test_permutations_average_to_the_exact_values(value: shapley.Value) -> None:
    """Over all orders of leaving, the untruncated marginals average to the exact Shapley values of the game."""
    samples = [permutation_marginals(o, game, value=value, truncation=0)[0][:4] for o in permutations(range(4))]
    worth = [game(np.array([[c >> i & 1 for i in range(4)] + [1] * (E * O - 4)])).accuracy[0] for c in range(16)]
    expected = exact_shapley(np.array(worth, dtype=float)) * (1 if value == "accuracy" else 2)
    np.testing.assert_allclose(np.mean(samples, axis=0), expected, atol=1e-12)
    np.testing.assert_allclose(np.sum(samples, axis=1), (worth[15] - worth[0]) * (1 if value == "accuracy" else 2))


def test_truncation_ends_a_permutation() -> None:
    """After the first accuracy below the share of the full one nobody leaves: 90, 55, then 25 < 45, and no more."""
    assert [game(np.array([row + [1] * 26])).accuracy[0] for row in ([1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1])] == [
        90,
        55,
        25,
    ]
    marginals, visited = permutation_marginals([0, 1, 2, 3], game, value="accuracy", truncation=0.5)
    assert visited == 2
    np.testing.assert_allclose(marginals[:4], [35, 30, 0, 0])


def test_efficiency_on_the_supernet() -> None:
    """In every untruncated permutation the shares add up to the full supernet's loss difference to the empty one's."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = shapley.Config(samples=3, batch_size=BATCH, value="loss", score="mean", truncation=0)
    answer = Shapley(config).select(trained, data, stream(0, "select"))
    root, differences = split_off(stream(0, "select")), []
    for index in range(3):
        images, labels = next(data.valid.epoch(BATCH, stream(root, "images", index), steps=1))
        mixture = trained.searcher.mixture().detach()
        full, empty = (
            float(F.cross_entropy(trained.supernet(images, m, "batch").detach(), labels))
            for m in (mixture, 0 * mixture)
        )
        differences.append(empty - full)
    assert answer.scores is not None
    assert answer.scores.sum() == pytest.approx(np.mean(differences), abs=1e-12)
    assert (answer.scores[:, NONE] == 0).all()
    assert answer.images == 3 * (E * O + 1) * BATCH
    assert answer.notes["never_left"] == 0


def test_the_published_score() -> None:
    """It is the mean less the population deviation of the samples; the notes tell the unbiased standard error."""
    trained, data = toy_trained(torch.float64), toy_data()
    plain, published = (
        Shapley(shapley.Config(samples=4, batch_size=BATCH, value="loss", score=score, truncation=0)).select(
            trained, data, stream(0, "select")
        )
        for score in ("mean", "mean-minus-std")
    )
    assert plain.scores is not None
    assert published.scores is not None
    deviation = np.sqrt(3) * np.array(published.notes["standard_error"])  # s/√4 = σ/√3: s² has n - 1, σ² has n
    np.testing.assert_allclose(published.scores, plain.scores - deviation, atol=1e-12)
    assert NONE not in published.cell.operations


def test_exact_values_on_the_supernet() -> None:
    """With `none` as a fifth player, brute force over all 120 orders gives the very scores, and `none` 0."""
    trained, data = toy_trained(torch.float64), toy_data()
    config = shapley_exact_edge.Config(value="loss", batches=1)
    answer = ShapleyExactEdge(config).select(trained, data, stream(0, "select"))
    images, labels = next(data.valid.epoch(BATCH, stream(0, "select"), steps=1))
    assert answer.scores is not None
    for edge in (0, 3):
        worth = {}
        for coalition in range(2**O):
            mixture = trained.searcher.mixture().detach().clone()
            mixture[edge] *= torch.tensor([coalition >> o & 1 for o in range(O)])
            loss = F.cross_entropy(trained.supernet(images, mixture, "batch").detach(), labels)
            worth[frozenset(o for o in range(O) if coalition >> o & 1)] = -float(loss)
        np.testing.assert_allclose(answer.scores[edge], by_all_orders(O, worth.__getitem__), atol=1e-12)
    assert answer.images == E * 16 * BATCH


def test_what_is_kept() -> None:
    """What is not kept is 0; renormalised, a row keeps its sum, and an emptied one stays empty."""
    mixture = torch.full((3, E, O), 0.2)
    keep = torch.ones(2, E, O)
    keep[0, 1, :3] = 0
    keep[1, 2] = 0
    masked = kept(mixture, keep, renormalise=False)
    assert masked.shape == (2, 3, E, O)
    torch.testing.assert_close(masked[0, 2, 1], torch.tensor([0, 0, 0, 0.2, 0.2]))
    scaled = kept(mixture, keep, renormalise=True)
    torch.testing.assert_close(scaled[0, 0, 1], torch.tensor([0, 0, 0, 0.5, 0.5]))
    assert (scaled[1, :, 2] == 0).all()
    torch.testing.assert_close(scaled[1, 0, 1], mixture[0, 1])


def test_wrong_options_are_refused() -> None:
    """A number or a word out of range is quoted."""
    with pytest.raises(InputError, match=r"truncation is in \[0, 1\); got 1"):
        shapley.Config(truncation=1)
    with pytest.raises(InputError, match="samples is at least 1; got 0"):
        shapley.Config(samples=0)
    with pytest.raises(InputError, match="unknown value 'regret'"):
        shapley_exact_edge.Config(value="regret")  # type: ignore[arg-type]  # the claim
