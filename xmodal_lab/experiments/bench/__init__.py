"""The bench: one recipe and its looks as an experiment, so that a question can be moved through all five papers.

``xl.sweep("bench", share=[0, 1], a_latent=[0, 0.3], seed=range(5))`` asks the shipped one; ``xl.bench(my_dataset,
recipe=my_recipe, looks={"density": True})`` makes one of your own, for ``xl.sweep(mine, my_weight=[0, 1], store=…)``.

A setting of the recipe is a setting of the experiment. ``<modality>_shots`` limit how many training rows of each class
have the first modality, and how many unpaired rows of the auxiliary one are used; ``isolines`` trains the whole grid of
both under the present recipe.
"""

from __future__ import annotations

from .bench import Bench as Bench
from .experiment import EXPERIMENT as EXPERIMENT
from .experiment import ISOLINES as ISOLINES
from .experiment import LOOKS as LOOKS
from .experiment import bench as bench
from .setup import TRAINING as TRAINING
from .shots import with_shots as with_shots
