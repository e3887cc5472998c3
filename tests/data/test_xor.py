"""The XOR dial: what each modality tells, alone and with the other."""

from __future__ import annotations

import pytest
import torch
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.data import xor as parity


def world(n: int = 400, absent: bool = False) -> xl.Dataset:
    """Four classes; the image is its class number, the audio too, so that a label can be read off."""
    ds = toy(n=n, classes=4, absent=absent)

    def split(s: xl.Samples) -> xl.Samples:
        inputs = {m: s.labels.float()[:, None].expand(-1, 3).clone() for m in ("image", "audio")}
        return xl.Samples(inputs, s.labels, s.present)

    return xl.Dataset(
        "numbers", split(ds.train), split(ds.test), ds.classes, val=split(ds.val), kinds={"image": "vector"}
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_both_tell_the_label_always_and_one_alone_in_the_share_it_says(share: float) -> None:
    made = parity.xor(world(), share, seed=1)
    assert made.classes == ("same", "different")
    for split in made.splits.values():
        image, audio = (split.inputs[m][:, 0].long() for m in ("image", "audio"))
        assert torch.equal((image >= 2) ^ (audio >= 2), split.labels.bool())
        for one in (image, audio):
            best = sum(int(torch.bincount(split.labels[one == c], minlength=2).max()) for c in range(4)) / len(split)
            assert best == pytest.approx(1 - share / 2, abs=0.08)  # sd .025 at 400 rows
        cued = split.latents["cued"]
        assert float((~cued).double().mean()) == pytest.approx(share, abs=0.08)
        assert bool((image[cued] % 2 == split.labels[cued]).all())


def test_rows_that_lack_a_modality_give_none_and_the_seed_decides() -> None:
    ds = world(absent=True)
    made, again, other = (parity.xor(ds, seed=s) for s in (0, 0, 1))
    assert bool(made.train.present["image"].all())
    assert len(made.train) == 400
    assert torch.equal(made.train.labels, again.train.labels)
    assert not torch.equal(made.train.labels, other.train.labels)


def test_dml_loses_what_only_the_combination_tells() -> None:
    ds = parity.xor(world())
    nets = [xl.LateFusion.for_dataset(ds, fusion="concat_mlp") for _ in range(2)]
    sml, dml = (
        xl.fit(net, ds, pairing=p, epochs=25, lr=1e-2).score
        for net, p in zip(nets, ("fixed", "same_class"), strict=True)
    )
    assert sml > 0.95
    assert abs(dml - 0.5) < 0.15


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parity.xor(toy(), 1.0), "two modalities and four classes; 'toy' has 2 and 3"),
        (lambda: parity.xor(world(), 1.2), "share must lie between 0 and 1"),
        (lambda: parity.xor(world(), seed=-1), "seed must be at least 0"),
        (lambda: xl.sweep("dml", xor=2.0, progress=False), "xor must lie between 0 and 1"),
    ],
)
def test_bad_dials(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
