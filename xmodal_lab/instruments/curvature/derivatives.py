"""Whether torch's derivatives of a function are its derivatives: beside differences of values and of gradients.

Torch believes what a layer's ``backward`` says of itself. One that is marked ``@once_differentiable``, or that works on
values saved without their graph, has a right gradient and a wrong second derivative, symmetric perhaps, and no word
about it. Three gradients tell: at a point beside θ (at θ itself a bias of zero may sit on a kink), and a step h up and
down along a random v,

    (∇L(θ + hv) - ∇L(θ - hv)) / 2h  against  Hv,      (L(θ + hv) - L(θ - hv)) / 2h  against  ∇L · v.

They are made in float64 on a few rows. A kink crossed (a ReLU, a maximum) gives an error that grows as 1/h, rounding
too, a long step one that falls with h²; what a wrong derivative leaves stays the same at every h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ...losses import Params
from ...utils.torch_state import wide
from .in_double import InDouble
from .second_order import FastSecondDerivatives

Function = Callable[[Params], Tensor]

# Relative steps, in units of each tensor's own size (ours). In float64 the first has errors of 1e-10 (h²) and 1e-11
# (rounding / h) of the size; a kink lies within it for one activation in 1e5, within the third for one in 1e9.
STEPS = (1e-5, 1e-7, 1e-9, 1e-4)
COARSE_STEPS = (1e-3, 1e-2)  # where only float32 runs: rounding / h is 6e-5
# How far beside θ is looked, in the same units: far enough from its kinks for any step, near enough to be there (ours).
BESIDE = 1e-3
# Largest relative difference that counts as none: ten times the error that eigenvalues are asked to have (ours).
TOLERANCE = 1e-3
# Smaller tensors are moved as if they were of size 1 (ours).
SMALL = 1e-6
# A tensor whose part of the product is smaller than this share of the largest counts as if it had that share (ours).
SHARE = 1e-6
# Two steps see the same error if what they see differs by less than this share (ours).
SAME = 0.2
# A product as it runs is wrong, not rounded, if it is further off than this, and so much further than the gradient
# is (ours): rounding of eps in a gradient leaves some eps in a product, a layer's wrong backward a right gradient.
OFF, BEYOND = 0.05, 100.0


@dataclass(frozen=True)
class Wrong:
    """A derivative of torch that is not one.

    Attributes:
        order: 1 for the gradient, 2 for the product with the Hessian.
        size: the difference, relative to the size of either.
        told: whether torch would refuse too: it meets a backward that is marked ``@once_differentiable``.
    """

    order: int
    size: float
    told: bool = False


@dataclass(frozen=True)
class Report:
    """What came of :func:`compared`: something wrong; or right; or neither can be seen (rounding, kinks everywhere)."""

    wrong: Wrong | None = None
    sure: bool = True
    exact: bool = True  # in float64


def compared(fn: Function, point: Mapping[str, Tensor], seed: int = 0) -> Report:
    """Compare torch's first and second derivatives of ``fn`` near ``point`` with differences.

    Args:
        fn: dict of tensors -> scalar tensor.
        point: floating tensors by name; not written to.
        seed: of the direction.

    Raises:
        RuntimeError: torch's own, where it has no second derivative of an operation, or memory runs out.
    """
    try:
        return _compared(fn, {n: p.detach().double() for n, p in point.items()}, seed, exact=True)
    except (RuntimeError, MemoryError, ValueError, LookupError, TypeError, AttributeError) as error:
        if refuses(error):
            raise
    return _compared(fn, {n: p.detach().clone() for n, p in point.items()}, seed, exact=False)


def as_it_runs(runs: Function, exact: Function, point: Mapping[str, Tensor], seed: int = 0) -> Report:
    """Compare a product with the Hessian, as it will run, with the same in float64, whose formula is known to be right.

    A layer may take another way in float32, or with many rows, than where its derivatives were tried.

    Args:
        runs: dict of tensors -> scalar tensor, evaluated in the dtype of ``point``.
        exact: the same function, evaluated in float64; it may have it on fewer rows.
        point, seed: as of :func:`compared`.
    """
    size = {n: _size(p) for n, p in point.items() if p.numel()}
    beside, v = _drawn({n: p.detach().double() for n, p in point.items()}, size, seed)
    at = {n: p.detach().double() + (BESIDE * beside[n] if n in size else 0) for n, p in point.items()}
    with twice_differentiable(exact=True):
        right = _Slope(exact, at, size, along=v)
    own = {n: p.dtype for n, p in point.items()}
    with twice_differentiable():
        found = _Slope(
            runs, {n: p.to(own[n]) for n, p in at.items()}, size, along={n: x.to(own[n]) for n, x in v.items()}
        )
    if not (right.finite and found.finite):
        return Report()
    slope, product = _apart(right.gradient, found.gradient), _apart(right.product, found.product)
    largest = max(float(torch.linalg.vector_norm(s.product)) for s in (right, found))
    if product <= OFF or largest <= found.rounding * abs(found.value):  # the latter is 0 but for rounding
        return Report()
    return Report(Wrong(2, product)) if product > BEYOND * slope else Report(sure=False)


def _apart(right: Tensor, found: Tensor) -> float:
    """The length of their difference, relative to that of the longer one."""
    found = found.to(right)
    size = max(float(torch.linalg.vector_norm(x)) for x in (right, found))
    return float(torch.linalg.vector_norm(right - found)) / size if size else 0.0


def refuses(error: BaseException) -> bool:
    """Whether ``error`` is how torch says that it cannot differentiate an operation twice."""
    if isinstance(error, NotImplementedError):
        return True
    text = str(error).lower()
    signs = ("is not implemented", "once_differentiable", "double backward", "higher order", "differentiate twice")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


@contextmanager
def twice_differentiable(exact: bool = False) -> Iterator[None]:
    """What a second derivative needs around it; ``exact`` for all of it in float64."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        # The fused attention kernels cannot be differentiated twice, the plain one can.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(FastSecondDerivatives())
        if exact:
            stack.enter_context(InDouble())
        yield


