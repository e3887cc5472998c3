"""Stacked training beside the same members one after another with fused Adam."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as F

import xmodal_lab as xl
from xmodal_lab.papers import dml
from xmodal_lab.sweeps import sweep
from xmodal_lab.training.stacking import fit_stack

from .timing import alternate, row

MEMBERS = 16
BATCH = 64


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    ds = world()
    error = disagreement(ds)
    return [
        stack(ds, 1, 1 / 1.8, error, repeats),
        ensembling(ds, 0.7, error, repeats),
        stack(ds, 2, 1 / 2.5, error, repeats),
        recipes(1 / 2.5, repeats),
        dispatched("30k-parameter MLP", dml.experiment(ds, width=48, fusion="concat_mlp", epochs=1), 8, repeats),
        dispatched("CNN", dml.experiment(pictures(), architecture="cnn", epochs=1), 4, 2 * repeats + 1),
    ]


def stack(ds: xl.Dataset, threads: int, bar: float, error: float, repeats: int) -> dict[str, Any]:
    """16 nets of 30k parameters, two epochs of 2048 rows: a stack beside a bare loop that does nothing but step."""
    nets = members(ds)
    shares = [k / (MEMBERS - 1) for k in range(MEMBERS)]
    with thread_count(threads):
        timed = alternate(
            {
                "stacked": lambda: fit_stack(
                    nets, ds, pairing="same_class", share=shares, seed=list(range(MEMBERS)), epochs=2, batch_size=BATCH
                ),
                "sequential": lambda: bare_loops(nets, ds, epochs=2),
            },
            repeats,
            clock=time.process_time if threads == 1 else time.perf_counter,
        )
    peer = f"one after another, fused Adam, {threads} thread{'s' * (threads > 1)}"
    return row(f"{MEMBERS} MLPs of 30k parameters", timed["stacked"], peer, timed["sequential"], bar, error, repeats)


def ensembling(ds: xl.Dataset, bar: float, error: float, repeats: int) -> dict[str, Any]:
    """The same stack beside torch.func's recipe: stacked states, ``vmap`` of ``grad``, one fused Adam for all."""
    nets = members(ds)
    shares = [k / (MEMBERS - 1) for k in range(MEMBERS)]
    options = {"pairing": "same_class", "share": shares, "seed": list(range(MEMBERS))}
    with thread_count(1):
        timed = alternate(
            {
                "stacked": lambda: fit_stack(nets, ds, **options, epochs=2, batch_size=BATCH),
                "vmap": lambda: by_vmap(nets, ds, epochs=2),
            },
            repeats,
        )
    peer = "torch.func: vmap + fused Adam"
    return row(f"{MEMBERS} MLPs of 30k parameters", timed["stacked"], peer, timed["vmap"], bar, error, repeats)


