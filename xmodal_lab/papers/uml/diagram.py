"""The method of uml, a shared head on unpaired modalities, as boxes and arrows (Alg 2, Fig 2)."""

from __future__ import annotations

from ...plots import Arrow, Box, Diagram

DIAGRAM = Diagram(
    "uml: one head for pictures, and for sentences that belong to no picture",
    (
        Box("picture", "pictures\n(few per class)", (0, 0)),
        Box("image", "picture encoder", (1, 0), "frozen"),
        Box("P", "linear map P", (2, 0), "trained"),
        Box("sentence", "sentences\n(of no picture)", (0, 1.4)),
        Box("text", "text encoder", (1, 1.4), "frozen"),
        Box("W", "shared head W\none row per class", (3, 0.7), "trained"),
        Box("image_loss", "CE of pictures", (4, 0), "loss"),
        Box("text_loss", "λ · CE of sentences", (4, 1.4), "loss"),
    ),
    (
        Arrow("picture", "image"),
        Arrow("image", "P"),
        Arrow("P", "W"),
        Arrow("sentence", "text"),
        Arrow("text", "W", "directly"),
        Arrow("W", "image_loss"),
        Arrow("W", "text_loss"),
    ),
    "Batches alternate; no sentence meets a picture. What they share is W.",
)
