"""Draw the README's moving picture from the dml cube that ships with the project: α slides, three landscapes follow.

python scripts/readme_movie.py docs/slider.gif
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from xmodal_widgets.explorers import dml

PAIRINGS = {
    "same_class": "partners of the same class",
    "shuffled": "any partners",
    "noisy": "partners of other classes",
}
MOST = 400_000  # bytes of the file
FRAMES, COLOURS, MILLISECONDS = 17, 40, 170


def main(path: str) -> None:
    cube = dml.load_cube().sel(modalities="image+audio", fusion="concat_linear").mean("seed")
    shown = cube[["landscape", "accuracy"]].sel(span=cube.span.values.min(), pairing=list(PAIRINGS))
    steps = np.linspace(0, 1, FRAMES)
    shown = shown.interp(alpha=np.concatenate([steps, steps[-2:0:-1]]))
    low, high = (float(np.log(shown.landscape.quantile(q))) for q in (0, 0.98))
    pictures = [frame(shown.isel(alpha=i), low, high) for i in range(shown.sizes["alpha"])]
    some = [pictures[0], pictures[FRAMES // 2], pictures[FRAMES - 1]]
    palette = Image.fromarray(np.concatenate([np.asarray(p) for p in some])).quantize(COLOURS)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True)
    size = Path(path).stat().st_size
    print(f"{path}: {len(frames)} frames, {size // 1000} kB")
    if size > MOST:
        raise SystemExit(f"{size} bytes are more than {MOST}; take fewer FRAMES or COLOURS.")


def frame(at: object, low: float, high: float) -> Image.Image:
    """One setting of the slider: three surfaces and the slider itself."""
    figure = plt.figure(figsize=(8, 2.7), dpi=90, facecolor="white")
    a, b = np.meshgrid(at.a, at.b, indexing="ij")  # type: ignore[attr-defined]
    for i, (pairing, words) in enumerate(PAIRINGS.items()):
        axes = figure.add_axes((0.33 * i, 0.16, 0.33, 0.72), projection="3d")
        here = at.sel(pairing=pairing)  # type: ignore[attr-defined]
        height = np.log(here.landscape.values)
        axes.plot_surface(a, b, height, cmap="viridis", vmin=low, vmax=high, rstride=1, cstride=1, linewidth=0.15,
                          edgecolor="#ffffff60", antialiased=False, clip_on=False)  # fmt: skip
        axes.set(zlim=(low, high), xticks=[], yticks=[], zticks=[])
        axes.view_init(28, -50)
        axes.set_axis_off()
        axes.set_box_aspect(None, zoom=1.3)
        figure.text(0.33 * i + 0.165, 0.9, f"{words}: {float(here.accuracy):.0%} right", ha="center", fontsize=9)
    line = figure.add_axes((0.36, 0.02, 0.4, 0.1))
    alpha = float(at.alpha)  # type: ignore[attr-defined]
    line.plot([0, 1], [0, 0], color="#bbbbbb", lw=3, solid_capstyle="round")
    line.plot([alpha], [0], "o", color="#0173b2", ms=11)
    line.set(xlim=(-0.05, 1.05), ylim=(-1, 1))
    line.axis("off")
    figure.text(0.35, 0.07, "α, the share of partners drawn anew:", ha="right", va="center", fontsize=9)
    figure.text(0.77, 0.07, f"{alpha:.2f}", va="center", fontsize=9)
    written = io.BytesIO()
    figure.savefig(written, format="png", facecolor="white")
    plt.close(figure)
    return Image.open(written).convert("RGB")


if __name__ == "__main__":
    main(sys.argv[1])
