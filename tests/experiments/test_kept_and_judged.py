"""Caches forget a user's dataset with it; nets that see different modalities are scored on the same rows."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.claims import measuring
from xmodal_lab.claims.claim import Claim, Conditions
from xmodal_lab.claims.verdicts import Measured, gain
from xmodal_lab.data.samples import Dataset, Samples, judged_alike, scored_on
from xmodal_lab.experiments.world import DatasetWorld
from xmodal_lab.papers import cox, dml, synergy, uml, wma
from xmodal_lab.papers.cox.member import CoxWorld
from xmodal_lab.sweeps import experiment as experiments
from xmodal_lab.sweeps import sweep
from xmodal_lab.utils.kept import kept

TINY = {"epochs": 1, "width": 4, "batch_size": 20}


def _dml(dataset: Dataset) -> None:
    sweep(dml.experiment(dataset, choose="last", **TINY), seed=[0, 1], xor=0.5, progress=False)


def _synergy(dataset: Dataset) -> None:
    sweep(synergy.experiment(dataset, direction="A→V", steps=2), seed=[0, 1], progress=False)


def _cox(dataset: Dataset) -> None:
    sweep(CoxWorld(dataset).experiment(steps=5, connect_steps=2, perceptor_steps=5), seed=[0, 1], progress=False)


def _uml(dataset: Dataset) -> None:
    def flat(part: Samples) -> Samples:
        return Samples({m: x.flatten(1) for m, x in part.inputs.items()}, part.labels)

    vectors = Dataset("flat", flat(dataset.train), flat(dataset.test), dataset.classes, flat(dataset.val))
    sweep(uml.experiment(vectors, steps=2), seed=[0, 1], progress=False)


def _wma(dataset: Dataset) -> None:
    sweep(wma.experiment(dataset, steps=2, batch_size=8, width=8, layers=1), seed=[0, 1], progress=False)


def _bench(dataset: Dataset) -> None:
    sweep(xl.bench(dataset, looks={"gap": True}, **TINY), seed=[0, 1], progress=False)


@pytest.mark.once
@pytest.mark.parametrize("use", [_dml, _synergy, _cox, _uml, _wma, _bench])
def test_a_dataset_is_forgotten_with_its_last_name(use: Callable[[Dataset], None]) -> None:
    seen = ("image", "audio", "text") if use is _cox else ("image", "audio")  # agreement is that of two, beside a third
    dataset = xl.load("shapes", modalities=seen, n_train=90, n_test=30, n_val=30)
    alive = [weakref.ref(dataset), *(weakref.ref(x) for part in dataset.splits.values() for x in part.inputs.values())]
    use(dataset)
    del dataset
    gc.collect()
    assert [one() for one in alive] == [None] * len(alive)


def test_what_is_kept_is_computed_once_and_bounded() -> None:
    class Owner:
        pass

    asked = []

    @kept(2)
    def double(owner: Owner, x: int) -> int:
        asked.append(x)
        return 2 * x

    first, second = Owner(), Owner()
    assert [double(first, x) for x in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert asked == [1, 2, 3, 2]
    assert double(second, 1) == 2 and asked[-1] == 1


def hard_rows_without_noise() -> Dataset:
    """A picture that says the class in half of the rows; noise beside it, missing where the picture says nothing."""
    g = torch.Generator().manual_seed(0)

    def split(n: int) -> Samples:
        labels, easy = torch.arange(n) % 2, torch.arange(n) % 4 < 2
        image = torch.randn(n, 4, generator=g)
        image[:, 0] += torch.where(easy, 12.0 * labels - 6, 0.0)
        present = {"image": torch.ones(n, dtype=torch.bool), "audio": easy}
        return Samples({"image": image, "audio": torch.randn(n, 4, generator=g)}, labels, present=present)

    return Dataset("hard", split(200), split(200), ("a", "b"), None, {"image": "vector", "audio": "vector"})


def test_noise_that_is_missing_where_it_is_hard_gives_no_gain() -> None:
    dataset = hard_rows_without_noise()
    mine = dml.experiment(dataset, choose="last", epochs=20, width=8, lr=0.01, alpha=0.0)
    cube = sweep(mine, modalities=["image", "image+audio"], seed=range(3), progress=False)
    accuracy = cube["accuracy"].mean("seed")
    assert accuracy.sel(modalities="image") > 0.95
    assert abs(accuracy.diff("modalities")).max() < 0.03
    assert mine.scored == "Scored on 100 of 200 test rows, those with image and audio."
    assert dml.EXPERIMENT.scored == "" and scored_on(dataset) == "" and scored_on(None) == ""


@pytest.mark.parametrize("paper", ["dml", "cox", "synergy", "uml", "wma", "cross"])
def test_every_papers_row_says_on_how_many_rows_its_arms_are_scored(paper: str) -> None:
    """Also where a second claim takes what the first has computed, and of no more rows than its own sweeps."""
    dataset = hard_rows_without_noise()
    if paper == "cox":
        dataset = with_a_third(dataset)
    made = {
        "dml": lambda: dml.experiment(dataset, choose="last", epochs=1, width=4),
        "cox": lambda: CoxWorld(dataset).experiment(perceptor="given", steps=5, width=4, connect_steps=2),
        "synergy": lambda: synergy.experiment(kinds(dataset, image="image", audio="audio"), steps=2),
        "uml": lambda: uml.experiment(dataset, target="audio", auxiliary="image", steps=2),
        "wma": lambda: wma.experiment(dataset),
        "cross": lambda: xl.bench(dataset, epochs=1),
    }[paper]()
    names = {"cox": "image and audio and third", "uml": "audio"}.get(paper, "image and audio")
    said = f"Scored on 100 of 200 test rows, those with {names}."
    assert made.scored == said
    if paper not in ("dml", "uml"):
        return  # the sentence's way into a row is one for all; two show it

    def measure(c: Conditions) -> Measured:
        found = c.once("arms", lambda: c.sweep(made))["accuracy"].values
        return gain(found + 0.01 * np.arange(len(found)), note="A control.")

    conditions = Conditions(dataset, seeds=(0, 1))
    claims = [Claim(f"mine.{k}", "Two heads are better.", "nowhere", "", measure) for k in "ab"]
    assert [claim.judged(conditions.of(claim, (0, 1))).note for claim in claims] == [f"A control. {said}"] * 2
    other = Claim("mine.c", "One is enough.", "nowhere", "", lambda c: gain(np.array([1.0, 1.1]), note="None."))
    assert other.judged(conditions.of(other, (0, 1))).note == "None."


@pytest.mark.parametrize("row", ["dml.T1", "dml.R", "uml.S", "uml.TR"])
def test_a_row_without_a_sweep_says_on_how_many_rows_too(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from xmodal_lab.papers.dml.claims import gains
    from xmodal_lab.papers.uml.claims import pretraining

    def trained(_: Dataset, s: object, **more: object) -> SimpleNamespace:
        return SimpleNamespace(accuracy=0.5 + 0.01 * s.seed + 0.001 * len(repr(s)))  # type: ignore[attr-defined]

    def retrieved(
        data: Dataset, seeds: list[int], arms: Sequence[str] = ("SML", "DML", "DML, random clusters"), **more: object
    ) -> pd.DataFrame:
        return pd.DataFrame(
            [
                {
                    "seed": s,
                    "task": task,
                    "k": 1,
                    "arm": arm,
                    "recall": 0.5 + 0.1 * (arm == "DML") + 0.01 * s * len(arm),
                }
                for s in seeds
                for task in ("there", "back")
                for arm in arms
            ]
        )

    for name in ("learn", "transfer"):
        monkeypatch.setattr(pretraining, name, trained)
    monkeypatch.setattr(gains, "retrieve", retrieved)
    dataset = hard_rows_without_noise()
    if row.startswith("uml"):  # sequences, and the first modality is the one that some rows lack
        dataset = kinds(dataset, audio="image", image="image")
    claim = measuring.known()[row]
    note = claim.judged(Conditions(dataset, seeds=(0, 1)).of(claim, (0, 1))).note
    names = "audio" if row.startswith("uml") else "image and audio"
    assert note.endswith(f"Scored on 100 of 200 test rows, those with {names}.")


def with_a_third(dataset: Dataset) -> Dataset:
    splits = {}
    for name, samples in dataset.splits.items():
        inputs = {**samples.inputs, "third": torch.flip(samples.inputs["image"], (1,))}
        splits[name] = Samples(inputs, samples.labels, present=samples.present)
    return Dataset("three", splits["train"], splits["test"], dataset.classes, None, dict.fromkeys(inputs, "vector"))


def kinds(dataset: Dataset, **of: str) -> Dataset:
    """Vectors (N, 4) as pictures of one pixel of four channels, so that a paper of pictures and sounds takes them."""

    def split(samples: Samples) -> Samples:
        inputs = {m: samples.inputs[m].reshape(-1, 1, 2, 2) for m in of}
        return Samples(inputs, samples.labels, present=samples.present)

    return Dataset("small", split(dataset.train), split(dataset.test), dataset.classes, None, of)


def test_rows_are_cut_only_where_some_lack_a_modality() -> None:
    dataset = hard_rows_without_noise()
    cut = judged_alike(dataset)
    assert (len(cut.train), len(cut.test)) == (200, 100)
    assert judged_alike(cut) is cut
    nowhere = {m: torch.zeros(100, dtype=torch.bool) if m == "audio" else p for m, p in cut.test.present.items()}
    apart = Dataset("apart", cut.train, Samples(cut.test.inputs, cut.test.labels, present=nowhere), ("a", "b"))
    assert judged_alike(apart) is apart
    assert toy() is not None and cox.EXPERIMENT.name == "cox"


@pytest.mark.parametrize("paper", ["dml", "synergy"])
def test_the_data_may_be_drawn_by_the_seed(paper: str) -> None:
    known = experiments.get(paper)
    assert known.normal is not None and known.check is not None
    own, given = (known.normal(known.settings(seed=3, data_seed=d)) for d in (None, 3))
    assert own == given and own["data_seed"] == 3, "one member, under either name"
    first, fixed, second = (
        DatasetWorld.load(known.world, known.settings(seed=s, data_seed=d)).test.inputs["image"]
        for s, d in ((3, None), (9, 3), (4, None))
    )
    assert torch.equal(first, fixed) and not torch.equal(first, second)
    with pytest.raises(ValueError, match="data_seed must be at least 0"):
        known.check(known.settings(data_seed=-1))
