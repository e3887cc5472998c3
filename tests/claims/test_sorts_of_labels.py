"""Claims on data of other labels than classes: measured where that makes sense, else "needs class labels"."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import xmodal_lab as xl
from xmodal_lab.claims.claim import about
from xmodal_lab.papers.wma.worlds import HEAD, head_of

G = np.random.default_rng(0)
N = 48
TAGS = G.random((N, 3)) < 0.5
VALUES = G.normal(size=N)
VIEWS = {"a": G.normal(size=(N, 4)), "b": G.normal(size=(N, 5))}


def several() -> xl.Dataset:
    seen = {m: x + TAGS[:, :1] for m, x in VIEWS.items()}
    return xl.Dataset.from_arrays(seen, TAGS.astype(int), name="tags", classes=["x", "y", "z"], val_share=0)


def real() -> xl.Dataset:
    return xl.Dataset.from_arrays({m: x + VALUES[:, None] for m, x in VIEWS.items()}, VALUES, val_share=0)


@pytest.mark.parametrize("paper", ["synergy", "cox", "uml", "dml"])
def test_what_needs_classes_says_so_before_anything_is_trained(paper: str, monkeypatch) -> None:
    monkeypatch.setattr("xmodal_lab.claims.claim.sweep", lambda *_, **__: pytest.fail("something was trained"))
    asked = [c.id for c in xl.claims.known(paper).values() if c.trained and c.tasks]
    assert len(asked) > 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = xl.claims.run(asked, dataset=real(), seeds=range(5), progress=False)
    wanted = "class labels" if paper != "dml" else "class labels or several classes a row"
    assert set(rows.verdict) == {f"needs {wanted}"} and set(rows.note) == {"The labels of mine are real values."}


def test_dml_is_measured_where_a_row_has_several_classes() -> None:
    rows = xl.claims.run(
        "dml.A", dataset=several(), seeds=range(5), settings={"epochs": 12, "lr": 0.01}, progress=False
    )
    row = rows.iloc[0]
    assert "needs" not in row.verdict and row.verdict != "not measured" and row.n == 5, row.note


def test_wma_takes_the_head_that_the_labels_ask_for() -> None:
    assert head_of(several()) == "multilabel" and head_of(real()) == "regression"
    assert torch.equal(HEAD["multilabel"].targets(several().train), several().train.labels.float())
    two = xl.Dataset.from_arrays(VIEWS, G.normal(size=(N, 2)), val_share=0)
    with pytest.raises(ValueError, match="a regression head tells one real value a row; 'mine' has 2"):
        head_of(two)


def test_claims_of_ones_own_say_what_they_are_about() -> None:
    row = xl.claims.Claim("mine.first", "It holds.", "here", "", lambda c: pytest.fail("measured"))
    (asked,) = about([row], "labels")
    assert about([row], "labels", but=["mine.first"]) == (row,) and row.tasks == ()
    found = xl.claims.run(asked, dataset=real(), progress=False).iloc[0]
    assert found.verdict == "needs several classes a row"
    with pytest.raises(ValueError, match="unknown sort of labels in tasks 'words'"):
        about([row], "words")


def test_papers_of_classifiers_refuse_several_classes_a_row_in_words() -> None:
    from xmodal_lab.papers import synergy, uml

    with pytest.raises(ValueError, match="UML's shared head needs class labels; these are several classes a row"):
        uml.experiment(several())
    with pytest.raises(ValueError, match="shots are counted by class; these labels are several classes a row"):
        xl.sweep(xl.bench(several()), a_shots=2, epochs=1, progress=False)
    kinds = {"a": "image", "b": "audio"}
    seen = {"a": np.abs(G.normal(size=(N, 4, 4))) / 9, "b": G.normal(size=(N, 6))}
    ds = xl.Dataset.from_arrays(seen, TAGS.astype(int), classes=["x", "y", "z"], kinds=kinds, val_share=0)
    with pytest.raises(ValueError, match="'mine' needs one class for every training row"):
        xl.sweep(synergy.experiment(ds), steps=5, progress=False)


def test_cox_refuses_several_classes_a_row_in_words() -> None:
    from xmodal_lab.papers import cox

    views = {**VIEWS, "c": G.normal(size=(N, 3))}
    ds = xl.Dataset.from_arrays(views, TAGS.astype(int), classes=["x", "y", "z"], val_share=0)
    for make in (lambda: cox.of_dataset(ds, out="c"), lambda: cox.of_views(views, TAGS, out="c")):
        with pytest.raises(ValueError, match=r"cox needs class labels .*these are several classes a row"):
            make()


def test_rows_that_are_never_complete_are_filled_as_the_error_says() -> None:
    views = {m: x.copy() for m, x in VIEWS.items()}
    views["a"][:30:2], views["b"][1:30:2] = np.nan, np.nan
    split = {"train": slice(0, 30), "test": slice(30, N)}
    ds = xl.Dataset.from_arrays(views, np.arange(N) % 4 // 2, split=split)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    with pytest.raises(ValueError, match=r"use pairing=xl\.Pairing\(rows='all'\)"):
        xl.fit(net, ds, epochs=1)
    assert xl.fit(net, ds, epochs=1, pairing=xl.Pairing(rows="all")).score >= 0


def test_of_real_values_there_is_no_accuracy_and_no_loss_in_nats() -> None:
    net = xl.LateFusion.for_dataset(real(), architecture="mlp")
    looked = xl.look(net, real().test, landscape=3, missing=0.5)
    assert "units" not in looked.loss.attrs and "units" not in looked.landscape.attrs
    assert looked.accuracy.attrs["long_name"] == "minus squared error"
    assert looked.missing.attrs["long_name"] == "minus squared error, 50% of the rows without"
    cube = xl.sweep(xl.bench(real()), epochs=1, progress=False)
    assert not cube.loss.attrs.get("units") and cube.accuracy.attrs["long_name"] == "minus squared error"
    classes = xl.look(xl.LateFusion.for_dataset(several(), architecture="mlp"), several().test)
    assert classes.loss.attrs["units"] == "nats" and classes.accuracy.attrs["long_name"] == "accuracy"


def test_a_dataset_with_too_few_modalities_is_told_before_anything_is_trained(monkeypatch) -> None:
    monkeypatch.setattr("xmodal_lab.claims.claim.sweep", lambda *_, **__: pytest.fail("something was trained"))
    one = xl.Dataset.from_arrays({"a": VIEWS["a"]}, np.arange(N) % 2, val_share=0)
    rows = xl.claims.run(["dml.A", "dml.H", "cox.S"], dataset=one, seeds=range(5), progress=False)
    assert list(rows.verdict) == [f"needs a dataset with {n} modalities" for n in (2, 2, 3)]
    assert set(rows.note) == {"mine has a."}
