from __future__ import annotations

import threading
import warnings
from collections import UserDict
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset
from worlds import quadratic, toy

import xmodal_lab as xl
from xmodal_lab.losses import Loss
from xmodal_lab.losses.cross_entropy import cross_entropy
from xmodal_lab.losses.parameters import moved


def classifier(norm: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), norm or nn.Identity(), nn.ReLU(), nn.Linear(7, 3))


def batch(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 5, generator=g), torch.randint(0, 3, (n,), generator=g)


def directions_for(loss: Loss, count: int = 2) -> list[dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(2)
    return [{k: torch.randn(p.shape, generator=g).to(p) for k, p in loss.params.items()} for _ in range(count)]


def test_a_function_of_parameters() -> None:
    loss, hessian, centre = quadratic()
    d = torch.cat([p.reshape(-1) for p in loss.params.values()]) - centre
    assert_close(loss(), 0.5 * d @ hessian @ d)
    stacked = {k: torch.stack([p, 2 * p]) for k, p in loss.params.items()}
    expected = torch.stack([loss(), loss({k: 2 * p for k, p in loss.params.items()})])
    assert_close(loss.many(stacked), expected)
    assert_close(loss.many(stacked, vectorize=True), expected)


@pytest.mark.parametrize("rows", [None, 7, 1000])
@pytest.mark.parametrize("stack", [None, 3])
def test_along_equals_explicit_evaluation_and_touches_nothing(rows: int | None, stack: int | None) -> None:
    module = classifier().double()
    x, y = batch()
    loss = Loss.from_module(module, (x.double(), y))
    before = {k: p.clone() for k, p in module.state_dict().items()}
    directions = directions_for(loss)
    table = np.random.default_rng(0).normal(size=(20, 2))
    values = loss.along(directions, table, rows, stack)
    for value, row in zip(values, table, strict=True):
        point = {k: p + row[0] * directions[0][k] + row[1] * directions[1][k] for k, p in loss.params.items()}
        expected = nn.functional.cross_entropy(torch.func.functional_call(module, point, (x.double(),)), y)
        assert_close(value, expected.detach())
    for k, p in module.state_dict().items():
        assert torch.equal(p, before[k])


def test_along_follows_a_model_that_was_trained_since() -> None:
    module = classifier()
    loss = Loss.from_module(module, batch())
    directions = directions_for(loss)
    first = loss.along(directions, [[0.0, 0.0]])
    with torch.no_grad():
        module[0].weight.mul_(2)
    second = loss.along(directions, [[0.0, 0.0]])
    assert_close(second[0], loss().double().detach())
    assert abs(float(first[0] - second[0])) > 1e-3


def test_terms_sum_to_the_loss_and_to_its_gradient() -> None:
    loss = Loss.from_module(classifier().double(), tuple(t.double() if t.is_floating_point() else t for t in batch()))
    params = {k: p.clone().requires_grad_() for k, p in loss.params.items()}
    terms = loss.terms(rows=7)
    assert len(terms) == 6
    total = sum(t.weight * t.fn(params) for t in terms)
    assert_close(total, loss(params))
    ours = torch.autograd.grad(total, list(params.values()))
    theirs = torch.autograd.grad(loss(params), list(params.values()))
    assert_close(ours, theirs)


def test_loaders_and_dicts_and_uneven_batches() -> None:
    x, y = batch(41)
    module = classifier()
    whole = nn.functional.cross_entropy(module(x), y).detach()
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    assert_close(Loss.from_module(module, loader)().detach(), whole)
    keyed = Loss.from_module(module, {"input": x, "labels": y}, nn.functional.cross_entropy)
    assert_close(keyed().detach(), whole)
    assert_close(keyed.along(directions_for(keyed), [[0.0, 0.0]])[0].float(), whole)


def test_a_dict_may_hold_what_is_not_one_per_row() -> None:
    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = classifier()
            self.whole = nn.Parameter(torch.ones(3, dtype=torch.int8), requires_grad=False)

        def forward(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
            return self.net(x + by) * self.whole

    (x, y), by = batch(40), torch.ones(1, 5)
    parts = [{"x": x[rows], "labels": y[rows], "by": by} for rows in (slice(30), slice(30, None))]
    loss = Loss.from_module(Moved(), parts, nn.functional.cross_entropy)
    expected = Loss.from_module(Moved(), {"x": x, "labels": y, "by": by}, nn.functional.cross_entropy)
    assert loss.value() == pytest.approx(expected.value(), rel=1e-6)
    assert loss.along(directions_for(loss), [[0.0, 0.0]] * 9).tolist() == pytest.approx([expected.value()] * 9)


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Named(UserDict):
    """A dict whose entries are attributes, as tokenizers give it."""

    def __getattr__(self, name: str) -> torch.Tensor:
        return self.data[name]


class Asks(nn.Module):
    """Asks its inputs for what only their own type has."""

    def __init__(self) -> None:
        super().__init__()
        self.net = classifier()

    def forward(self, inputs: Pair | Named | list) -> torch.Tensor:
        if isinstance(inputs, list):
            return self.net(sum(inputs.copy() + inputs[:1]))
        return self.net(inputs.left + inputs.right)


@pytest.mark.parametrize(
    "make", [Pair, lambda left, right: Named(left=left, right=right), lambda left, right: [left, right]]
)
def test_inputs_keep_their_type_when_they_are_cut(make) -> None:
    x, y = batch()
    module = Asks()
    loss = Loss.from_module(module, (make(x, 2 * x), y))
    expected = float(nn.functional.cross_entropy(module(make(x, 2 * x)), y).detach())
    assert len(loss.terms(rows=7)) == 6
    assert loss.along(directions_for(loss), [[0.0, 0.0]] * 9).tolist() == pytest.approx([expected] * 9, rel=1e-5)
    assert loss.to(torch.float64).value() == pytest.approx(expected, rel=1e-5)


def test_packed_sequences_stay_whole() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read, self.head = nn.LSTM(5, 4), nn.Linear(4, 3)

        def forward(self, packed: nn.utils.rnn.PackedSequence) -> torch.Tensor:
            return self.head(self.read(packed)[1][0][-1])

    torch.manual_seed(0)
    packed = nn.utils.rnn.pack_sequence([torch.randn(2 + i % 4, 5) for i in range(12)], enforce_sorted=False)
    module, y = Reads(), batch(12)[1]
    loss = Loss.from_module(module, (packed, y))
    expected = float(nn.functional.cross_entropy(module(packed), y).detach())
    with pytest.warns(UserWarning, match="evaluated whole"):
        values = loss.along(directions_for(loss), [[0.0, 0.0]] * 9, rows=5)
    assert values.tolist() == pytest.approx([expected] * 9, rel=1e-5)


def test_a_criterion_that_is_not_a_mean_over_rows_is_evaluated_whole() -> None:
    x, y = batch()

    def spread(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return outputs.std()

    loss = Loss.from_module(classifier(), (x, y), spread)
    with pytest.warns(UserWarning, match="not a mean over the rows"):
        terms = loss.terms(rows=8)
    assert len(terms) == 1
    assert_close(terms[0].fn({}), loss())


def test_rows_that_count_differently_are_found_wherever_they_are() -> None:
    """Weighted, ignored or masked rows outside the first few; a head of zeros, which makes any mean the same."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(600, 5, generator=g), torch.arange(600) % 2 * 2
    rare = y.index_fill(0, torch.tensor([411]), 1)
    ignored = y.index_fill(0, torch.arange(300, 330), -100)
    tokens = torch.stack([y, y], 1).index_put((torch.tensor(500), torch.tensor(1)), torch.tensor(-100))
    flat = classifier()
    nn.init.zeros_(flat[-1].weight)
    nn.init.zeros_(flat[-1].bias)
    cases = {
        "weight": (classifier(), rare, nn.CrossEntropyLoss(torch.tensor([1.0, 300.0, 1.0]))),
        "sorted": (classifier(), y.sort()[0], nn.CrossEntropyLoss(torch.tensor([1.0, 1.0, 9.0]))),
        "ignored": (classifier(), ignored, None),
        "tokens": (classifier(), tokens, lambda o, t: nn.functional.cross_entropy(torch.stack([o, -o], 2), t)),
        "zeros": (flat, y, lambda o, t: nn.functional.cross_entropy(o, t, reduction="none").max()),
    }
    for name, (module, labels, criterion) in cases.items():
        loss = Loss.from_module(module, (x, labels), criterion)
        with pytest.warns(UserWarning, match="not a mean over the rows"):
            terms = loss.terms(rows=100)
        assert len(terms) == 1, name
    assert len(Loss.from_module(flat, (x, y)).terms(rows=100)) == 6


def test_buffers_that_a_forward_writes_to_stay_as_they_are() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(5, 3)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("mean", torch.zeros(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            self.mean = self.mean + 1
            return self.net(x - self.mean) * self.calls

    module = Counts()
    expected = Loss.from_module(module, batch()).value()
    loss = Loss.from_module(module, batch())
    assert loss.along(directions_for(loss), [[0.0, 0.0]] * 9).tolist() == pytest.approx([expected] * 9)
    assert float(module.calls) == 0
    assert not module.mean.any()


class Notes(nn.Module):
    """A hook of its own writes down what a layer gives; the hook of a copy writes into the original's notes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.notes = nn.Linear(5, 3), nn.Linear(3, 3), {}
        self.one.register_forward_hook(lambda _layer, _args, output: self.notes.update(one=output))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x).relu()) + self.notes["one"]


class Keeps(nn.Module):
    """Keeps its last hidden layer, with its graph, which torch refuses to copy."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(5, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = [self.one(x).relu()]
        return self.two(self.kept[0])


class Locked(Keeps):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(("make", "fast"), [(Notes, False), (Keeps, True), (Locked, False)])
def test_a_module_that_cannot_be_copied_is_looked_at_itself(make: type[nn.Module], fast: bool) -> None:
    torch.manual_seed(0)
    module, (x, y) = make(), batch()
    nn.functional.cross_entropy(module(x), y).backward()
    loss = Loss.from_module(module, (x, y))
    directions, point = directions_for(loss), [0.5, -0.3]
    expected = float(loss(moved(loss.params, directions, point)).detach())
    assert loss.along(directions, [point] * 9).tolist() == pytest.approx([expected] * 9, rel=1e-5)
    assert loss.has_scratch() is fast


def test_a_module_in_a_wrapper_is_looked_at_and_a_scripted_one_is_refused() -> None:
    module = classifier()
    compiled = nn.Module()  # as torch.compile wraps it
    compiled._orig_mod = module
    for wrapped in (nn.DataParallel(module), compiled):
        loss = Loss.from_module(wrapped, batch())
        assert loss.module is module
        assert loss.value() == Loss.from_module(module, batch()).value()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, of torch.jit
        traced = torch.jit.trace(module, batch()[0].to(next(module.parameters()).device))
    with pytest.raises(ValueError, match="scripted or traced"):
        Loss.from_module(nn.Sequential(traced), batch())


def test_eval_mode_without_changing_the_modules_own_mode() -> None:
    module = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    module[1].eval()
    loss = Loss.from_module(module, batch())
    assert loss.value() == pytest.approx(float(loss()))
    assert [m.training for m in module] == [True, False, True]


def test_batchnorm_is_kept_or_recalibrated() -> None:
    torch.manual_seed(0)
    module = classifier(nn.BatchNorm1d(7)).train()
    x, y = batch()
    module(x)
    running = module[1].running_mean.clone()
    keep = Loss.from_module(module, (x, y))
    again = Loss.from_module(module, (x, y), batchnorm="recalibrate")
    module.eval()
    assert_close(keep().detach(), nn.functional.cross_entropy(module(x), y).detach())
    hidden = module[0](x)
    fresh = nn.functional.batch_norm(hidden, None, None, module[1].weight, module[1].bias, True)
    expected = nn.functional.cross_entropy(module[3](torch.relu(fresh)), y).detach()
    assert_close(again().detach(), expected)
    assert_close(again.along(directions_for(again), [[0.0, 0.0]])[0].float(), expected)
    assert torch.equal(running, module[1].running_mean)


def test_tied_unused_and_frozen_parameters() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(5, 5)
            self.two = nn.Linear(5, 5)
            self.two.weight = self.one.weight
            self.unused = nn.Parameter(torch.ones(3))
            self.frozen = nn.Linear(5, 3).requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.frozen(torch.relu(self.two(torch.relu(self.one(x)))))

    loss = Loss.from_module(Odd(), batch())
    assert loss.has_scratch()
    assert set(loss.params) == {"one.weight", "one.bias", "two.bias", "unused"}
    directions = directions_for(loss)
    table = np.linspace(-1, 1, 14).reshape(7, 2)
    explicit = [float(loss(moved(loss.params, directions, row)).detach()) for row in table]
    assert loss.along(directions, table).tolist() == pytest.approx(explicit, rel=1e-5)


class Twice(nn.Module):
    """One module registered under two names, as an embedding that encoder and decoder share; and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(5, 5)
        self.again = self.one
        self.head = nn.Linear(5, 3)
        self.whole = nn.Parameter(torch.tensor([1]), requires_grad=False)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.head(torch.tanh(self.again(torch.tanh(self.one(x))))) * self.whole


def test_a_module_that_is_registered_twice_is_left_as_it_was() -> None:
    module = Twice()
    before = dict(module.named_parameters())
    values = {k: p.detach().clone() for k, p in before.items()}
    loss = Loss.from_module(module, batch())
    expected = nn.functional.cross_entropy(module(batch()[0]), batch()[1]).detach()
    module.calls.zero_()
    assert_close(loss().detach(), expected)
    directions = directions_for(loss)
    table = np.linspace(-1, 1, 14).reshape(7, 2)
    explicit = [float(loss(moved(loss.params, directions, row)).detach()) for row in table]
    assert loss.along(directions, table).tolist() == pytest.approx(explicit, rel=1e-5)
    xl.curvature.top_eigenvalues(loss, k=1, max_iterations=5, tol=1.0)
    xl.flatness.lpf(loss, sigma=0.1, samples=2)
    xl.landscape.modality_plane(loss, "one", "head", points=3)
    after = dict(module.named_parameters())
    assert after.keys() == before.keys() and all(after[k] is p for k, p in before.items()), "the very same parameters"
    assert all(torch.equal(p, values[k]) for k, p in after.items())
    assert float(module.calls) == 0, "buffers stay as they are"


def test_a_module_that_cannot_be_copied_is_looked_at_where_it_stands() -> None:
    class Locked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.lock = nn.Linear(5, 3), threading.Lock()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with self.lock:
                return self.layer(x)

    loss = Loss.from_module(Locked(), batch())
    directions = directions_for(loss)
    table = np.linspace(-1, 1, 14).reshape(7, 2)
    explicit = [float(loss(moved(loss.params, directions, row)).detach()) for row in table]
    assert loss.along(directions, table).tolist() == pytest.approx(explicit, rel=1e-5)
    assert xl.landscape.plane(loss, points=3).shape == (3, 3)
    with pytest.raises(TypeError, match=r"Locked cannot be copied \(cannot pickle '_thread.lock' object\); keep"):
        xl.fit(Locked(), toy(), epochs=1)


def test_loss_on_leaves_incomplete_rows_out_and_names_blocks() -> None:
    ds = toy(absent=True)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    loss = xl.loss_on(net, ds.train)
    rows = ds.train.complete()
    assert_close(loss().detach(), nn.functional.cross_entropy(net(rows.inputs), rows.labels).detach())
    assert list(loss.blocks) == ["encoders.image", "encoders.audio", "fusion", "head"]
    assert sum(len(v) for v in loss.blocks.values()) == len(loss.params)


def test_double_precision_on_request() -> None:
    ds = toy()
    loss = xl.loss_on(xl.LateFusion.for_dataset(ds, architecture="mlp"), ds.test)
    double = loss.to(torch.float64)
    assert double().dtype == torch.float64
    assert loss().dtype == torch.float32
    assert float(double()) == pytest.approx(float(loss()), rel=1e-5)


def test_a_stochastic_loss_is_refused() -> None:
    loss = Loss(lambda p: (p["w"] * torch.randn(3)).sum(), {"w": torch.ones(3)})
    with pytest.raises(ValueError, match="stochastic: two evaluations"):
        loss.value()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Loss(lambda p: p["w"].sum(), {}), ValueError, "at least one parameter"),
        (lambda: Loss(lambda p: p["w"], {"w": torch.ones(3)})(), ValueError, r"scalar, got shape \(3,\)"),
        (lambda: Loss(lambda p: 1.0, {"w": torch.ones(3)})(), TypeError, "scalar tensor, got float"),
        (lambda: Loss(3, {"w": torch.ones(3)}), TypeError, "callable"),
        (lambda: Loss(lambda p: p["w"].sum(), {"w": torch.ones(3, dtype=torch.long)}), ValueError, "floating point"),
        (lambda: Loss(lambda p: p["w"].sum(), {"w": torch.full((3,), torch.nan)}), ValueError, "NaN"),
        (lambda: Loss.from_module("net", batch()), TypeError, "torch.nn.Module"),
        (lambda: Loss.from_module(classifier(), []), ValueError, "gave no batch"),
        (lambda: Loss.from_module(nn.LazyLinear(3), batch()), ValueError, "has no shape yet, as in a lazy module"),
        (lambda: Loss.from_module(nn.GRU(5, 3), batch())(), TypeError, "needs logits, .* the model returned tuple"),
        (lambda: Loss.from_module(classifier(), 3), TypeError, "batch"),
        (lambda: Loss.from_module(classifier(), [torch.ones(2, 5)]), TypeError, "a batch must be a dict or a tuple"),
        (lambda: Loss.from_module(classifier(), (torch.ones(0, 5), torch.ones(0))), ValueError, "empty"),
        (lambda: Loss.from_module(classifier(), batch(), batchnorm="drop"), ValueError, "batchnorm mode"),
        (lambda: Loss.from_module(classifier(), {"input": batch()[0]})(), ValueError, "without a loss"),
        (
            lambda: Loss.from_module(classifier(), {"input": batch()[0]}, nn.functional.cross_entropy)(),
            ValueError,
            "no 'labels'",
        ),
        (lambda: quadratic()[0].along([{"weight": torch.ones(2, 3)}], [[1.0, 2.0]]), ValueError, r"\(K, 1\)"),
        (lambda: quadratic()[0].along([{"weight": torch.ones(3, 2)}], [[1.0]]), ValueError, r"shape \(2, 3\)"),
        (lambda: quadratic()[0].along([{"wait": torch.ones(3, 2)}], [[1.0]]), ValueError, "Did you mean 'weight'"),
        (lambda: quadratic()[0].along([{}], [[1.0]]), ValueError, "empty"),
        (lambda: quadratic()[0].along([torch.ones(3)], [[1.0]]), TypeError, "dict of tensors"),
        (lambda: quadratic()[0].many({"weight": torch.ones(2, 3)}), ValueError, r"shape \(K, 2, 3\)"),
        (lambda: xl.loss_on(classifier(), batch()), TypeError, "Samples"),
    ],
)
def test_bad_losses_say_what_is_wrong(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_unknown_labels_are_refused() -> None:
    ds = toy()
    net = xl.LateFusion.for_dataset(ds, architecture="mlp")
    unlabelled = xl.Samples(ds.test.inputs, torch.full((60,), -1))
    with pytest.raises(ValueError, match="labels are unknown"):
        xl.loss_on(net, unlabelled)
    regression = xl.Samples(ds.test.inputs, torch.rand(60))
    one = xl.LateFusion.for_dataset(ds, architecture="mlp", outputs=1)
    expected = ((one(ds.test.inputs).flatten() - regression.labels) ** 2).mean()
    assert_close(xl.loss_on(one, regression)(), expected)


@pytest.mark.parametrize("classes", [1, 2, 10, 40])
def test_cross_entropy_is_torchs(classes: int) -> None:
    g = torch.Generator().manual_seed(0)
    logits = (30 * torch.randn(200, classes, generator=g, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, classes, (200,), generator=g)
    labels[3] = -100  # torch leaves such rows out
    values = [f(logits, labels) for f in (cross_entropy, torch.nn.functional.cross_entropy)]
    assert_close(*values, rtol=1e-12, atol=0)
    assert_close(*(torch.autograd.grad(v, logits)[0] for v in values), rtol=1e-12, atol=1e-15)
    shares = torch.softmax(torch.randn(200, classes, generator=g, dtype=torch.float64), 1)
    assert_close(cross_entropy(logits, shares), torch.nn.functional.cross_entropy(logits, shares))


def test_a_plane_of_an_encoder_that_holds_one_layer() -> None:
    """The part that moves is the layer, and the encoder around it is no part that stands beside it."""
    ds = toy(24)
    net = xl.LateFusion.for_dataset(ds, architecture="mlp", width=4)
    net.encoders["image"] = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(ds.shapes["image"])), 4))
    loss = xl.loss_on(net, ds.test)
    pair = [xl.landscape.directions(loss, 1, params=f"encoders.{m}")[0] for m in ("image", "audio")]
    plane = xl.landscape.modality_plane(loss, "image", "audio", points=5, directions=pair)
    assert_close(plane.values, xl.landscape.plane(loss, points=5, directions=pair).values, rtol=1e-4, atol=1e-5)
