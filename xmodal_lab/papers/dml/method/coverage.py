"""When does DML gain? A map over what decides it: coverage, noise and the stopping rule (ours).

Where fixed pairs leave most clips unseen, drawing partners anew shows a net more data; where they leave none, it only
makes the pairs noisier. How much of that is left at the end hangs on when training stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ....sweeps import sweep
from ....utils import checks as check
from ..member import EXPERIMENT

if TYPE_CHECKING:
    import xarray as xr

STOPS = ("best on validation", "last 5 epochs")
LAST = 5


def gain_map(
    clips: Sequence[int] = (25, 50, 160),
    noise: Sequence[float] = (0.0, 1.0, 2.0),
    *,
    images: int = 25,
    epochs: int = 60,
    seeds: Sequence[int] = tuple(range(5)),
    **options: Any,
) -> xr.Dataset:
    """DML - SML on the digits world, over the share of clips that fixed pairs show, the noise, and the stopping rule.

    All nets train at once; both stopping rules read the same runs. 90 nets by default, about 0.5 s each on one core.

    Args:
        clips: per class, at least ``images``; coverage is images / clips.
        noise: of the sounds, in their own standard deviation.
        images: per class, so many fixed pairs.
        epochs: of training.
        seeds: of nets, batches and pairs.
        options: further settings of the experiment, or of ``xl.sweep`` (``store=``, ``progress=``).

    Returns:
        ``sml``, ``dml`` and ``gain`` (test accuracy, in [0, 1]) over ``coverage``, ``noise``, ``stop`` and ``seed``.

    Raises:
        ValueError: fewer clips than images; fewer than ``LAST`` epochs; what ``xl.sweep`` refuses.

    Example:
        >>> from xmodal_lab.papers import dml
        >>> found = dml.gain_map(clips=(10,), noise=(1.0,), images=10, epochs=5, seeds=(0, 1), progress=False)
        >>> dict(found["gain"].sizes)
        {'coverage': 1, 'noise': 1, 'stop': 2, 'seed': 2}
    """
    import xarray as xr

    images, epochs = check.integer("images", images, at_least=1), check.integer("epochs", epochs, at_least=LAST)
    clips = [check.integer("clips", n, at_least=images) for n in check.listed("clips", clips)]
    noise = [check.non_negative("noise", v) for v in check.listed("noise", noise)]
    cube = sweep(
        EXPERIMENT, clips_per_class=clips, audio_noise=noise, alpha=[0.0, 1.0], seed=check.listed("seeds", seeds),
        images_per_class=images, epochs=epochs, choose="best", **options,
    )  # fmt: skip
    late = cube["accuracy_curve"].isel(epoch=slice(-LAST, None)).mean("epoch")
    both = xr.concat([cube["accuracy"], late], xr.Variable("stop", list(STOPS)))
    both = both.rename(clips_per_class="coverage", audio_noise="noise")
    both = both.assign_coords(coverage=[images / n for n in clips]).transpose("coverage", "noise", "stop", "seed", ...)
    found = xr.Dataset({name: both.sel(alpha=a, drop=True) for name, a in (("sml", 0.0), ("dml", 1.0))})
    found["gain"] = found["dml"] - found["sml"]
    for name, label in (("sml", "SML"), ("dml", "DML"), ("gain", "DML - SML")):
        found[name].attrs = {"long_name": f"{label}, test accuracy"}
    found["coverage"].attrs = {"long_name": "share of clips that fixed pairs show"}
    found["noise"].attrs = {"long_name": "noise of the sounds, in their sd"}
    return found
