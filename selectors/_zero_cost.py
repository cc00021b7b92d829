"""Scores of a network without training: activation codes (NASWOT) and synaptic flow. Not a criterion itself.

J. Mellor, J. Turner, A. Storkey, E. J. Crowley, "Neural architecture search without training", ICML 2021,
arXiv:2006.04647. The code of an image is one bit for each ReLU input, whether it is positive; with D bits and Hamming
distance d,

    K[a, b] = D - d(a, b),    score = ln det K

large where the network tells images apart. A ReLU counts as often as the benchmark's networks have it: once in each
convolution of each edge, so that node j of a cell, with 3 - j edges leaving it, counts 2(3 - j) times.

H. Tanaka, D. Kunin, D. L. K. Yamins, S. Ganguli, "Pruning neural networks without any data by iteratively conserving
synaptic flow", NeurIPS 2020, arXiv:2006.05467. With all weights made positive, batch norm left out and an input of
ones, R is the sum of the outputs and

    score = Σ_w w·∂R/∂w    over the weights of convolutions and of the classifier

Nothing rectifies then, and R is linear in each layer's weights: each layer that all paths go through has Σ_w w·∂R/∂w =
R (but for the classifier's shift), and a hidden unit takes in as much flow as it gives out (the paper's conservation).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dartboard.benchmark.layers import BatchNorm, Norm, Reduction, initialise
from dartboard.benchmark.partial import PartialSupernet
from dartboard.benchmark.supernet import SearchCell, Supernet


def untrained(supernet: Supernet, generator: torch.Generator) -> Supernet:
    """A copy with new initial weights and the statistics of an untrained network: mean 0, variance 1, edges alike."""
    network = copy.deepcopy(supernet).cpu()  # where the generator draws
    with torch.no_grad():
        initialise(network, generator)
        for module in network.modules():
            if isinstance(module, BatchNorm):
                for values, initial in (
                    (module.weight, 1),
                    (module.bias, 0),
                    (module.running_mean, 0),
                    (module.running_var, 1),
                ):
                    if values is not None:
                        values.fill_(initial)
        if isinstance(network, PartialSupernet) and network.edge_logits is not None:
            network.edge_logits.zero_()
    return network.to(next(supernet.parameters()).device)


def agreement(values: Tensor) -> Tensor:
    """(B, B) in float64: of how many of the D values (B, ...) two images agree on being positive; exact."""
    signs = (values.flatten(1) > 0).float() * 2 - 1
    together: Tensor = ((signs @ signs.T).double() + signs.shape[1]) / 2
    return together


class ActivationCodes:
    """NASWOT of a network under any mixture.

    Args:
        supernet: is copied.
    """

    def __init__(self, supernet: Supernet) -> None:
        self.network = copy.deepcopy(supernet)
        self._kernel = torch.zeros(())
        for block in self.network.blocks:
            if isinstance(block, SearchCell):
                for source, convolution in enumerate(block.conv3x3):
                    self._watch(convolution, times=2 * (3 - source))  # the 1x1 sees the same ReLU
            elif isinstance(block, Reduction):
                self._watch(block.conv_a)
                self._watch(block.conv_b)
        self.network.head_norm.register_forward_hook(lambda _, __, output: self._add(output))

    def _watch(self, convolution: nn.Module, *, times: int = 1) -> None:
        """What a convolution is given has been rectified, which leaves positive what is positive."""
        convolution.register_forward_pre_hook(lambda _, given: self._add(given[0], times))

    def _add(self, values: Tensor, times: int = 1) -> None:
        self._kernel = self._kernel + times * agreement(values)

    @torch.no_grad()
    def kernel(self, images: Tensor, mixture: Tensor, norm: Norm) -> Tensor:
        """(B, B) in float64: K of the images (B, 3, H, W); NaN where an output is NaN or infinite."""
        self._kernel = images.new_zeros(len(images), len(images), dtype=torch.float64)
        outputs = self.network(images, mixture, norm)
        told: Tensor = self._kernel + 0 * outputs.sum().double()
        return told

    def score(self, images: Tensor, mixture: Tensor, norm: Norm) -> Tensor:
        """(): ln det K; -inf where two images have one code, NaN where an output is NaN or infinite."""
        logarithm: Tensor = torch.linalg.slogdet(self.kernel(images, mixture, norm)).logabsdet
        return logarithm


class Through(nn.Module):
    """Batch norm left out: only the scale it is given stays."""

    def forward(self, x: Tensor, _norm: Norm, scale: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W) to the same."""
        return x if scale is None else x * scale[:, None, None]


class SynapticFlow:
    """Synflow of a network under any mixture, in float64.

    Args:
        supernet: is copied.
    """

    def __init__(self, supernet: Supernet) -> None:
        self.network = copy.deepcopy(supernet).double().requires_grad_()
        for module in list(self.network.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, BatchNorm):
                    module.add_module(name, Through())
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.abs_()
        self.weights = {name: p for name, p in self.network.named_parameters() if p.dim() > 1}

    def flow(self, images: Tensor, mixture: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """R (), and w·∂R/∂w by layer, on one input of ones of the size of `images` (B, 3, H, W)."""
        ones = images.new_ones(1, *images.shape[1:], dtype=torch.float64)
        total = self.network(ones, mixture.double(), "running").sum()
        gradients = torch.autograd.grad(total, list(self.weights.values()))
        return total.detach(), {n: w.detach() * g for (n, w), g in zip(self.weights.items(), gradients, strict=True)}

    def score(self, images: Tensor, mixture: Tensor) -> Tensor:
        """(): Σ_w w·∂R/∂w."""
        _, flow = self.flow(images, mixture)
        return torch.stack([part.sum() for part in flow.values()]).sum()
