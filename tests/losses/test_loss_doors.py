"""What a loss is handed, checked at the door: batches, labels, criteria, and what a criterion reads besides them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator

import faults
import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.data import batches as batches_file
from xmodal_lab.losses import Loss

F = nn.functional
DOUBLE = torch.float64


def net(norm: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), norm or nn.Identity(), nn.ReLU(), nn.Linear(7, 3)).double()


def rows(n: int = 40, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=g, dtype=DOUBLE), torch.randint(0, 3, (n,), generator=g)


def line_of(loss: Loss) -> list[float]:
    """The loss at three points along all ones, by every path: each term, ``along``, ``many``."""
    ones = {k: torch.ones_like(p) for k, p in loss.params.items()}
    table = [[-0.1], [0.0], [0.2]]
    by_calls = [float(loss({k: p + t * ones[k] for k, p in loss.params.items()}).detach()) for (t,) in table]
    stacked = {k: torch.stack([p + t * ones[k] for (t,) in table]) for k, p in loss.params.items()}
    assert loss.along([ones], table).tolist() == pytest.approx(by_calls, rel=1e-12)
    assert loss.along([ones], table, rows=7).tolist() == pytest.approx(by_calls, rel=1e-12)
    assert loss.along([ones], table, stack=2).tolist() == pytest.approx(by_calls, rel=1e-12)
    assert loss.many(stacked, vectorize=True).tolist() == pytest.approx(by_calls, rel=1e-12)
    return by_calls


# -- what a criterion reads --------------------------------------------------------------------------


class Penalised(nn.Module):
    """A criterion that holds the net; its parameters are the net's own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, labels) + 0.05 * sum(p.norm() for p in self.module.parameters())


class Tempered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs / self.log_temperature.exp(), labels)


def closing(module: nn.Module) -> list[tuple[str, object, str]]:
    """Criteria that read more than their arguments, and what the refusal says of it."""
    captured = list(module.parameters())
    other, weight = nn.Linear(3, 3).double(), torch.ones(3, dtype=DOUBLE, requires_grad=True)
    ce = F.cross_entropy
    return [
        ("a penalty", lambda o, y: ce(o, y) + 0.05 * sum(p.norm() for p in module.parameters()), r"reads 0\.weight, "),
        ("captured", lambda o, y: ce(o, y) + captured[-1].square().sum(), r"reads 3\.bias from the module"),
        ("detached", lambda o, y: ce(o, y) + captured[0].detach().norm(), r"reads 0\.weight from the module"),
        ("its numbers", lambda o, y: ce(o, y) + captured[0].data.norm(), r"reads 0\.weight from the module"),
        ("a factor", lambda o, y: ce(o, y) * float(module[3].bias.detach().norm()), r"reads 3\.bias from the module"),
        ("without gradients", torch.no_grad()(lambda o, y: ce(o, y) + captured[0].norm()), r"reads 0\.weight"),
        ("a buffer", lambda o, y: ce(o, y) + module[1].running_mean.sum(), r"reads 1\.running_mean from the module"),
        ("a module that holds the net", Penalised(module), r"reads 0\.weight, .* and 3 more from the module"),
        (
            "another net",
            lambda o, y: ce(other(o), y),
            r"reads a tensor float64 .* that wants a gradient and is no part of θ",
        ),
        (
            "a weight",
            lambda o, y: (ce(o, y, reduction="none") * weight[y]).mean(),
            r"a tensor float64 \(3\,\) that wants a gradient",
        ),
        ("its own parameter", Tempered(), r"parameters of its own \(log_temperature\), .* left out of θ"),
    ]


@pytest.mark.parametrize("case", range(11))
def test_a_criterion_that_reads_more_than_its_arguments_is_refused_at_the_first_evaluation(case: int) -> None:
    module = net(nn.BatchNorm1d(7))
    what, criterion, message = closing(module)[case]
    before = {k: v.clone() for k, v in module.state_dict().items()}
    for look in (
        lambda loss: loss(),
        lambda loss: loss.value(),
        lambda loss: loss.terms(),
        lambda loss: loss.along([dict(loss.params)], [[0.1]]),
        lambda loss: loss.many({k: torch.stack([p, p]) for k, p in loss.params.items()}, vectorize=True),
        lambda loss: xl.curvature.trace(loss, probes=2),
    ):
        loss = Loss.from_module(module, rows(), criterion)
        for _ in range(2):  # and at every later one
            with pytest.raises(ValueError, match=message):
                look(loss)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items()), what
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_neither_inference_mode_nor_another_dtype_hides_what_a_criterion_reads() -> None:
    module, kept = net(), []
    kept.append(module[0].weight)
    with torch.inference_mode():
        assert Loss.from_module(module, rows(), nn.CrossEntropyLoss()).value() > 0
    loss = Loss.from_module(module, rows(), lambda o, y: F.cross_entropy(o, y) + kept[0].detach().norm())
    with pytest.raises(ValueError, match=r"reads 0\.weight from the module"):
        loss.to(torch.float32)


