"""What a hostile or a hurried user hands in, and how an answer to it is judged.

A :class:`Call` is a public callable with one good set of arguments. :func:`abuses_of` spoils one argument in every
way that fits its kind; :func:`judge` calls and says what is wrong with the answer. Right are two answers only: an
error that the library itself raises (a ``raise`` of its own files, of a documented type, with a sentence that tells
what came), or a result without NaN that nobody had to guess. Where the spoilt argument holds the same numbers in
another guise, the result must be the same as for the good one.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib
import inspect
import math
import os
import pathlib
import re
import types
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import settings
from torch import Tensor, nn

HOMES = ("xmodal_lab", "xmodal_widgets")
PROFILE = settings(derandomize=True, max_examples=25, deadline=None, database=None)
# One pair (call, abuse) in so many is tried, always the same ones; all with XMODAL_FUZZ=all.
SHARE = 1 if os.environ.get("XMODAL_FUZZ") == "all" else 3
# What the library may raise: what DESIGN promises, missing extras, and its own classes built on these.
# Modules whose functions stand for the user's own: what they raise passes through.
THEIRS: set[str] = set()
OWN = (ValueError, TypeError, KeyError, FileNotFoundError, ImportError, FloatingPointError, OSError)


class Anything:
    """Something that no function of the library is made for."""

    def __repr__(self) -> str:
        return "<anything>"


@dataclasses.dataclass(frozen=True)
class Call:
    """A public callable with good arguments.

    Attributes:
        fn: what is called, with keywords only.
        good: its arguments; those that are not here keep their defaults and are not spoilt.
        fixed: further arguments, that are not spoilt.
        leave: arguments, or (argument, abuse), that are not spoilt, each with a reason where the table is.
        guises: whether other guises of the same numbers must give the same result.
        degree: numbers times s give the result times s ** degree; None where that does not hold.
        nan: whether a result may hold NaN or infinities, as its docstring says.
    """

    fn: Callable[..., Any]
    good: dict[str, Any]
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    leave: Collection[Any] = ()
    guises: bool = True
    degree: float | None = None
    nan: bool = False


@dataclasses.dataclass(frozen=True)
class Abuse:
    """A spoilt argument; ``like`` says what it must then give: "same", "near", "scaled", or anything right."""

    value: Any
    like: str = ""
    scale: float = 1.0


# -- the catalogue -----------------------------------------------------------------------------------


def strangers() -> dict[str, Any]:
    """Things of a wrong type, whatever is expected."""
    return {
        "None": None,
        "a word": "nonsense",
        "an empty list": [],
        "an empty dict": {},
        "a list of words": ["a", "b"],
        "a dict": {"a": 1},
        "an object": Anything(),
        "a module": nn.Linear(2, 2),
        "a function": len,
        "a type": int,
        "a set": {1, 2},
        "bytes": b"\x00\xff",
    }


def spoilt_numbers(good: Tensor | np.ndarray) -> dict[str, Abuse]:
    """Tensors and arrays of floats."""
    x = torch.as_tensor(good).detach().clone(memory_format=torch.contiguous_format)
    return {
        **{k: Abuse(v) for k, v in strangers().items()},
        "a number": Abuse(1.5),
        "NaN alone": Abuse(math.nan),
        "complex": Abuse(x.to(torch.complex64)),
        "bool": Abuse(x > 0),
        "objects": Abuse(np.array([object()] * max(len(x) if x.ndim else 1, 1))),
        "objects of floats": Abuse(x.numpy().astype(object)),
        "strings": Abuse(np.full(tuple(x.shape), "a")),
        "dates": Abuse(np.zeros(tuple(x.shape), dtype="datetime64[s]")),
        "ragged": Abuse([[1.0, 2.0], [3.0]]),
        "int": Abuse((4 * x).round().long()),
        "uint8": Abuse((4 * x).round().abs().to(torch.uint8)),
        "half": Abuse(x.half(), "near"),
        "bfloat16": Abuse(x.bfloat16(), "near"),
        "double": Abuse(x.double(), "near"),
        "float8": Abuse(x.to(torch.float8_e4m3fn)),
        "sparse": Abuse(x.to_sparse() if x.ndim else x),
        "big-endian": Abuse(x.numpy().astype(">f4")),
        "long double": Abuse(x.numpy().astype(np.longdouble)),
        "NaN": Abuse(_put(x, math.nan)),
        "all NaN": Abuse(torch.full_like(x, math.nan)),
        "inf": Abuse(_put(x, math.inf)),
        "-inf": Abuse(_put(x, -math.inf)),
        "empty": Abuse(x[:0] if x.ndim else x.new_zeros(0)),
        "no columns": Abuse(x[..., :0] if x.ndim else x.new_zeros(0)),
        "one row": Abuse(x[:1] if x.ndim else x[None]),
        "one row short": Abuse(x[:-1] if x.ndim else x[None]),
        "one column": Abuse(x[..., :1] if x.ndim else x[None]),
        "0-d": Abuse(x.flatten()[0]),
        "flat": Abuse(x.flatten()),
        "a dimension more": Abuse(x[None]),
        "a dimension more behind": Abuse(x[..., None]),
        "transposed": Abuse(x.transpose(0, -1) if x.ndim > 1 else x[None]),
        "zeros": Abuse(torch.zeros_like(x)),
        "all alike": Abuse(torch.ones_like(x)),
        "negative": Abuse(-x.abs()),
        "huge": Abuse(x * 1e30, "scaled", 1e30),
        "huger than float": Abuse(x.double() * 1e200),
        "tiny": Abuse(x * 1e-30, "scaled", 1e-30),
        "a list": Abuse(x.tolist(), "same"),
        "strided": Abuse(_strided(x), "same"),
        "column order": Abuse(x.transpose(0, -1).contiguous().transpose(0, -1) if x.ndim > 1 else x, "same"),
        "expanded": Abuse(x[:1].expand(x.shape) if x.ndim else x),
        "requires grad": Abuse(x.clone().requires_grad_(), "same"),
        "inference": Abuse(_inference(x), "same"),
        "parameter": Abuse(nn.Parameter(x.clone()), "same"),
        "array": Abuse(x.numpy().copy(), "same"),
        "read-only array": Abuse(_read_only(x), "same"),
        "backward array": Abuse(np.ascontiguousarray(x.numpy()[::-1])[::-1] if x.ndim else x.numpy(), "same"),
        "memory order array": Abuse(np.asfortranarray(x.numpy()), "same"),
        "meta": Abuse(x.to("meta")),
    }


def spoilt_classes(good: Tensor | np.ndarray) -> dict[str, Abuse]:
    """Class numbers and other whole numbers."""
    x = torch.as_tensor(good).clone(memory_format=torch.contiguous_format)
    return {
        **{k: Abuse(v) for k, v in strangers().items()},
        "a number": Abuse(1),
        "floats": Abuse(x.float()),
        "fractions": Abuse(x.float() + 0.5),
        "complex": Abuse(x.to(torch.complex64)),
        "bool": Abuse(x > 0),
        "objects": Abuse(np.array([object()] * len(x))),
        "strings": Abuse(np.full(tuple(x.shape), "a")),
        "NaN": Abuse(_put(x.float(), math.nan)),
        "empty": Abuse(x[:0]),
        "one row": Abuse(x[:1]),
        "one row short": Abuse(x[:-1]),
        "0-d": Abuse(x.flatten()[0]),
        "a dimension more": Abuse(x[None]),
        "a dimension more behind": Abuse(x[..., None]),
        "all alike": Abuse(torch.ones_like(x)),
        "unknown": Abuse(_put(x, -1)),
        "far below": Abuse(_put(x, -7)),
        "far above": Abuse(_put(x, 10**12)),
        "the largest": Abuse(_put(x, 2**63 - 1)),
        "int8": Abuse(x.to(torch.int8), "same"),
        "int32": Abuse(x.int(), "same"),
        "uint8": Abuse(x.to(torch.uint8), "same"),
        "a list": Abuse(x.tolist(), "same"),
        "strided": Abuse(_strided(x), "same"),
        "array": Abuse(x.numpy().copy(), "same"),
        "read-only array": Abuse(_read_only(x), "same"),
        "backward array": Abuse(np.ascontiguousarray(x.numpy()[::-1])[::-1], "same"),
        "meta": Abuse(x.to("meta")),
    }


def spoilt_count(good: int) -> dict[str, Abuse]:
    """Whole numbers: counts, seeds, sizes."""
    return {
        **{k: Abuse(v) for k, v in strangers().items()},
        "bool": Abuse(True),
        "a fraction": Abuse(good + 0.5),
        "a float": Abuse(float(good)),
        "NaN": Abuse(math.nan),
        "inf": Abuse(math.inf),
        "complex": Abuse(1j),
        "text of it": Abuse(str(good)),
        "zero": Abuse(0),
        "minus one": Abuse(-1),
        "far below": Abuse(-(10**30)),
        "far above": Abuse(10**30),
        "several": Abuse([good, good]),
        "tensor of several": Abuse(torch.tensor([good, good])),
        "NumPy's": Abuse(np.int64(good), "same"),
        "a 0-d tensor": Abuse(torch.tensor(good), "same"),
        "meta": Abuse(torch.tensor(good, device="meta")),
    }


def spoilt_number(good: float) -> dict[str, Abuse]:
    """Real numbers."""
    return {
        **{k: Abuse(v) for k, v in strangers().items()},
        "NaN": Abuse(math.nan),
        "inf": Abuse(math.inf),
        "-inf": Abuse(-math.inf),
        "complex": Abuse(1j),
        "text of it": Abuse(str(good)),
        "bool": Abuse(True),
        "zero": Abuse(0),
        "minus": Abuse(-abs(good) - 1),
        "huge": Abuse(1e300),
        "tiny": Abuse(1e-300),
        "too large for a float": Abuse(10**400),
        "several": Abuse([good, good]),
        "tensor of several": Abuse(torch.tensor([good, good])),
        "NumPy's": Abuse(np.float64(good), "same"),
        "single": Abuse(np.float32(good), "near"),
        "a 0-d tensor": Abuse(torch.tensor(good, dtype=torch.float64), "same"),
        "meta": Abuse(torch.tensor(good, device="meta")),
    }


def spoilt_name(good: str) -> dict[str, Abuse]:
    """Names out of a list."""
    return {
        **{k: Abuse(v) for k, v in strangers().items()},
        "empty": Abuse(""),
        "capitals": Abuse(good.upper() + "X"),
        "not text": Abuse("\x00\ud800"),
        "very long": Abuse("x" * 5000),
        "a number": Abuse(3),
        "NaN": Abuse(math.nan),
        "a tensor": Abuse(torch.ones(2)),
        "an array": Abuse(np.array([good, good])),
    }


def spoilt_list(good: Any) -> dict[str, Abuse]:
    """Sequences of numbers or names."""
    found = {
        **{k: Abuse(v) for k, v in strangers().items()},
        "a number": Abuse(3),
        "NaN alone": Abuse(math.nan),
        "nested": Abuse([list(good)]),
        "with None": Abuse([*list(good)[:-1], None]),
        "with an object": Abuse([*list(good)[:-1], Anything()]),
        "a tensor of words": Abuse(np.array(["a", "b"])),
        "twice": Abuse([*good, *good]),
        "a tuple": Abuse(tuple(good), "same"),
        "a list": Abuse(list(good), "same"),
    }
    if all(isinstance(v, (int, float)) for v in good):
        found |= {
            "with NaN": Abuse([*list(good)[:-1], math.nan]),
            "with inf": Abuse([*list(good)[:-1], math.inf]),
            "with minus": Abuse([*list(good)[:-1], -1]),
            "with a word": Abuse([*list(good)[:-1], "x"]),
            "an array": Abuse(np.array(good), "same"),
        }
    else:
        found |= {"with a number": Abuse([*list(good)[:-1], 3]), "unknown": Abuse(["unknown"])}
    return found


def spoilt_thing(good: Any) -> dict[str, Abuse]:
    """Samples, nets, losses, cubes, functions: things of the library's own or of its neighbours."""
    return {
        **{k: Abuse(v) for k, v in strangers().items()},
        "a number": Abuse(3),
        "NaN": Abuse(math.nan),
        "a tensor": Abuse(torch.ones(3, 2)),
        "an array": Abuse(np.ones((3, 2))),
        "the type of it": Abuse(type(good)),
        "a pair": Abuse((torch.ones(3, 2), torch.zeros(3))),
    }


