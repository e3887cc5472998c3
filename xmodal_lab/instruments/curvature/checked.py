"""Derivatives of a loss are looked at once before an instrument builds on them; what is wrong gets its layer's name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...data.batches import each, tensors_in
from ...losses import Loss, ModuleLoss, Params, Term
from ...models.modules import call_with
from ...utils.shapes import Float
from ...utils.torch_state import has_float64
from .derivatives import Report, Wrong, as_it_runs, compared, refuses, twice_differentiable

# Rows on which derivatives are tried, and if that fails (ours): what is wrong is so on any, and few have few kinks.
FEW_ROWS = (8, 2)

# Largest ‖M - Mᵀ‖/‖M‖ that passes for rounding: eps of bfloat16, in which a loss may work inside (ours).
ASYMMETRY = 7.8e-3

# What was found right: loss -> (modules it consists of, names of parameters).
_RIGHT: WeakKeyDictionary[Loss, tuple[tuple[int, ...], set[str]]] = WeakKeyDictionary()
# The same, of the losses of one module while :func:`checked_once` holds.
_ONCE: ContextVar[dict[tuple[int, ...], set[str]] | None] = ContextVar("_ONCE", default=None)
Call = tuple[tuple[Any, ...], dict[str, Any]]


@contextmanager
def checked_once() -> Iterator[None]:
    """Losses of one module on one batch, at several parameters: what was found right at the first is right at the next.

    For checkpoints of a training; on a small net a look at derivatives takes as long as a third of its spectrum.
    """
    before = _ONCE.set({})
    try:
        yield
    finally:
        _ONCE.reset(before)


def check_derivatives(given: Loss, loss: Loss, names: Sequence[str]) -> None:
    """Refuse a loss whose derivatives in the parameters ``names`` are not what torch says; see :mod:`._derivatives`.

    Args:
        given: what the user handed over, for which the answer is remembered.
        loss: the same, in the dtype of the products.
        names: the parameters of the block.

    Raises:
        ValueError: a derivative is wrong; the message names the layer.

    Warns:
        RuntimeWarning: nothing could be seen, because the loss is rough at every scale, or memory is short.
    """
    parts = tuple(map(id, given.module.modules())) if isinstance(given, ModuleLoss) else ()
    known, right = _RIGHT.get(given, (parts, set()))
    once = _ONCE.get() if parts else None
    if known == parts and right.union(() if once is None else once.get(parts, ())).issuperset(names):
        return
    if isinstance(loss, ModuleLoss) and not has_float64(loss.device):
        loss = _where_there_is_float64(loss)
    term, report = _report(loss, names)
    if report.wrong is not None:
        layer = _guilty(loss, term, names, report.wrong) if isinstance(loss, ModuleLoss) else None
        if report.exact or layer is not None:
            where, wrong = layer or (None, report.wrong)
            raise ValueError(_refusal(loss.name, where, replace(wrong, told=report.wrong.told)))
    elif report.sure and report.exact:
        report = _running(loss, term, names, report.centre)
    if report.wrong is not None or not report.sure:
        _unsure(loss.name)
    _RIGHT[given] = parts, (right if known == parts else set()) | set(names)
    if once is not None and report.wrong is None and report.sure:
        once.setdefault(parts, set()).update(names)


def check_function(name: str, fn: Callable[[Params], Tensor], point: Params) -> None:
    """The same for a function of tensors that is no loss of parameters.

    Raises, Warns: as :func:`check_derivatives`.
    """
    with refused(name):
        report = compared(fn, point)
        if report.wrong is None and report.sure and report.exact:
            report = as_it_runs(fn, fn, point, right=report.centre)
    if report.wrong is not None and report.exact:
        raise ValueError(_refusal(name, None, report.wrong))
    if report.wrong is not None or not report.sure:
        _unsure(name)


def _unsure(name: str) -> None:
    warnings.warn(
        f"the second derivative of {name} could not be checked against differences of gradients: it is too "
        "rough for that (rounding inside, or kinks everywhere). Products follow torch's word.",
        RuntimeWarning,
        stacklevel=5,
    )


def symmetrised(matrix: Float[Tensor, "*many n n"], name: str, rounding: float) -> Float[Tensor, "*many n n"]:
    """The mean of a second derivative and its transpose, which are one but for rounding.

    ``rounding``: of the function's value; a matrix that is no larger is 0.

    Raises:
        ValueError: they are not.
    """
    off = torch.linalg.matrix_norm(matrix - matrix.mT)
    if bool((off > ASYMMETRY * torch.linalg.matrix_norm(matrix) + rounding).any()):
        worst = float((off / torch.linalg.matrix_norm(matrix)).nan_to_num().max())
        raise ValueError(
            f"the second derivative of {name} is not symmetric: it differs from its transpose by {worst:.2g} of its "
            "size, so it is no Hessian. Some operation's backward is wrong, or its gradient is not that of a function."
        )
    return (matrix + matrix.mT) / 2


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Torch's own refusals, as errors that say what to do."""
    try:
        yield
    except RuntimeError as error:
        if not refuses(error):
            raise
        raise ValueError(
            f"{name} cannot be differentiated twice: {error} Put operations that torch can "
            "differentiate twice in its place, such as Embedding and a mean for EmbeddingBag."
        ) from error


