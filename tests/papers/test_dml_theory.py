"""dml's theory against closed forms, finite differences and quadrature; the law of the pairs; retrieval."""

from __future__ import annotations

import pytest
import torch
from scipy import integrate
from torch.testing import assert_close
from worlds import toy

import xmodal_lab as xl
from xmodal_lab.models.fusion import FUSIONS
from xmodal_lab.papers.dml.method import retrieval
from xmodal_lab.papers.dml.theory import smoothing as theory
from xmodal_lab.papers.dml.theory.invariance import invariance, jacobian


def world() -> xl.Dataset:
    return toy(n=30).to(dtype=torch.float64)


def net(fusion: str, seed: int = 0) -> xl.LateFusion:
    return xl.LateFusion.for_dataset(world(), fusion=fusion, architecture="mlp", width=8, seed=seed)


# -- Theorem 1 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_convolution_is_exact_where_the_shift_does_not_depend_on_x_i(fusion: str) -> None:
    found = theory.convolution(net(fusion), world().test)
    if fusion in ("additive", "concat_linear"):
        assert found.error < 1e-13
        assert found.multimodal == pytest.approx(found.convolved, abs=1e-13)
    else:
        assert found.error > 1e-6
    if fusion == "additive":
        assert found.scaled_error < 1e-13, "α = 1"
    else:
        assert found.scaled_error > 1e-4, "Eq 3's α ⊙ does not belong there"


@torch.no_grad()
def test_both_losses_are_those_of_the_net() -> None:
    """The multimodal side by brute force over all pairs of a class."""
    model, samples = net("concat_mlp"), world().test
    losses, alone = [], []
    for i in range(len(samples)):
        same = (samples.labels == samples.labels[i]).nonzero()[:, 0]
        image = samples.inputs["image"][i : i + 1]
        logits = model({"image": image.expand(len(same), -1, -1, -1), "audio": samples.inputs["audio"][same]})
        target = samples.labels[i].expand(len(same))
        losses.append(torch.nn.functional.cross_entropy(logits, target))
        alone.append(torch.nn.functional.cross_entropy(model({"image": image}), target[:1]))
    found = theory.convolution(model, samples)
    assert found.multimodal == pytest.approx(float(torch.stack(losses).mean()), rel=1e-10)
    assert found.unimodal == pytest.approx(float(torch.stack(alone).mean()), rel=1e-10)
    assert found.relative == found.error / found.multimodal


def test_theorem_1_needs_two_modalities_and_two_rows() -> None:
    one = xl.LateFusion.for_dataset(world(), "image", architecture="mlp")
    with pytest.raises(ValueError, match="needs a net of two modalities, got image"):
        theory.convolution(one, world().test)
    with pytest.raises(ValueError, match="no class has two rows"):
        theory.convolution(net("additive"), world().test.subset([0, 1, 2]))


# -- Theorem 2 ---------------------------------------------------------------------------------------


