"""Convolution and batch norm whose gradients are cheap to differentiate once more: the same numbers, fewer operations.

PyTorch differentiates the backward pass of a convolution by convolutions whose kernels are whole images, and by a loop
over the groups of a grouped one, asked for or not; that of batch norm by some forty operations on whole images. Within

    with TwiceDifferentiable():
        loss = F.cross_entropy(network(images, mixture, "batch"), labels)

`torch.conv2d` (without bias) and batch norm by the batch's statistics have derivatives of their own, and nothing else
is touched: values and gradients are PyTorch's, by PyTorch's own operations, and second derivatives are exact. Third
ones are refused.

Convolution, y = w * x, with the gradients g_x = w' * g and g_w = x ⋆ g of g = ∂L/∂y. If u and v are the gradients that
arrive at g_x and g_w, then those of g, x and w are

    w * u + v * x,    v' * g,    u ⋆ g

where the last two are the gradients of a convolution of u by v, one operation. Batch norm, y = γ x̂ + β with
x̂ = r (x - μ), over the N numbers of a channel, m their mean, P(h) = h - m(h) - x̂ m(h x̂):

    g_x = γ r P(g),    g_γ = Σ g x̂,    g_β = Σ g

With u, a, b arriving at these, and x̂ = r P(x) in the sense of derivatives, those of g, γ and x are

    γ r P(u) + a x̂ + b,    r Σ u P(g),    r P(h) - γ r² x̂ Σ u P(g)/N,    h = (a - γ r m(u x̂)) g - γ r m(g x̂) u

of which γ r P(u), Σ u and Σ u x̂ are batch norm's own backward pass, taken once more; the rest are sums of whole images
times numbers of a channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]
How = tuple[Pair, Pair, Pair, int]  # stride, padding, dilation, groups


def _refuse_third_derivatives() -> None:
    if torch.is_grad_enabled():  # the backward pass at hand is to be differentiated
        raise RuntimeError("TwiceDifferentiable has no third derivatives: leave out create_graph, or the mode")


def _convolution_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, how: How, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Of the input and of the weight, each if wanted."""
    stride, padding, dilation, groups = how
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation, False, (0, 0), groups, (*wanted, False)
    )
    return of_x, of_weight


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, how: How, mode: TwiceDifferentiable) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how, ctx.mode = how, mode
        return torch.conv2d(x, weight, None, *how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        by_x, by_weight, *_ = ctx.needs_input_grad
        wanted = by_x, by_weight and ctx.mode.weights
        x, weight = ctx.saved_tensors
        weight = weight if by_weight else weight.detach()  # a parameter that was frozen then may want gradients now
        of_x, of_weight = _ConvolutionBackward.apply(gradient, x, weight, ctx.how, wanted, ctx.mode)  # type: ignore[no-untyped-call]  # torch has no type
        return of_x, of_weight, None, None


class _ConvolutionBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        x: Tensor,
        weight: Tensor,
        how: How,
        wanted: tuple[bool, bool],
        mode: TwiceDifferentiable,
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.save_for_backward(gradient, x, weight)
        ctx.set_materialize_grads(False)
        ctx.how, ctx.mode = how, mode
        return _convolution_gradients(gradient, x, weight, how, wanted)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None) -> tuple[Tensor | None, ...]:
        _refuse_third_derivatives()
        gradient, x, weight = ctx.saved_tensors
        by_gradient, by_x, by_weight, *_ = ctx.needs_input_grad
        of_gradient = None
        if by_gradient:
            of_gradient = None if u is None else torch.conv2d(u, weight, None, *ctx.how)
            if v is not None:
                other = torch.conv2d(x, v, None, *ctx.how)
                of_gradient = other if of_gradient is None else of_gradient.add_(other)
        wanted = by_x and v is not None, by_weight and u is not None and ctx.mode.weights
        of_x = of_weight = None
        if any(wanted):  # the one that is None is only looked at for its shape
            pair = x if u is None else u, weight if v is None else v
            of_x, of_weight = _convolution_gradients(gradient, *pair, ctx.how, wanted)
        return of_gradient, of_x, of_weight, None, None, None


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        statistics: tuple[Tensor | None, Tensor | None],
        momentum: float,
        epsilon: float,
    ) -> Tensor:
        out, mean, scale = torch.native_batch_norm(x, weight, bias, *statistics, True, momentum, epsilon)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.epsilon = epsilon
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_weight, of_bias = _BatchNormBackward.apply(gradient, *ctx.saved_tensors, ctx.epsilon)  # type: ignore[no-untyped-call]  # torch has no type
        by_bias = ctx.needs_input_grad[2]
        return of_x, of_weight, of_bias if by_bias else None, None, None, None


