"""How many words is one image worth, from two sets of embeddings of one's own (uml, Sec 4.4): one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.unpaired import Unpaired, unpaired
from ...instruments.information import ExchangeRate, exchange_rate
from ...utils import checks as check
from .method.grids import search
from .method.heads import Head
from .worlds import given as own
from .worlds import two_sets

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

# Shots of each class, as far as there are so many; the paper goes to 16 images and 15 texts (App E.4).
IMAGES, TEXTS = (1, 2, 4, 8, 16), (0, 1, 2, 5, 10, 15)
# Learning rates, among which every arm chooses on the validation images (ours).
RATES = (0.1, 0.3)


@dataclass(frozen=True, eq=False)
class Exchange:
    """What :func:`exchange` found; as text, one sentence.

    Attributes:
        found: rate, interval, fits and isolines of the embeddings as they are.
        control: the same where each class's texts are called by another class's name.
        grid: ``accuracy`` and ``permuted`` over (images, texts, seed), and the learning rates ``lr`` chosen.
        refused: why there is no rate: what ``found`` says, or that permuted texts buy as much; "" if there is one.
        about: sizes, chance, words of a text.
    """

    found: ExchangeRate
    control: ExchangeRate
    grid: xr.Dataset
    refused: str
    about: str

    @property
    def rate(self) -> float:
        """Words that one image is worth; NaN if refused."""
        return float("nan") if self.refused else self.found.rate

    @property
    def interval(self) -> tuple[float, float]:
        """Confidence interval of the rate, in words; NaN if refused."""
        return (float("nan"), float("nan")) if self.refused else self.found.interval

    def isolines(self, levels: Sequence[float] | None = None) -> pd.DataFrame:
        """Points of equal accuracy at ``levels``, see :meth:`~xmodal_lab.information.ExchangeRate.isolines`.

        Raises:
            ValueError: there is no rate, with the reason.
        """
        if self.refused:
            raise ValueError(f"there are no isolines: {self.refused}")
        return self.found.isolines(levels)

    def __str__(self) -> str:
        said = f"No exchange rate: {self.refused}" if self.refused else f"{self.found.summary()}."
        control = self.control
        beside = f"there is none: {control.refused}" if control.refused else f"{control.summary()}."
        return f"{said} With permuted texts {beside} {self.about}"


def exchange(
    images: Any, texts: Any, labels: Any, strings: Sequence[str] | None = None, *,
    words_per_text: float | None = None, pca: int | None = None, aligned: bool = False,
    image_shots: Sequence[int] = IMAGES, text_shots: Sequence[int] = TEXTS, seeds: Sequence[int] = (0, 1, 2, 3, 4),
    rates: Sequence[float] = RATES, head: Head | None = None, level: float = 0.95, split_seed: int = 0,
) -> Exchange:  # fmt: skip
    """Train heads over shots of images and of unpaired texts, and say how many words one image is worth.

    Half of each class's images are for shots; the others, in two halves, choose each arm's learning rate and measure
    it. All texts are for shots. The control calls each class's texts by another class's name: if they buy as much
    accuracy, it is not what they say, and the rate is refused.

    Args:
        images: (n, d) embeddings.
        texts: (m, e) embeddings, not paired with the images; the same space or another one.
        labels: (labels of the images (n,), labels of the texts (m,)), numbers or names; one list (n,) where text i
            belongs to image i.
        strings: the m texts themselves, whose words are counted.
        words_per_text: instead of ``strings``; 1 for a rate in texts.
        pca: bring both to so many principal components of the training rows first.
        aligned: whether both were embedded into one space, which the head then shares as it is.
        image_shots, text_shots: of each class; those that there are.
        seeds: of shots, start and batches, at least 2.
        rates: learning rates to choose from.
        head: other settings of the heads; what is named above is set by this function.
        level: of confidence.
        split_seed: of the split of the images.

    Returns:
        :class:`Exchange`, with ``rate``, ``interval``, ``control``, ``isolines(levels)``, ``grid``.

    Warns:
        UserWarning: embeddings of more than 512 numbers without ``pca``.

    Raises:
        ValueError, TypeError: embeddings and labels that do not fit; a class with fewer than 4 images; fewer than two
            different shots of either; neither strings nor words_per_text; ``aligned`` with different sizes.

    Example:
        >>> import torch
        >>> from xmodal_lab.papers import uml
        >>> of = torch.arange(60) % 3
        >>> g = torch.Generator().manual_seed(0)
        >>> x, z = (torch.eye(3, 8)[of] + 0.5 * torch.randn(60, 8, generator=g) for _ in range(2))
        >>> found = uml.exchange(x, z, of, words_per_text=5, seeds=(0, 1), image_shots=(1, 4), text_shots=(0, 5))
        >>> dict(found.grid.sizes)
        {'images': 2, 'texts': 2, 'seed': 2}
    """
    x, z, of_images, of_texts, names = two_sets.given(images, texts, labels)
    words = two_sets.words(strings, words_per_text, len(z))
    seeds = [check.integer("a seed", s, at_least=0) for s in check.listed("seeds", seeds)]
    if len(seeds) < 2:
        raise ValueError(f"an interval over seeds needs at least 2 of them, got {seeds}.")
    train, val, test = two_sets.split(of_images, names, split_seed)
    if pca is not None:
        x = two_sets.components(x, train, pca, "images")
        z = two_sets.components(z, slice(None), pca, "texts")
    two_sets.wide(x, z, pca)
    if aligned and x.shape[1] != z.shape[1]:
        raise ValueError(f"aligned embeddings share one space, got {x.shape[1]} and {z.shape[1]} numbers.")
    data = unpaired(
        {"image": (x[train], of_images[train]), "text": (z, of_texts)}, {"image": (x[test], of_images[test])},
        {"image": (x[val], of_images[val])}, names,
    )  # fmt: skip
    rows = two_sets.within("image_shots", image_shots, own.fewest(of_images[train]))
    columns = two_sets.within("text_shots", text_shots, own.fewest(of_texts))
    base = replace(head or Head(), target="image", auxiliary=("text",), projection="none" if aligned else "target")
    grid = _measured(data, base, rows, columns, seeds, rates)
    found, control, refused = _judged(grid, (rows, columns, words), level)
    chance = float(of_images[test].bincount().max()) / len(test)
    about = (
        f"{len(x)} images, {len(z)} texts of {words:.3g} words, {len(names)} classes; the commonest is "
        f"{100 * chance:.0f} % of {len(test)} test images."
    )
    return Exchange(found, control, grid, refused, about)


def _judged(grid: xr.Dataset, cells: tuple[Any, ...], level: float) -> tuple[ExchangeRate, ExchangeRate, str]:
    """Both rates, and why there is none: the fit's own reason, or texts under permuted names that buy as much."""
    found, control = (exchange_rate(grid[name], *cells, level=level) for name in ("accuracy", "permuted"))
    if found.refused:
        return found, control, found.refused
    beyond = exchange_rate(grid["accuracy"] - grid["permuted"], *cells, level=level)
    low, high = (beyond.plane if found.leads == "plane" else beyond.log).text_slope_interval
    if low > 0:
        return found, control, ""
    slope = f"slope beyond theirs {low:.3g} to {high:.3g}"
    return found, control, f"texts under permuted names buy as much accuracy ({slope}), so it is not what they say."


def _measured(
    data: Unpaired, base: Head, rows: Sequence[int], columns: Sequence[int], seeds: Sequence[int], rates: Any
) -> xr.Dataset:
    """Test accuracy over shots and seeds, each head at its best learning rate on the validation split."""
    import xarray as xr

    axes = {"images": list(rows), "texts": list(columns), "seed": list(seeds)}
    found: dict[str, Any] = {}
    for name, relation in (("accuracy", "related"), ("permuted", "permuted")):
        heads = [
            replace(base, shots=i, aux_shots=t, seed=s, relation=relation) for i in rows for t in columns for s in seeds
        ]
        best = search(data, heads, {"lr": check.listed("rates", rates)})
        shape = tuple(map(len, axes.values()))
        found[name] = (tuple(axes), np.reshape([b.accuracy for b in best.best], shape), {"long_name": "test accuracy"})
        if name == "accuracy":
            found["lr"] = (tuple(axes), np.reshape([c["lr"] for c in best.chosen], shape))
    return xr.Dataset(found, axes, {"source": "uml exchange"})  # begins with what is to be cited