def _where_there_is_float64(loss: ModuleLoss) -> ModuleLoss:
    """``loss`` on a few rows on the CPU; ``loss`` itself where that cannot be had."""
    try:
        there = loss.on_cpu(FEW_ROWS[0])
        there.value()
    except (RuntimeError, MemoryError, ValueError, LookupError, TypeError, AttributeError):
        return loss
    return there


def _report(loss: Loss, names: Sequence[str]) -> tuple[Term, Report]:
    """What came of the trial on a few rows; on all of them where the loss cannot be had on a few."""
    point = {n: loss.params[n] for n in names}
    whole = Term(1.0, lambda params: loss(params))
    terms = [*map(loss.on_few, FEW_ROWS), whole] if isinstance(loss, ModuleLoss) else [whole]
    for term in terms:
        try:
            report = compared(term.fn, point)
            return term, report if term is terms[0] else replace(report, centre=None)  # of other rows
        except (RuntimeError, MemoryError, ValueError, LookupError, TypeError, AttributeError) as error:
            if term is whole or refuses(error):
                raise
    raise AssertionError  # the last term returns or raises


def _running(loss: Loss, term: Term, names: Sequence[str], right: Any) -> Report:
    """Whether a product as it runs, in the loss's dtype and on a whole chunk, is that which was found ``right``.

    Raises:
        ValueError: it is not; the message names the layer.
    """
    point = {n: loss.params[n] for n in names}
    runs = term
    try:
        if isinstance(loss, ModuleLoss):
            runs = loss.on_repeated(FEW_ROWS[0])
            term = loss.on_few(FEW_ROWS[0])
        report = as_it_runs(runs.fn, term.fn, point, right=right)
    except (RuntimeError, MemoryError, ValueError, LookupError, TypeError, AttributeError) as error:
        if refuses(error):
            raise
        return Report()  # it cannot be had on these rows, and was tried on others
    if report.wrong is not None:
        where = _guilty_as_it_runs(loss, runs, names) if isinstance(loss, ModuleLoss) else None
        raise ValueError(_refusal(loss.name, where, report.wrong, loss.dtype))
    return report


# -- whose fault it is ---------------------------------------------------------------------------------------


def _guilty(loss: ModuleLoss, term: Term, names: Sequence[str], wrong: Wrong) -> tuple[str, Wrong] | None:
    """The first layer, innermost before those around it, whose own derivatives are wrong on what it gets.

    The criterion where all of the module is right; None where that cannot be said.
    """
    module = loss.module
    named = dict(module.named_modules())
    for name, call in _calls(loss, term, names):
        prefix = f"{name}." if name else ""
        own = {n.removeprefix(prefix): loss.params[n] for n in names if n.startswith(prefix)}
        with suppress(RuntimeError, ValueError, LookupError, TypeError, AttributeError), loss.data.looking():
            fn, point = _random_sum(named[name], own, call)
            report = compared(fn, point) if point else Report()
            if report.wrong is not None:
                return _layer(name, named[name]), report.wrong
            if not name and report.sure and report.exact:
                return "the criterion", wrong
    return None


