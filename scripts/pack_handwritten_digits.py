"""Pack scikit-learn's handwritten digits for ``xl.load("digits")``.

    python scripts/pack_handwritten_digits.py

``import sklearn`` alone takes longer than the whole dataset may take to load, so its 1797
images of 8 x 8 pixels (0 to 16) are shipped again, byte for byte the same (a test compares).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

DATA = Path(__file__).resolve().parent.parent / "xmodal_lab" / "datasets" / "data"


def main() -> None:
    digits = load_digits()
    path = DATA / "handwritten_digits.npz"
    np.savez_compressed(path, images=digits.images.astype(np.uint8), digit=digits.target.astype(np.uint8))
    print(f"{len(digits.images)} images, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
