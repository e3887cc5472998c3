"""Run COX or a baseline on a problem: ``run(problem, label_share=0.1)`` → Outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ....losses import Params
from ....sweeps.experiment import tell
from ....training.descent import member
from ....utils import checks as check
from ....utils.torch_state import pick_device, training
from ..worlds.problem import Problem
from .nets import encode, gap, in_modal_scores, posterior
from .options import Options
from .scoring import agreement_accuracy, best_relabelling, in_modal_posterior, retrieval
from .semi import Trained, inputs, train_semi
from .staged import train_staged
from .unsupervised import train_unsupervised

if TYPE_CHECKING:
    from xarray import DataArray

CHECKPOINTS = 6  # Fig 5: "evenly select 6 points during the training"
Report = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One trained member.

    Attributes:
        accuracy: of h_O on the out-of-modal test rows. relabelled: after the best renaming of classes.
        balanced: mean over the classes of the accuracy on each. predicted: how many classes h_O predicts.
        accuracy_prior: accuracy with the class frequencies of the in-modal training rows as prior, which a label shift
            from the balanced labelled rows asks for. majority: the share of the most frequent test class.
        recall: "instance R@1", "instance R@5", "class R@1", "class R@5".
        numbers: accuracies on A and D before and after exploration, how large D is, anchors.
        curves: along the training of COX, (6,) or (6, K): step, accuracy, mmd, in_modal_accuracy (of each h_k*);
            in staged training the last two along the first fit of the connections (Fig 5).
        params: learner, head and connections.
        features, test_features: (n, width) z_O of the training and the test rows.
        predictions: (n,) on the test rows.
        disagree, test_disagree: (n,) bool, D among the training and the test rows after training; None without COX.
        anchors, anchor_labels: rows that anchored last and the classes they had.
        options: what was asked.
    """

    accuracy: float
    balanced: float
    accuracy_prior: float
    predicted: int
    majority: float
    relabelled: float
    recall: Mapping[str, float]
    numbers: Mapping[str, float]
    curves: Mapping[str, Tensor]
    params: Params
    features: Tensor
    test_features: Tensor
    predictions: Tensor
    disagree: Tensor | None
    test_disagree: Tensor | None
    anchors: Tensor
    anchor_labels: Tensor
    options: Options


def run(problem: Problem, options: Options | None = None, *, device: str = "auto", **asked: Any) -> Outcome:
    """Train and score one member on ``problem``; ``asked`` are fields of :class:`Options`, ``device`` as in fit.

    Raises:
        ValueError, TypeError: options that make no sense; T above the number of agreed rows.
    """
    if options is not None and asked:
        raise ValueError("give Options or their fields, not both.")
    for name in asked:
        check.one_of("option of cox", name, Options.__dataclass_fields__)
    return run_stack(problem, [Options(**asked) if options is None else options], device=device)[0]


@training()
def run_stack(
    problem: Problem, members: Sequence[Options], report: Report | None = None, device: str = "auto"
) -> list[Outcome]:
    """Train and score ``members`` on ``problem``; ``report(share, text)`` is called on the way.

    ``device`` is where they train, as in :func:`~xmodal_lab.fit`; outcomes are on the CPU. They
    may differ in seed, learning rate, weights of the terms and noise.

    Raises:
        ValueError: no member, or members that differ in more.
    """
    check.instance("problem", problem, Problem, "make one with cox.of_views or cox.of_dataset")
    members = check.listed("members", members)
    if not members:
        raise ValueError("there is nothing to run.")
    for options in members:
        check.instance("a member", options, Options)
    if len({o.key() for o in members}) > 1:
        raise ValueError("members of one stack may differ only in seed, lr, weight_decay, noise and weights of terms.")
    problem = problem.to(pick_device(device, {problem.train.out.dtype}))
    watcher = _Watcher(problem, members[0], report)
    trained = _way(members[0])(problem, members, watcher)
    return _scored(problem, members, trained, watcher)


def _way(options: Options) -> Callable[..., Trained]:
    if options.unsupervised and options.algorithm != "aligned":
        return train_unsupervised
    return train_staged if options.algorithm == "cox" and options.staging == "staged" else train_semi