def _guilty_as_it_runs(loss: ModuleLoss, term: Term, names: Sequence[str]) -> str | None:
    """The first layer that is wrong with as many rows, or in the dtype, that it gets; None where none is seen."""
    named = dict(loss.module.named_modules())
    for name, call in _calls(loss, term, names, (False,)):
        prefix = f"{name}." if name else ""
        own = {n.removeprefix(prefix): loss.params[n] for n in names if n.startswith(prefix)}
        with suppress(RuntimeError, ValueError, LookupError, TypeError, AttributeError), loss.data.looking():
            fn, point = _random_sum(named[name], own, call)
            if compared(fn, point).wrong is not None or as_it_runs(fn, fn, point).wrong is not None:
                return _layer(name, named[name])
    return None


def _layer(name: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"layer {name!r} ({kind})" if name else f"the forward of {kind}, outside its layers"


def _calls(
    loss: ModuleLoss, term: Term, names: Sequence[str], ways: Sequence[bool] = (True, False)
) -> list[tuple[str, Call]]:
    """What each submodule is called with, the first time, in the order in which they come to an end.

    ``ways``: in float64, and if that fails as it runs.
    """
    begun: dict[str, Call] = {}
    ended: dict[str, None] = {}

    def begin(name: str) -> Callable[..., None]:
        def see(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name not in begun:  # kept apart: what follows may work in place
                begun[name] = each((args, kwargs), _apart)

        return see

    def end(name: str) -> Callable[..., None]:
        return lambda *_: ended.setdefault(name)

    hooks = []
    for name, part in loss.module.named_modules():
        hooks.append(part.register_forward_pre_hook(begin(name), with_kwargs=True))
        hooks.append(part.register_forward_hook(end(name)))
    try:
        for exact in ways:
            begun.clear()
            ended.clear()
            with suppress(RuntimeError, TypeError, ValueError), twice_differentiable(exact):
                term.fn({n: loss.params[n].detach().clone().requires_grad_() for n in names})
                break
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, begun[name]) for name in ended]


def _apart(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _random_sum(part: nn.Module, own: Params, call: Call) -> tuple[Callable[[Params], Tensor], Params]:
    """A random sum of what ``part`` gives, and the point: those inputs that depend on θ, and its parameters."""
    given = [t for t in tensors_in(list(call)) if t.requires_grad]
    point = {f"input {i}": t for i, t in enumerate(given)} | {f"parameter {n}": p for n, p in own.items()}

    def fn(params: Params) -> Tensor:
        inputs = iter(range(len(given)))  # a copy each: a layer may work in place
        args, kwargs = each(call, lambda t: params[f"input {next(inputs)}"].clone() if t.requires_grad else t.clone())
        state = {n: params[f"parameter {n}"] for n in own}
        outputs = [t for t in tensors_in([call_with(part, state, args, kwargs)]) if t.is_floating_point()]
        generator = torch.Generator().manual_seed(0)
        return torch.stack(
            [
                (t * torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype).to(t.device)).sum()
                for t in outputs
            ]
        ).sum()

    return fn, point


def _refusal(name: str, layer: str | None, wrong: Wrong, runs_in: torch.dtype | None = None) -> str:
    where = f"{layer} in {name}" if layer else name
    if runs_in is not None:
        where += f", as it runs ({str(runs_in).removeprefix('torch.')}, many rows),"
    if wrong.order == 1:
        return (
            f"the gradient that torch gives for {where} is not the derivative of its value (off by {wrong.size:.2g} of "
            "its size), so curvature would be that of another function: something is detached, rounded, taken without "
            "gradients, or has a backward of its own (straight-through, gradient reversal, or wrong). Put the smooth "
            "operation in its place; hand over as data what is to stay fixed; freeze parameters that get no gradient "
            "(requires_grad_(False)), or leave them out with params=…."
        )
    how = (
        "its backward is marked @once_differentiable, so torch takes it for a constant"
        if wrong.told
        else f"it is off by {wrong.size:.2g} of its size"
    )
    return (
        f"the second derivative that torch gives for {where} is not the derivative of its gradient: {how}. A backward "
        "of its own must itself be differentiable: save inputs and outputs with ctx.save_for_backward, not "
        "intermediates, and use torch's operations on them; or put plain operations in its place."
    )
