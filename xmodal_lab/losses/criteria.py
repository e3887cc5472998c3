"""What a criterion reads besides outputs and targets, looked at before a loss is trusted."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..data.batches import each, said, tensors_in
from ..utils import checks as check
from ..utils.memory import out_of_memory

FAILURES = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)
WAY_OUT = (
    "Let the module's forward return what the criterion needs, or its own loss "
    "(criterion=lambda loss, _: loss), or write the whole as xl.Loss(fn, params)."
)


class ReadsMore(ValueError):
    """A criterion that reads what is no argument of it, and would not see it move."""


class Reads(TorchDispatchMode):
    """Which of ``owned`` (address of a storage -> name) the operations inside the context read."""

    def __init__(self, owned: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.owned = owned
        self.seen: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.note([args, kwargs or {}])
        return func(*args, **(kwargs or {}))

    def note(self, given: Any) -> None:
        """What of ``owned`` is in ``given``."""
        for tensor in tensors_in(given):
            name = self.owned.get(_address(tensor))
            if name is not None:
                self.seen[name] = None


_TAKES_OUT = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)


class _Numbers(TorchFunctionMode):
    """Adds what is taken out of torch, where no operation tells: ``tolist()``, ``numpy()``, ``np.asarray``."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _TAKES_OUT:
            self.reads.note(args)
        return func(*args, **(kwargs or {}))


# What a tensor tells of itself without its numbers, and the attributes that are its numbers.
_FACTS = {
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.nelement, Tensor.stride, Tensor.is_floating_point,
    Tensor.is_complex, Tensor.is_contiguous, Tensor.element_size, Tensor.get_device, Tensor.data_ptr, Tensor.__len__,
    Tensor.__hash__, Tensor.requires_grad_,
}  # fmt: skip
_NUMBERS = ("data", "T", "mT", "H", "mH", "real", "imag")
_NUMBER_GETTERS = {getattr(Tensor, name).__get__ for name in _NUMBERS}


def _takes_numbers(func: Any) -> bool:
    return func not in _FACTS and (getattr(func, "__name__", "") != "__get__" or func in _NUMBER_GETTERS)


class Guard(TorchFunctionMode):
    """Refuses, at every evaluation, what a criterion reads of ``owned`` or of other tensors that want a gradient.

    A criterion may read weights in some states only: on some batches, from its second call on. Where it is seen once,
    by :func:`check_criterion`, it need not; here it is stopped before the number that would be wrong.
    """

    def __init__(self, owned: dict[int, str], own: Any) -> None:
        super().__init__()
        self.owned = owned
        self.own = {_address(t) for t in tensors_in(own)}  # outputs and target, which may be parts of the module
        self.made: list[Tensor] = []  # leaves made inside, held so that no other tensor gets their id

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [*args, *kwargs.values()] if kwargs else args
        if _takes_numbers(func):
            for tensor in tensors_in(given):
                self._check(tensor, func)
        found = func(*args, **(kwargs or {}))
        if torch.is_grad_enabled():
            self.made += [t for t in tensors_in([args[:1], found]) if t.is_leaf and t.requires_grad]
        return found

    def _check(self, tensor: Tensor, func: Any) -> None:
        address = _address(tensor)
        if not address or address in self.own:
            return
        if address in self.owned:
            raise ReadsMore(_reads_module([self.owned[address]]))
        foreign = torch.is_grad_enabled() and tensor.requires_grad and tensor.is_leaf and func is not Tensor.detach
        if foreign and not any(tensor is made for made in self.made):
            raise ReadsMore(_reads_foreign([f"a tensor {said(tensor)}"]))