@pytest.mark.parametrize(
    "taken",
    [
        lambda m: float(np.square(m[0].weight.detach().numpy()).sum()),
        lambda m: sum(sum(row) for row in m[0].weight.tolist()),
        lambda m: float(np.asarray(m[1].running_mean).sum()),
        lambda m: m[1].running_mean.numpy().max(),
    ],
)
def test_numbers_taken_out_of_torch_are_read_too(taken: Callable[[nn.Module], float]) -> None:
    module = net(nn.BatchNorm1d(7))
    loss = Loss.from_module(module, rows(), lambda o, y: F.cross_entropy(o, y) + taken(module))
    with pytest.raises(ValueError, match=r"reads (0\.weight|1\.running_mean) from the module"):
        loss.value()
    constant = torch.rand(7)
    assert Loss.from_module(module, rows(), lambda o, y: F.cross_entropy(o, y) + sum(constant.tolist())).value() > 0


def test_frozen_parameters_count_as_well() -> None:
    module = net().requires_grad_(False)
    loss = Loss.from_module(module, rows(), lambda o, y: F.cross_entropy(o, y) + module[0].weight.norm())
    with pytest.raises(ValueError, match=r"reads 0\.weight from the module"):
        loss.value()


def sometimes(module: nn.Module, states: Callable[[torch.Tensor, int], bool]) -> Callable[..., torch.Tensor]:
    """A criterion that adds a penalty on the module's weights in some states: of (outputs, number of calls before)."""
    calls = [0]

    def criterion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        penalty = module[0].weight.square().sum() if states(outputs, calls[0] - 1) else 0
        return F.cross_entropy(outputs, labels) + penalty

    return criterion


