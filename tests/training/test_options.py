"""A training option is written once: whoever takes options has all of them, with the same default and meaning."""

from __future__ import annotations

import inspect

import pytest
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.experiments.bench import TRAINING
from xmodal_lab.experiments.late_fusion import DEFAULTS
from xmodal_lab.training import Options, settings_of
from xmodal_lab.training.options import NAMES, OWN, PLAIN


def test_fit_shows_every_option() -> None:
    parameters = inspect.signature(xl.fit).parameters
    for name in NAMES:
        assert parameters[name].default == Options.__dataclass_fields__[name].default
        assert f"\n        {name}: " in str(xl.fit.__doc__)
    assert "{options}" not in str(xl.fit.__doc__) and "settings" not in parameters


def test_every_plain_option_is_a_setting_and_is_recorded() -> None:
    assert set(PLAIN) <= set(DEFAULTS) and set(PLAIN) - {"label_smoothing"} <= set(TRAINING)
    run = xl.fit(xl.LateFusion.for_dataset(ds := toy(24), width=4), ds, epochs=1)
    assert {name: run.settings[name] for name in PLAIN} == {
        k: v for k, v in settings_of(epochs=1).items() if k != "device"
    }
    assert set(OWN) == {"pairing", "share", "lr", "weight_decay", "seed", "recipe"}


def test_an_unknown_option_is_refused_before_any_work() -> None:
    with pytest.raises(TypeError, match=r"unknown option of fit\(\) 'epoch'; known: .*Did you mean 'epochs'"):
        xl.fit(None, None, epoch=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"unknown option of from_arrays\(\) 'lables'"):
        xl.Dataset.from_arrays({"x": [[0.0]]}, [0], lables=3)
