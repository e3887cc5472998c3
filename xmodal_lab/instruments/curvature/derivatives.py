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
from ...utils.memory import require
from ...utils.torch_state import gradients, wide
from .in_double import InDouble
from .second_order import FastSecondDerivatives

Function = Callable[[Params], Tensor]
Parts = list[Tensor]

# As many vectors of θ's size as are held at most while derivatives are looked at (ours, measured; activations beside).
VECTORS = 12

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
    centre: _Slope | None = None  # what was seen beside the point, to be compared with once more


def compared(fn: Function, point: Mapping[str, Tensor], seed: int = 0) -> Report:
    """Compare torch's first and second derivatives of ``fn`` near ``point`` with differences.

    Args:
        fn: dict of tensors -> scalar tensor.
        point: floating tensors by name; not written to.
        seed: of the direction.

    Raises:
        RuntimeError: torch's own, where it has no second derivative of an operation, or memory runs out.
    """
    point = {n: p.detach() for n, p in point.items()}
    try:
        return _compared(fn, point, seed, exact=True)
    except (RuntimeError, MemoryError, ValueError, LookupError, TypeError, AttributeError) as error:
        if refuses(error):
            raise
    return _compared(fn, point, seed, exact=False)


def as_it_runs(
    runs: Function, exact: Function, point: Mapping[str, Tensor], seed: int = 0, right: _Slope | None = None
) -> Report:
    """Compare a product with the Hessian, as it will run, with the same in float64, whose formula is known to be right.

    A layer may take another way in float32, or with many rows, than where its derivatives were tried.

    Args:
        runs: dict of tensors -> scalar tensor, evaluated in the dtype of ``point``.
        exact: the same function, evaluated in float64; it may have it on fewer rows.
        point, seed: as of :func:`compared`.
        right: what that has seen of ``exact`` there, if it has.
    """
    size = {n: _size(p) for n, p in point.items() if p.numel()}
    at, v = _drawn({n: p.detach() for n, p in point.items()}, size, seed, exact=True)
    own = {n: p.dtype for n, p in point.items()}
    with gradients():
        right = right or _Slope(exact, at, size, True, along=v)
        found = _Slope(
            runs, {n: p.to(own[n]) for n, p in at.items()}, size, False, along={n: x.to(own[n]) for n, x in v.items()}
        )
    if not (right.finite and found.finite):
        return Report()
    slope, product = _apart(right.gradient, found.gradient), _apart(right.product, found.product)
    largest = max(_length(s.product) for s in (right, found))
    if product <= OFF or largest <= found.rounding * abs(found.value):  # the latter is 0 but for rounding
        return Report()
    return Report(Wrong(2, product)) if product > BEYOND * slope else Report(sure=False)


def _apart(right: Parts, found: Parts) -> float:
    """The length of their difference, relative to that of the longer one."""
    size = max(_length(x) for x in (right, found))
    return _length([f.to(r).sub(r) for r, f in zip(right, found, strict=True)]) / size if size else 0.0


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
        stack.enter_context(gradients())
        # The fused attention kernels cannot be differentiated twice, the plain one can.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(FastSecondDerivatives())
        if exact:
            stack.enter_context(InDouble())
        yield


# -- inside --------------------------------------------------------------------------------------------------


def _compared(fn: Function, point: Params, seed: int, exact: bool) -> Report:
    size = {n: _size(p) for n, p in point.items() if p.numel()}
    numbers, device = sum(p.numel() for p in point.values()), next(iter(point.values())).device
    bytes_of_one = sum(p.numel() * (8 if exact else p.element_size()) for p in point.values())
    way_out = "ask for one block at a time (params=…, curvature.by_block)"
    require(f"a look at the derivatives in {numbers} parameters", VECTORS * bytes_of_one, way_out, device)
    at, v = _drawn(point, size, seed, exact)
    with gradients():
        centre = _Slope(fn, at, size, exact, along=v)
        kept: _Slope | None = centre
        if not centre.finite:  # perhaps θ has to be what it is; then it is looked at there
            at = {n: p.double() if exact else p.clone() for n, p in point.items()}
            kept, centre = None, _Slope(fn, at, size, exact, along=v)
        if not centre.finite:  # whoever asks for a product is told
            return Report(exact=exact)
        if centre.told:
            return Report(Wrong(2, math.nan, told=True), exact=exact)
        first, second = _Judge(), _Judge()
        fine = all(g.dtype == torch.float64 for g in centre.gradient)
        for h in STEPS if fine else COARSE_STEPS:
            up, down = (
                _Slope(fn, {n: p.add(v[n], alpha=s * h) if n in v else p for n, p in at.items()}, size, exact)
                for s in (1, -1)
            )
            if up.finite and down.finite:
                first.see(_values(centre, up, down, h), h)
                second.see(_gradients(centre, up, down, h), h)
            if first.agreed and second.agreed:
                return Report(exact=exact, centre=kept)
    for order, judge in ((1, first), (2, second)):
        if (found := judge.wrong()) is not None:
            return Report(Wrong(order, found), exact=exact)
    return Report(sure=False, exact=exact)


