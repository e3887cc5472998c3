"""What one run is asked: plain values, checked as they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from ....utils import checks as check
from .matching import RULES

SCENARIOS = ("auto", "semi", "unsupervised")
ALGORITHMS = ("random", "erm", "entmin", "ssl", "moco", "cox", "aligned")
STAGINGS = ("staged", "joint")
CONTROLS = ("none", "scrambled", "pairs", "own", "oracle")
# What may differ between the members of a stack.
FREE = ("seed", "lr", "weight_decay", "connect_weight", "explore_weight", "entropy_weight", "beta_vib", "noise")


@dataclass(frozen=True)
class Options:
    """One run.

    Attributes:
        scenario: "semi" (a labelled share with pairs), "unsupervised", or "auto": semi where label_share > 0.
        algorithm: "random" | "erm" | "entmin" | "ssl" | "moco" | "cox" | "aligned" (cox Sec 4.1). Not "method",
            which is an argument of xarray's ``sel``.
        label_share: of the training rows, the same number of each class (0.1, Sec 4.1).
        anchors: T, how many of Eq 14 and 15 (unsupervised): a share of the training rows (0.1, Sec 4.1), of which
            there may be fewer agreed ones; a whole number above 1 is taken literally and refused where there are fewer.
        connection: off: h_k* stand on the perceptors' own features (Tab 4).
        exploration: off: no KL term (Tab 4).
        warmup: off: no warm-up phase (Tab 4, unsupervised).
        rule: which anchors a point of D is matched to: a name in ``RULES``, or a function of :class:`Match`.
            The paper does not say; "predicted" by default (ours).
        control: "none"; "scrambled": what the h_k* say belongs to other points, drawn at random (staged: of those of
            which h_O says the same); "pairs": the connection is trained on wrong pairs; "own" (staged): A is as many
            rows, those of which h_O itself is surest, without other modalities; "oracle": the anchors of the warm-up
            have their true labels.
        staging: semi-supervised: "staged", as the paper describes it (labels; connections on features that stand
            still; A, D and exploration), or "joint": all terms at once from the first step on, A and D from
            ``explore_from`` on, no anchors but the labelled rows (ours).
        connect_steps: of the connections, in each round of "staged" (ours).
        balance: T / C anchors of each class in Eq 14 and 15, where the paper's SORT_T is one list for all classes.
        beta_vib: weight of KL(p(v|x_I) ‖ N(0, 1)); 0, no KL term and v its mean (Eq 9 prints none).
        connect_weight: of ‖x_O - q(x_O|v) p(v|x_I)‖², summed over features, which Eq 9 weights with 1 (ours: 0.1,
            on the validation split; the features are layer-normalised, so that they cannot shrink to please it).
        explore_weight: of the KL term, a mean over pairs (Eq 13 divides a sum over pairs by L + |D|).
        explore_from: share of the steps before exploration begins (0.2: 10 of 50 epochs, Fig 6).
        warmup_share: share of the steps in the warm-up (ours). rounds: of emergent correspondence after it, or of
            connections, split and exploration (ours).
        entropy_weight: of EntMin. noise: sd of SSL's and MoCo's Gaussian perturbation; inputs have sd 1 (ours).
        hidden, width: of the learner's two layers (ours; ViT-T/16 in the paper).
        steps, batch: of the learner, the same for every method (ours; 50 epochs in the paper).
        lr, weight_decay: of Adam (1e-3, 1e-5, Sec 4.1).
        refresh: steps between two fits of h_k* (ours).
        seed: of weights, labelled rows and batches.

    Raises:
        ValueError, TypeError: a setting that makes no sense, alone or with the others.
    """

    scenario: str = "auto"
    algorithm: str = "cox"
    label_share: float = 0.1
    anchors: float = 0.1
    connection: bool = True
    exploration: bool = True
    warmup: bool = True
    rule: str | Callable[..., Any] = "predicted"
    control: str = "none"
    staging: str = "staged"
    connect_steps: int = 300
    balance: bool = False
    beta_vib: float = 0.0
    connect_weight: float = 0.1
    explore_weight: float = 0.1
    explore_from: float = 0.2
    warmup_share: float = 0.3
    rounds: int = 4
    entropy_weight: float = 0.1
    noise: float = 0.5
    hidden: int = 96
    width: int = 64
    steps: int = 500
    batch: int = 48
    lr: float = 1e-3
    weight_decay: float = 1e-5
    refresh: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check.one_of("scenario", self.scenario, SCENARIOS)
        check.one_of("algorithm", self.algorithm, ALGORITHMS)
        check.one_of("control", self.control, CONTROLS)
        check.one_of("staging", self.staging, STAGINGS)
        if self.control == "own" and (self.staging != "staged" or self.unsupervised):
            raise ValueError("control 'own' is one of staging='staged' with labels; elsewhere take rule='self'.")
        if not callable(self.rule):
            check.one_of("matching rule", self.rule, RULES)
        share = check.share("label_share", self.label_share)
        if self.scenario == "semi" and share == 0:
            raise ValueError(
                "label_share is 0, but the semi-supervised mode stands on labelled pairs; "
                "raise it (the paper takes 0.1), or ask for scenario='unsupervised'."
            )
        if self.unsupervised and self.algorithm in ("erm", "entmin"):
            raise ValueError(
                f"algorithm {self.algorithm!r} learns from labels, and the unsupervised scenario has none; "
                "its baselines are 'random', 'ssl' and 'moco'."
            )
        check.positive("anchors", self.anchors)
        for name in ("explore_from", "warmup_share"):
            check.share(name, getattr(self, name))
        for name in ("beta_vib", "connect_weight", "explore_weight", "entropy_weight", "noise", "weight_decay"):
            check.non_negative(name, getattr(self, name))
        check.positive("lr", self.lr)
        for name in ("rounds", "hidden", "width", "steps", "batch", "refresh", "connect_steps"):
            check.integer(name, getattr(self, name), at_least=1)
        check.integer("seed", self.seed, at_least=0)

    @property
    def unsupervised(self) -> bool:
        """Whether there are no labels."""
        return self.scenario == "unsupervised" or (self.scenario == "auto" and self.label_share == 0)

    @property
    def explores_at(self) -> int:
        """The first step of exploration in the semi-supervised scenario."""
        return round(self.explore_from * self.steps)

    def key(self) -> tuple[Any, ...]:
        """Runs with the same key may train in one stack."""
        # With a KL term v is drawn, without it v is its mean: not the same computation.
        return (*(getattr(self, f.name) for f in fields(self) if f.name not in FREE), self.beta_vib > 0)
