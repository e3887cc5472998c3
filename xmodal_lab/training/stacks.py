"""K nets of one shape as one: their parameters side by side, a step for all of them at once.

:class:`ProductStack` writes the products of a late-fusion net of dense layers by hand, one
``baddbmm`` per layer; :class:`MappedStack` runs any module without buffers through ``vmap``.
Both answer the same three questions: the loss and gradient of every member on its own
batch, the outputs of every member on the same samples, and the state of member k.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from ..losses import Params
from ..models import fusion, objectives
from ..models.fusion import LateFusion
from ..models.latents import Seen, alone, see
from ..models.modules import call_with, places_of
from .machine import Machine, widened

_DENSE = (nn.Linear, nn.ReLU, nn.Flatten, nn.Identity)
_FUSIONS = (fusion.Additive, fusion.ConcatLinear, fusion.ConcatMLP)
# (modality, x (K, n, ...)) → logits (K, n, C) of that modality alone through the shared part.
Alone = Callable[[str, Tensor], Tensor]
# What a recipe makes of a batch that was seen, with the terms' own parameters: (K,) losses.
Objective = Callable[[Seen, Alone, Params], Tensor]


class Stack:
    """Parameters of K members, name -> (K, ...), and what can be asked of all of them at once."""

    params: Params
    count: int
    label_smoothing: float = 0.0  # of the losses whose gradients are asked for

    def use(self, machine: Machine) -> None:
        """Take steps through ``machine`` from now on; held-out rows are looked at in full precision.

        Raises:
            ValueError: a stack that cannot be compiled.
        """
        raise NotImplementedError

    def gradients(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor, Params]:
        """Loss (K,), outputs (K, B, C) and gradients of each member on its own batch (K, B, ...)."""
        raise NotImplementedError

    def under(
        self, inputs: Mapping[str, Tensor], objective: Objective, own: Params
    ) -> tuple[Tensor, Tensor, Params, Params]:
        """Loss (K,), outputs (K, B, C), gradients, and those of the terms' own parameters, under a recipe."""
        params = {name: p.requires_grad_() for name, p in self.params.items()}
        mine = {name: p.requires_grad_() for name, p in own.items()}
        seen, one_alone = self.seen(params, inputs)
        losses = objective(seen, one_alone, mine)
        raw = torch.autograd.grad(losses.sum(), [*params.values(), *mine.values()], materialize_grads=True)
        for p in (*params.values(), *mine.values()):
            p.requires_grad_(False)
        gradients = [g.contiguous() for g in raw]  # fused Adam on the CPU misreads transposed strides
        ours, theirs = gradients[: len(params)], gradients[len(params) :]
        return (
            losses.detach(), seen.outputs.detach(), dict(zip(params, ours, strict=True)),
            dict(zip(mine, theirs, strict=True)),
        )  # fmt: skip

    def seen(self, params: Params, inputs: Mapping[str, Tensor]) -> tuple[Seen, Alone]:
        """Latents and outputs of each member on its own batch (K, B, ...), and the way of one modality alone."""
        raise NotImplementedError

    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs (K, n, C) of every member on the same samples (n, ...), without gradients."""
        raise NotImplementedError

    def prepare(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs as the stack wants its samples; done once, before training."""
        return dict(inputs)

    def state(self, k: int) -> Params:
        """The parameters of member k, as its module names them, copied."""
        raise NotImplementedError


