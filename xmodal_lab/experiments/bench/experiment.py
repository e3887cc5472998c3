"""A bench as an experiment: the shipped one, and one of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...data.samples import Dataset
from ...instruments.look import Looks, looks_of
from ...sweeps.experiment import Experiment
from ...training import recipes
from ...training.recipe import Recipe
from ...training.terms import Alignment, Latent, Shared, Task, Term
from ...utils import checks as check
from .bench import Bench
from .setup import WORLD

# What the shipped cube is asked: everything that a user must see on one screen (ours).
LOOKS = Looks(landscape=11, density=True, eigenvalues=3, lpf=0.1, f_gap=(0.5,), gap=True, missing=0.5, noise=1.0)
ISOLINES = {"image": (1, 4, 16), "text": (0, 1, 4, 12)}


def bench(
    dataset: Dataset | None = None,
    recipe: Recipe | None = None,
    looks: Looks | Mapping[str, Any] | None = None,
    *,
    isolines: Mapping[str, Sequence[int]] | None = None,
    checkpoints: int = 0,
    trajectory: int = 0,
    name: str = "bench",
    **defaults: Any,
) -> Experiment:
    """One recipe and its looks, as an experiment.

    Args:
        dataset: of your own; the digits world with images, sounds and sentences when not given.
        recipe: whose settings become axes; when not given the task, a latent target, alignment and unpaired rows,
            all with weight 0, on pairs of the same class with share 0.
        looks: options of :func:`~xmodal_lab.look`, taken on the test split; accuracy and loss alone when not given.
        isolines: modality -> shots, for the two whose exchange is asked: the classified one and the auxiliary one.
            Each member then trains a net in every cell of the grid too: ``accuracy_at_shots``.
        checkpoints: at so many moments of training, evenly, ``curve_density``, ``curve_w2`` with its sampling bias
            ``curve_w2_bias``, ``curve_lambda`` and ``curve_loss``.
        trajectory: points along a side of the plane that training took, with the ``path``; needs checkpoints. Both
            axes run from -1 to 1, over the plane, so that planes of all members have the same coordinates. The
            looks' ``tolerance`` holds for it too.
        name: what cubes and stores call it.
        defaults: of settings, instead of the usual ones.

    Returns:
        An experiment for :func:`~xmodal_lab.sweep` and for explorers. Variables: ``accuracy``, ``loss``,
        ``val_accuracy``, ``accuracy_curve`` and ``train_loss_curve`` (epoch), and those of the looks.

    Raises:
        ValueError, TypeError: a recipe, look or setting that makes no sense; a name that two of them claim.

    Example:
        >>> import xmodal_lab as xl
        >>> quick = xl.bench(looks={"gap": True}, epochs=1)
        >>> cube = xl.sweep(quick, a_align=[0.0, 1.0], progress=False)
        >>> cube.w2.dims, bool(cube.w2.notnull().all())
        (('a_align',), True)
    """
    if dataset is not None:
        check.instance("dataset", dataset, Dataset, "or None for the digits world")
    if recipe is not None:
        check.instance("recipe", recipe, Recipe, "such as xl.recipes.dml()")
    chosen = looks_of(looks)
    made = Bench(
        dataset, _default_recipe(dataset) if recipe is None else recipe, chosen, dict(isolines or {}),
        check.integer("checkpoints", checkpoints, at_least=0), check.integer("trajectory", trajectory, at_least=0),
        name,
    )  # fmt: skip
    return made.experiment(**defaults)


def _default_recipe(dataset: Dataset | None) -> Recipe:
    """The task and every paper's term with weight 0, as far as the dataset has the modalities for them."""
    names = WORLD if dataset is None else dataset.modalities
    terms: list[Term] = [Task()]
    if len(names) > 1:
        last = names[-1]
        terms += [Latent(last, weight=0.0), Alignment(weight=0.0, target=0.0), Shared(last, weight=0.0)]
    return Recipe(tuple(terms), recipes.dml(0.0).pairing, name="bench")


EXPERIMENT = bench()
