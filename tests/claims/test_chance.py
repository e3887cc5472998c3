"""A row in which no arm tells more than a guess needs an instrument that reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.claims.chance import beats, guessed_accuracy, guessed_area, over_chance
from xmodal_lab.claims.claim import Conditions
from xmodal_lab.claims.ledger import judged, measured_of
from xmodal_lab.claims.verdicts import controlled, gain, reads
from xmodal_lab.papers.synergy import claims as synergy
from xmodal_lab.papers.uml import claims as uml

READS = "needs an instrument that reads"


def dataset(counts: tuple[int, ...], seed: int = 0) -> xl.Dataset:
    """Pictures and texts of pure noise, ``counts`` rows of each class in every split."""
    g = torch.Generator().manual_seed(seed)

    def split() -> xl.Samples:
        y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        return xl.Samples({"image": torch.randn(len(y), 1, 6, 6, generator=g),
                           "text": torch.randn(len(y), 5, generator=g)}, y)  # fmt: skip

    return xl.Dataset("noise", split(), split(), tuple("abcdef"[: len(counts)]), split())


def test_chance_is_what_a_guess_stays_below_in_all_but_a_fortieth_of_draws() -> None:
    ds = dataset((30, 90))
    rng = np.random.default_rng(0)
    for even, p in ((False, 0.75), (True, 0.5)):
        drawn = rng.binomial(120, p, 200_000) / 120
        chance = guessed_accuracy(ds, even=even)
        assert np.mean(drawn > chance) <= 0.025 < np.mean(drawn >= chance)
    labels = ds.test.labels
    areas = [
        xl.metrics.auroc(torch.randn(120, generator=torch.Generator().manual_seed(k)), labels) for k in range(2000)
    ]
    assert np.mean(np.array(areas) > guessed_area(ds)) == pytest.approx(0.025, abs=0.01)


def test_a_null_at_chance_needs_an_instrument_and_one_above_is_a_finding() -> None:
    c = Conditions(dataset=dataset((54, 46)))
    null = gain(np.array([0.002, -0.003, 0.001, 0.0, 0.001]), effect=2.0)
    assert null.verdict == "smaller than printed"
    alone = np.full(5, 0.54) + np.arange(5) * 1e-3  # every seed guesses the commoner class
    found = over_chance(null, c, {"alone": alone, "with a target": alone - 0.01})
    assert found.verdict.startswith(f"{READS} (alone over chance, 64.0 %")
    assert measured_of(judged(found)).readings[0].word == "fails", "kept in the row, to be judged again"
    assert over_chance(null, c, {"alone": alone, "with a target": alone + 0.2}).verdict == "smaller than printed"
    assert over_chance(null, Conditions(), {"alone": alone}) is null, "a claim's own world is drawn anew for each seed"


def test_real_values_have_no_chance() -> None:
    values = xl.Samples({"a": torch.randn(9, 2), "b": torch.randn(9, 2)}, torch.randn(9))
    c = Conditions(dataset=xl.Dataset("values", values, values))
    null = gain(np.array([0.1, 0.2]))
    assert over_chance(null, c, {"alone": np.ones(2)}) is null
    with pytest.raises(ValueError, match="no arm has a finite score"):
        beats(null, {"alone": np.array([np.nan])}, 0.5)


def test_a_second_reading_keeps_the_headroom() -> None:
    m = reads(gain(np.array([0.001, 0.0, -0.001, 0.0, 0.0]), effect=5.0), room=1.0)
    assert m.verdict.startswith("needs headroom")
    again = beats(controlled(m, np.array([0.1, 0.2]), "over a control"), {"alone": np.array([0.98, 0.99])}, 0.5)
    assert again.room == 1.0 and again.verdict.startswith("needs headroom")


@pytest.mark.parametrize("name", ["synergy.A5", "uml.D", "uml.M", "uml.R"])
def test_claims_of_accuracy_on_labels_that_nothing_tells_need_an_instrument(name: str) -> None:
    known = {claim.id: claim for claim in (*synergy.CLAIMS, *uml.CLAIMS)}
    settings = {"steps": 20} if name.startswith("synergy") else {}
    c = Conditions(dataset=dataset((40, 40, 40)), seeds=(0, 1), settings=settings)
    found = known[name].measure(c)
    assert found.verdict.startswith(READS) and "over chance" in found.verdict