def spoilt_mapping(good: Mapping[Any, Any]) -> dict[str, Abuse]:
    """Dicts: as a whole, and each kind of entry."""
    found = spoilt_thing(good)
    key = next(iter(good))
    for name, value in (("None", None), ("a word", "nonsense"), ("an object", Anything()), ("a number", 1.5)):
        found[f"an entry that is {name}"] = Abuse({**good, key: value})
    found["a key that is a number"] = Abuse({**good, 3: good[key]})
    found["a key more"] = Abuse({**good, "unknown": good[key]})
    found["a key less"] = Abuse({k: v for k, v in good.items() if k != key})
    if isinstance(good[key], (Tensor, np.ndarray)):
        spoil = spoilt_classes if not torch.as_tensor(good[key]).is_floating_point() else spoilt_numbers
        for name, abuse in spoil(good[key]).items():
            found[f"entry: {name}"] = dataclasses.replace(abuse, value={**good, key: abuse.value})
    return found


def abuses_of(good: Any) -> dict[str, Abuse]:
    """The abuses that fit the kind of ``good``."""
    if isinstance(good, bool):
        return {}
    if isinstance(good, (Tensor, np.ndarray)):
        return spoilt_numbers(good) if torch.as_tensor(good).is_floating_point() else spoilt_classes(good)
    if isinstance(good, int):
        return spoilt_count(good)
    if isinstance(good, float):
        return spoilt_number(good)
    if isinstance(good, str):
        return spoilt_name(good)
    if isinstance(good, (list, tuple, range)):
        return spoilt_list(good)
    if isinstance(good, Mapping) and not hasattr(good, "data_vars"):
        return spoilt_mapping(good)
    if inspect.isroutine(good):  # what can be called answers for itself
        return {k: v for k, v in spoilt_thing(good).items() if not callable(v.value)}
    return spoilt_thing(good)