def test_curvatures_are_second_derivatives() -> None:
    f = torch.linspace(-5, 5, 11, dtype=torch.float64)
    shifts = torch.tensor([-1.5, 0.3, 2.0], dtype=torch.float64)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(x[:, None] + shifts).mean(1).sum()

    dense = torch.func.hessian(loss)(f).diagonal()
    assert_close(theory.logistic_curvature(f, shifts), dense)
    logits, many = torch.randn(2, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)

    def entropy(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(x + many, torch.zeros(3, dtype=torch.long))

    for k in range(2):
        norm = torch.linalg.matrix_norm(torch.func.hessian(entropy)(logits[k]), 2)
        assert_close(theory.softmax_curvature(logits, many)[k], norm)


def test_the_supremum_falls_while_a_point_rises() -> None:
    f, shifts = torch.linspace(-20, 20, 4001, dtype=torch.float64), torch.tensor([-4.0, 4.0], dtype=torch.float64)
    plain, convolved = theory.logistic_curvature(f), theory.logistic_curvature(f, shifts)
    assert float(plain.max()) == pytest.approx(0.25)
    assert float(convolved.max()) < float(plain.max())
    at = torch.tensor([-6.0], dtype=torch.float64)
    assert float(theory.logistic_curvature(at, shifts)) > 20 * float(theory.logistic_curvature(at))


@pytest.mark.parametrize("kernel", ["gaussian", "uniform", "laplace"])
def test_characteristic_functions_by_quadrature_and_by_sample(kernel: str) -> None:
    sd, omega = 0.7, torch.tensor([0.5, 2.0, 6.0], dtype=torch.float64)
    law = {
        "gaussian": torch.distributions.Normal(0.0, sd),
        "uniform": torch.distributions.Uniform(-(3**0.5) * sd, 3**0.5 * sd, validate_args=False),
        "laplace": torch.distributions.Laplace(0.0, sd / 2**0.5),
    }[kernel]
    edge = 3**0.5 * sd if kernel == "uniform" else 12.0
    for w, value in zip(omega, theory.damping(kernel, omega, sd), strict=True):
        expected, _ = integrate.quad(
            lambda x, w=w: float(torch.cos(w * x) * law.log_prob(torch.tensor(x)).exp()), -edge, edge, limit=200
        )
        assert float(value) == pytest.approx(abs(expected), abs=1e-5)
    torch.manual_seed(0)
    drawn = law.sample((200_000,)).double()
    assert_close(theory.characteristic(drawn, omega), theory.damping(kernel, omega, sd), atol=0.01, rtol=0)


def test_the_two_point_shift_has_finite_variance_and_no_decay() -> None:
    omega = torch.pi * torch.arange(1, 50, dtype=torch.float64)
    assert_close(theory.damping("two-point", omega), torch.ones(49, dtype=torch.float64))
    shifts = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    assert_close(theory.characteristic(shifts, omega / 3), theory.damping("two-point", omega / 3))
    f = torch.linspace(-2, 2, 401, dtype=torch.float64)
    ripple = [-torch.cos(torch.pi * (f + s)) for s in (0, -1, 1)]
    # The curvature at ω = π is π² before and after: cos(π(f ± 1)) = -cos(πf), a mirror image, not a smoothing.
    assert_close((0.5 * (ripple[1] + ripple[2])).abs().max(), ripple[0].abs().max())
    with pytest.raises(ValueError, match="unknown kernel"):
        theory.damping("cauchy", omega)
    with pytest.raises(ValueError, match="sd must be above 0"):
        theory.damping("gaussian", omega, 0)


def test_the_fourier_transform_of_the_convolution_is_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    loss, kernel = torch.rand(2, 33, generator=generator, dtype=torch.float64)
    assert theory.fourier_error(loss, kernel / kernel.sum()) < 1e-13


# -- Assumption 1 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_jacobian_is_that_of_finite_differences(fusion: str) -> None:
    module = FUSIONS[fusion](8, 2).double()
    u, v = torch.randn(2, 3, 8, dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        columns = [
            (module([u, v + step * e]) - module([u, v - step * e])) / (2 * step)
            for e in torch.eye(8, dtype=torch.float64)
        ]
    assert_close(jacobian(module, u, v), torch.stack(columns, 2), rtol=1e-5, atol=1e-6)


def test_tab_13_and_what_it_does_not_say() -> None:
    found = {name: invariance(name) for name in FUSIONS}
    assert found["additive"].error < 1e-15
    for name in ("concat_linear", "concat_mlp", "cross_attention"):
        assert 0.0005 < found[name].of_feature < 0.02
    for name in ("concat_linear", "concat_mlp"):
        assert found[name].of_shift > 0.95, "the diagonal explains nothing of the shift"
        assert found[name].of_feature == pytest.approx(found[name].without, rel=0.05), "α = 0 does as well"
    assert found["concat_linear"].of_shift_matrix < 1e-10, "a matrix would be exact"
    # Of a random d x 2d layer the shift is W_v τ; its diagonal holds a share of about 1/d of ‖W_v τ‖².
    assert found["concat_linear"].of_shift == pytest.approx((1 - 1 / 64) ** 0.5, abs=0.01)
    assert invariance("concat_mlp", size=0.001).of_feature < found["concat_mlp"].of_feature / 5
    trained = net("concat_linear").fusion
    assert invariance(trained, width=8).error > 0
    with pytest.raises(ValueError, match="unknown fusion"):
        invariance("gated")
    with pytest.raises(ValueError, match="size must be above 0"):
        invariance("additive", size=0)


# -- the law of the pairs ----------------------------------------------------------------------------


def views(n: int, dependent: bool, seed: int) -> xl.Samples:
    """Two Gaussian views of a label; ``dependent``: the label is the XOR of a bit of each."""
    g = torch.Generator().manual_seed(seed)
    labels, bit = torch.randint(0, 2, (2, n), generator=g)
    signs = (bit, bit ^ labels) if dependent else (labels, labels)
    inputs = {
        m: torch.randn(n, 2, generator=g) + 4 * (s[:, None] - 0.5) for m, s in zip(("a", "b"), signs, strict=True)
    }
    return xl.Samples(inputs, labels)


def test_sml_and_dml_share_one_law_under_conditional_independence() -> None:
    """Then p-values are uniform: of 20 at most 5 lie below 0.1 (chance 0.04 % of more)."""
    values = [theory.one_law(views(200, False, seed), "a", "b", permutations=99, seed=seed) for seed in range(20)]
    assert sum(p < 0.1 for p in values) <= 6
    assert 0.25 < sum(values) / 20 < 0.75


def test_and_not_where_the_label_is_their_xor() -> None:
    assert max(theory.one_law(views(200, True, s), "a", "b", permutations=99, seed=s) for s in range(5)) <= 0.02
    with pytest.raises(ValueError, match="at least four rows"):
        theory.one_law(views(3, False, 0), "a", "b")
    with pytest.raises(ValueError, match="unknown modality"):
        theory.one_law(views(20, False, 0), "a", "c")


# -- retrieval ---------------------------------------------------------------------------------------


def test_encoders_learn_to_match_what_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    code = torch.randn(300, 4, generator=g)

    def split(rows: slice) -> xl.Samples:
        z = code[rows]
        inputs = {"a": torch.cat([z, z**2], 1), "b": torch.cat([z.tanh(), -z], 1)}
        return xl.Samples(inputs, torch.zeros(len(z), dtype=torch.long))

    ds = xl.Dataset("codes", split(slice(0, 250)), split(slice(250, 300)))
    clusters = (code[:250, 0] > 0).long()
    monkeypatch.setattr(retrieval, "pseudo_labels", lambda *_: clusters)
    table = retrieval.retrieve(ds, range(2), steps=150, batch=64, lr=3e-3)
    mean = table.groupby(["arm", "k"]).recall.mean()
    assert len(table) == 3 * 2 * 2 * 3
    assert mean["SML", 1] > 0.5, "0.02 by chance"
    assert mean["DML, random clusters", 1] < mean["DML", 10] < mean["SML", 10]
    monkeypatch.setattr(retrieval, "pseudo_labels", lambda *_: pytest.fail("SML needs no clusters"))
    alone = retrieval.retrieve(ds, range(2), arms=["SML"], steps=150, batch=64, lr=3e-3)
    same = table[table.arm == "SML"].reset_index(drop=True)
    assert (alone.recall - same.recall).abs().max() < 0.05, "the members of a stack do not see each other"
    with pytest.raises(ValueError, match="unknown arm 'both'; known: 'SML'"):
        retrieval.retrieve(ds, range(2), arms=["both"])
    with pytest.raises(ValueError, match="needs two modalities"):
        retrieval.retrieve(xl.Dataset("one", ds.train.select("a"), ds.test.select("a")), [0])
    with pytest.raises(ValueError, match="clusters must be between 2 and the 50 rows"):
        monkeypatch.undo()
        retrieval.pseudo_labels(ds.test, "a", 51)


def test_theorem_2_on_a_nets_own_loss_is_that_of_its_softmax() -> None:
    from xmodal_lab.papers.dml.theory import trained

    ds = toy(n=60, classes=3)
    net = xl.LateFusion.for_dataset(ds, ("image", "audio"), "concat_linear", width=4, architecture="mlp")
    found = trained.curvature(net, ds.test, rows=5, partners=6)
    # By hand: ∇²ℓ = Wᵀ (diag p - ppᵀ) W, averaged over the shifts of the row's class.
    seen = ds.test.complete(("image", "audio"))
    z = net.encode(seen.inputs)
    absent = net.encode({"image": seen.inputs["image"][:1]})["audio"]
    weight = next(p for p in net.head.parameters() if p.dim() == 2).detach().double()
    plain, convolved, wide = [], [], []
    for c in seen.labels.unique():
        at = (seen.labels == c).nonzero()[:, 0]
        if len(at) < 2:
            continue
        u, v = z["image"][at], z["audio"][at][:6]
        f = net.fuse({"image": u[:5], "audio": absent.expand(len(u[:5]), -1)}).detach().double()
        shifts = net.fuse({"image": u[:1].expand(len(v), -1), "audio": v}) - net.fuse({"image": u[:1], "audio": absent})

        def hessian(x: torch.Tensor) -> torch.Tensor:
            p = net.head(x.float()).detach().double().softmax(-1)
            inner = torch.diag_embed(p) - p[..., :, None] * p[..., None, :]
            return weight.T @ inner @ weight

        moved = hessian(f[:, None] + shifts.detach().double())
        plain += torch.linalg.eigvalsh(hessian(f))[:, -1].tolist()
        convolved += torch.linalg.eigvalsh(moved.mean(1))[:, -1].tolist()
        wide += torch.linalg.eigvalsh(moved)[..., -1].flatten().tolist()
    assert found.mean == pytest.approx(sum(plain) / len(plain), rel=1e-4)
    assert found.convolved == pytest.approx(max(convolved), rel=1e-4)
    assert found.supremum == pytest.approx(max(plain + wide), rel=1e-4)
    assert found.convolved <= found.supremum + 1e-9
    assert all(0 <= v <= 1 + 1e-9 for v in found.damping) and 0 < found.share <= 1 + 1e-9


def test_theorem_2_on_a_net_needs_two_modalities_and_a_shift() -> None:
    from xmodal_lab.papers.dml.theory import trained

    ds = toy(n=40, classes=3)
    lone = xl.LateFusion.for_dataset(ds, ("image",), width=4, architecture="mlp")
    with pytest.raises(ValueError, match="needs a net of two modalities, got image"):
        trained.curvature(lone, ds.test)
    both = xl.LateFusion.for_dataset(ds, ("image", "audio"), "concat_linear", width=4, architecture="mlp")
    with pytest.raises(ValueError, match="no class has two rows"):
        trained.curvature(both, ds.test.subset(torch.tensor([0])))