class ProductStack(Stack):
    """Late-fusion nets of dense layers, which may see different modalities of one dataset.

    A member that does not see a modality has weights 0 in its place and a mask that keeps
    them 0: it computes what it would compute alone. Weights are kept as (K, in, out), so that
    a gradient comes out of its product contiguous.

    Args:
        nets: of one shape, as :func:`why_not_products` finds them fit.
        modalities: of the dataset; every net's own are some of them, in their order.
    """

    def __init__(self, nets: Sequence[LateFusion], modalities: Sequence[str]) -> None:
        seen = {m for net in nets for m in net.encoders}
        self.modalities = tuple(m for m in modalities if m in seen)
        self.auxiliary = nets[0].auxiliary
        self.nets = nets
        self.count = len(nets)
        self.encoders = {
            m: _chain(next(net.encoders[m] for net in nets if m in net.encoders), f"encoders.{m}")
            for m in self.modalities
        }
        mix = nets[0].fusion
        self.fusion = None if isinstance(mix, fusion.Additive) else _chain(mix, "fusion")
        self.head = _chain(nets[0].head, "head")
        self.places = [[self.modalities.index(m) for m in net.encoders] for net in nets]
        like = next(nets[0].parameters())
        self.masks: dict[str, Tensor] = {}
        for m in self.modalities:
            mask = torch.tensor([m in net.encoders for net in nets])
            if not bool(mask.all()):
                self.masks[m] = mask.to(like).view(-1, 1, 1)
        self.use(Machine())
        states = [dict(net.named_parameters()) for net in nets]
        self.params = {}
        for name in dict.fromkeys(n for state in states for n in state):
            parts = [self._wide(name, state.get(name), k) for k, state in enumerate(states)]
            shape = next(p for p in parts if p is not None)
            self.params[name] = torch.stack([torch.zeros_like(shape) if p is None else p for p in parts])

    def use(self, machine: Machine) -> None:
        """Take steps through ``machine`` from now on."""
        plain = not (machine.rounded or machine.compiled)
        # Nothing that is kept leads back here unless it must: in a circle, weights stay on a GPU until they are found.
        self.through = None if plain else machine.through(self._passed)

    def passed(self, params: Params, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Features by modality and logits, as the machine takes steps."""
        return (self.through or self._passed)(params, inputs)

    def prepare(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Samples as vectors, (n, d)."""
        return {m: inputs[m].flatten(1) for m in self.modalities if m not in self.auxiliary}

    def gradients(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor, Params]:
        """Loss (K,), outputs (K, B, C) and gradients of each member on its own batch (K, B, d)."""
        params = {name: p.requires_grad_() for name, p in self.params.items()}
        _, outputs = self.passed(params, dict(inputs))
        losses = member_losses(outputs, labels, self.label_smoothing)
        raw = torch.autograd.grad(losses.sum(), list(params.values()))
        for p in params.values():
            p.requires_grad_(False)
        return losses.detach(), outputs.detach(), dict(zip(params, raw, strict=True))

    @torch.no_grad()
    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs (K, n, C) of every member on the same samples (n, d)."""
        seen = {m: x.expand(self.count, -1, -1) for m, x in inputs.items() if m in self.modalities}
        return self._passed(self.params, seen)[1]

    def seen(self, params: Params, inputs: Mapping[str, Tensor]) -> tuple[Seen, Alone]:
        """Latents and outputs of each member on its own batch (K, B, d), and the way of one modality alone."""
        features, outputs = self.passed(params, dict(inputs))
        return Seen(features, {}, outputs), lambda modality, x: self.passed(params, {modality: x.flatten(2)})[1]

    def state(self, k: int) -> Params:
        """The parameters of member k, as its module names them."""
        own = dict(self.nets[k].named_parameters())
        return {name: self._narrow(name, self.params[name][k], k).clone() for name in own}

    def _passed(self, params: Params, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Features by modality, and logits."""
        features = self._features(params, inputs)
        return features, self._classified(params, features)

    def _features(self, params: Params, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Modality -> (K, n, d), of those among ``inputs``."""
        found = {}
        for m in self.modalities:
            if m in inputs:
                feature = _through(self.encoders[m], inputs[m], params)
                found[m] = feature * self.masks[m] if m in self.masks else feature
        return found

    def _classified(self, params: Params, features: Mapping[str, Tensor]) -> Tensor:
        """Logits (K, n, C); modalities without a feature count as 0."""
        if self.fusion is None:
            fused = torch.stack(list(features.values())).sum(0)
        else:
            nothing = torch.zeros_like(next(iter(features.values())))
            fused = _through(self.fusion, torch.cat([features.get(m, nothing) for m in self.modalities], 2), params)
        return _through(self.head, fused, params)

    def _wide(self, name: str, value: Tensor | None, k: int) -> Tensor | None:
        """A member's parameter as the stack keeps it: transposed, with zeros for modalities it does not see."""
        if value is None:
            return None
        value = value.detach()
        if value.ndim < 2:
            return value
        value = value.T
        if name not in _FIRST or len(self.places[k]) == len(self.modalities):
            return value
        blocks = value.new_zeros(len(self.modalities), len(value) // len(self.places[k]), value.shape[1])
        blocks[self.places[k]] = value.unflatten(0, (len(self.places[k]), -1))
        return blocks.flatten(0, 1)

    def _narrow(self, name: str, value: Tensor, k: int) -> Tensor:
        """The way back from :meth:`_wide`."""
        if value.ndim < 2:
            return value
        if name in _FIRST and len(self.places[k]) < len(self.modalities):
            value = value.unflatten(0, (len(self.modalities), -1))[self.places[k]].flatten(0, 1)
        return value.T.contiguous()


# The layer that reads the features of all modalities, one block of columns each.
_FIRST = ("fusion.linear.weight", "fusion.mlp.0.weight")


class MappedStack(Stack):
    """Any modules of one shape without buffers, through ``vmap``."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        self.count = len(nets)
        self.base = copy.deepcopy(nets[0])
        self._places = places_of(self.base)
        self.machine = Machine()
        states = [dict(net.named_parameters()) for net in nets]
        self.params = {name: torch.stack([s[name].detach() for s in states]) for name in states[0]}

        def loss(params: Params, inputs: dict[str, Tensor], labels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            with self.machine.passing():
                outputs = call_with(self.base, params, (inputs,), places=self._places)
            outputs = widened(outputs)
            value = member_losses(outputs[None], labels[None], self.label_smoothing)[0]
            return value, (value, outputs)

        self._gradients = vmap(grad(loss, has_aux=True))

    def use(self, machine: Machine) -> None:
        """Take steps through ``machine`` from now on.

        Raises:
            ValueError: one that compiles: what runs through ``vmap`` here is not compiled.
        """
        if machine.compiled:
            raise ValueError("compile=True is for stacks of dense late-fusion nets; train these with fit, one by one.")
        self.machine = machine

    def gradients(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor, Params]:
        """Loss (K,), outputs (K, B, C) and gradients of each member on its own batch (K, B, ...)."""
        raw, (losses, outputs) = self._gradients(self.params, dict(inputs), labels)
        # Fused Adam on the CPU misreads gradients with transposed strides.
        return losses, outputs, {name: g.contiguous() for name, g in raw.items()}

    def seen(self, params: Params, inputs: Mapping[str, Tensor]) -> tuple[Seen, Alone]:
        """Latents and outputs of each member on its own batch (K, B, ...), and the way of one modality alone."""

        def one(p: Params, x: dict[str, Tensor]) -> tuple[Any, Any, Tensor]:
            with self.machine.passing():
                asked = widened(call_with(_Asked(self.base, see), _below(p), (x,)))
            return dict(asked.latents), dict(asked.masks), asked.outputs

        def one_alone(modality: str, x: Tensor) -> Tensor:
            asked = _Asked(self.base, lambda net, rows: alone(net, modality, rows))
            with self.machine.passing():
                logits: Tensor = vmap(lambda p, rows: call_with(asked, _below(p), (rows,)))(params, x)
            return widened(logits)  # type: ignore[no-any-return]

        return Seen(*vmap(one)(params, dict(inputs))), one_alone

    @torch.no_grad()
    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs (K, n, C) of every member on the same samples (n, ...)."""
        call = vmap(lambda p, x: call_with(self.base, p, (x,), places=self._places), in_dims=(0, None))
        answers: Tensor = call(self.params, dict(inputs))
        return answers

    def state(self, k: int) -> Params:
        """The parameters of member k."""
        return {name: p[k].clone() for name, p in self.params.items()}


class _Asked(nn.Module):
    """A net that is asked something else than its forward, with other tensors in the places of its parameters."""

    def __init__(self, net: nn.Module, ask: Callable[[nn.Module, Any], Any]) -> None:
        super().__init__()
        self.net, self.ask = net, ask

    def forward(self, x: Any) -> Any:
        return self.ask(self.net, x)


def _below(params: Params) -> Params:
    return {f"net.{name}": p for name, p in params.items()}


def member_losses(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean loss of each member, outputs (K, B, C) and labels (K, B, ...) -> (K,); see :mod:`.objectives`."""
    each = objectives.loss_of(outputs.flatten(0, 1), labels.flatten(0, 1), "none", label_smoothing)
    return each.view(labels.shape[:2]).mean(1)


def member_accuracies(outputs: Tensor, labels: Tensor) -> Tensor:
    """Score of each member, outputs (K, n, C) and labels (K, n, ...) -> (K,); see :mod:`.objectives`."""
    return objectives.scores_of(outputs.flatten(0, 1), labels.flatten(0, 1)).view(labels.shape[:2]).mean(1)


def why_not_products(nets: Sequence[nn.Module]) -> str | None:
    """Why these nets cannot train as a :class:`ProductStack`; None if they can."""
    for net in nets:
        if not isinstance(net, LateFusion):
            return f"{type(net).__name__} is no LateFusion"
        if type(net.fusion) not in _FUSIONS:
            return f"its fusion is a {type(net.fusion).__name__}"
        for part in (*net.encoders.values(), net.fusion, net.head):
            odd = next((m for m in _leaves(part) if type(m) not in _DENSE), None)
            if odd is not None:
                return f"it has a {type(odd).__name__}, which is no dense layer"
            if any(m.bias is None for m in part.modules() if isinstance(m, nn.Linear)):
                return "it has a Linear without bias"
        if (reason := _odd_parameters(net)) is not None:
            return reason
    if len({net.auxiliary for net in nets if isinstance(net, LateFusion)}) > 1:
        return "the nets have different auxiliary modalities"
    shapes: dict[str, torch.Size] = {}
    for net in (n for n in nets if isinstance(n, LateFusion)):
        if type(net.fusion) is not type(nets[0].fusion):
            return "the nets have different fusions"
        for name, p in net.named_parameters():
            blocks = len(net.encoders) if name in _FIRST else 1
            shape = torch.Size((*p.shape[:-1], p.shape[-1] // blocks))
            if shapes.setdefault(name, shape) != shape:
                return f"{name} has different shapes"
    return None


def why_not_mapped(nets: Sequence[nn.Module]) -> str | None:
    """Why these nets cannot train as a :class:`MappedStack`; None if they can."""
    first = {name: p.shape for name, p in nets[0].named_parameters()}
    for net in nets:
        if {name: p.shape for name, p in net.named_parameters()} != first or str(net) != str(nets[0]):
            return "the nets differ in shape"
        if next(net.buffers(), None) is not None:
            return "it has buffers (BatchNorm's statistics), which vmap cannot update"
        if any(isinstance(m, nn.modules.dropout._DropoutNd) for m in net.modules()):
            return "it has dropout, which would draw other numbers than alone"
        if (reason := _odd_parameters(net)) is not None:
            return reason
    return None


def _odd_parameters(net: nn.Module) -> str | None:
    if not all(p.requires_grad for p in net.parameters()):
        return "some of its parameters are frozen"
    if len(list(net.parameters())) != len(list(net.named_parameters(remove_duplicate=False))):
        return "some of its parameters are shared between layers"
    return None


def _chain(module: nn.Module, prefix: str) -> list[str | None]:
    """What ``module`` does to flat samples: the name of each Linear, None for each ReLU."""
    if isinstance(module, nn.Linear):
        return [prefix]
    if isinstance(module, nn.ReLU):
        return [None]
    return [step for name, child in module.named_children() for step in _chain(child, f"{prefix}.{name}")]


def _through(chain: Sequence[str | None], h: Tensor, params: Params) -> Tensor:
    """A chain of layers for all members at once: h (K, n, in) -> (K, n, out)."""
    for name in chain:
        if name is None:
            h = torch.relu(h)
        else:
            h = torch.baddbmm(params[f"{name}.bias"].unsqueeze(1), h, params[f"{name}.weight"])
    return h


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    for m in module.modules():
        if not isinstance(m, nn.Sequential) and type(m) not in _FUSIONS:
            yield m
