"""All five papers and the bench train and look on the device, and find there what they find on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.papers import cox, uml
from xmodal_lab.sweeps.experiment import WHY

DIGITS = {"images_per_class": 10, "clips_per_class": 10, "texts_per_class": 10}
LOOKS = {"landscape_points": 3, "eigenvalues": 1, "latents": True, "attacks": True}
ASKED: dict[str, dict[str, Any]] = {
    "dml": {**DIGITS, "epochs": 1, "choose": "last", **LOOKS},
    "synergy": {**DIGITS, "steps": 10, "teacher_steps": 10, "direction": "A→V", "watch": 2, "points": 20},
    "uml": {"steps": 10, "geometry": True},
    "cox": {"steps": 10, "perceptor_steps": 3, "connect_steps": 10, "points": 20},
    "wma": {"n_train": 40, "n_val": 20, "n_test": 20, "steps": 3, "pretraining": 3, "alpha": 0.5, "shown": 0},
    "bench": {**DIGITS, "epochs": 1, "a_latent": 0.2, "a_align": 0.1, "lam": 0.2},
}


# Settings that the ones above leave alone.
OTHERS: dict[str, dict[str, Any]] = {
    "synergy": {**DIGITS, "steps": 6, "teacher_steps": 6, "target": "same_class", "direction": "V→A", "loss": "cosine",
                "alpha": 0.7, "rows_per_class": 3, "redraw": False},
    "uml": {"steps": 6, "text_layer": "trained", "lam": 0.5, "ratio": 2.0, "start": 2, "optimizer": "adamw"},
    "cox": {"steps": 8, "perceptor_steps": 3, "connect_steps": 8, "algorithm": "entmin", "warmup": False, "anchors": 0.3},
    "wma": {"n_train": 30, "n_val": 12, "n_test": 12, "steps": 3, "pretraining": 2, "head": "multilabel",
            "task": "wrong", "alpha": 0.5, "beta": 0.5, "transport": "sinkhorn", "reference": "batch"},
    "bench": {**DIGITS, "epochs": 1, "modalities": "image+audio+text", "image_shots": 3, "text_shots": 2, "lam": 0.5,
              "swa": 0.5, "choose": "best"},
}  # fmt: skip


def numbers(result: Any) -> dict[str, np.ndarray]:
    return {n: np.asarray(getattr(v, "values", v), dtype=float) for n, v in result.items() if n != WHY}


@pytest.mark.parametrize("name", list(ASKED))
def test_a_paper_finds_on_the_device_what_it_finds_on_the_cpu(gpu: Any, name: str) -> None:
    from xmodal_lab.sweeps.experiment import get

    experiment = get(name)
    if name == "bench":
        experiment = xl.bench(looks={"landscape": 3, "gap": True, "missing": 0.5, "pgd": (0.1,), "lpf": 0.1})
    here = numbers(experiment.compute({**ASKED[name], "device": "cpu"}))
    with gpu.counting() as seen:
        there = numbers(experiment.compute({**ASKED[name], "device": gpu.type}))
    assert seen["launches"] > 100
    assert list(there) == list(here)
    for variable, value in here.items():
        np.testing.assert_allclose(there[variable], value, rtol=2e-3, atol=2e-4, err_msg=variable)


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_settings_find_there_what_they_find_here(gpu: Any, name: str) -> None:
    from xmodal_lab.sweeps.experiment import get

    here, there = (numbers(get(name).compute({**OTHERS[name], "device": place})) for place in ("cpu", gpu.type))
    assert list(there) == list(here)
    for variable, value in here.items():
        np.testing.assert_allclose(there[variable], value, rtol=5e-3, atol=5e-4, err_msg=variable)


def test_looks_run_on_the_device(gpu: Any) -> None:
    """They are most of a sweep's time; a model that came back to the CPU made 585 launches with and without them."""
    from xmodal_lab.sweeps.experiment import get

    dml, launches = get("dml"), []
    plain = {**ASKED["dml"], **{k: 0 if isinstance(v, int) and v is not True else False for k, v in LOOKS.items()}}
    for settings in (plain, ASKED["dml"], {**plain, "flatness": True}):
        with gpu.counting() as seen:
            dml.compute({**settings, "device": gpu.type})
        launches.append(seen["launches"])
    assert launches[1] > 2 * launches[0] and launches[2] > 2 * launches[0]


def test_data_on_a_device_are_taken_by_every_paper(gpu: Any) -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    views = {m: torch.randn(40, 5, generator=rng) + labels[:, None] for m in ("touch", "sight", "word")}
    there = {m: x.to(gpu.type) for m, x in views.items()}
    asked = {"steps": 10, "label_share": 0.2}
    one, two = (
        cox.run(cox.of_views(v, y, out="touch"), **asked) for v, y in ((views, labels), (there, labels.to(gpu.type)))
    )
    assert one.accuracy == two.accuracy
    held = {m: (x, labels.to(x.device)) for m, x in there.items()}
    (head,) = uml.train_heads(uml.unpaired(held, held), uml.Head("touch", ("word",), steps=5, aux_shots=4))
    assert head.params["head"].device.type == "cpu" and head.accuracy >= 0


def test_a_trained_model_stays_on_the_device_where_it_is_asked_to(gpu: Any) -> None:
    ds = xl.load("shapes", modalities=("image", "audio"), n_train=60, n_test=20)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    kept = xl.fit(net, ds, epochs=1, device=gpu.type, keep_on_device=True)
    back = xl.fit(net, ds, epochs=1, device=gpu.type)
    assert {p.device.type for p in kept.model.parameters()} == {gpu.type}
    assert {p.device.type for p in back.model.parameters()} == {"cpu"}
    assert kept.score == back.score