def by_vmap(nets: Sequence[xl.LateFusion], ds: xl.Dataset, epochs: int) -> None:
    """The ensembling tutorial, with an order of rows for each member and no history."""
    params, _ = torch.func.stack_module_state([copy.deepcopy(net) for net in nets])
    base, inputs, labels = copy.deepcopy(nets[0]).to("meta"), ds.train.inputs, ds.train.labels

    def loss(state: dict[str, torch.Tensor], batch: dict[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.func.functional_call(base, state, (batch,)), target)

    slope = torch.func.vmap(torch.func.grad(loss))
    params = {name: p.detach().requires_grad_() for name, p in params.items()}
    optimizer = torch.optim.Adam(params.values(), lr=1e-3, weight_decay=1e-4, fused=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        orders = torch.stack([torch.randperm(len(labels), generator=generator) for _ in nets])
        for take in orders.split(BATCH, 1):
            found = slope(
                {n: p.detach() for n, p in params.items()}, {m: x[take] for m, x in inputs.items()}, labels[take]
            )
            for name, p in params.items():
                p.grad = found[name]
            optimizer.step()


def recipes(bar: float, repeats: int) -> dict[str, Any]:
    """16 digits MLPs with every term of a recipe on, 10 epochs: a stack beside ``fit`` after ``fit``."""
    ds = xl.load("digits")
    terms = xl.terms
    recipe = xl.Recipe(
        (terms.Task(), terms.Latent("text"), terms.Alignment(), terms.Shared("text"), terms.Connection("audio")),
        "same_class",
    )
    each = [recipe.with_settings(a_latent=0.3 * k / MEMBERS, share=k / MEMBERS, lam=0.5 + k) for k in range(MEMBERS)]
    nets = [
        xl.LateFusion.for_dataset(ds, ("image", "audio"), auxiliary=("text",), architecture="mlp", seed=k)
        for k in range(MEMBERS)
    ]
    results: dict[str, Any] = {}

    def together() -> None:
        results["stacked"] = fit_stack(nets, ds, recipe=each, seed=list(range(MEMBERS)), epochs=10)

    def alone() -> None:
        results["alone"] = [
            xl.fit(net, ds, recipe=r, seed=k, epochs=10) for k, (net, r) in enumerate(zip(nets, each, strict=True))
        ]

    alone()  # teachers are trained once and kept: before the clock starts, for both
    with thread_count(1):
        timed = alternate({"stacked": together, "alone": alone}, repeats)
    pairs = zip(results["stacked"], results["alone"], strict=True)
    error = max(abs(a.history["loss"].iloc[-1] - b.history["loss"].iloc[-1]) for a, b in pairs)
    return row(
        f"{MEMBERS} digits MLPs, five terms", timed["stacked"], "one after another", timed["alone"], bar, error, repeats
    )


def dispatched(what: str, experiment: Any, count: int, repeats: int) -> dict[str, Any]:
    """What ``sweep`` chooses by itself beside ``how="sequential"``."""
    results: dict[str, Any] = {}

    def run(how: str) -> None:
        results[how] = sweep(experiment, how=how, progress=False, seed=range(count))

    with thread_count(1):
        timed = alternate({"auto": lambda: run("auto"), "sequential": lambda: run("sequential")}, repeats)
    error = float(abs(results["auto"]["loss"] - results["sequential"]["loss"]).max())
    return row(
        f"sweep chooses, {count} x {what}", timed["auto"], "sequential", timed["sequential"], 1 / 0.95, error, repeats
    )


def bare_loops(nets: Sequence[xl.LateFusion], ds: xl.Dataset, epochs: int) -> None:
    """The least that anyone can do: batches, fused Adam, no pairing, no history, no held-out data."""
    inputs, labels = ds.train.inputs, ds.train.labels
    for k, net in enumerate(nets):
        model = copy.deepcopy(net)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
        order = torch.Generator().manual_seed(k)
        for _ in range(epochs):
            for take in torch.randperm(len(labels), generator=order).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model({m: x[take] for m, x in inputs.items()}), labels[take]).backward()
                optimizer.step()


def disagreement(ds: xl.Dataset) -> float:
    """Largest difference between a stacked member's weights and its own fit's, in float64."""
    double = ds.to(dtype=torch.float64)
    nets = [net.double() for net in members(ds)[:3]]
    settings = {"pairing": "same_class", "epochs": 1}
    worst = 0.0
    for k, run in enumerate(fit_stack(nets, double, seed=[0, 1, 2], **settings)):
        assert isinstance(run, xl.Run)
        alone = xl.fit(nets[k], double, seed=k, **settings).model.state_dict()
        worst = max(worst, *(float((run.model.state_dict()[n] - p).abs().max()) for n, p in alone.items()))
    return worst


def members(ds: xl.Dataset) -> list[xl.LateFusion]:
    return [xl.LateFusion.for_dataset(ds, width=48, fusion="concat_mlp", seed=k) for k in range(MEMBERS)]


def world(rows: int = 2048, width: int = 128, classes: int = 10) -> xl.Dataset:
    """Two vectors whose mean depends on the class."""
    g = torch.Generator().manual_seed(0)
    means = {m: torch.randn(classes, width, generator=g) for m in ("image", "audio")}

    def split(n: int) -> xl.Samples:
        labels = torch.randint(0, classes, (n,), generator=g)
        return xl.Samples({m: 0.3 * c[labels] + torch.randn(n, width, generator=g) for m, c in means.items()}, labels)

    names = tuple(map(str, range(classes)))
    kinds = dict.fromkeys(means, "vector")
    return xl.Dataset("bench", split(rows), split(256), names, val=split(64), kinds=kinds)


def pictures(rows: int = 128, classes: int = 10) -> xl.Dataset:
    """Two small pictures, for CNNs."""
    g = torch.Generator().manual_seed(0)

    def split(n: int) -> xl.Samples:
        labels = torch.arange(n) % classes
        return xl.Samples({m: torch.randn(n, 1, 16, 16, generator=g) for m in ("image", "audio")}, labels)

    return xl.Dataset("pictures", split(rows), split(32), tuple(map(str, range(classes))), val=split(32))


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in rows():
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()})
