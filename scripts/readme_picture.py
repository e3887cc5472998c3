"""Draw the README's picture: the loss around four trained solutions, side by side.

python scripts/readme_picture.py docs/landscapes.png
"""

from __future__ import annotations

import sys

import torch
import xarray as xr
from xmodal_widgets import Contour, Surface, explore

import xmodal_lab as xl

ARMS = {
    "picture only": ("image", "fixed"),
    "sound only": ("audio", "fixed"),
    "both, true pairs (SML)": (("image", "audio"), "fixed"),
    "both, same-class pairs (DML)": (("image", "audio"), "same_class"),
}


def main(path: str) -> None:
    torch.set_num_threads(1)
    ds = xl.load("digits", modalities=("image", "audio"))
    some = ds.test.subset(range(300))
    planes = []
    for modalities, pairing in ARMS.values():
        net = xl.LateFusion.for_dataset(ds, modalities, "concat_linear", architecture="mlp")
        run = xl.fit(net, ds, pairing=pairing, epochs=40)
        planes.append(xl.landscape.plane(xl.loss_on(run.model, some), points=41))
    cube = xr.concat(planes, "arm").assign_coords(arm=list(ARMS))
    cube.attrs["long_name"] = "test loss"
    view = explore(cube, [Surface("loss", col="arm", log=True), Contour("loss", col="arm", fit=True)])
    view.figure().savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1])