@dataclass(eq=False)
class _Watcher:
    """Measures along the training of COX: curves at six points, A and D before exploration."""

    problem: Problem
    options: Options
    report: Report | None
    rows: list[dict[str, Tensor]] = field(default_factory=list)
    links: list[dict[str, Tensor]] = field(default_factory=list)
    before: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, step: int, params: Mapping[str, Tensor]) -> None:
        o = self.options
        if self.report is not None and step % 20 == 0:
            self.report(step / o.steps, f"step {step} of {o.steps}")
        if o.algorithm != "cox":
            return
        begins = o.explores_at if not o.unsupervised else round(o.warmup_share * o.steps) * o.warmup
        due = step >= round(len(self.rows) * o.steps / (CHECKPOINTS - 1)) and len(self.rows) < CHECKPOINTS - 1
        if due or step == begins:
            self.look(step, params, keep=due, begin=step == begins)

    def look(self, step: int, params: Mapping[str, Tensor], keep: bool, begin: bool = False) -> Tensor:
        """One measurement; returns the h_k* predictions on the test rows, (K, S, n)."""
        now = {name: p.detach() for name, p in params.items()}
        y = self.problem.test.labels
        with torch.no_grad():
            z = encode(now, self.problem.test.out)
            predicted = posterior(now, z).argmax(-1)
        (scores,) = in_modal_scores(self.problem, self.options, now, z)
        top = scores.argmax(-1)
        disagree = (top != top[0]).any(0)
        if begin and self.before is None:
            self.before = (*agreement_accuracy(predicted, y, disagree), disagree)
        if keep:
            self.rows.append({
                "step": torch.full((len(z),), float(step), device=z.device),
                "accuracy": (predicted == y).float().mean(1),
                "in_modal_accuracy": (top == y).float().mean(-1).T,
                "mmd": gap(self.problem, self.options, now, z),
            })  # fmt: skip
            if self.report is not None:
                tell(self.report, self.so_far)
        return top

    def so_far(self) -> dict[str, DataArray]:
        """The curves of the first member as variables, up to now."""
        import xarray as xr

        at = {"checkpoint": range(len(self.rows))}
        curves = {name: torch.stack([row[name][0] for row in self.rows]).cpu().numpy() for name in self.rows[0]}
        found = {"accuracy_curve": xr.DataArray(curves["accuracy"], at, ("checkpoint",))}
        if self.options.staging == "staged" and not self.options.unsupervised:
            return found  # there the others are those of the connections' own fit
        each = {**at, "source": range(1, 1 + curves["mmd"].shape[1])}
        return found | {n: xr.DataArray(curves[n], each, tuple(each)) for n in ("mmd", "in_modal_accuracy")}

    def linking(self, params: Mapping[str, Tensor]) -> None:
        """One of six looks at connections that are being fitted (Fig 5)."""
        now = {name: p.detach() for name, p in params.items()}
        with torch.no_grad():
            z = encode(now, self.problem.test.out)
        (scores,) = in_modal_scores(self.problem, self.options, now, z)
        right = (scores.argmax(-1) == self.problem.test.labels).float().mean(-1).T
        self.links.append({"in_modal_accuracy": right, "mmd": gap(self.problem, self.options, now, z)})


def _scored(problem: Problem, members: Sequence[Options], t: Trained, watcher: _Watcher) -> list[Outcome]:
    first, y = members[0], problem.test.labels
    with torch.no_grad():
        z, test_z = (encode(t.params, inputs(problem, first, split)) for split in ("train", "test"))
        probability = posterior(t.params, test_z).exp()
    predicted, inside = probability.argmax(-1), in_modal_posterior(problem)
    numbers: dict[str, Tensor] = {"anchors": t.there.sum(1), "anchors_right": t.right}
    numbers |= {f"warmup_{name}": v for name, v in t.warmup.items()}
    disagree = test_disagree = None
    if first.algorithm == "cox":
        test_top = watcher.look(first.steps, t.params, keep=True)
        (scores,) = in_modal_scores(problem, first, t.params, z)
        disagree = (scores.argmax(-1) != scores.argmax(-1)[0]).any(0)
        test_disagree = (test_top != test_top[0]).any(0)
        numbers |= _sets(watcher, predicted, y, test_disagree)
    curves = {name: torch.stack([row[name] for row in watcher.rows], 1) for name in (watcher.rows or [{}])[0]}
    curves |= {name: torch.stack([row[name] for row in watcher.links], 1) for name in (watcher.links or [{}])[0]}
    found = []
    for s, options in enumerate(members):
        one, five = retrieval(probability[s], inside)
        class_one, class_five = retrieval(probability[s], inside, y)
        found.append(Outcome(
            accuracy=float((predicted[s] == y).float().mean()), **_by_class(probability[s], problem),
            relabelled=best_relabelling(predicted[s], y, len(problem.classes)),
            recall={"instance R@1": one, "instance R@5": five, "class R@1": class_one, "class R@5": class_five},
            numbers={name: float(v[s]) for name, v in numbers.items()},
            curves={name: v[s].cpu() for name, v in curves.items()},
            params={name: p.cpu() for name, p in member(t.params, s).items()}, features=z[s].cpu(),
            test_features=test_z[s].cpu(), predictions=predicted[s].cpu(),
            disagree=None if disagree is None else disagree[s].cpu(),
            test_disagree=None if test_disagree is None else test_disagree[s].cpu(),
            anchors=t.anchors[s][t.there[s]].cpu(), anchor_labels=t.labels[s][t.there[s]].cpu(), options=options,
        ))  # fmt: skip
    return found


def _by_class(probability: Tensor, problem: Problem) -> dict[str, Any]:
    """Scores that tell a learner from one that guesses the frequent classes."""
    y, classes = problem.test.labels, len(problem.classes)
    said, prior = probability.argmax(-1), torch.bincount(problem.train.labels, minlength=classes)
    each = [float((said[y == c] == c).float().mean()) for c in y.unique()]
    return {
        "balanced": sum(each) / len(each), "predicted": len(said.unique()),
        "accuracy_prior": float(((probability * prior).argmax(-1) == y).float().mean()),
        "majority": float(torch.bincount(y).max() / len(y)),
    }  # fmt: skip


def _sets(watcher: _Watcher, predicted: Tensor, y: Tensor, disagree: Tensor) -> dict[str, Tensor]:
    """Accuracy on A and D, before and after exploration, on the same two sets; and on those of the end."""
    last = dict(zip(("agree_last", "disagree_last"), agreement_accuracy(predicted, y, disagree), strict=True))
    last["disagreement_last"] = disagree.float().mean(1)
    if watcher.before is None:
        return last
    agree_before, disagree_before, which = watcher.before
    agree_after, disagree_after = agreement_accuracy(predicted, y, which)
    return last | {
        "agree_before": agree_before, "disagree_before": disagree_before, "agree_after": agree_after,
        "disagree_after": disagree_after, "disagreement_before": which.float().mean(1),
    }  # fmt: skip
