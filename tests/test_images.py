"""Images on the device: augmentation and batches. Truth: Pillow, NumPy, sums by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.images import ImageSplit, augment

MEAN, STD = (0.49, 0.48, 0.44), (0.25, 0.24, 0.26)


def seeded(seed: int = 0) -> torch.Generator:
    """A CPU generator of its own."""
    return torch.Generator().manual_seed(seed)


def numbered(n: int, *, side: int = 4, padding: int = 0, flip: bool = False, **settings: Any) -> ImageSplit:
    """Images whose every pixel and label is their own number (below 256)."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, side, side)
    return ImageSplit.of(images, torch.arange(n), num_classes=n, padding=padding, flip=flip, **settings)


def by_pillow(image: NDArray[np.uint8], padding: int, dy: int, dx: int, flip: bool, dtype: Any) -> NDArray[Any]:
    """One image (3, H, H) padded, cropped and mirrored by Pillow, then scaled and normalised as torchvision does."""
    side = image.shape[-1]
    picture = ImageOps.expand(Image.fromarray(image.transpose(1, 2, 0)), border=padding, fill=0)
    picture = picture.crop((dx, dy, dx + side, dy + side))
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(picture).transpose(2, 0, 1).astype(dtype) / dtype(255)
    return (pixels - np.array(MEAN, dtype)[:, None, None]) / np.array(STD, dtype)[:, None, None]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    side=st.integers(1, 9),
    padding=st.integers(0, 4),
    batch=st.integers(1, 12),
    double=st.booleans(),
)
def test_augmentation_equals_pillow_image_by_image(
    seed: int, side: int, padding: int, batch: int, double: bool
) -> None:
    """A batch is bit for bit what Pillow makes of each image with the same shift and flip."""
    rng = np.random.default_rng(seed)
    images = rng.integers(256, size=(5, 3, side, side), dtype=np.uint8)
    indices = rng.integers(5, size=batch)
    dy, dx = rng.integers(2 * padding + 1, size=(2, batch))
    flip = rng.integers(2, size=batch)
    split = ImageSplit.of(
        torch.from_numpy(images),
        torch.zeros(5),
        num_classes=1,
        mean=MEAN,
        std=STD,
        padding=padding,
        dtype=torch.float64 if double else torch.float32,
    )
    ours = augment(
        split.padded,
        *(torch.from_numpy(a) for a in (indices, dy, dx, flip)),
        padding=padding,
        mean=split.mean,
        std=split.std,
    )
    dtype = np.float64 if double else np.float32
    theirs = [
        by_pillow(images[i], padding, y, x, bool(f), dtype) for i, y, x, f in zip(indices, dy, dx, flip, strict=True)
    ]
    np.testing.assert_array_equal(ours.numpy(), np.stack(theirs))


def test_padding_is_black_before_normalisation() -> None:
    """A pixel beyond the edge is (0 - mean) / std, and a white one (1 - mean) / std."""
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    split = ImageSplit.of(white, torch.zeros(1), num_classes=1, padding=1, mean=MEAN, std=STD, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.int64)
    corner = augment(split.padded, zero, zero, zero, zero, padding=1, mean=split.mean, std=split.std)[0]
    for channel in range(3):
        black, light = -MEAN[channel] / STD[channel], (1 - MEAN[channel]) / STD[channel]
        np.testing.assert_allclose(corner[channel].numpy(), [[black, black], [black, light]], rtol=1e-15)


def test_an_epoch_visits_every_image_once_with_its_own_label() -> None:
    """Order `epoch` is a permutation in batches, the rest in the last one, and images keep their labels."""
    split = numbered(70, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    batches = list(split.epoch(16, seeded()))
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 16, 6]
    labels = torch.cat([labels for _, labels in batches])
    assert sorted(labels.tolist()) == list(range(70))
    assert labels.tolist() != list(range(70))
    pixels = torch.cat([images for images, _ in batches])
    torch.testing.assert_close(pixels, labels.float()[:, None, None, None].expand(70, 3, 4, 4))
    assert split.steps(16) == 5


def test_dropping_the_last_batch_leaves_full_ones() -> None:
    """`drop_last` leaves a smaller last batch out, and refuses to leave nothing."""
    split = numbered(70)
    assert [len(labels) for _, labels in split.epoch(16, seeded(), drop_last=True)] == [16] * 4
    assert split.steps(16, drop_last=True) == 4
    for steps in (None, 5):
        with pytest.raises(InputError, match="70 images in batches of 71"):
            split.epoch(71, seeded(), drop_last=True, steps=steps)


def test_fresh_batches_are_independent_subsets() -> None:
    """Order `fresh` never repeats an image inside a batch, fills every batch, and does not cover the half."""
    batches = [labels.tolist() for _, labels in numbered(70).epoch(16, seeded(), order="fresh")]
    assert [len(batch) for batch in batches] == [16] * 5
    assert all(len(set(batch)) == 16 for batch in batches)
    assert len({label for batch in batches for label in batch}) < 70
    counts = Counter(
        label for _, labels in numbered(10).epoch(5, seeded(), order="fresh", steps=2000) for label in labels.tolist()
    )
    assert all(abs(count - 1000) < 5 * 22.4 for count in counts.values())  # binomial(2000, 1/2): std 22.4


