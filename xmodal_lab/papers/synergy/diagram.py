"""The method of synergy, [M_j → M_i], as boxes and arrows (Sec 3.3, Fig 2)."""

from __future__ import annotations

from ...plots import Arrow, Box, Diagram

DIAGRAM = Diagram(
    "synergy, [M_j → M_i]: a net of one modality leans on a frozen net of another",
    (
        Box("x", "picture x", (0, 0)),
        Box("g", "encoder g of M_i", (1, 0), "trained"),
        Box("head", "classifier", (2, 0), "trained"),
        Box("cls", "(1 − α) · L_cls", (3, 0), "loss"),
        Box("other", "a sound, of any\nother instance", (0, 1.2)),
        Box("mj", "M_j, trained\nbefore, alone", (1, 1.2), "frozen"),
        Box("target", "target ẑ_j", (2, 1.2)),
        Box("lz", "α · ½ ‖g(x) − ẑ_j‖²", (3, 1.2), "loss"),
    ),
    (
        Arrow("x", "g"),
        Arrow("g", "head"),
        Arrow("head", "cls"),
        Arrow("other", "mj"),
        Arrow("mj", "target"),
        Arrow("target", "lz"),
        Arrow("g", "lz", "g(x)"),
        Arrow("other", "x", "no pairs", dashed=True),
    ),
    "Only M_i learns. The target may come from a sentence, noise or a shuffled sound: it need not belong to x.",
)
