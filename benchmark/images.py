"""The images of a search, whole on the device: halves, batches, crop, flip and normalisation.

One epoch's draws (order, crop offsets, flips) are all made when `ImageSplit.epoch` is called, on the CPU, from the
generator it is given, and go to the device in one transfer: the same batches on every device, and no wait in a step.

The augmentation is the field's: zero padding of the raw pixels, a random crop, a random mirror image, division by 255,
normalisation. A padded pixel is therefore black, (0 - mean) / std, and not zero. Whether the crop or the flip comes
first (the DARTS-PT family: crop; AutoDL-Projects: flip) makes no difference to the distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dartboard.benchmark.errors import InputError

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
        if not sizes or steps < 1:
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