# -- inside --------------------------------------------------------------------------------------------------


def _compared(fn: Function, point: Params, seed: int, exact: bool) -> Report:
    size = {n: _size(p) for n, p in point.items() if p.numel()}
    beside, v = _drawn(point, size, seed)
    at = {n: p + BESIDE * beside[n] if n in size else p for n, p in point.items()}
    with twice_differentiable(exact):
        centre = _Slope(fn, at, size, along=v)
        if not centre.finite:  # perhaps θ has to be what it is; then it is looked at there
            at = dict(point)
            centre = _Slope(fn, at, size, along=v)
        if not centre.finite:  # whoever asks for a product is told
            return Report(exact=exact)
        if centre.told:
            return Report(Wrong(2, math.nan, told=True), exact=exact)
        first, second = _Judge(), _Judge()
        for h in STEPS if centre.gradient.dtype == torch.float64 else COARSE_STEPS:
            up, down = (
                _Slope(fn, {n: p + s * h * v[n] if n in v else p for n, p in at.items()}, size) for s in (1, -1)
            )
            if up.finite and down.finite:
                first.see(_values(centre, up, down, h), h)
                second.see(_gradients(centre, up, down, h), h)
            if first.agreed and second.agreed:
                return Report(exact=exact)
    for order, judge in ((1, first), (2, second)):
        if (found := judge.wrong()) is not None:
            return Report(Wrong(order, found), exact=exact)
    return Report(sure=False, exact=exact)


def _drawn(point: Params, size: Mapping[str, float], seed: int) -> tuple[Params, Params]:
    """Two random directions in units of ``size``: how to step aside, and along which to differentiate."""
    generator = torch.Generator().manual_seed(seed)
    one, other = (
        {
            n: torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype).to(p.device) * size[n]
            for n, p in point.items()
            if n in size
        }
        for _ in range(2)
    )
    return one, other


def _size(tensor: Tensor) -> float:
    """Root of the mean square; 1 for one of zeros, or so small that values would not move."""
    size = float(wide(tensor.detach()).square().mean().sqrt())
    return size if size > SMALL else 1.0


