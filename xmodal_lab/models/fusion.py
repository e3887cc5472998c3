"""Late fusion: one encoder per modality, a fusion φ of their features, a linear head.

    f = φ(f_1(x_1), …, f_M(x_M)),   logits = W f + b          (dml, Sec 3.1)

φ maps M features of width d to one of width d, so that a shift of one feature and the
shift it causes in f live in the same space (dml, Def 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..data.samples import Dataset
from ..utils import checks as check
from ..utils.random import seed_of
from ..utils.torch_state import seeded
from . import encoders
from .encoders import sizes

# Initial weights are drawn from torch's global generator, which all threads share.


class Additive(nn.Module):
    """φ = Σ_m f_m: exactly translation-invariant (dml, Def 1 with α = 1).

    ``width`` is d, ``count`` the number of modalities.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        _features(width, count)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features, each (N, d) → (N, d)."""
        return torch.stack(list(features)).sum(0)


class ConcatLinear(nn.Module):
    """φ = A [f_1; …; f_M] + b: translation-invariant up to a matrix.

    ``width`` is d, ``count`` the number of modalities.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.linear = nn.Linear(_features(width, count), width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features, each (N, d) → (N, d)."""
        fused: Tensor = self.linear(torch.cat(list(features), 1))
        return fused


class ConcatMLP(nn.Module):
    """φ = MLP([f_1; …; f_M]) with one hidden layer of width d.

    ``width`` is d, ``count`` the number of modalities.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(_features(width, count), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features, each (N, d) → (N, d)."""
        fused: Tensor = self.mlp(torch.cat(list(features), 1))
        return fused


class CrossAttention(nn.Module):
    """Each modality's tokens attend to those of the others; the mean of all, plus a residual.

    ``count`` modalities, each a feature of ``width`` d, read as ``tokens`` tokens (4; ours): with a
    single token the softmax would be 1 and attention a linear map. A lone modality attends to itself.
    Written with plain products, since the fused kernels have no second derivative.
    """

    def __init__(self, width: int, count: int, tokens: int = 4) -> None:
        super().__init__()
        _features(width, count)
        tokens = check.integer("tokens", tokens, at_least=1)
        if width % tokens:
            raise ValueError(f"cross_attention reads a feature as {tokens} tokens; width {width} is no multiple of it.")
        self.tokens = tokens
        d = width // tokens
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features, each (N, d) → (N, d)."""
        split = [f.unflatten(1, (self.tokens, -1)) for f in features]
        mixed = []
        for i, own in enumerate(split):
            others = torch.cat([s for j, s in enumerate(split) if j != i] or [own], 1)
            scores = self.query(own) @ self.key(others).transpose(1, 2) / own.shape[-1] ** 0.5
            mixed.append(own + scores.softmax(-1) @ self.value(others))
        return torch.stack(mixed).mean(0).flatten(1)


def _features(width: int, count: int) -> int:
    """How many numbers ``count`` features of ``width`` are together."""
    return check.integer("width", width, at_least=1) * check.integer("count", count, at_least=1)


FUSIONS: dict[str, type[nn.Module]] = {
    "additive": Additive,
    "concat_linear": ConcatLinear,
    "concat_mlp": ConcatMLP,
    "cross_attention": CrossAttention,
}


class LateFusion(nn.Module):
    """Encoders, a fusion and a head: ``net({"image": …, "audio": …})`` → logits (N, C).

    An absent modality is zeros at the input, as in dml, Eq 1: leave it out of the dict, or
    mark rows with ``present``. Parameters are named ``encoders.<modality>.…``, ``fusion.…``,
    ``head.…``; those are the blocks that the instruments know.

    Args:
        encoders: modality -> module from (N, ...) to (N, d).
        fusion: module from a list of (N, d) to (N, d).
        head: module from (N, d) to (N, C).
        shapes: modality -> shape of one sample.
        auxiliary: modalities that have an encoder but are no input of the task: they pass through the shared
            fusion and head alone (uml, Alg 2). In a row that is classified their feature is 0.

    Example:
        >>> import xmodal_lab as xl
        >>> ds = xl.load("digits", modalities=("image", "audio"))
        >>> net = xl.LateFusion.for_dataset(ds, fusion="additive", architecture="mlp")
        >>> net(ds.test.inputs).shape
        torch.Size([800, 10])
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        head: nn.Module,
        shapes: Mapping[str, Sequence[int]],
        auxiliary: Sequence[str] = (),
    ) -> None:
        super().__init__()
        for m, part in check.mapping("encoders", encoders, "modules").items():
            check.instance("the name of a modality", m, str)
            check.instance(f"encoders[{m!r}]", part, nn.Module)
            if m not in check.mapping("shapes", shapes, "shapes of one sample"):
                raise ValueError(f"shapes lacks the modality {m!r}; it has {list(shapes)}.")
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = check.instance("fusion", fusion, nn.Module)
        self.head = check.instance("head", head, nn.Module)
        self.shapes = {m: sizes(f"shapes[{m!r}]", shapes[m]) for m in self.encoders}
        self.auxiliary = tuple(check.one_of("auxiliary modality", m, self.encoders) for m in auxiliary)
        if not self.modalities:
            raise ValueError(f"all of {', '.join(self.encoders)} are auxiliary, so there is nothing to classify.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that are classified, in the order of fusion."""
        return tuple(m for m in self.encoders if m not in self.auxiliary)

    def encode(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Features by modality, each (N, d).

        Raises:
            TypeError, ValueError: inputs that are no dict of tensors, an unknown modality, other shapes.
        """
        if not isinstance(inputs, Mapping):
            raise TypeError(f"inputs must be a dict from modalities to tensors, got {type(inputs).__name__}.")
        if present is not None and not isinstance(present, Mapping):
            raise TypeError(f"present must be a dict from modalities to masks, got {type(present).__name__}.")
        names = self.modalities
        known = [x for m, x in inputs.items() if m in names and x is not None]
        if not known:
            raise ValueError(f"inputs hold none of {', '.join(names)}; they hold {list(inputs)}.")
        features = {}
        for m in names:
            x = inputs.get(m)
            if x is None:
                x = encoders.zeros_like_absent(known[0], self.shapes[m]).to(
                    encoders.input_dtype(self.encoders[m], known[0])
                )
            elif present is not None and m in present:
                x = self._only_present(m, x, present[m])
            features[m] = self._encoded(m, x)
        return features

    def latents(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features (N, d) of the modalities among ``inputs`` alone, auxiliary ones too; what a recipe's terms read.

        Raises:
            TypeError, ValueError: inputs that hold no modality of this net, other shapes.
        """
        known = {m: x for m, x in check.mapping("inputs", inputs, "tensors").items() if m in self.encoders}
        if not known:
            raise ValueError(f"inputs hold none of {', '.join(self.encoders)}; they hold {list(inputs)}.")
        return {m: self._encoded(m, x) for m, x in known.items()}

    def _encoded(self, m: str, x: Tensor) -> Tensor:
        try:
            feature: Tensor = self.encoders[m](x)
        except Exception:
            encoders.check_input(m, x, self.shapes[m], self.encoders[m])
            raise
        return feature

    def _only_present(self, m: str, x: Tensor, here: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or not isinstance(here, Tensor) or here.shape != x.shape[:1] or here.is_meta:
            came = tuple(here.shape) if isinstance(here, Tensor) else type(here).__name__
            raise ValueError(f"present[{m!r}] must mark the rows of inputs[{m!r}], shape (N,), got {came}.")
        return x * here.to(x).view(-1, *[1] * (x.ndim - 1))

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """The fused feature f = φ(f_1, …, f_M), (N, d), of ``features`` as :meth:`encode` gives them.

        Raises:
            TypeError, ValueError: a modality that is missing, features of another shape, dtype or device.
        """
        if not isinstance(features, Mapping) or not all(isinstance(features.get(m), Tensor) for m in self.modalities):
            raise TypeError(f"features must be a dict with one tensor for each of {', '.join(self.modalities)}.")
        try:
            if self.auxiliary:
                # An auxiliary modality has a place in the shared part; nothing stands there while the task is asked.
                nothing = torch.zeros_like(features[self.modalities[0]])
                features = {m: nothing if m in self.auxiliary else features[m] for m in self.encoders}
            fused: Tensor = self.fusion([features[m] for m in self.encoders])
        # Looked at once it has failed, since a landscape asks this thousands of times.
        except Exception:
            self._check_features(features)
            raise
        return fused

    def _check_features(self, features: Mapping[str, Tensor]) -> None:
        known = next(self.parameters())
        for m in self.modalities:
            f = features[m]
            if (
                f.ndim != 2
                or f.shape != features[self.modalities[0]].shape
                or (f.dtype, f.device, f.layout) != (known.dtype, known.device, torch.strided)
            ):
                raise ValueError(
                    f"features must be (N, d), as encode gives them, {known.dtype} on {known.device}; those of {m!r} "
                    f"are {tuple(f.shape)}, {f.dtype} on {f.device}."
                )

    def classify(self, features: Mapping[str, Tensor], only: str | None = None) -> Tensor:
        """Logits from features, (N, C).

        Args:
            features: as :meth:`encode` or :meth:`latents` give them.
            only: send this modality alone through the shared fusion and head, with features of 0 in the others'
                places (uml, Alg 2).

        Returns:
            Logits (N, C).

        Raises:
            ValueError: ``only`` is no modality of this net.
        """
        if only is None:
            logits: Tensor = self.head(self.fuse(features))
            return logits
        check.one_of("modality", only, self.encoders)
        nothing = torch.zeros_like(features[only])
        alone: Tensor = self.head(self.fusion([features[m] if m == only else nothing for m in self.encoders]))
        return alone

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Logits from inputs, (N, C); ``present[m]`` (N,) bool marks the rows that have modality m."""
        return self.classify(self.encode(inputs, present))

    @classmethod
    def for_dataset(
        cls,
        dataset: Dataset,
        modalities: str | Sequence[str] | None = None,
        fusion: str = "concat_mlp",
        *,
        width: int = 32,
        architecture: str = "auto",
        norm: str = "group",
        outputs: int | None = None,
        seed: int = 0,
        auxiliary: Sequence[str] = (),
    ) -> LateFusion:
        """A small net that fits ``dataset``, of its dtype.

        Args:
            dataset: gives shapes, kinds and classes.
            modalities: which of its modalities the net sees; all of them (but the auxiliary) when not given.
            auxiliary: modalities with an encoder of their own that only a recipe's terms use.
            fusion: "additive" | "concat_linear" | "concat_mlp" | "cross_attention".
            width: d, of every feature (32; ours).
            architecture: "auto" | "cnn" | "mlp", see :func:`xmodal_lab.encoders.encoder`.
            norm: "group" | "batch" | "none", of the CNNs.
            outputs: C; ``dataset.outputs`` when not given: the number of classes, or of real-valued targets.
            seed: of the initial weights. Each part is drawn from its own name, so the image
                encoder starts the same whether or not the net also hears.

        Returns:
            The net, untrained, on the CPU.

        Raises:
            ValueError: a modality, fusion, architecture or norm that is not known; modalities of several dtypes.
        """
        check.instance("dataset", dataset, Dataset, "the whole, such as xl.load('digits'), not one split of it")
        extra = check.modalities_of(auxiliary, dataset.modalities) if auxiliary else ()
        if modalities is None and extra:
            modalities = [m for m in dataset.modalities if m not in extra]
        names = check.modalities_of(modalities, dataset.modalities)
        if both := set(names) & set(extra):
            raise ValueError(f"{', '.join(sorted(both))}: a modality is an input of the task or auxiliary, not both.")
        make_fusion = FUSIONS[check.one_of("fusion", fusion, FUSIONS)]
        outputs = dataset.outputs if outputs is None else outputs
        if outputs is dataset.outputs and not outputs:
            raise ValueError(f"{dataset.name} has no labels, so a head has nothing to answer; give outputs=.")
        dtype = _one_dtype(dataset, (*names, *extra))
        check.integer("outputs (number of classes)", outputs, at_least=1)
        parts = {}
        for m in (*names, *extra):
            with _seeded(seed, f"encoders.{m}"):
                parts[m] = encoders.encoder(
                    dataset.kinds[m], dataset.shapes[m], width, architecture, norm, ids=dataset.vocabulary.get(m)
                )
        with _seeded(seed, "fusion"):
            mix = make_fusion(width, len(parts))
        with _seeded(seed, "head"):
            head = nn.Linear(width, outputs)
        net = cls(parts, mix, head, {m: dataset.shapes[m] for m in parts}, extra)
        return net.to(dtype)


def _one_dtype(dataset: Dataset, names: Sequence[str]) -> torch.dtype:
    """The floating dtype of the named modalities; float32 where all are token ids.

    Raises:
        ValueError: several.
    """
    found = {m: x.dtype for m, x in dataset.train.inputs.items() if m in names and x.is_floating_point()}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{m!r} is {dtype}" for m, dtype in found.items())
        raise ValueError(f"a net computes in one dtype: {told}; use dataset.to(dtype=torch.float32).")
    return next(iter(found.values()), torch.float32)


@contextmanager
def _seeded(seed: int, part: str) -> Iterator[None]:
    """Draw initial weights from (seed, part), leaving the global generator as it was."""
    check.integer("seed", seed, at_least=0)
    with seeded(seed_of(seed, part)):
        yield