@pytest.mark.parametrize(
    ("states", "look"),
    [
        (lambda _o, calls: calls == 1, lambda loss: loss.value()),
        (lambda _o, calls: calls > 3, lambda loss: xl.landscape.plane(loss, points=5)),
        (lambda _o, calls: calls > 40, lambda loss: [loss() for _ in range(50)]),
        (lambda o, _calls: len(o) > 8, lambda loss: loss()),
        (lambda o, calls: calls > 0 and o.requires_grad, lambda loss: xl.curvature.trace(loss, probes=2)),
        (lambda o, _calls: float(o.detach().abs().max()) > 2, lambda loss: [loss.at(scaled(loss, 9)).value()]),
        (
            lambda o, calls: calls > 1 and not o.requires_grad,
            lambda loss: loss.many({k: torch.stack([p, p]) for k, p in loss.params.items()}, vectorize=True),
        ),
    ],
)
def test_a_criterion_that_reads_weights_in_some_states_is_refused_before_a_wrong_number(
    states: Callable[[torch.Tensor, int], bool], look: Callable[[Loss], object]
) -> None:
    module = net()
    loss = Loss.from_module(module, rows(), sometimes(module, states))
    with pytest.raises(ValueError, match=r"reads 0\.weight from the module"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is no mean over rows, which may be seen first
        look(loss)


def scaled(loss: Loss, by: float) -> dict[str, torch.Tensor]:
    return {name: by * p for name, p in loss.params.items()}


def test_a_parameter_of_its_own_in_some_states_is_refused_with_its_gradient() -> None:
    weight, calls = torch.ones(3, dtype=DOUBLE, requires_grad=True), []

    def criterion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return F.cross_entropy(outputs * weight if len(calls) > 4 else outputs, labels)

    loss = Loss.from_module(net(), rows(), criterion)
    with pytest.raises(ValueError, match=r"reads a tensor float64 \(3,\) that wants a gradient"):
        xl.curvature.trace(loss, probes=2)


def test_facts_of_the_weights_and_leaves_made_inside_are_no_reading() -> None:
    module = net()

    def criterion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        assert module[0].weight.requires_grad and module[0].weight.numel() == len(module[0].weight) * 5
        made = outputs.detach().to(module[0].weight.dtype).requires_grad_()  # as a penalty on gradients does
        with torch.enable_grad():
            slope = torch.autograd.grad(F.cross_entropy(made, labels), made)[0]
        return F.cross_entropy(outputs, labels) + slope.square().mean().detach() * 0

    expected = Loss.from_module(module, rows()).value()
    for _ in range(3):
        assert Loss.from_module(module, rows(), criterion).value() == pytest.approx(expected)


@pytest.mark.parametrize("how", ["a list", "kept from before", "a plain tensor"])
def test_weights_that_the_module_reads_beside_its_parameters_are_refused(how: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3).double()
            self.beside = [nn.Linear(5, 3).double()]
            self.kept = self.head.weight.softmax(0)
            self.plain = torch.rand(3, 5, dtype=DOUBLE, requires_grad=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = {"a list": self.beside[0].weight, "kept from before": self.kept, "a plain tensor": self.plain}[how]
            return self.head(x) + F.linear(x, weight)

    module = Odd()
    said = r"computed from head\.weight before" if how == "kept from before" else r"\(3, 5\) that wants .* Register it"
    loss = Loss.from_module(module, rows())
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            loss.value()
    if how == "a list":
        module.beside[0].requires_grad_(False)  # the way out that it names
        assert Loss.from_module(module, rows()).value() > 0


@pytest.mark.parametrize("where", ["closure", "default", "attribute", "partial", "list"])
def test_an_array_that_looks_into_the_weights_is_found_where_the_criterion_holds_it(where: str) -> None:
    module = net(nn.BatchNorm1d(7))
    array = module[0].weight.detach().numpy()  # no operation of torch tells when it is read

    def plain(outputs: torch.Tensor, labels: torch.Tensor, held: object = array) -> torch.Tensor:
        return F.cross_entropy(outputs, labels) + float(np.square(held).sum())

    class Held:
        def __init__(self) -> None:
            self.held = array[1:]

        def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return plain(outputs, labels, self.held)

    several = [array.T]
    criterion = {
        "closure": lambda o, y: F.cross_entropy(o, y) + float(np.square(array).sum()),
        "default": plain, "attribute": Held(), "partial": functools.partial(plain, held=array[:, 2]),
        "list": lambda o, y: F.cross_entropy(o, y) + float(several[0].max()),
    }[where]  # fmt: skip
    with pytest.raises(ValueError, match=r"reads 0\.weight from the module"):
        Loss.from_module(module, rows(), criterion).value()
    constant = array.copy()
    assert Loss.from_module(module, rows(), lambda o, y: F.cross_entropy(o, y) + float(constant.max())).value() > 0


@pytest.mark.parametrize("how", ["autocast", "a cast"])
def test_half_precision_on_the_way_is_told(how: str) -> None:
    class Coarse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if how == "a cast":
                return self.head(x.bfloat16().float())
            with torch.autocast("cpu", torch.bfloat16):
                return self.head(x).float()

    x, y = rows()
    with pytest.warns(RuntimeWarning, match=r"Coarse goes through torch.bfloat16 on the way .* take the cast out"):
        Loss.from_module(Coarse(), (x.float(), y)).value()


def test_tensors_without_rows_or_of_complex_numbers_are_named() -> None:
    x, y = rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: that nested tensors are new
        ragged = torch.nested.nested_tensor([x[:2], x[2:6]])
    with pytest.raises(TypeError, match=r"nested tensor, .* torch\.nested\.to_padded_tensor"):
        Loss.from_module(net(), (ragged, y[:2]))
    with pytest.raises(ValueError, match=r"params\['w'\] is complex .* torch\.view_as_real\(w\)"):
        Loss(lambda p: p["w"].abs().sum(), {"w": torch.ones(2, dtype=torch.complex64)})
    with pytest.raises(ValueError, match=r"use labels\.argmax\(1\), or labels\.float\(\) for shares"):
        Loss.from_module(net(), (x, F.one_hot(y, 3)))


# -- activation checkpointing ------------------------------------------------------------------------


class Checkpointed(nn.Module):
    """A net that may run its first part again in the backward."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = nn.Linear(5, 7).double(), nn.Linear(7, 3).double(), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def part(x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.first(x))

        return self.last(part(x) if self.reentrant is None else checkpoint(part, x, use_reentrant=self.reentrant))


def test_ctrl_c_at_any_line_leaves_activation_checkpointing_as_it_was() -> None:
    from xmodal_lab.models.copies import without_recomputing

    names = ("CheckpointFunction", "_checkpoint_without_reentrant_generator")
    before = [getattr(torch.utils.checkpoint, name) for name in names]

    def visit() -> None:
        with without_recomputing():
            pass

    with faults.Interrupt() as counted:
        visit()
    assert counted.lines > 10
    for line in range(1, counted.lines + 1):
        with pytest.raises(KeyboardInterrupt), faults.Interrupt(line):
            visit()
        with without_recomputing():
            assert all(getattr(torch.utils.checkpoint, n) is not own for n, own in zip(names, before, strict=True))
        assert [getattr(torch.utils.checkpoint, name) for name in names] == before, line


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_changes_no_number(reentrant: bool) -> None:
    plain, module = Checkpointed(None), Checkpointed(reentrant)
    module.load_state_dict(plain.state_dict())
    found = []
    for net_ in (plain, module):
        loss = Loss.from_module(net_, rows())
        there = loss.at(scaled(loss, 3))  # recomputed with the module's own weights, it would be another gradient
        at = {name: p.clone().requires_grad_() for name, p in there.params.items()}
        slope = torch.autograd.grad(there(at), list(at.values()))
        found.append((there.value(), [g.tolist() for g in slope], xl.curvature.trace(there, probes=2).value))
    assert found[0] == found[1]
    x = rows()[0].requires_grad_()  # and in training it is what it was: the part runs twice
    seen = []
    module.first.register_forward_hook(lambda *_: seen.append(1))
    module(x).sum().backward()
    assert len(seen) == 2


def test_constants_of_a_criterion_are_its_own_business() -> None:
    x, y = rows()
    module, teacher, weight = net(), nn.Linear(5, 3).double(), torch.tensor([1.0, 2.0, 4.0], dtype=DOUBLE)
    soft = teacher(x).detach().softmax(1)

    def distil(outputs: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = teacher(inputs).softmax(1)
        return F.cross_entropy(outputs, wanted)

    out = module(x).detach()
    assert Loss.from_module(module, (x, x), distil).value() == pytest.approx(float(F.cross_entropy(out, soft)))
    weighted = Loss.from_module(module, (x, y), nn.CrossEntropyLoss(weight))
    assert weighted.value() == pytest.approx(float(F.cross_entropy(out, y, weight)))
    frozen = Tempered().requires_grad_(False)
    assert Loss.from_module(module, (x, y), frozen).value() == pytest.approx(float(F.cross_entropy(out, y)))


def test_the_way_out_gives_the_whole_loss() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.criterion = net(), Tempered().double()

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            penalty = 0.05 * sum(p.square().sum() for p in self.net.parameters())
            return self.criterion(self.net(x), y) + penalty

    whole, (x, y) = Whole(), rows()
    loss = Loss.from_module(whole, (x, y, y), lambda value, _: value)
    assert "criterion.log_temperature" in loss.params
    assert loss.value() == pytest.approx(float(whole(x, y).detach()), rel=1e-12)
    line_of(loss)


# -- several batches ---------------------------------------------------------------------------------


class Identity(nn.Module):
    """Gives x times one parameter, so that losses can be written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=DOUBLE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def by_hand(criterion, x: torch.Tensor, y: torch.Tensor, size: int) -> Loss:
    return Loss.from_module(Identity(), DataLoader(TensorDataset(x, y), batch_size=size), criterion)


def test_a_sum_over_batches_says_both_numbers() -> None:
    x, y = torch.arange(1.0, 7.0, dtype=DOUBLE), torch.zeros(6, dtype=DOUBLE)
    loss = by_hand(lambda o, t: (o - t).square().sum(), x, y, 2)  # 91 in all; (5 + 25 + 61) / 3 by batches
    with pytest.warns(UserWarning, match=r"by batches it is 30\.3333, on all rows at once 91"):
        assert float(loss()) == pytest.approx(91 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        assert loss.value() == pytest.approx(91 / 3)


def test_class_weights_and_ignored_labels_over_batches_say_both_numbers() -> None:
    x, y = torch.zeros(4, 2, dtype=DOUBLE), torch.tensor([0, 0, 1, 1])
    x[:2, 1] = 1.0  # each batch holds one class, where weights cancel within the batch
    a, b = float(F.cross_entropy(x[:1], y[:1])), float(F.cross_entropy(x[2:3], y[2:3]))
    weighted = by_hand(nn.CrossEntropyLoss(torch.tensor([1.0, 3.0], dtype=DOUBLE)), x, y, 2)
    with pytest.warns(
        UserWarning, match=f"by batches it is {(a + b) / 2:.6g}, on all rows at once {(a + 3 * b) / 4:.6g}"
    ):
        assert weighted.value() == pytest.approx((a + b) / 2)
    ignored = by_hand(None, x, torch.tensor([0, -100, 1, 1]), 2)
    with pytest.warns(
        UserWarning, match=f"by batches it is {(a + b) / 2:.6g}, on all rows at once {(a + 2 * b) / 3:.6g}"
    ):
        assert ignored.value() == pytest.approx((a + b) / 2)


def test_a_contrastive_loss_over_batches_says_both_numbers() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 4, generator=g, dtype=DOUBLE), torch.randn(12, 4, generator=g, dtype=DOUBLE)

    def clip(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(o @ t.T, torch.arange(len(o)))

    whole = float(clip(x, y))
    parts = sum(float(clip(x[i : i + 4], y[i : i + 4])) for i in (0, 4, 8)) / 3
    with pytest.warns(UserWarning, match=f"by batches it is {parts:.6g}, on all rows at once {whole:.6g}"):
        by_hand(clip, x, y, 4).value()


def test_one_odd_class_in_one_of_many_batches_is_found() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 3, generator=g, dtype=DOUBLE), torch.arange(400) % 2
    y[333] = 2
    loss = by_hand(nn.CrossEntropyLoss(torch.tensor([1.0, 1.0, 50.0], dtype=DOUBLE)), x, y, 4)
    with pytest.warns(UserWarning, match="not a mean over rows"):
        loss.value()


def test_batches_of_different_length_say_both_numbers_of_one_of_them() -> None:
    """Token means over texts padded to their own batch's length cannot be joined."""

    def tokens(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(torch.stack([o, -o], 1), t)

    g = torch.Generator().manual_seed(0)
    batches = []
    for length in (3, 5):
        labels = torch.randint(0, 2, (6, length), generator=g)
        labels[0, 1:] = -100
        batches.append((torch.randn(6, length, generator=g, dtype=DOUBLE), labels))
    with pytest.warns(UserWarning, match=r"not a mean over rows, .* \(for 1 of 2 batches\)"):
        value = Loss.from_module(Identity(), batches, tokens).value()
    assert value == pytest.approx(sum(float(tokens(x, y)) for x, y in batches) / 2)


def test_a_mean_over_rows_of_uneven_batches_says_nothing() -> None:
    x, y = rows(41)
    module = net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = Loss.from_module(module, DataLoader(TensorDataset(x, y), batch_size=16))
        assert loss.value() == pytest.approx(float(F.cross_entropy(module(x), y).detach()), rel=1e-12)
        line_of(loss)


def test_one_batch_is_not_told_to_come_in_smaller_ones() -> None:
    loss = Loss.from_module(net(), rows(), lambda o, y: F.cross_entropy(o, y, reduction="sum"))
    with pytest.warns(UserWarning, match="all 40 rows at once; in smaller batches it would be another number"):
        loss.terms(rows=8)


# -- batches and labels at the door --------------------------------------------------------------------


def test_a_list_as_a_loader_gives_it_is_one_batch() -> None:
    x, y = rows()
    one = next(iter(DataLoader(TensorDataset(x, y), batch_size=16)))
    assert isinstance(one, list)
    module = net()
    assert Loss.from_module(module, one).value() == pytest.approx(
        float(F.cross_entropy(module(x[:16]), y[:16]).detach())
    )


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield torch.ones(5, dtype=DOUBLE), torch.tensor(1)


def test_an_endless_loader_is_refused_or_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_file, "MOST_BATCHES", 50)
    with pytest.raises(ValueError, match=r"after 51 batches \(0\.0 GiB\) there was no end; .*batches="):
        Loss.from_module(net(), DataLoader(Endless(), batch_size=4))
    monkeypatch.setattr(batches_file, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="after 6 batches"):
        Loss.from_module(net(), DataLoader(Endless(), batch_size=4))
    loss = Loss.from_module(net(), DataLoader(Endless(), batch_size=4), batches=3)
    assert [len(x) for x, _ in loss.batches] == [4, 4, 4]
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        Loss.from_module(net(), DataLoader(Endless(), batch_size=4), batches=0)


def test_labels_of_any_whole_numbers_are_class_numbers() -> None:
    x, y = rows()
    module = net()
    expected = float(F.cross_entropy(module(x), y).detach())
    for labels in (y.int(), y.to(torch.uint8), y.to(torch.int16), y.numpy(), y.tolist()):
        assert Loss.from_module(module, (x, labels)).value() == pytest.approx(expected, rel=1e-12)
        assert Loss.from_module(module, (x, labels), nn.CrossEntropyLoss()).value() == pytest.approx(expected)
    keyed = Loss.from_module(module, {"input": x, "labels": y.int()}, F.cross_entropy)
    assert keyed.value() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((rows(128)[0], rows(100)[1]), ValueError, "gives 128 rows of outputs for 100 labels"),
        ((rows()[0], rows()[1] + 1), ValueError, "labels run from 1 to 3, .* 3 outputs, .* 0 to 2; use labels - 1"),
        ((rows()[0], rows()[1] * 2), ValueError, "labels run from 0 to 4, .*; give the module more outputs"),
        ((rows()[0], rows()[1] - 1), ValueError, "class numbers from 0 to 2, got -1; leave rows of unknown labels out"),
        ((rows()[0], ["cat", "dog"] * 20), TypeError, "got text such as 'cat'; number the classes: torch.tensor"),
        ((rows()[0], np.array(["cat", "dog"] * 20)), TypeError, "got text such as 'cat'"),
        ((rows()[0], rows()[1][:, None]), ValueError, r"got labels int64 \(40, 1\) .*; use labels\.squeeze\(1\)"),
        ((rows()[0], rows()[1].double()), ValueError, r"real-valued labels float64 \(40,\).* use labels\.long\(\)"),
        ((rows()[0], rows()[1][:, None].double()), ValueError, "criterion=torch.nn.functional.mse_loss"),
        ((rows()[0][:, :4], rows()[1]), ValueError, r"Sequential failed on the first batch \(float64 \(40, 4\), int64"),
        ((rows()[0].float(), rows()[1]), ValueError, r"Sequential failed on the first batch \(float32 \(40, 5\)"),
        ((rows()[0].float(), rows()[1]), ValueError, r"module is in torch.float64, the batch in torch.float32: cast one"),
        ([(x, y) for x, y in zip(*rows(), strict=True)], TypeError, "this is a sample, not a batch; join samples by"),
        ({"image": rows()[0], "labels": rows()[1]}, TypeError, r"of \['image', 'labels'\], since no criterion was given"),
        ((rows(), rows()), TypeError, "one tensor of class numbers, got tuple; .* several batches as a list"),
        ((rows()[0], None), TypeError, "one tensor of class numbers, got NoneType"),
        (rows()[0], TypeError, "iterable of batches, got Tensor; wrap it in torch.utils.data.DataLoader"),
        (TensorDataset(*rows()), TypeError, "got TensorDataset; wrap it in torch.utils.data.DataLoader"),
        ((rows()[0].numpy(), np.ones(40)), TypeError, "holds no tensor, it holds ndarray, ndarray; .* torch.as_tensor"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_when_the_loss_is_made(batch: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Loss.from_module(net(), batch)


def test_a_dict_loader_without_a_criterion_says_what_to_give() -> None:
    ds = toy()
    model = xl.LateFusion.for_dataset(ds, architecture="mlp")
    items = [
        {"image": x, "audio": a, "labels": y} for x, a, y in zip(*ds.test.inputs.values(), ds.test.labels, strict=True)
    ]
    with pytest.raises(TypeError, match=r"LateFusion failed .* one that takes one dict needs batches \(dict, labels\)"):
        Loss.from_module(model, DataLoader(items, batch_size=8))
    as_said = DataLoader([({"image": i["image"], "audio": i["audio"]}, i["labels"]) for i in items], batch_size=8)
    assert Loss.from_module(model, as_said).value() == pytest.approx(xl.loss_on(model, ds.test).value(), rel=1e-5)


def test_a_criterion_that_fails_says_on_what() -> None:
    loss = Loss.from_module(net(), rows(), lambda o, y: (o @ y.double()).mean())
    with pytest.raises(ValueError, match=r"the criterion failed on outputs float64 \(40, 3\) and target int64 \(40,\)"):
        loss.value()


# -- modules with habits -----------------------------------------------------------------------------


class InPlace(nn.Module):
    """Takes the mean off its input, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= 0.5
        x.mul_(2)
        return self.net(x)


def test_preprocessing_in_place_leaves_the_users_tensor_as_it_was() -> None:
    x, y = rows()
    kept, module = x.clone(), InPlace()
    expected = float(F.cross_entropy(module(x.clone()), y).detach())
    loss = Loss.from_module(module, (x, y))
    assert loss.value() == pytest.approx(expected, rel=1e-12)
    assert line_of(loss)[1] == pytest.approx(expected, rel=1e-12)
    plane = xl.landscape.plane(loss, points=3)
    assert plane.attrs["centre"] == pytest.approx(expected) == float(plane.sel(a=0, b=0))
    xl.curvature.trace(loss, probes=2)
    assert torch.equal(x, kept)
    shifted = Loss.from_module(net(), (x, y), lambda o, t: F.mse_loss(o, t.sub_(1)[:, None].expand(-1, 3).double()))
    assert shifted.value() == pytest.approx(
        float(F.mse_loss(net()(x), (y - 1)[:, None].expand(-1, 3).double()).detach())
    )
    assert torch.equal(y, rows()[1])


def test_a_fit_of_a_net_that_works_in_place_leaves_the_dataset_as_it_was() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.net(inputs["image"].div_(2))

    ds = toy().to(dtype=torch.float32)
    before = ds.fingerprint
    run = xl.fit(Scales(), ds, epochs=2)
    xl.training.evaluate(run.model, ds.test)
    assert xl.Dataset("again", ds.train, ds.test, ds.classes, ds.val).fingerprint == before


def test_a_line_to_a_state_dict_ends_at_that_checkpoint() -> None:
    x, y = rows()
    start, end = net(nn.BatchNorm1d(7).double()), net(nn.BatchNorm1d(7).double())
    end.train()
    with torch.no_grad():
        for p in end.parameters():
            p.add_(0.1)
        end(3 * x + 1)  # other running statistics
    loss = Loss.from_module(start, (x, y))
    line = xl.landscape.line(loss, points=5, to=end.state_dict())
    ends = [Loss.from_module(m, (x, y)).value() for m in (start, end)]
    assert [float(line[0]), float(line[-1])] == pytest.approx(ends, rel=1e-12)
    half = {k: (a + b) / 2 if a.is_floating_point() else a for (k, a), b in zip(start.state_dict().items(), end.state_dict().values(), strict=True)}  # fmt: skip
    middle = net(nn.BatchNorm1d(7).double())
    middle.load_state_dict(half)
    assert float(line[2]) == pytest.approx(Loss.from_module(middle, (x, y)).value(), rel=1e-12)
    with pytest.raises(ValueError, match=r"unknown parameter in to '0\.wait'"):
        xl.landscape.line(loss, points=3, to={**end.state_dict(), "0.wait": x})


def test_the_same_loss_looked_at_elsewhere() -> None:
    x, y = rows()
    here, there = net(nn.BatchNorm1d(7).double()), net(nn.BatchNorm1d(7).double())
    with torch.no_grad():
        for p in there.parameters():
            p.mul_(1.5).add_(0.2)
        there[1].running_mean.fill_(0.3)
    loss, truth = Loss.from_module(here, (x, y)), Loss.from_module(there, (x, y))
    before = loss.value()
    moved = loss.at(there.state_dict())
    assert moved.value() == pytest.approx(truth.value(), rel=1e-12)
    assert line_of(moved) == pytest.approx(line_of(truth), rel=1e-12)
    assert_close(xl.landscape.plane(moved, points=3).values, xl.landscape.plane(truth, points=3).values)
    assert xl.curvature.trace(moved, probes=3).value == pytest.approx(xl.curvature.trace(truth, probes=3).value)
    assert xl.flatness.lpf(moved, 0.1, samples=3).value == pytest.approx(xl.flatness.lpf(truth, 0.1, samples=3).value)
    assert moved.to(torch.float32).value() == pytest.approx(truth.value(), rel=1e-5)
    assert loss.value() == before and loss.module is here
    part = loss.at({"3.bias": there[3].bias})
    both = net(nn.BatchNorm1d(7).double())
    both[3].bias.data.copy_(there[3].bias)
    assert part.value() == pytest.approx(Loss.from_module(both, (x, y)).value(), rel=1e-12)
    assert part.at(there.state_dict()).value() == pytest.approx(truth.value(), rel=1e-12)


def test_elsewhere_for_a_function_and_bad_places() -> None:
    bowl = Loss(lambda p: (p["w"] ** 2).sum() + p["b"], {"w": torch.tensor([3.0, 4.0]), "b": torch.tensor(1.0)})
    moved = bowl.at({"w": [1.0, 2.0]})
    assert (moved.value(), bowl.value()) == (6.0, 26.0)
    assert moved.along([{"b": torch.tensor(1.0)}], [[2.0]]).tolist() == [8.0]
    for params, error, message in (
        ({"v": torch.ones(2)}, ValueError, "unknown parameter in params 'v'"),
        ({"w": torch.ones(3)}, ValueError, r"params\['w'\] must have shape \(2,\) like the parameter, got \(3,\)"),
        ({"w": torch.tensor([1.0, torch.nan])}, ValueError, "NaN"),
        ({}, ValueError, "params is empty"),
        ([1.0, 2.0], TypeError, "dict of tensors named like the parameters, got list"),
    ):
        with pytest.raises(error, match=message):
            bowl.at(params)
    with pytest.raises(TypeError, match="dict of tensors"):
        Loss.from_module(net(), rows()).at([1.0])


# -- vmap --------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Takes another way for large numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.net(x)
        return z / 2 if z.abs().max() > 50 else z


class Masks(Branches):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.net(x)
        z = z.clone()
        z[z > 0.1] = 0.1
        return z


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.head = kind(1, 4, batch_first=True).double(), nn.Linear(4, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.read(x[..., None])[0][:, -1])


@pytest.mark.parametrize("make", [Branches, Masks, lambda: Recurrent(nn.LSTM), lambda: Recurrent(nn.GRU)])
def test_what_vmap_cannot_do_goes_one_after_another(make) -> None:
    line_of(Loss.from_module(make(), rows()))


def test_a_net_that_vmap_gets_wrong_goes_one_after_another() -> None:
    """A function whose rule for vmap forgets the members: tried on two members first, it is seen."""

    class Forgets(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return 2 * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x):
            first = x.select(in_dims[0], 0)
            return 2 * first.expand(info.batch_size, *first.shape), 0

    loss = Loss(lambda p: Forgets.apply(p["w"]).sum(), {"w": torch.tensor([1.0, 2.0], dtype=DOUBLE)})
    assert loss.many({"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=DOUBLE)}, vectorize=True).tolist() == [
        6.0,
        14.0,
    ]


def test_a_compiled_part_is_looked_at_as_it_was_written() -> None:
    x, y = rows()
    plain, module = net(), net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, of torch.jit
        module[0] = torch.compile(module[0])
        module[3].compile()
    loss = Loss.from_module(module, (x, y))
    assert loss.value() == pytest.approx(Loss.from_module(plain, (x, y)).value(), rel=1e-12)
    assert line_of(loss) == pytest.approx(line_of(Loss.from_module(plain, (x, y))), rel=1e-12)
    assert xl.curvature.trace(loss, probes=2).value == pytest.approx(
        xl.curvature.trace(Loss.from_module(plain, (x, y)), probes=2).value
    )


# -- what came to light by trying: each gave a number without a word, or torch's own refusal ---------------------


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:Sparse invariant checks")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.parametrize("several", [False, True])
def test_a_sparse_batch_is_cut_and_joined_like_a_dense_one(layout: torch.layout, several: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(5, 3, dtype=DOUBLE))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sparse.mm(x, self.weight) if x.layout is torch.sparse_coo else x.to_dense() @ self.weight

    x, y = rows()
    x, module, found = x.relu(), Net(), []
    for make in (lambda part: part, lambda part: part.to_sparse(layout=layout)):
        cuts = [slice(0, 11), slice(11, 40)] if several else [slice(0, 40)]
        loss = Loss.from_module(module, [(make(x[k]), y[k]) for k in cuts])
        trace, line = xl.curvature.trace(loss, probes=2).value, xl.landscape.line(loss, points=3).values
        found.append([loss.value(), trace, float(xl.curvature.ggn(loss, rows=7).dense().trace()), *line])
    part = loss.chunks(7)[0][1][0]
    assert part.layout is layout and part.shape == (7, 5)
    assert_close(torch.tensor(found[1]), torch.tensor(found[0]))


def test_a_table_with_sparse_gradients_is_looked_at_and_stays_sparse() -> None:
    class Net(nn.Module):
        def __init__(self, sparse: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.head = nn.Embedding(5, 4, sparse=sparse), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(x).mean(1).tanh())

    tokens = torch.randint(0, 5, (20, 3), generator=torch.Generator().manual_seed(0))
    plain, sparse = (Net(kind) for kind in (False, True))
    found = [xl.curvature.trace(Loss.from_module(m, (tokens, rows(20)[1])), probes=2).value for m in (plain, sparse)]
    assert found[0] == found[1] and sparse.table.sparse and not plain.table.sparse


def test_a_function_that_takes_its_parameters_from_elsewhere_is_refused() -> None:
    """Its plane was flat and its trace 0."""
    module, (x, y) = net(), rows()
    named = dict(module.named_parameters())

    def beside(params: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return F.cross_entropy(module(x), y)

    wrong: list[Callable[[dict[str, torch.Tensor]], torch.Tensor]] = [
        lambda params: F.cross_entropy(module(x), y),
        lambda params: (x @ params["0.weight"].T + module[0].bias).square().mean(),  # type: ignore[index]
        beside,
    ]
    looks: list[Callable[[Loss], object]] = [
        Loss.value,
        lambda loss: loss.along([named], [[0.0], [1.0]]),
        lambda loss: xl.landscape.plane(loss, points=3),
        lambda loss: xl.flatness.gap(loss, directions=2),
        lambda loss: xl.curvature.trace(loss, probes=2),
        lambda loss: xl.curvature.trace(loss, probes=2, dtype=torch.float32),
    ]
    for fn in wrong:
        for look in looks:
            with pytest.raises(ValueError, match=r"mine takes 0\..* from elsewhere than the params that it is given"):
                look(Loss(fn, named, name="mine"))


def test_a_function_may_hold_constants_and_move_some_parameters_only() -> None:
    module, (x, y) = net(), rows()
    some = {"3.weight": module[3].weight}  # type: ignore[index]
    before = {name: p.detach() for name, p in module.named_parameters()}
    part = Loss(lambda p: F.cross_entropy(torch.func.functional_call(module, p, (x,)), y), some)
    near = Loss(lambda p: sum((p[n] - before[n]).square().sum() for n in p), before)
    assert part.value() == pytest.approx(float(F.cross_entropy(module(x), y).detach()))
    assert near.value() == 0 and xl.curvature.trace(near, probes=2).value == pytest.approx(2 * near.size)
    assert Loss(lambda p: torch.tensor(1.0), before).value() == 1


def test_numbers_that_would_be_compared_each_with_each_are_refused() -> None:
    x, _ = rows()
    module = nn.Linear(5, 1).double()
    for criterion in (F.mse_loss, nn.MSELoss(), F.l1_loss, nn.HuberLoss()):
        with pytest.raises(ValueError, match=r"outputs \(N, 1\) for targets \(N,\), .* use target.unsqueeze\(-1\)"):
            Loss.from_module(module, (x, x[:, 0]), criterion)
    with pytest.raises(ValueError, match=r"outputs \(N, 1\) for targets \(N, 5\), which would be compared each"):
        Loss.from_module(module, (x, x), F.mse_loss)
    with pytest.raises(ValueError, match=r"use target.squeeze\(-1\)"):
        Loss.from_module(nn.Sequential(module, nn.Flatten(0)), (x, x[:, :1]), F.mse_loss)
    assert Loss.from_module(module, (x, x[:, :1]), F.mse_loss).value() > 0


def test_one_output_is_no_choice_of_classes() -> None:
    x, _ = rows()
    with pytest.raises(ValueError, match="one output, of which cross-entropy is 0 whatever it says"):
        Loss.from_module(nn.Linear(5, 1).double(), (x, torch.zeros(40, dtype=torch.int64)))


def test_a_generator_that_was_read_before_is_told() -> None:
    batches = iter([rows()])
    assert Loss.from_module(net(), batches).value() > 0
    with pytest.raises(ValueError, match="gave no batch; a generator can be read only once"):
        Loss.from_module(net(), batches)


@pytest.mark.parametrize("detached", [True, False])
def test_weights_that_the_first_forward_keeps_are_found(detached: bool) -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.kept = nn.Linear(5, 3).double(), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.kept is None:
                self.kept = self.layer.weight.detach().clone() if detached else 2 * self.layer.weight
            return F.linear(x, self.kept, self.layer.bias)

    for look in (Loss.value, lambda loss: xl.landscape.line(loss, points=3), lambda loss: xl.curvature.trace(loss)):
        with pytest.raises(ValueError, match=r"Keeps keeps something that it computed from layer\.weight before"):
            look(Loss.from_module(Keeps(), rows()))


def test_what_is_read_without_gradients_only_or_not_at_all_is_no_memory() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.idle = (nn.Linear(5, 3).double() for _ in range(3))
            self.other.load_state_dict(self.one.state_dict())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x) if torch.is_grad_enabled() else self.other(x)

    assert Loss.from_module(Two(), rows()).value() > 0
    flat = torch.randn(18, dtype=DOUBLE)
    shared = nn.Linear(5, 3).double()
    shared.weight.data, shared.bias.data = flat[:15].view(3, 5), flat[15:]
    assert Loss.from_module(shared, rows()).value() > 0
