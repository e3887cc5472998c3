from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.data import pairing
from xmodal_lab.data.pairing import MODES, Pairing


def world(labels: list[int], image: list[bool] | None = None) -> xl.Samples:
    n = len(labels)
    present = {} if image is None else {"image": torch.tensor(image)}
    inputs = {"image": torch.arange(n).view(n, 1).float(), "audio": torch.arange(n).view(n, 1).float()}
    return xl.Samples(inputs, torch.tensor(labels), present)


labels_lists = st.lists(st.integers(0, 4), min_size=2, max_size=40)


@given(labels_lists, st.floats(0, 1), st.integers(0, 1000), st.integers(0, 50), st.booleans())
def test_same_class_never_crosses_labels(
    labels: list[int], share: float, seed: int, epoch: int, everything: bool
) -> None:
    samples = world(labels, [i % 3 != 1 or labels.index(c) == i for i, c in enumerate(labels)])
    pairing = Pairing("same_class", share, rows="all" if everything else "complete")
    pairs = pairing.draw(samples, seed=seed, epoch=epoch)
    for index in pairs.index.values():
        assert samples.labels[index].tolist() == pairs.labels(samples).tolist()


@given(labels_lists, st.integers(0, 1000), st.booleans())
def test_partners_have_the_modality(labels: list[int], seed: int, everything: bool) -> None:
    image = [i % 2 == 0 or labels.index(c) == i for i, c in enumerate(labels)]
    samples = world(labels, image)
    pairs = Pairing("shuffled", rows="all" if everything else "complete").draw(samples, ("audio", "image"), seed=seed)
    for m, index in pairs.index.items():
        assert bool(samples.present[m][index].all())


@given(labels_lists, st.integers(0, 1000))
def test_noisy_always_crosses_labels(labels: list[int], seed: int) -> None:
    samples = world(labels)
    if len(set(labels)) == 1:
        with pytest.raises(ValueError, match="no partner of another class"):
            Pairing("noisy").draw(samples, seed=seed)
        return
    pairs = Pairing("noisy").draw(samples, seed=seed)
    assert not bool((samples.labels[pairs.index["audio"]] == pairs.labels(samples)).any())


@given(labels_lists, st.integers(0, 1000), st.sampled_from(["same_class", "shuffled"]))
def test_own_false_never_meets_its_own_partner(labels: list[int], seed: int, mode: str) -> None:
    samples = world(labels)
    counts = torch.bincount(samples.labels)
    if mode == "same_class" and 1 in counts.tolist():
        with pytest.raises(ValueError, match="no partner of the same class"):
            Pairing(mode, own=False).draw(samples, seed=seed)
        return
    pairs = Pairing(mode, own=False).draw(samples, seed=seed)
    assert not bool((pairs.index["audio"] == pairs.rows).any())


