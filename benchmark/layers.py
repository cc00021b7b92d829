"""The layers that every network of the benchmark is made of, as functions of the images and of the norm's mode."""

from __future__ import annotations

import math
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["train", "batch", "running"]
"""How batch norm normalises. `train`: by the batch, and the running statistics learn from it. `batch`: by the batch,
leaving the running statistics alone. `running`: by the running statistics (search cells without any: by the batch)."""

MOMENTUM: Final = 0.1
EPSILON: Final = 1e-5


class Convolution(nn.Module):
    """A convolution without bias, "same" padding; its weight is drawn later (`initialise`)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        self.weight = nn.Parameter(torch.empty(c_out, c_in, kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)


class BatchNorm(nn.Module):
    """Batch norm whose statistics are chosen at each call (`Norm`) and whose scale may be given.

    Args:
        channels: the number of channels.
        affine: whether it learns a scale and a shift.
        track: whether it keeps running statistics.
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(self, channels: int, *, affine: bool = True, track: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels) if track else None)
        self.register_buffer("running_var", torch.ones(channels) if track else None)

    def forward(self, x: Tensor, norm: Norm, scale: Tensor | None = None) -> Tensor:
        """Normalise (B, channels, H, W); `scale` (channels,) takes the place of the learnt one."""
        weight = self.weight if scale is None else scale
        by_batch = norm != "running" or self.running_mean is None
        mean, var = (None, None) if norm == "batch" else (self.running_mean, self.running_var)
        return F.batch_norm(x, mean, var, weight, self.bias, by_batch, MOMENTUM, EPSILON)


class Reduction(nn.Module):
    """The fixed residual block that halves the resolution and widens the channels; the same in every network."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv_a = Convolution(c_in, c_out, 3, stride=2)
        self.norm_a = BatchNorm(c_out)
        self.conv_b = Convolution(c_out, c_out, 3)
        self.norm_b = BatchNorm(c_out)
        self.shortcut = Convolution(c_in, c_out, 1)

    def forward(self, x: Tensor, norm: Norm) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ⌈H/2⌉, ⌈W/2⌉); the shortcut pools 2x2, an odd last row or column alone.

        NAS-Bench-201 only knows even sizes, where this is its block exactly.
        """
        y: Tensor = self.norm_a(self.conv_a(F.relu(x)), norm)
        y = self.norm_b(self.conv_b(F.relu(y)), norm)
        pooled = F.avg_pool2d(x, 2, 2, 0, ceil_mode=True, count_include_pad=False)
        shortcut: Tensor = self.shortcut(pooled)
        return y + shortcut


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of convolutions and linear layers (and biases of these) from U(-1/√fan_in, 1/√fan_in)."""
    for module in network.modules():
        if isinstance(module, (Convolution, nn.Linear)):
            bound = 1 / math.sqrt(module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if isinstance(module, nn.Linear):
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)


def window_sizes(x: Tensor) -> Tensor:
    """(H, W): the number of pixels of `x` (B, C, H, W) under a 3x3 window at each place, padding not counted."""
    return F.avg_pool2d(x.new_ones(1, *x.shape[-2:]), 3, 1, 1, divisor_override=1)[0]


def count_weights(network: nn.Module) -> int:
    """The number of trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters())
