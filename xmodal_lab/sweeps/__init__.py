"""Sweeps: an experiment over a grid of settings gives one labelled cube.

    cube = sweep("dml", alpha=[0, 0.5, 1], pairing=["fixed", "same_class"], seed=range(5), store="runs/dml.zarr")
    cube["accuracy"].sel(pairing="same_class").mean("seed")

The same line runs on a laptop (small nets of one shape train together), on all its cores,
on several GPUs (``executor=Devices()``), or on a cluster: ``executor=client.get_executor()`` hands the members to dask.
On Slurm:

    cluster = dask_jobqueue.SLURMCluster(cores=4, processes=1, memory="16GB", walltime="04:00:00", interface="ib0")
    cluster.scale(jobs=8)
    client = distributed.Client(cluster)
    cube = sweep("dml", alpha=[0, 0.5, 1], store="runs/dml.zarr", executor=client.get_executor())

where ``interface`` is the network by which jobs reach the machine that this runs on (``ip addr`` names them).

joblib's processes, ``joblib.externals.loky.get_reusable_executor(8)``, take functions of a notebook too. What is
finished stands in the store: with a worker, the scheduler or this process gone, the same call goes on from there.
"""

from __future__ import annotations

from .circumstances import commit as commit
from .devices import Devices as Devices
from .experiment import Experiment as Experiment
from .experiment import Variable as Variable
from .experiment import listens as listens
from .experiment import tell as tell
from .facts import StoreError as StoreError
from .sweeping import Labelled as Labelled
from .sweeping import band as band
from .sweeping import choose as choose
from .sweeping import environment as environment
from .sweeping import names as names
from .sweeping import sweep as sweep
from .sweeping import trainer as trainer
