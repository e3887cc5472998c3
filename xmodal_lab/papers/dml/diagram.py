"""The method of dml, partners drawn anew within the class, as boxes and arrows (Sec 3.1, 3.3, Fig 2)."""

from __future__ import annotations

from ...plots import Arrow, Box, Diagram

DIAGRAM = Diagram(
    "dml: who stands beside whom in a late-fusion net",
    (
        Box("image", "picture i", (0, 0)),
        Box("own", "its own sound", (0, 1.2)),
        Box("any", "any of its class,\ndrawn each epoch", (0, 2.3)),
        Box("fi", "picture encoder", (1, 0), "trained"),
        Box("fj", "sound encoder", (1, 1.2), "trained"),
        Box("fusion", "fusion φ", (2, 0.6), "trained"),
        Box("head", "classifier", (3, 0.6), "trained"),
        Box("loss", "cross-entropy", (4, 0.6), "loss"),
        Box("look", "landscape, Hessian:\nhow flat?", (4, 1.8), "look"),
    ),
    (
        Arrow("image", "fi"),
        Arrow("own", "fj", "SML"),
        Arrow("any", "fj", "DML", dashed=True),
        Arrow("fi", "fusion"),
        Arrow("fj", "fusion"),
        Arrow("fusion", "head"),
        Arrow("head", "loss"),
        Arrow("loss", "look"),
    ),
    "α is the share of rows whose partner is drawn anew: 0 is SML, 1 is DML. One modality alone: the other input is 0.",
)