class _Slope:
    """Value and gradient of a function at a point, in units of each tensor's size, and Hv if ``along`` is given.

    One row for each tensor would waste most of it, so all lie in one vector; ``sizes`` says which part is whose.
    """

    def __init__(self, fn: Function, at: Params, size: Mapping[str, float], along: Params | None = None) -> None:
        leaves = {n: at[n].detach().clone().requires_grad_() for n in size}
        value = fn({**at, **leaves})
        self.sizes = [p.numel() for p in leaves.values()]
        parts: list[Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            parts = list(
                torch.autograd.grad(value, list(leaves.values()), create_graph=along is not None, allow_unused=True)
            )
        self.value = float(value.detach())
        units = list(size.values())
        self.gradient = _joined(parts, leaves, units)
        self.told, self.product, self.along = False, self.gradient, 0.0
        if along is not None:
            self.along = sum(
                float((g.detach() * along[n]).sum()) for n, g in zip(leaves, parts, strict=True) if g is not None
            )
            roots = [(g, along[n]) for n, g in zip(leaves, parts, strict=True) if g is not None and g.requires_grad]
            self.told = _meets_error([g for g, _ in roots])
            rows: list[Tensor | None] = [None] * len(leaves)
            if roots:
                outputs, vectors = zip(*roots, strict=True)
                rows = list(torch.autograd.grad(outputs, list(leaves.values()), vectors, allow_unused=True))
            self.product = _joined(rows, leaves, units)
        self.rounding = 16 * torch.finfo(self.gradient.dtype).eps
        self.finite = math.isfinite(self.value) and bool(torch.isfinite(self.gradient.sum() + self.product.sum()))

    def norms(self, vector: Tensor) -> Tensor:
        """The norm of each tensor's part of ``vector``."""
        return torch.stack([torch.linalg.vector_norm(part) for part in vector.split(self.sizes)])


def _joined(parts: list[Tensor | None], like: Params, units: list[float]) -> Tensor:
    return torch.cat(
        [
            (torch.zeros_like(p) if part is None else part).detach().reshape(-1) * unit
            for part, p, unit in zip(parts, like.values(), units, strict=True)
        ]
    )


def _values(centre: _Slope, up: _Slope, down: _Slope, h: float) -> _Seen:
    """The difference of values beside ∇L · v, relative to the size of either."""
    ratio = (up.value - down.value) / (2 * h)
    size = max(abs(ratio), *(float(torch.linalg.vector_norm(s.gradient)) for s in (centre, up, down)))
    bend = abs(up.value - 2 * centre.value + down.value)
    error = torch.tensor([ratio - centre.along], dtype=torch.float64)
    return _Seen.of(error, [1], *torch.tensor([[size], [2 * bend / h], [centre.rounding * abs(centre.value) / h]]))


def _gradients(centre: _Slope, up: _Slope, down: _Slope, h: float) -> _Seen:
    """The difference of gradients beside Hv, tensor by tensor, relative to the size of either."""
    ratio = (up.gradient - down.gradient) / (2 * h)
    size = torch.maximum(centre.norms(ratio), centre.norms(centre.product))
    size = size.clamp_min(SHARE * float(size.max()))
    bend = centre.norms(up.gradient - 2 * centre.gradient + down.gradient)
    # A gradient that is 0 but for rounding, where all cancels, is as exact as the value that it is the slope of.
    rounding = centre.rounding * torch.linalg.vector_norm(centre.gradient).clamp_min(abs(centre.value)) / h
    return _Seen.of(ratio - centre.product, centre.sizes, size, 2 * bend / h, rounding)


@dataclass(frozen=True)
class _Seen:
    """What one step sees of each tensor.

    Attributes:
        errors: the difference, in units of the tensor's size.
        off: its norm.
        allowed: how much of that kinks and rounding may be: the bend of the gradient over the step, which is of
            order h where it is smooth, and the dtype's own rounding.
        rounding: the latter alone; what is no larger over a long step cannot be told from nothing.
    """

    errors: tuple[Tensor, ...]
    off: Tensor
    allowed: Tensor
    rounding: Tensor

    @classmethod
    def of(cls, error: Tensor, sizes: list[int], size: Tensor, bend: Tensor, rounding: Tensor) -> _Seen:
        """In units of ``size``; a tensor of which nothing is there counts as right."""
        unit = wide(size).clamp_min(torch.finfo(torch.float64).tiny)
        errors = tuple(part / u for part, u in zip(wide(error).split(sizes), unit, strict=True))
        off = torch.stack([torch.linalg.vector_norm(e) for e in errors])
        return cls(errors, off, (wide(bend) + wide(rounding)) / unit, wide(rounding) / unit)


class _Judge:
    """Collects what the steps see, and decides."""

    def __init__(self) -> None:
        self.seen: list[_Seen] = []
        self.right: Tensor | None = None

    def see(self, seen: _Seen, h: float) -> None:
        """One more step, of length ``h``."""
        right = seen.off <= TOLERANCE
        if h >= STEPS[0]:
            right |= seen.off <= seen.rounding
        self.right = right if self.right is None else self.right | right
        self.seen.append(seen)

    @property
    def agreed(self) -> bool:
        """Whether each tensor was right at some step."""
        return self.right is not None and bool(self.right.all())

    def wrong(self) -> float | None:
        """The largest relative error that two steps see alike, of tensors that no step sees right."""
        if self.right is None:
            return None
        found = []
        for i in (~self.right).nonzero()[:, 0].tolist():
            clear = [s for s in self.seen if float(s.off[i]) > TOLERANCE + float(s.allowed[i])]
            pairs = combinations([(s.errors[i], float(s.off[i])) for s in clear], 2)
            found += [off for (one, off), (other, _) in pairs if float((one - other).norm()) <= SAME * off]
        return max(found, default=None)


def _meets_error(gradients: list[Tensor]) -> bool:
    """Whether a backward that is marked ``@once_differentiable`` took part: torch puts a node there that would raise.

    It raises only if it is run, and it is not run where the parameters are reached another way.
    """
    todo = [g.grad_fn for g in gradients if g.grad_fn is not None]
    seen = set(todo)
    while todo:
        node = todo.pop()
        if node.name().endswith("::Error"):
            return True
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return False