@given(st.integers(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_shares_are_nested(seed: int, one: float, other: float) -> None:
    samples = world([0, 1] * 30)
    small, large = sorted((one, other))
    draw = {s: Pairing("shuffled", s, own=False).draw(samples, seed=seed).index["audio"] for s in (small, large)}
    moved = {s: index != torch.arange(60) for s, index in draw.items()}
    assert bool((moved[small] <= moved[large]).all())
    assert draw[small][moved[small]].tolist() == draw[large][moved[small]].tolist()


def test_share_is_the_share_of_drawn_pairs() -> None:
    samples = world([0] * 4000)
    moved = Pairing("shuffled", 0.3, own=False).draw(samples, seed=1).index["audio"] != torch.arange(4000)
    assert float(moved.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert not bool((Pairing("shuffled", 0.0).draw(samples, seed=1).index["audio"] != torch.arange(4000)).any())


def test_draws_are_uniform_over_the_class() -> None:
    samples = world([0] * 4 + [1] * 2)
    counts = torch.zeros(6)
    for epoch in range(800):
        counts += torch.bincount(Pairing("same_class").draw(samples, seed=3, epoch=epoch).index["audio"], minlength=6)
    # Each of the 4 (2) members is drawn 800 times in the mean, sd 24.5 (20): five sd allowed.
    assert counts.tolist() == pytest.approx([800] * 6, abs=125)


@given(labels_lists, st.integers(0, 1000), st.booleans())
def test_permuted_meets_every_partner_as_often_as_any_other(labels: list[int], seed: int, everything: bool) -> None:
    image = [i % 3 != 1 or labels.index(c) == i for i, c in enumerate(labels)]
    samples = world(labels, image)
    pairing = Pairing("permuted", rows="all" if everything else "complete")
    pairs = pairing.draw(samples, ("audio", "image"), seed=seed)
    assert samples.labels[pairs.index["image"]].tolist() == pairs.labels(samples).tolist()
    met = torch.bincount(pairs.index["image"], minlength=len(labels))
    for c in set(labels):
        pool = (samples.labels == c) & samples.present["image"]
        assert met[pool].max() - met[pool].min() <= 1
        assert not met[~samples.present["image"]].any()


def test_permuted_is_drawn_anew_and_every_order_is_as_likely() -> None:
    samples = world([0, 0, 0])
    seen = [tuple(Pairing("permuted").draw(samples, seed=1, epoch=e).index["audio"].tolist()) for e in range(1200)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 6 and min(counts) > 140 and max(counts) < 260  # 200 in the mean, sd 13


def test_permuted_needs_a_partner_and_its_own_may_be_it() -> None:
    with pytest.raises(ValueError, match="'permuted' may give a row its own partner"):
        Pairing("permuted", own=False)
    with pytest.raises(ValueError, match="no partner of the same class"):
        Pairing("permuted", rows="all").draw(world([0, 1, 1], [False, True, True]), ("audio", "image"))


def test_drawn_anew_each_epoch_and_the_same_for_the_same_seed() -> None:
    samples = world([0, 1] * 50)
    first, again = (Pairing("same_class").draw(samples, seed=5, epoch=2).index["audio"] for _ in range(2))
    other = Pairing("same_class").draw(samples, seed=5, epoch=3).index["audio"]
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_fixed_is_the_row_itself_and_all_rows_recycles() -> None:
    samples = toy(n=12, absent=True).train
    fixed = Pairing("fixed").draw(samples)
    assert fixed.rows.tolist() == list(range(6))
    assert fixed.index["audio"].tolist() == fixed.rows.tolist()
    every = Pairing("fixed", rows="all").draw(samples, epoch=0)
    later = Pairing("fixed", rows="all").draw(samples, epoch=9)
    assert every.rows.tolist() == list(range(12))
    assert every.index["image"].tolist() == later.index["image"].tolist()
    assert set(every.index["image"].tolist()) <= set(range(6))


@pytest.mark.parametrize("mode", MODES)
def test_a_single_modality_always_meets_itself(mode: str) -> None:
    samples = world([0, 1, 0, 1])
    assert Pairing(mode).draw(samples, ("audio",)).index["audio"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pairing("same-class"), "unknown pairing 'same-class'; known: 'fixed', 'same_class'"),
        (lambda: Pairing("fixed", 1.5), "share must lie between 0 and 1"),
        (lambda: Pairing("fixed", float("nan")), "share must be finite"),
        (lambda: Pairing("fixed", rows="some"), "unknown rows"),
        (lambda: Pairing("same_class").draw(world([0, -1])), "labels are unknown"),
        (lambda: Pairing("fixed").draw(world([0, 1], [False, False])), "no row has all of image, audio"),
        (lambda: Pairing("fixed", rows="all").draw(world([0, 1], [True, False])), "no partner of the same class"),
        (lambda: Pairing("fixed").draw(world([0, 1]), ("sound",)), "unknown modality 'sound'"),
        (lambda: Pairing("fixed").draw(world([0, 1]), seed=-1), "seed must be at least 0"),
    ],
)
def test_bad_pairings_say_what_is_wrong(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_real_valued_labels_can_only_be_shuffled() -> None:
    samples = xl.Samples({"a": torch.ones(4, 1), "b": torch.ones(4, 1)}, torch.rand(4))
    assert len(Pairing("shuffled").draw(samples)) == 4
    with pytest.raises(ValueError, match="needs class labels"):
        Pairing("same_class").draw(samples)


def test_pools_are_kept_between_epochs_and_forgotten_when_labels_change(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, made = world([0, 0, 1, 1] * 5), []
    pool = pairing._Pool

    class Counted(pool):  # type: ignore[misc, valid-type]
        def __init__(self, *args: object) -> None:
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(pairing, "_Pool", Counted)
    for epoch in range(5):
        Pairing("same_class").draw(samples, epoch=epoch)
    assert len(made) == 1
    samples.labels[:] = 1 - samples.labels
    samples.labels[0] = 0
    pairs = Pairing("same_class").draw(samples)
    assert len(made) == 2
    assert samples.labels[pairs.index["audio"]].tolist() == samples.labels.tolist()
    for seed in range(100):
        Pairing("fixed", rows="all").draw(samples, seed=seed)
    assert len(pairing._KNOWN[samples]) <= pairing._KEPT


def test_with_several_classes_a_row_partners_have_the_same_set_of_classes() -> None:
    sets = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1]]).bool().repeat(5, 1)
    views = {"a": torch.rand(30, 2), "b": torch.rand(30, 2)}
    samples = xl.Samples(views, sets)
    for mode in ("same_class", "permuted"):
        pairs = xl.Pairing(mode).draw(samples, seed=0)
        assert torch.equal(sets[pairs.index["b"]], sets[pairs.rows])
        assert bool((pairs.index["b"] != pairs.rows).any())
    wrong = xl.Pairing("noisy").draw(samples, seed=0)
    assert bool((sets[wrong.index["b"]] != sets[wrong.rows]).any(1).all())
    here = torch.ones(30, dtype=torch.bool)
    here[4:8] = False
    gaps = xl.Samples(views, sets, {"b": here})
    filled = xl.Pairing("fixed", rows="all").draw(gaps, seed=0)
    assert bool(here[filled.index["b"]].all()) and torch.equal(sets[filled.index["b"]], sets[filled.rows])


@pytest.mark.parametrize("rows", ["complete", "all"])
@pytest.mark.parametrize(
    ("mode", "own"), [(mode, own) for mode in MODES for own in (True, False) if own or mode != "permuted"]
)
def test_members_draw_together_what_each_draws_alone(
    mode: str, own: bool, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = xl.load("digits", images_per_class=13, clips_per_class=13).train
    seen = [train.modalities, train.modalities, train.modalities[:2], train.modalities[1:], train.modalities[:1]]
    plans = [xl.Pairing(mode, share=share, own=own, rows=rows) for share in (0.0, 1 / 3, 0.5, 1.0, 0.1)] * 2
    for at_once in (pairing._AT_ONCE, 1):  # all in one piece, and one by one
        monkeypatch.setattr(pairing, "_AT_ONCE", at_once)
        found = pairing.draw_together(plans, train, seen * 2, seeds=range(10), epoch=3)
        for k, plan in enumerate(plans):
            alone = plan.draw(train, (seen * 2)[k], seed=k, epoch=3)
            assert torch.equal(found[k].rows, alone.rows) and list(found[k].index) == list(alone.index)
            assert all(torch.equal(found[k].index[m], where) for m, where in alone.index.items())