def tries(call: Call) -> Iterator[tuple[str, dict[str, Any], Abuse]]:
    """(name, arguments, abuse) for each argument of ``call``, and for all its tensors at once."""
    for name, good in call.good.items():
        if name in call.leave:
            continue
        for what, abuse in abuses_of(good).items():
            if (name, what) not in call.leave and what not in call.leave:
                yield f"{name}: {what}", {**call.good, name: abuse.value}, abuse
    tensors = [
        k
        for k, v in call.good.items()
        if isinstance(v, (Tensor, np.ndarray)) and torch.as_tensor(v).is_floating_point() and k not in call.leave
    ]
    if len(tensors) > 1:
        each = {k: spoilt_numbers(call.good[k]) for k in tensors}
        for what, abuse in each[tensors[0]].items():
            if what not in call.leave:
                together = {k: each[k][what].value for k in tensors}
                yield f"all: {what}", {**call.good, **together}, abuse


# -- the judge ---------------------------------------------------------------------------------------


def judge(call: Call, arguments: dict[str, Any], abuse: Abuse, expected: list[np.ndarray] | None) -> str:
    """What is wrong with the answer, in words; empty when it is right."""
    before = dict(enumerate(_numbers(arguments, depth=2)))
    before = {k: v.copy() for k, v in before.items()}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            result = call.fn(**call.fixed, **arguments)
        except Exception as error:
            return not_own(error)
    for w in heard:
        if not any(f"/{home}/" in w.filename for home in HOMES) and not _spoken_here(w):
            return f"a warning from elsewhere: {w.category.__name__}: {str(w.message)[:120]} ({w.filename}:{w.lineno})"
    after = list(_numbers(arguments, depth=2))
    if len(after) == len(before) and any(
        not np.array_equal(a, before[k], equal_nan=_inexact(a)) for k, a in enumerate(after)
    ):
        return "the argument was written to"
    found = list(_numbers(result))
    if not call.nan and not all(np.isfinite(x).all() for x in found if _inexact(x)):
        return "the result holds NaN or infinities"
    if expected is None or not abuse.like:
        return ""
    return _compared(call, abuse, found, expected)


