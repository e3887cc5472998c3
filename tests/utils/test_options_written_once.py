"""Options that are written once reach every function that takes them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from xmodal_lab.utils import checks as check
from xmodal_lab.utils.options import check_fields, names, option, takes


@dataclass(frozen=True)
class Cut:
    size: int = option(64, "side of a picture.", lambda name, value: check.integer(name, value, at_least=1))
    share: float = option(0.2, "of the rows.", check.share)
    seed: int = option(0, "draws the rows; " + "so that long meanings are folded, " * 4 + "it ends here.")

    def __post_init__(self) -> None:
        check_fields(self)


@takes(Cut, "share", size=28)
def load(how: Cut, *, name: str = "mine") -> dict[str, Any]:
    """Load it.

    Args:
        size: side of ours.
        {options}
        name: of the set.
    """
    return {"name": name, **vars(how)}


def test_keywords_make_the_options() -> None:
    assert load() == {"name": "mine", "size": 28, "share": 0.2, "seed": 0}
    assert load(seed=3, name="x")["seed"] == 3 and names(Cut) == ("size", "share", "seed")


def test_signature_and_docstring_show_them_once() -> None:
    assert (
        str(inspect.signature(load))
        == "(*, size: 'int' = 28, seed: 'int' = 0, name: 'str' = 'mine') -> 'dict[str, Any]'"
    )
    doc = inspect.getdoc(load) or ""
    assert "size: side of ours." in doc and "side of a picture" not in doc, "the function says it better"
    assert "    seed: draws the rows;" in doc and "{options}" not in doc and max(map(len, doc.splitlines())) <= 120


@pytest.mark.parametrize("wrong", ["share", "sead"])
def test_what_is_not_taken_is_refused(wrong: str) -> None:
    with pytest.raises(TypeError, match=rf"unknown option of load\(\) '{wrong}'; known: 'size', 'seed', 'name'"):
        load(**{wrong: 1})


def test_fields_are_checked_as_they_come() -> None:
    with pytest.raises(ValueError, match="size must be at least 1"):
        load(size=0)
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        Cut(share=2.0)