class HalfPrecision(TorchDispatchMode):
    """Sees whether what is computed in float32 or float64 goes through half precision on the way, as under autocast."""

    def __init__(self, params: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wanted = all(p.dtype.itemsize >= 4 for p in params.values() if p.is_floating_point())
        self.seen: torch.dtype | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self.seen is None and isinstance(found, Tensor) and found.is_floating_point() and found.dtype.itemsize < 4:
            self.seen = found.dtype
        return found

    def tell(self, name: str, module: str) -> None:
        """Warn of what was seen."""
        if self.wanted and self.seen is not None:
            warnings.warn(
                f"{name}: {module} goes through {self.seen} on the way (autocast, or a cast of its own), which holds "
                "too few digits for differences; take the cast out of its forward while you look at it.",
                RuntimeWarning,
                stacklevel=2,
            )


def unshared(tensors: Mapping[str, Tensor]) -> dict[int, str]:
    """Where the memory of each tensor begins -> its name, of those that share theirs with no other."""
    places = [(address, name) for name, tensor in tensors.items() if (address := _address(tensor))]
    counts = Counter(address for address, _ in places)
    return {address: name for address, name in places if counts[address] == 1}


def owned_by(module: nn.Module) -> dict[int, str]:
    """Where the memory of the module's parameters and buffers begins -> their names."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {address: name for name, tensor in named if (address := _address(tensor))}


def _arrays_held(criterion: Any, depth: int = 3) -> Iterator[np.ndarray]:
    """NumPy arrays that a criterion holds: in its closure, defaults, attributes, or under global names of its code."""
    if isinstance(criterion, np.ndarray):
        yield criterion
        return
    if depth == 0 or isinstance(criterion, (Tensor, str, bytes, int, float)):
        return
    inside: list[Any] = []
    if isinstance(criterion, (list, tuple, dict)):
        inside = list(criterion.values() if isinstance(criterion, dict) else criterion)
    elif callable(criterion):
        code = getattr(criterion, "__code__", None)
        around = getattr(criterion, "__globals__", {})
        inside = [around[name] for name in (code.co_names if code else ()) if name in around]
        inside += [cell.cell_contents for cell in getattr(criterion, "__closure__", None) or () if _filled(cell)]
        inside += [getattr(criterion, name, None) for name in ("__defaults__", "__kwdefaults__", "args", "keywords")]
        inside += [getattr(criterion, "func", None), vars(criterion) if hasattr(criterion, "__dict__") else None]
    for value in inside:
        yield from _arrays_held(value, depth - 1)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is bound later
        return False


def _shared(arrays: Iterator[np.ndarray], module: nn.Module) -> list[str]:
    """Names of the module's tensors whose memory some array looks into, where no operation of torch would tell."""
    spans = [
        (start, start + tensor.untyped_storage().nbytes(), name)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        if (start := _address(tensor))
    ]
    places = {array.__array_interface__["data"][0] for array in arrays if array.size}
    return [name for start, end, name in spans if any(start <= place < end for place in places)]


def reads_nothing_else(criterion: object) -> bool:
    """Whether ``criterion`` is one of torch's own, or ours, which read their arguments only."""
    homes = ("torch.nn.functional", "torch.nn.modules.loss", "torch._C._nn", __package__ + ".cross_entropy")
    return (
        getattr(criterion, "__module__", "")
        if callable(criterion) and not isinstance(criterion, nn.Module)
        else type(criterion).__module__
    ) in homes


def check_graph(value: Any, given: Any, module: nn.Module) -> None:
    """Refuse a loss that hangs on tensors which want a gradient and are no part of θ.

    Layers in a plain list, which the module does not register, would be left out of θ in silence; weights that it
    computed beforehand and kept would not move.

    Args:
        value: the loss, with its graph.
        given: what the module was called with, θ among it.
        module: the module, to name what it holds.

    Raises:
        ReadsMore: it does; names them, and says what to do.
    """
    known = {id(t) for t in tensors_in(given)}
    strange = [t for t in _leaves_of(value) if t.requires_grad and id(t) not in known]
    places = {id(p): name for name, p in module.named_parameters()}
    if stale := [places[id(t)] for t in strange if id(t) in places]:
        raise ReadsMore(keeps(type(module).__name__, stale))
    if strange:
        raise ReadsMore(
            f"{type(module).__name__} reads {_few([f'a tensor {said(t)}' for t in strange])} that wants a gradient and "
            "is none of its parameters, so it would be left out of θ. Register it (nn.Parameter, nn.ModuleList, "
            "nn.ModuleDict), or take it as a constant with requires_grad_(False)."
        )


@torch.inference_mode(False)
@torch.enable_grad()
def check_function(fn: Callable[[dict[str, Tensor]], Any], params: Mapping[str, Tensor], name: str) -> None:
    """Refuse a function of parameters that takes them from elsewhere than its argument, and so would not see them move.

    Found by running it once with copies: what still reaches the originals is not what it was given. That it reads
    an original beside its argument, as a constant without a gradient, is its own business.

    Raises:
        ReadsMore: it does; names them.
    """
    copies = {n: check.ordinary(p.detach()).clone().requires_grad_() for n, p in params.items()}
    places = {address: n for n, p in params.items() if (address := _address(p))}
    reads = Reads({**places, **{_address(c): "" for c in copies.values() if c.numel()}})
    try:
        with reads:
            value = fn(dict(copies))
    except (*FAILURES, MemoryError):  # told where it is asked for a number
        return
    kept = {places[_address(t)] for t in _leaves_of(value) if t.requires_grad and _address(t) in places}
    if not kept and "" not in reads.seen:
        kept = set(reads.seen)
    if kept:
        listed = _few([n for n in params if n in kept])
        raise ReadsMore(
            f"{name} takes {listed} from elsewhere than the params that it is given, and would see them unmoved "
            "wherever the loss is looked at. Let fn use its argument, as by torch.func.functional_call(module, params, "
            "inputs), and .detach() what is to be a constant."
        )


def keeps(module: str, names: list[str]) -> str:
    """That a module keeps what it computed of its parameters, and so does not see them move."""
    return (
        f"{module} keeps something that it computed from {_few(names)} before, and would see it "
        "unmoved wherever the loss is looked at. Compute it in forward."
    )


def check_criterion(criterion: Callable[[Any, Any], Any], module: nn.Module, outputs: Any, target: Any) -> None:
    """Refuse a criterion that reads, besides outputs and target, what moves with θ or wants a gradient of its own.

    The instruments move θ by calling the module with other tensors: a criterion that takes the weights from the
    module itself would always see the old ones, and parameters of its own would stand still. Which is
    found by running it once on a few rows, watching every operation, and then every leaf of the graph.

    Raises:
        ReadsMore: it does; names what it read.
        ValueError, TypeError: it fails; says on what.
    """
    theirs = dict(criterion.named_parameters()) if isinstance(criterion, nn.Module) else {}
    inside = {id(p) for p in module.parameters()}
    own = [name for name, p in theirs.items() if p.requires_grad and id(p) not in inside]
    if own:
        raise ReadsMore(
            f"the criterion has parameters of its own ({_few(own)}), which would be left out of θ. Put it into the "
            "module, so that forward returns the loss, and give criterion=lambda loss, _: loss; or hold them fixed "
            "with criterion.requires_grad_(False)."
        )
    if seen := _shared(_arrays_held(criterion), module):
        raise ReadsMore(_reads_module(seen))
    owned = owned_by(module)
    for tensor in tensors_in([outputs, target]):
        owned.pop(_address(tensor), None)
    leaves = {id(t) for t in tensors_in(target)}

    def leaf(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        made = check.ordinary(tensor.detach()).requires_grad_()
        leaves.add(id(made))
        return made.clone()  # which a criterion may work on in place

    with torch.inference_mode(False), torch.enable_grad():
        watched = each(outputs, leaf)
        reads = Reads(owned)
        with reads, _Numbers(reads):
            value = _called(criterion, watched, target)
    if reads.seen:
        raise ReadsMore(_reads_module(list(reads.seen)))
    places = {id(p): f"the module's {name}" for name, p in module.named_parameters()}
    foreign = [
        places.get(id(t), f"a tensor {said(t)}") for t in _leaves_of(value) if id(t) not in leaves and t.requires_grad
    ]
    if foreign:
        raise ReadsMore(_reads_foreign(foreign))


def _reads_module(names: list[str]) -> str:
    return (
        f"the criterion reads {_few(names)} from the module itself, and would see them unmoved wherever "
        f"the loss is looked at. {WAY_OUT}"
    )


def _reads_foreign(names: list[str]) -> str:
    return (
        f"the criterion reads {_few(names)} that wants a gradient and is no part of θ. Take it as a constant "
        f"with .detach() or requires_grad_(False), if it is one. {WAY_OUT}"
    )


def _called(criterion: Callable[[Any, Any], Any], outputs: Any, target: Any) -> Any:
    try:
        return criterion(outputs, target)
    except FAILURES as error:
        if out_of_memory(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        came = f"outputs {said(outputs)} and target {said(target)}"
        raise kind(f"the criterion failed on {came}: {error}") from error


def _leaves_of(value: Any) -> Iterator[Tensor]:
    """The leaf tensors that the graph of ``value`` reaches."""
    todo = [value.grad_fn] if isinstance(value, Tensor) and value.grad_fn is not None else []
    if not todo and isinstance(value, Tensor) and value.requires_grad:
        yield value
    seen = set(todo)
    while todo:
        node = todo.pop()
        tensor = getattr(node, "variable", None)
        if tensor is not None:
            yield tensor
        fresh = {n for n, _ in node.next_functions if n is not None} - seen
        seen |= fresh
        todo += fresh


def _address(tensor: Tensor) -> int:
    """Where the memory of ``tensor`` begins; views of it have the same one."""
    try:
        return tensor.untyped_storage().data_ptr() if tensor.numel() else 0
    except (RuntimeError, NotImplementedError):  # sparse, or without memory
        return 0


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
