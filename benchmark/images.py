"""The images of a search, whole on the device: halves, batches, crop, flip and normalisation.

One epoch's draws (order, crop offsets, flips) are all made when `ImageSplit.epoch` is called, on the CPU, from the
generator it is given, and go to the device in one transfer: the same batches on every device, and no wait in a step.

The augmentation is the field's: zero padding of the raw pixels, a random crop, a random mirror image, division by 255,
normalisation. A padded pixel is therefore black, (0 - mean) / std, and not zero. Whether the crop or the flip comes
first (the DARTS-PT family: crop; AutoDL-Projects: flip) makes no difference to the distribution.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.image_files import ImageSet
from dartboard.benchmark.image_sources import available_images, load_images

__all__ = [
    "ImageSet",
    "ImageSplit",
    "Order",
    "augment",
    "available_images",
    "describe",
    "downscale",
    "load_images",
    "read_split",
    "search_halves",
    "whole_split",
]

Order = Literal["epoch", "fresh", "paired"]
"""How an epoch visits its images.

`epoch`: shuffled, each image once. `fresh`: each batch is a random subset of its own (DARTS-PT's search phase).
`paired`: every image drawn independently, with replacement (AutoDL-Projects' validation half).
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSplit:
    """Labelled images on a device, as one tensor, and how they are to be augmented; make one with `ImageSplit.of`."""

    padded: Tensor  # (n, 3, H + 2P, W + 2P), uint8: P black pixels on every side
    labels: Tensor  # (n,), int64
    num_classes: int
    padding: int  # P: a crop is shifted by up to P pixels in each direction
    flip: bool  # whether a mirror image keeps its label
    mean: Tensor  # (3,), of the dtype that batches have; pixels count from 0 to 1
    std: Tensor  # (3,)
    about: Mapping[str, Any]  # where the images come from: JSON values

    @classmethod
    def of(
        cls,
        images: Tensor,
        labels: Tensor,
        *,
        num_classes: int,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.25, 0.25, 0.25),
        padding: int = 0,
        flip: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        about: Mapping[str, Any] | None = None,
    ) -> ImageSplit:
        """The split of `images` (n, 3, H, W) uint8 and `labels` (n,), moved to `device`; batches have `dtype`."""
        return cls(
            padded=F.pad(images, (padding,) * 4).to(device),
            labels=labels.to(device=device, dtype=torch.int64),
            num_classes=num_classes,
            padding=padding,
            flip=flip,
            mean=torch.tensor(mean, dtype=dtype, device=device),
            std=torch.tensor(std, dtype=dtype, device=device),
            about=dict(about or {}),
        )

    def __len__(self) -> int:
        return self.padded.shape[0]

    @property
    def image_size(self) -> int:
        """H, the side of the square images."""
        return self.padded.shape[-1] - 2 * self.padding

    @property
    def images(self) -> Tensor:
        """(n, 3, H, W), uint8: the raw pixels (a view)."""
        inside = slice(self.padding, self.padding + self.image_size)
        return self.padded[:, :, inside, inside]

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.padded.device

    def steps(self, batch_size: int, *, drop_last: bool = False) -> int:
        """How many batches an epoch has."""
        return len(_sizes(len(self), batch_size, drop_last))

    def epoch(
        self,
        batch_size: int,
        generator: torch.Generator,
        *,
        order: Order = "epoch",
        steps: int | None = None,
        augment: bool = True,
        drop_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of batches: images (B, 3, H, W) and labels (B,).

        Everything random is drawn from `generator` (a CPU generator) before this returns, so two epochs may share one
        generator and be read in step.

        Args:
            batch_size: B; only the last batch of a pass may be smaller (never one of order `fresh`, unless there are
                fewer images than that).
            generator: where all draws come from.
            order: see `Order`.
            steps: how many batches; by default as many as one pass over the images has. With more, the next pass
                (newly shuffled) begins.
            augment: crop and flip at random; else the images as they are.
            drop_last: leave out a smaller last batch.

        Raises:
            InputError: when the arguments leave no batch at all.
        """
        sizes = _sizes(len(self), batch_size, drop_last)
        steps = len(sizes) if steps is None else steps
        if order not in get_args(Order):
            raise InputError(f"unknown order {order!r} of batches (known: {', '.join(get_args(Order))})")
        if steps < 1:
            raise InputError(f"{len(self)} images in batches of {batch_size}, {steps} steps: that is no batch at all")
        batches: list[Tensor] = []
        while len(batches) < steps:
            if order == "fresh":
                batches.append(torch.randperm(len(self), generator=generator)[:batch_size])
            elif order == "paired":
                batches += torch.randint(len(self), (sum(sizes),), generator=generator).split_with_sizes(sizes)
            else:
                batches += torch.randperm(len(self), generator=generator)[: sum(sizes)].split_with_sizes(sizes)
        return self._batches(batches[:steps], generator if augment else None)

    def in_order(
        self, batch_size: int, *, augment: bool = False, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, first to last; augmented only on request, from `generator`.

        Raises:
            InputError: when augmentation is asked for without a generator.
        """
        if augment and generator is None:
            raise InputError("augmented images need a generator to draw their crops from")
        batches = list(torch.arange(len(self)).split_with_sizes(_sizes(len(self), batch_size, False)))
        return self._batches(batches, generator if augment else None)

    def _batches(self, batches: list[Tensor], generator: torch.Generator | None) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of these indices, each augmented by its own draws from `generator` (None: not augmented)."""
        sizes = [len(batch) for batch in batches]
        total = sum(sizes)
        plan = torch.empty((4, total), dtype=torch.int64)  # rows: index, row shift, column shift, flip
        torch.cat(batches, out=plan[0])
        if generator is None:
            plan[1:3] = self.padding
            plan[3] = 0
        else:
            plan[1:3] = torch.randint(2 * self.padding + 1, (2, total), generator=generator)
            plan[3] = torch.randint(2 if self.flip else 1, (total,), generator=generator)
        pieces = plan.to(self.device).split_with_sizes(sizes, dim=1)
        return (
            (
                augment(self.padded, *piece.unbind(), padding=self.padding, mean=self.mean, std=self.std),
                self.labels[piece[0]],
            )
            for piece in pieces
        )


def augment(
    padded: Tensor, indices: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, *, padding: int, mean: Tensor, std: Tensor
) -> Tensor:
    """(B, 3, H, W): some images, each cropped at its own place, perhaps mirrored, and normalised.

    Args:
        padded: (n, 3, H + 2P, W + 2P) uint8, images with P black pixels on every side.
        indices: (B,), which images.
        dy: (B,) in 0..2P, the first row of each crop; P is the image itself.
        dx: (B,) in 0..2P, the first column of each crop.
        flip: (B,), 1 where the crop is mirrored left to right.
        padding: P.
        mean: (3,), subtracted from pixels that count from 0 to 1; its dtype is the result's.
        std: (3,), the divisor.
    """
    height, width = (side - 2 * padding for side in padded.shape[-2:])
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (n, 3, 2P + 1, 2P + 1, H, W), a view
    crops = windows[indices, :, dy, dx]  # (B, 3, H, W)
    crops = torch.where(flip.bool()[:, None, None, None], crops.flip(-1), crops)
    return crops.to(mean.dtype).div_(255).sub_(mean[:, None, None]).div_(std[:, None, None])


def _sizes(images: int, batch_size: int, drop_last: bool) -> list[int]:
    """The sizes of the batches of one pass."""
    if batch_size < 1:
        raise InputError(f"a batch holds at least one image; got batch size {batch_size}")
    rest = images % batch_size
    return [batch_size] * (images // batch_size) + ([rest] if rest and not drop_last else [])


def search_halves(
    image_set: ImageSet,
    *,
    split: str | Path = "contiguous",
    seed: int = 0,
    train_images: int | None = None,
    valid_images: int | None = None,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[ImageSplit, ImageSplit]:
    """The training images in two: for the weights, and for the architecture. Test images are never among them.

    Args:
        image_set: where the images come from.
        split: `contiguous` (the first half for the weights: the DARTS-PT family), `random` (by `seed`), or the path
            of a split file (see `read_split`).
        seed: of a random split; nothing else uses it.
        train_images: keep only the first so many of the weights' half.
        valid_images: keep only the first so many of the architecture's half.
        image_size: scale the images down to this side (see `downscale`); the crop's padding shrinks alike.
        device: where the images go.
        dtype: of the batches.

    Raises:
        InputError: when the split is unknown, more images are asked for than a half has, or the images would grow.
    """
    n = len(image_set.labels)
    if split == "contiguous":
        parts, told = np.split(np.arange(n), [n // 2]), "contiguous halves"
    elif split == "random":
        shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).numpy()
        parts, told = np.split(shuffled, [n // 2]), f"random halves, seed {seed}"
    else:
        *parts, told = read_split(split, n)
    for part, wanted, name in zip(parts, (train_images, valid_images), ("first", "second"), strict=True):
        if not 0 < (len(part) if wanted is None else wanted) <= len(part):
            asked = "at least one is needed" if wanted is None else f"{wanted} are asked for"
            raise InputError(f"the {name} half of {image_set.name!r} has {len(part)} images; {asked}")
    train, valid = (
        _split(
            image_set,
            image_set.images[part[:wanted]],
            image_set.labels[part[:wanted]],
            image_size=image_size,
            device=device,
            dtype=dtype,
            split=told,
        )
        for part, wanted in zip(parts, (train_images, valid_images), strict=True)
    )
    return train, valid


def whole_split(
    image_set: ImageSet,
    part: Literal["train", "test"],
    *,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ImageSplit:
    """All training images, or all test images: for training one cell from scratch and measuring it, not for a search.

    Raises:
        InputError: when the data set has no test images, or they would grow.
    """
    images, labels = image_set.images, image_set.labels
    if part == "test":
        if image_set.test_images is None or image_set.test_labels is None:
            raise InputError(f"the data set {image_set.name!r} has no test images: choose one that has")
        images, labels = image_set.test_images, image_set.test_labels
    told = f"all {part} images"
    return _split(image_set, images, labels, image_size=image_size, device=device, dtype=dtype, split=told)


def _split(
    image_set: ImageSet,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    image_size: int | None,
    device: torch.device | str,
    dtype: torch.dtype,
    split: str,
) -> ImageSplit:
    """Some images of a set, scaled down and moved to the device."""
    size = image_set.image_size if image_size is None else image_size
    padding = image_set.crop_padding
    return ImageSplit.of(
        torch.from_numpy(downscale(images, size)),
        torch.from_numpy(np.array(labels, dtype=np.int64)),
        num_classes=image_set.num_classes,
        mean=image_set.mean,
        std=image_set.std,
        padding=max(1, padding * size // image_set.image_size) if padding else 0,
        flip=image_set.flip,
        device=device,
        dtype=dtype,
        about={
            "name": image_set.name,
            "image_size": size,
            "original_size": image_set.image_size,
            "num_classes": image_set.num_classes,
            "split": split,
            "source": image_set.source,
            "sha256": image_set.sha256,
        },
    )


def describe(train: ImageSplit, valid: ImageSplit) -> dict[str, Any]:
    """What a record keeps of a search's images: JSON values."""
    return {"n_train": len(train), "n_valid": len(valid), **train.about}


def downscale(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, 3, size, size): square images scaled down by area, in a new array.

    Where `size` divides the side, a pixel is the exact mean of its box, rounded to the nearest integer, halves up;
    elsewhere it is torch's `interpolate(mode="area")` in float32, rounded to the nearest integer, halves to even.

    Raises:
        InputError: when `size` is below 1 or above the images' own side.
    """
    n, channels, side, _ = images.shape
    if not 1 <= size <= side:
        raise InputError(f"images of side {side} can be scaled to a side of 1 to {side}; got {size}")
    if size == side:
        return np.array(images)
    out = np.empty((n, channels, size, size), dtype=np.uint8)
    box = side // size
    for start in range(0, n, 1000):  # keeps the temporary arrays small
        some = images[start : start + 1000]
        if side % size == 0:
            boxes = some.reshape(len(some), channels, size, box, size, box)
            out[start : start + 1000] = (boxes.sum(axis=(3, 5), dtype=np.uint32) + box * box // 2) // (box * box)
        else:
            scaled = F.interpolate(torch.from_numpy(np.array(some)).float(), size=(size, size), mode="area")
            out[start : start + 1000] = scaled.round().byte().numpy()
    return out


def read_split(path: str | Path, images: int) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Two lists of indices into the training images, and what to say of them, from a JSON file (`.gz` or not).

    The file is an object with `train` and `valid`, each a list of indices (numbers, or strings of digits) or the
    benchmark's own form of one, `["int", [indices]]`.

    Raises:
        InputError: when the file cannot be read, or an index is no index, out of range, or there twice.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"unknown split {str(path)!r}: neither 'contiguous' nor 'random', nor an existing file")
    try:
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"the split file {path} is not readable JSON: {error}") from error
    parts = [_indices(content, part, images, path) for part in ("train", "valid")]
    both = np.intersect1d(parts[0], parts[1])
    if len(both):
        raise InputError(f"the split file {path} has {len(both)} image(s) in both halves, such as {both[0]}")
    return parts[0], parts[1], f"file {path.name} (sha256 {hashlib.sha256(raw).hexdigest()})"


def _indices(content: object, part: str, images: int, path: Path) -> NDArray[np.int64]:
    """One half of a split file, checked."""
    listed = content.get(part) if isinstance(content, dict) else None
    if isinstance(listed, list) and len(listed) == 2 and listed[0] == "int":
        listed = listed[1]
    if not isinstance(listed, list) or not listed:
        raise InputError(f"the split file {path} has no list {part!r} of indices")
    for value in listed:
        number = isinstance(value, int) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and value.isascii() and value.isdigit()):
            raise InputError(f"the split file {path} has {value!r} among the indices of {part!r}")
    indices = [int(value) for value in listed]
    for value in indices:
        if not 0 <= value < images:
            raise InputError(f"the split file {path} has index {value} in {part!r}, but there are {images} images")
    array = np.array(indices, dtype=np.int64)
    values, counts = np.unique(array, return_counts=True)
    if counts.max() > 1:
        raise InputError(f"the split file {path} has index {values[counts.argmax()]} twice in {part!r}")
    return array