def test_paired_draws_are_independent_with_replacement() -> None:
    """Order `paired` draws every image uniformly, repeats inside a batch, and has the sizes of an epoch."""
    batches = [labels.tolist() for _, labels in numbered(70).epoch(16, seeded(), order="paired")]
    assert [len(batch) for batch in batches] == [16, 16, 16, 16, 6]
    assert any(len(set(batch)) < len(batch) for batch in batches)
    counts = Counter(
        label for _, labels in numbered(10).epoch(5, seeded(), order="paired", steps=2000) for label in labels.tolist()
    )
    assert all(abs(count - 1000) < 5 * 30 for count in counts.values())  # binomial(10000, 1/10): std 30


def test_more_steps_than_a_pass_begin_the_next_pass() -> None:
    """With more steps than a pass has, each pass is a new permutation; with fewer, it is cut short."""
    labels = [labels.tolist() for _, labels in numbered(6).epoch(4, seeded(), steps=5)]
    assert [len(batch) for batch in labels] == [4, 2, 4, 2, 4]
    first, second = labels[0] + labels[1], labels[2] + labels[3]
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second
    assert len(list(numbered(6).epoch(1, seeded(), steps=2))) == 2


def test_batches_depend_on_the_generator_alone() -> None:
    """Equal generators give equal epochs, the next epoch differs, and the global random state is not used."""
    split = numbered(40, padding=2, flip=True)
    before = torch.get_rng_state()
    generator = seeded(3)
    first, second = (torch.cat([images for images, _ in split.epoch(8, generator)]) for _ in range(2))
    again = torch.cat([images for images, _ in split.epoch(8, seeded(3))])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_an_epoch_is_drawn_when_it_is_asked_for() -> None:
    """Two epochs that share a generator may be read in step: reading draws nothing."""
    split, generator, same = numbered(40, padding=2, flip=True), seeded(), seeded()
    apart = [list(split.epoch(8, generator)), list(split.epoch(8, generator, order="fresh"))]
    in_step = list(zip(split.epoch(8, same), split.epoch(8, same, order="fresh"), strict=True))
    for k, pair in enumerate(in_step):
        for half in range(2):
            assert torch.equal(pair[half][0], apart[half][k][0])
    assert torch.equal(generator.get_state(), same.get_state())


@pytest.mark.parametrize("flip", [False, True])
def test_every_shift_is_equally_likely_and_mirrors_only_where_allowed(flip: bool) -> None:
    """Crops show all (2P + 1)² shifts alike often; mirror images make up half of them, or none."""
    one = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    one[:, :, 1, 1], one[:, :, 1, 2] = 100, 200
    split = ImageSplit.of(one, torch.zeros(1), num_classes=1, padding=1, flip=flip, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    draws = 9000
    seen: Counter[tuple[int, int, bool]] = Counter()
    for images, _ in split.epoch(1, seeded(), steps=draws):
        picture = images[0, 0].round()
        row, column = (picture == 100).nonzero()[0].tolist()
        mirrored = bool(column > 0 and picture[row, column - 1] == 200)
        seen[row, column, mirrored] += 1
    assert len(seen) == (18 if flip else 9)
    assert {mirrored for _, _, mirrored in seen} == ({False, True} if flip else {False})
    expected = draws / len(seen)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in seen.values())


def test_in_order_gives_the_images_as_they_are() -> None:
    """Evaluation passes go from the first image to the last, unshifted, and again the same."""
    images = torch.randint(256, (10, 3, 4, 4), dtype=torch.uint8, generator=seeded())
    split = ImageSplit.of(images, torch.arange(10), num_classes=10, padding=2, flip=True, mean=MEAN, std=STD)
    batches = list(split.in_order(4))
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    expected = [by_pillow(image.numpy(), 0, 0, 0, False, np.float32) for image in images]
    np.testing.assert_array_equal(torch.cat([x for x, _ in batches]).numpy(), np.stack(expected))
    assert torch.equal(split.images, images)


def test_in_order_augments_only_with_a_generator() -> None:
    """Augmented evaluation keeps the order, moves the images, and needs a generator."""
    split = numbered(10, padding=2)
    plain, moved = (torch.cat([x for x, _ in split.in_order(4, augment=a, generator=seeded())]) for a in (False, True))
    assert not torch.equal(plain, moved)
    labels = torch.cat([y for _, y in split.in_order(4, augment=True, generator=seeded())])
    assert labels.tolist() == list(range(10))
    with pytest.raises(InputError, match="generator"):
        split.in_order(4, augment=True)


def test_shapes_can_be_had_on_the_meta_device() -> None:
    """Batches on `meta` have the shapes and types of real ones."""
    split = numbered(10, padding=1, flip=True, device="meta", dtype=torch.float64)
    images, labels = next(iter(split.epoch(4, seeded())))
    assert (images.shape, images.dtype, images.device.type) == ((4, 3, 4, 4), torch.float64, "meta")
    assert (labels.shape, labels.dtype, labels.device.type) == ((4,), torch.int64, "meta")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "sorted"}, "'sorted'"),
        ({"steps": 0}, "batches of 4, 0 steps"),
        ({"batch_size": 0}, "got batch size 0"),
    ],
)
def test_impossible_epochs_are_refused(arguments: dict[str, Any], message: str) -> None:
    """An unknown order, no steps or an empty batch is refused at once, with the value."""
    with pytest.raises(InputError, match=message):
        numbered(10).epoch(**{"batch_size": 4, "generator": seeded()} | arguments)
