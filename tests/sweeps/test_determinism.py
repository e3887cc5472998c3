"""The same seed gives the same numbers: to the bit in another process with as many threads, and nearly so with more.

The tolerances stand in ``NEARLY``: the largest difference between 1 and 2 threads, relative to the largest number of
the result. Threads change the order of sums, and training multiplies the last digit. Nothing else may change: a sign
that is free and flips, or a set that one bit turns over, shows as 1e-2 and more. A small member of each paper is among
the results, with all that it keeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
# Of what is computed in float64, or is drawn and sorted; float32 sums; and what has been trained in float32.
EXACT, SUMMED, TRAINED = 1e-9, 1e-4, 1e-3
NEARLY = {
    "load digits": 0.0, "load shapes": 0.0, "load gaussian": 1e-6, "pairs": 0.0, "weights": 0.0,
    "fit": TRAINED, "history": TRAINED, "sweep sequential": TRAINED, "sweep stacked": TRAINED,
    "plane": SUMMED, "modality plane": SUMMED, "eigenvalues": SUMMED, "density": SUMMED, "trace": SUMMED,
    "lpf": SUMMED, "gap": SUMMED, "pgd": TRAINED, "noise": 0.0,
    "dml": TRAINED, "cox": TRAINED, "synergy": TRAINED, "uml": TRAINED, "wma": TRAINED,
    "w2 exact": EXACT, "w2 sliced": EXACT, "w2 entropic": EXACT, "ipot": EXACT, "exchange rate": EXACT,
}  # fmt: skip

PROGRAM = """
import json, os, sys, warnings
import numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
warnings.simplefilter("ignore")
import xmodal_lab as xl
found = {}

def keep(name, *values):
    flat = [np.asarray(v.detach() if hasattr(v, "detach") else v, dtype=float).ravel() for v in values]
    found[name] = np.concatenate(flat).tolist()

small = {"images_per_class": 6, "clips_per_class": 10}
for name, options in {"digits": small, "shapes": {"n_train": 40, "n_val": 10, "n_test": 10}, "gaussian": {"n_x": 50, "n_y": 50}}.items():
    ds = xl.load(name, seed=3, **options)
    keep(f"load {name}", *(x[:20] for x in ds.train.inputs.values() if x.is_floating_point()), ds.train.labels[:20])
ds = xl.load("digits", **small)
pairs = xl.Pairing("same_class", share=0.5).draw(ds.train, ("image", "audio"), seed=1, epoch=2)
keep("pairs", pairs.rows, *pairs.index.values())
net = xl.LateFusion.for_dataset(ds, modalities=("image", "audio"), architecture="mlp", width=8, seed=1)
keep("weights", *net.parameters())
run = xl.fit(net, ds, pairing="same_class", share=0.5, epochs=2, seed=1, progress=False)
keep("fit", *run.model.parameters())
keep("history", run.history[["loss", "accuracy"]].to_numpy(), run.score)
axes = {"alpha": [0.0, 1.0], **small}
for how in ("sequential", "stacked"):
    cube = xl.sweep("dml", how=how, progress=False, epochs=1, width=4, landscape_points=3, eigenvalues=1, **axes)
    keep(f"sweep {how}", *(cube[v] for v in ("accuracy", "loss", "landscape", "eigenvalue")))
loss = xl.loss_on(run.model, ds.test)
keep("plane", xl.landscape.plane(loss, points=5, seed=2))
keep("modality plane", xl.landscape.modality_plane(loss, "image", "audio", points=5, seed=2))
keep("eigenvalues", xl.curvature.top_eigenvalues(loss, k=3, seed=4).values)
keep("density", xl.curvature.density(loss, steps=10, probes=2, seed=4).density)
keep("trace", xl.curvature.trace(loss, probes=10, seed=4).value)
keep("lpf", xl.flatness.lpf(loss, sigma=0.01, samples=10, seed=5).value)
keep("gap", xl.flatness.gap(loss, directions=10, seed=5).values)
attack = xl.robustness.pgd(run.model, ds.test, "image", eps=0.1, iterations=3, random_start=True, seed=6)
keep("pgd", attack.adversarial_accuracy, attack.adversarial_loss, attack.samples.inputs["image"])
keep("noise", xl.robustness.add_noise(ds.test, "image", 0.1, seed=6).inputs["image"])
g = torch.Generator().manual_seed(0)
a, b = torch.randn(40, 5, generator=g, dtype=torch.float64), torch.randn(30, 5, generator=g, dtype=torch.float64)
for method in ("exact", "sliced", "entropic"):
    keep(f"w2 {method}", xl.transport.w2(a, b, method=method))
keep("ipot", xl.transport.ipot(torch.cdist(a, b), iterations=30).plan)
acc = 0.5 + 0.05 * np.log2([1, 2, 4])[:, None, None] + 0.02 * np.log2([1, 2, 4])[None, :, None]
acc = acc + 0.001 * np.random.default_rng(0).standard_normal((3, 3, 6))
rate = xl.information.exchange_rate(acc, [1, 2, 4], [1, 2, 4], words_per_text=5.0, interval="bootstrap", seed=7)
keep("exchange rate", rate.rate, rate.interval)
MEMBERS = {
    "dml": {**small, "epochs": 2, "width": 8, "eigenvalues": 1, "landscape_points": 3},
    "cox": {"perceptor_steps": 10, "steps": 20, "connect_steps": 10, "hidden": 16, "width": 16, "points": 50},
    "synergy": {"images_per_class": 10, "clips_per_class": 10, "texts_per_class": 4, "steps": 20, "teacher_steps": 20, "hidden": 16, "width": 16},
    "uml": {"steps": 30, "text_shots": [0, 12], "text_encoder": ["minilm", "words"]},
    "wma": {"n_train": 64, "n_val": 32, "n_test": 32, "width": 8, "layers": 1, "pretraining": 4, "steps": 4, "warmup": 1, "alpha": 1.0},
}
for paper, settings in MEMBERS.items():
    cube = xl.sweep(paper, how="sequential", progress=False, **settings)
    keep(paper, *(values for values in cube.data_vars.values() if values.dtype.kind == "f"))
print(json.dumps(found))
"""


def computed(threads: int, hash_seed: str) -> dict[str, list[float]]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": str(threads)}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait must not burn the core that another test needs
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(threads)], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(NEARLY)
    return found


@pytest.fixture(scope="module")
def first() -> dict[str, list[float]]:
    return computed(1, "0")


@pytest.mark.slow
def test_another_process_gives_the_same_bits(first: dict[str, list[float]]) -> None:
    again = computed(1, "12345")
    for name, values in first.items():
        assert values and np.isfinite(values).any(), name
        np.testing.assert_array_equal(again[name], values, err_msg=name)


@pytest.mark.slow
def test_two_threads_give_nearly_the_same(first: dict[str, list[float]]) -> None:
    wrong = {}
    for name, values in computed(2, "99").items():
        one, two = np.asarray(first[name]), np.asarray(values)
        assert one.shape == two.shape and (np.isnan(one) == np.isnan(two)).all(), name
        off = float(np.nanmax(np.abs(one - two)) / max(np.nanmax(np.abs(one)), 1e-12))
        print(f"{name:<18} differs by {off:.1e} of its largest, at most {NEARLY[name]:g}")
        if off > NEARLY[name]:
            wrong[name] = off
    assert not wrong