def _compared(call: Call, abuse: Abuse, found: list[np.ndarray], expected: list[np.ndarray]) -> str:
    if abuse.like == "scaled":
        if call.degree is None:
            return ""
        factor, rtol = abuse.scale**call.degree, 1e-4
    else:
        if not call.guises:
            return ""
        factor, rtol = 1.0, {"same": 1e-5, "near": 5e-2}[abuse.like]
    if len(found) != len(expected):
        return f"another result: {len(found)} arrays instead of {len(expected)}"
    for x, y in zip(found, expected, strict=True):
        if x.shape != y.shape:
            return f"another result: shape {x.shape} instead of {y.shape}"
        if x.dtype.kind in "biufc" and y.dtype.kind in "biufc":
            size = float(np.abs(y[np.isfinite(y)]).max(initial=0.0)) if _inexact(y) else 1.0
            expect = factor * y.astype(complex) if _inexact(y) else y.astype(complex)
            near = np.allclose(x.astype(complex), expect, rtol=rtol, atol=rtol * size * factor, equal_nan=True)
            if not near and (abuse.like != "near" or _inexact(x)):
                return f"another result: {x.ravel()[:4]} instead of {(factor * y.astype(float)).ravel()[:4]}"
    return ""


def not_own(error: BaseException) -> str:
    """Empty for an error of the library's own checks; else what it is and where it came from."""
    told = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    assert frame is not None
    file, line = frame.tb_frame.f_code.co_filename, frame.tb_lineno
    where = f"{'/'.join(pathlib.Path(file).parts[-2:])}:{line}"
    if frame.tb_frame.f_globals.get("__name__", "") in THEIRS:
        return ""
    if not any(f"/{home}/" in file for home in HOMES):
        return f"{told}  [from {where}]"
    if not _raises(file, line):
        return f"{told}  [at {where}, which raises nothing]"
    if not isinstance(error, OWN):
        return f"{told}  [{where}: of a type that nothing promises]"
    if len(str(error)) < 20:
        return f"{told}  [{where}: says too little]"
    return ""