def _drawn(point: Params, size: Mapping[str, float], seed: int, exact: bool) -> tuple[Params, Params]:
    """Beside ``point``, and a direction along which to differentiate: both random, in units of ``size``.

    A tensor at a time: of a large net each vector of float64 is twice its weights.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(n: str) -> Tensor:
        z = torch.randn(point[n].shape, generator=generator, dtype=torch.float64)
        return z.to(torch.float64 if exact else point[n].dtype).to(point[n].device).mul_(size[n])

    at = {
        n: random(n).mul_(BESIDE).add_(p) if n in size else p.double() if exact else p.clone() for n, p in point.items()
    }
    return at, {n: random(n) for n in point if n in size}


def _size(tensor: Tensor) -> float:
    """Root of the mean square; 1 for one of zeros, or so small that values would not move."""
    size = float(wide(tensor.detach()).square().mean().sqrt())
    return size if size > SMALL else 1.0


class _Slope:
    """Value and gradient of a function at a point, in units of each tensor's size, and Hv if ``along`` is given.

    Tensor by tensor, and nothing twice: of a large net each vector of float64 is twice its weights.
    """

    def __init__(
        self, fn: Function, at: Params, size: Mapping[str, float], exact: bool, along: Params | None = None
    ) -> None:
        # Whoever gives a direction keeps the point, and a module may work on its weights in place.
        leaves = {n: (at[n].detach() if along is None else at[n].detach().clone()).requires_grad_() for n in size}
        parts: list[Tensor | None] = [None] * len(leaves)
        rows: list[Tensor | None] = [] if along is None else [None] * len(leaves)
        self.told, self.along = False, 0.0
        with twice_differentiable(exact):  # around nothing else: each call of torch inside costs more
            value = fn({**at, **leaves})
            if value.requires_grad:
                parts = list(
                    torch.autograd.grad(value, list(leaves.values()), create_graph=along is not None, allow_unused=True)
                )
            pairs = [] if along is None else [(g, along[n]) for n, g in zip(leaves, parts, strict=True)]
            roots = [(g, v) for g, v in pairs if g is not None and g.requires_grad]
            if roots:
                outputs, vectors = zip(*roots, strict=True)
                rows = list(torch.autograd.grad(outputs, list(leaves.values()), vectors, allow_unused=True))
        if along is not None:
            self.along = sum(float((g.detach() * v).sum()) for g, v in pairs if g is not None)
            self.told = _meets_error([g for g, _ in roots])
        self.value = float(value.detach())
        self.rounding = 16 * max((torch.finfo(p.dtype).eps for p in leaves.values()), default=0.0)
        units = list(size.values())
        del value, pairs, roots
        self.product = _scaled(rows, leaves, units)
        self.gradient = _scaled(parts, leaves, units)
        sums = torch.stack([wide(x.sum()) for x in (*self.gradient, *self.product)])
        self.finite = math.isfinite(self.value) and bool(torch.isfinite(sums.sum()))


def _scaled(parts: list[Tensor | None], like: Params, units: list[float]) -> Parts:
    """``parts`` in their ``units``, zeros for None; empties the list, so that no graph stays for its sake."""
    found: Parts = []
    for i, (p, unit) in enumerate(zip(like.values(), units, strict=True) if parts else ()):
        part, parts[i] = parts[i], None
        found.append(torch.zeros_like(p) if part is None else part.detach() * unit)
    return found


def _norms(parts: Parts) -> Tensor:
    """The norm of each tensor."""
    return torch.stack([wide(torch.linalg.vector_norm(part)) for part in parts])


def _length(parts: Parts) -> float:
    """The norm of all of them together."""
    return float(torch.linalg.vector_norm(_norms(parts))) if parts else 0.0


def _values(centre: _Slope, up: _Slope, down: _Slope, h: float) -> _Seen:
    """The difference of values beside ∇L · v, relative to the size of either."""
    ratio = (up.value - down.value) / (2 * h)
    size = max(abs(ratio), *(_length(s.gradient) for s in (centre, up, down)))
    bend = abs(up.value - 2 * centre.value + down.value)
    error = [torch.tensor([ratio - centre.along], dtype=torch.float64)]
    return _Seen.of(error, *torch.tensor([[size], [2 * bend / h], [centre.rounding * abs(centre.value) / h]]))


def _gradients(centre: _Slope, up: _Slope, down: _Slope, h: float) -> _Seen:
    """The difference of gradients beside Hv, tensor by tensor, relative to the size of either."""
    errors, sizes, bends = [], [], []
    for one, g, other, product in zip(up.gradient, centre.gradient, down.gradient, centre.product, strict=True):
        bends.append(wide(torch.linalg.vector_norm((one + other).sub_(g, alpha=2))))
        ratio = (one - other).div_(2 * h)
        sizes.append(torch.maximum(*_norms([ratio, product])))
        errors.append(ratio.sub_(product))
    size = torch.stack(sizes)
    size = size.clamp_min(SHARE * float(size.max()))
    # A gradient that is 0 but for rounding, where all cancels, is as exact as the value that it is the slope of.
    rounding = centre.rounding * _norms(centre.gradient).norm().clamp_min(abs(centre.value)) / h
    return _Seen.of(errors, size, 2 * torch.stack(bends) / h, rounding)


@dataclass(frozen=True)
class _Seen:
    """What one step sees of each tensor.

    Attributes:
        errors: the difference, in units of the tensor's size; nothing where it is right, and so not asked for.
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
    def of(cls, error: Parts, size: Tensor, bend: Tensor, rounding: Tensor) -> _Seen:
        """In units of ``size``; a tensor of which nothing is there counts as right."""
        unit = wide(size).clamp_min(torch.finfo(torch.float64).tiny)
        off = wide(_norms(error)) / unit
        right = (off <= TOLERANCE).tolist()
        errors = tuple(
            part.new_zeros(0) if r else wide(part) / u for part, r, u in zip(error, right, unit, strict=True)
        )
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
