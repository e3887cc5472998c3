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