@functools.cache
def _raise_lines(file: str) -> frozenset[int]:
    """The lines of ``file`` that belong to ``raise`` statements."""
    tree = ast.parse(pathlib.Path(file).read_text(encoding="utf-8"))
    return frozenset(
        k
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        for k in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def _raises(file: str, line: int) -> bool:
    return line in _raise_lines(file)


def _spoken_here(w: warnings.WarningMessage) -> bool:
    """A warning of the library's own, shown at its caller: the words stand in one of its files."""
    return issubclass(w.category, (UserWarning, RuntimeWarning)) and any(
        part in _all_words() for part in re.split(r"[\d]+|'[^']*'", str(w.message)) if len(part) > 15
    )


@functools.cache
def _all_words() -> str:
    words = []
    for home in HOMES:
        folder = pathlib.Path(str(importlib.import_module(home).__file__)).parent
        words += [p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*.py"))]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(words))


def numbers_of(call: Call) -> list[np.ndarray]:
    """What ``call`` gives for its good arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(_numbers(call.fn(**call.fixed, **call.good)))


def _numbers(value: Any, depth: int = 6) -> Iterator[np.ndarray]:
    """All numbers in a result, as arrays, in a fixed order."""
    if depth < 0 or value is None or isinstance(value, (str, bytes, type)) or inspect.isroutine(value):
        return
    if isinstance(value, Tensor):
        if value.device.type != "meta" and value.layout == torch.strided:
            x = value.detach().cpu()
            yield (x.float() if x.dtype in (torch.bfloat16, torch.float8_e4m3fn) else x).numpy()
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "biufc":
            yield value
    elif isinstance(value, (bool, int, float, complex, np.generic)):
        if not isinstance(value, int) or abs(value) < 2**63:
            found = np.asarray(value)
            if found.dtype.kind in "biufc":
                yield found
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item, depth - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item, depth - 1)
    elif isinstance(value, nn.Module):
        yield from _numbers(value.state_dict(), depth - 1)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if not field.name.startswith("_") and not re.search("seconds", field.name):
                yield from _numbers(getattr(value, field.name), depth - 1)
    elif type(value).__module__.startswith("xarray"):
        if hasattr(value, "data_vars"):
            for item in value.data_vars.values():
                yield from _numbers(item.values, depth - 1)
        else:
            yield from _numbers(value.values, depth - 1)
    elif type(value).__module__.startswith("pandas") and hasattr(value, "columns"):
        for column in value.columns:
            if "second" not in str(column) and value[column].dtype.kind in "biuf":
                yield value[column].to_numpy()


def _inexact(x: np.ndarray) -> bool:
    return x.dtype.kind in "fc"


def _put(x: Tensor, value: float) -> Tensor:
    found = x.clone()
    found.view(-1)[found.numel() // 2] = value
    return found


def _strided(x: Tensor) -> Tensor:
    """The same numbers, every second one of a larger memory."""
    if not x.ndim:
        return x
    wide = x.new_zeros(*x.shape[:-1], 2 * x.shape[-1])
    wide[..., ::2] = x
    return wide[..., ::2]


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


def _read_only(x: Tensor) -> np.ndarray:
    found = x.numpy().copy()
    found.flags.writeable = False
    return found


def offenders(
    calls: Mapping[str, Call],
    waiting: Mapping[str, tuple[str, ...]] | None = None,
    after: Callable[[], Any] | None = None,
) -> tuple[int, list[str]]:
    """How many pairs (call, abuse) were tried, and what was wrong with those that were answered badly.

    Args:
        calls: name -> call.
        waiting: name -> beginnings of abuses that are left out.
        after: called after each try.
    """
    tried, found = 0, []
    for name, call in calls.items():
        expected = numbers_of(call) if call.guises else None
        for what, arguments, abuse in tries(call):
            mine = zlib.crc32(f"{name} {what}".encode()) % SHARE == 0
            if not mine or what.startswith((waiting or {}).get(name, ("\0",))):
                continue
            tried += 1
            if wrong := judge(call, arguments, abuse, expected):
                found.append(f"{name} | {what}: {wrong}")
            if after is not None:
                after()
    return tried, found


def report(tried: int, found: list[str]) -> str:
    """What a failing test says."""
    return "\n".join([f"{len(found)} of {tried} pairs (call, abuse) got a bad answer:", *found[:40]])


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@contextlib.contextmanager
def no_shape_checks() -> Iterator[None]:
    """The library as users have it: ``conftest`` turns jaxtyping's checks on, and their errors would come first."""
    import jaxtyping

    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


# -- what is public ----------------------------------------------------------------------------------


def public(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """The public callables of ``module``: made there, or said there with ``import … as …``."""
    source = inspect.getsource(module)
    found = {}
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, types.ModuleType) or not callable(value):
            continue
        home = str(getattr(value, "__module__", ""))
        if home == module.__name__ or (
            home.startswith(HOMES) and re.search(rf"import \w+ as {name}\b", source) is not None
        ):
            found[name] = value
    return found


def missing_from(calls: Mapping[str, Call], module: types.ModuleType, results: Collection[str]) -> set[str]:
    """Public callables of ``module`` that no call of the table names, and that are no results."""
    room = module.__name__.rpartition(".")[2]
    covered = {key.partition(",")[0] for key in calls}
    wanted = {name for name in public(module) if name not in results}
    return {name for name in wanted if not {name, f"{room}.{name}"} & {c.removesuffix("()") for c in covered}}
