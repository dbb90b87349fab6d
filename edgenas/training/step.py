"""One optimiser step: eager on a CPU; on CUDA forward, loss, backward and optimiser replayed as one graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgenas.records import Recipe
from edgenas.training.checkpoint import State
from edgenas.training.share import ALONE, Share

WARMUP_STEPS = 3  # before a capture: cuDNN chooses its kernels, the optimiser makes its buffers


class Step:
    """Trains `network` (and the loss's own parameters) by one batch per call.

    totals: (2,) sums of mean loss and of correct predictions since they were last zeroed, on the device.
    counts: does the loss say how many predictions were correct? Known after the first batch.
    averaged: the network to evaluate: `network` itself, or its exponential moving average.
    share: of a training in several processes; then the batches are parts, and totals are to be added up.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        recipe: Recipe,
        device: torch.device,
        share: Share = ALONE,
        learner: nn.Module | None = None,
    ) -> None:
        """`learner`: the network as it is trained, with what learns along, where that is more than itself."""
        self.network = network
        self.learner = network if learner is None else learner.to(device)
        self.loss = loss.to(device)
        self.recipe = recipe
        self.device = device
        self.parameters = [*self.learner.parameters(), *self.loss.parameters()]
        self.rate = torch.tensor(recipe.lr, device=device)
        self.optimizer = sgd(self.parameters, recipe, self.rate if device.type == "cuda" else recipe.lr, fused=True)
        self.totals = torch.zeros(2, device=device)
        self.counts = True
        self.average = Average(network, recipe.ema) if recipe.ema is not None else None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.static: tuple[Tensor, Tensor] | None = None  # the graph's input buffers
        self.graphs = device.type == "cuda" and share.alone
        self.objective = share.gathering(Objective(self.learner, self.loss, recipe), device)

    @property
    def averaged(self) -> nn.Module:
        return self.average.network if self.average is not None else self.network

    def state(self) -> State:
        """Weights, statistics, momentum, the average: all that a step changes."""
        learned = {**_named("network", self.learner.state_dict()), **_named("loss", self.loss.state_dict())}
        average = {} if self.average is None else _named("average", self.average.network.state_dict())
        buffers = [self.optimizer.state[parameter].get("momentum_buffer") for parameter in self.parameters]
        momentum = {f"momentum.{index}": buffer for index, buffer in enumerate(buffers) if buffer is not None}
        return State({**learned, **average, **momentum}, {"averaged": self.average.steps if self.average else 0})

    def restore(self, state: State) -> None:
        """Be where the step was that had this state."""
        self.learner.load_state_dict(_under("network", state.tensors))
        self.loss.load_state_dict(_under("loss", state.tensors))
        if self.average is not None:
            self.average.network.load_state_dict(_under("average", state.tensors))
            self.average.steps = state.notes["averaged"]
        for index, parameter in enumerate(self.parameters):
            if f"momentum.{index}" in state.tensors:
                buffer = torch.empty_like(parameter).copy_(state.tensors[f"momentum.{index}"])
                self.optimizer.state[parameter]["momentum_buffer"] = buffer.detach()

    def __call__(self, x: Tensor, labels: Tensor, rate: float, weight: float = 1.0) -> None:
        """x (B, C, H, W), labels (B,) or (B, k); returns without waiting for the device. `weight`: what a part's loss counts."""
        if self.device.type == "cuda":
            self.rate.fill_(rate)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        partial = self.static is not None and x.shape != self.static[0].shape  # an epoch's last batch
        if self.graphs and not partial:
            self._replay(x, labels)
        else:
            self._compute(x, labels, weight)
        if self.average is not None:
            self.average.update()

    def _compute(self, x: Tensor, labels: Tensor, weight: float = 1.0) -> None:
        loss, correct = self.objective(x, labels)
        loss = loss if weight == 1.0 else weight * loss
        self.optimizer.zero_grad(set_to_none=self.device.type == "cpu")
        loss.backward()
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()
        self.counts = correct is not None
        counted = correct.to(loss.dtype) if self.counts else torch.zeros_like(loss)
        self.totals += torch.stack((loss.detach(), counted))

    def _replay(self, x: Tensor, labels: Tensor) -> None:
        if self.static is None:
            self.static = (x.clone(memory_format=torch.channels_last), labels.clone())
            self._capture()
        self.static[0].copy_(x)
        self.static[1].copy_(labels)
        assert self.graph is not None
        self.graph.replay()

    def _capture(self) -> None:
        """Warm up on a side stream (as CUDA graphs require), undo what the warm-up learned, then record one step."""
        assert self.static is not None
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.rehearse(*self.static)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._compute(*self.static)

    def rehearse(self, x: Tensor, labels: Tensor) -> None:
        """Run a few steps that leave no trace in weights, statistics, momentum or totals."""
        state = [*self.learner.state_dict().values(), *self.loss.state_dict().values(), self.totals]
        saved = [tensor.clone() for tensor in state]
        momentum = {parameter: slots["momentum_buffer"].clone() for parameter, slots in self.optimizer.state.items()}
        for _ in range(WARMUP_STEPS):
            self._compute(x, labels)
        with torch.no_grad():
            for tensor, before in zip(state, saved, strict=True):
                tensor.copy_(before)
            for parameter, slots in self.optimizer.state.items():
                # A zero buffer and no buffer make the same first step.
                slots["momentum_buffer"].copy_(momentum.get(parameter, torch.zeros(())))


class Objective(nn.Module):
    """(images, labels) -> (mean loss, correct predictions or None): one forward pass of all that is learned."""

    def __init__(self, network: nn.Module, loss: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.loss, self.bf16 = network, loss, recipe.precision == "bf16"

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.network(x)
        loss, correct = self.loss(outputs.float(), labels)
        return loss, correct


def sgd(
    parameters: Sequence[nn.Parameter], recipe: Recipe, lr: float | Tensor, *, fused: bool = False
) -> torch.optim.SGD:
    """The recipe's optimiser; norms and biases decay only where the recipe says so."""
    decayed = [p for p in parameters if recipe.decay_norm_and_bias or p.ndim > 1]
    plain = [p for p in parameters if not (recipe.decay_norm_and_bias or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=fused,
    )


def _named(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(part) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}


class Average:
    """Exponential moving average of weights and batch-norm statistics; short trainings average over a shorter window."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.decay = decay
        self.steps = 0
        pairs = zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        self.pairs = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        weight = 1 - min(self.decay, self.steps / (10 + self.steps))
        torch._foreach_lerp_([mine for mine, _ in self.pairs], [theirs for _, theirs in self.pairs], weight)