def _norm_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """γ r P(g), Σ g x̂, Σ g."""
    of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
        gradient, x, weight, None, None, mean, scale, True, epsilon, (True, True, True)
    )
    return of_x, of_weight, of_bias


class _BatchNormBackward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        of_x, of_weight, of_bias = _norm_gradients(gradient, x, weight, mean, scale, epsilon)
        ctx.save_for_backward(gradient, x, weight, mean, scale, of_weight, of_bias)
        ctx.set_materialize_grads(False)
        ctx.epsilon = epsilon
        return of_x, of_weight, of_bias

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, a: Tensor | None, b: Tensor | None) -> tuple[Tensor | None, ...]:
        _refuse_third_derivatives()
        g, x, weight, mean, r, of_weight, of_bias = ctx.saved_tensors
        by_g, by_x, by_weight, *_ = ctx.needs_input_grad
        count = g.numel() // g.shape[1]
        zero = torch.zeros_like(mean)
        a = zero if a is None else a
        b = zero if b is None else b

        def wide(numbers: Tensor) -> Tensor:  # (C,) to (C, 1, 1)
            return numbers[:, None, None]

        of_g = of_x = of_gamma = None
        if u is None:
            through = None
            both, slope = zero, r * a  # Σ u P(g)/N, and the factor of P(g) in the gradient of x
        else:
            through, along, whole = _norm_gradients(u, x, weight, mean, r, ctx.epsilon)
            both = ((u * g).sum((0, 2, 3)) - (whole * of_bias + along * of_weight) / count) / count
            slope = r * (a - weight * r * along / count)
        if by_weight:
            of_gamma = r * both * count
        if by_x:
            tilt = -r * (slope * of_weight / count + weight * r * both * r)  # of x - μ, r x̂ being r (x - μ)
            of_x = torch.addcmul(wide(-tilt * mean - slope * of_bias / count), x, wide(tilt)).addcmul_(g, wide(slope))
            if through is not None:
                of_x.addcmul_(through, wide(-r * of_weight / count))
        if by_g:
            of_g = torch.addcmul(wide(b - a * r * mean), x, wide(a * r))
            if through is not None:
                of_g.add_(through)
        return of_g, of_x, of_gamma, None, None, None


def _pair(size: Any) -> Pair:
    first, second = (size, size) if isinstance(size, int) else size
    return first, second


def _normalise(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As `torch.nn.functional.batch_norm`."""
    if not training or weight is None or x.dim() != 4 or x.numel() == x.shape[1]:  # the last is refused there
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    statistics = running_mean, running_var
    out: Tensor = _BatchNorm.apply(x, weight, bias, statistics, momentum, eps)  # type: ignore[no-untyped-call]  # torch has no type
    return out


class TwiceDifferentiable(TorchFunctionMode):
    """Within, convolutions and batch norms are made such that their gradients are cheap to differentiate again."""

    depth: ClassVar[int] = 0  # how many are entered

    def __init__(self) -> None:
        super().__init__()
        self.weights = True  # whether a backward pass makes gradients of the convolutions' weights

    def __enter__(self) -> Self:
        """Begin."""
        TwiceDifferentiable.depth += 1
        super().__enter__()  # type: ignore[no-untyped-call]  # torch has no types here
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # as above
        TwiceDifferentiable.depth -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One call of a function of PyTorch."""
        ours = {torch.conv2d: self.convolve, F.batch_norm: _normalise} if args else {}
        return ours.get(func, func)(*args, **(kwargs or {}))

    @contextmanager
    def without_weights(self) -> Iterator[None]:
        """A backward pass within makes no gradients of the convolutions' weights.

        PyTorch prunes its own functions' gradients that nobody wants; of ours it always asks for all.
        """
        self.weights = False
        try:
            yield
        finally:
            self.weights = True

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """As `torch.conv2d`."""
        if bias is not None or isinstance(padding, str):
            return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
        how = (_pair(stride), _pair(padding), _pair(dilation), groups)
        out: Tensor = _Convolution.apply(x, weight, how, self)  # type: ignore[no-untyped-call]  # torch has no type
        return out
