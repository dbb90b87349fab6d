"""The link predictor of NAL at work: cells are written and ranked, from a safetensors file. training/nal_fit.py fits it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edgenas.architectures.cell import MAX_EDGES
from edgenas.architectures.cell_graph import (
    OUTPUT_CODE,
    VERTICES,
    VOCABULARY,
    Graphs,
    attention_masks,
    link_features,
    nasbench201_links,
    prefixes,
)
from edgenas.database import one_line
from edgenas.durable import replace_file
from edgenas.errors import EdgenasError
from edgenas.records import Record

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgenas.networks.link_prediction import Author, Judge, Size

N = TypeVar("N", bound="nn.Module")
Floats = NDArray[np.float32]


class PredictorCard(Record, frozen=True):
    """What a link predictor was learned from; stored in its file."""

    space: str
    heads: int
    levels: tuple[float, ...]  # the judge tells the best 1/2, 1/4, ... of the table apart
    table: str
    column: str
    cells: int
    experts: int
    held_out: float  # share of the table never seen: cells whose digest begins below it
    limits: str = ""  # limits that experts had to meet
    seed: int = 0
    version: str = ""
    kinds: dict[str, float] = {}  # of a fit to DARTS cells: shares of its experts, see nal_darts.py


@dataclass(frozen=True)
class LinkPredictor:
    """Weights of both networks (networks/link_prediction.py) as "author.NAME" and "judge.NAME", and where they come from."""

    card: PredictorCard
    weights: Mapping[str, Floats]

    @property
    def space(self) -> str:
        return self.card.space

    def judge(self, graphs: Graphs) -> Floats:
        """(N, levels): log odds that each cell is in the best 1/2, 1/4, ... of the table."""
        with _one_thread():
            levels = self._judge(*_tensors(graphs.ops, attention_masks(graphs), graphs.sizes))
        return _floats(levels)

    def score(self, graphs: Graphs) -> Floats:
        """(N,): expected number of halvings of the table that a cell survives; higher is better."""
        scores: Floats = _sigmoid(self.judge(graphs)).sum(1)
        return scores

    def look(self, graphs: Graphs, vertex: int) -> tuple[Floats, Floats]:
        """States (N, vertex + 1, W) of graphs written up to `vertex`, and logits (N, K) of its operation."""
        whole = prefixes(self.space, graphs, vertex)
        seen = slice(0, vertex + 1)
        there = Graphs(whole.ops[:, seen], whole.links[:, seen, seen], whole.sizes)
        with _one_thread():
            h = self._author.body(*_tensors(there.ops, attention_masks(there)))
            return _floats(h), _floats(self._author.operation(h[:, vertex]))

    def linker(self, h: Floats, vertex: int, op: NDArray[np.int64]) -> Callable[[int, Floats], Floats]:
        """(source, features (N, 5)) -> log odds (N,) that `vertex`, being `op` (N,), reads `source`."""

        def link(source: int, features: Floats) -> Floats:
            with _one_thread():
                parts = _tensors(h[:, source : source + 1], h[:, vertex], op, features[:, None])
                return _floats(self._author.links(*parts)[:, 0])

        return link

    @functools.cached_property
    def _author(self) -> Author:
        from edgenas.networks.link_prediction import Author

        return _loaded(Author(self.space, self._size("author")), self.weights, "author.")

    @functools.cached_property
    def _judge(self) -> Judge:
        from edgenas.networks.link_prediction import Judge

        return _loaded(Judge(self.space, self._size("judge"), len(self.card.levels)), self.weights, "judge.")

    def _size(self, name: str) -> Size:
        from edgenas.networks.link_prediction import Size

        layers = sum(key.startswith(f"{name}.body.layers.") and key.endswith(".norm.weight") for key in self.weights)
        return Size(len(self.weights[f"{name}.body.norm.weight"]), layers, self.card.heads)


def _loaded(network: N, weights: Mapping[str, Floats], prefix: str) -> N:
    """With the weights whose names begin with `prefix`, in evaluation mode."""
    import torch

    own = {name[len(prefix) :]: torch.tensor(value) for name, value in weights.items() if name.startswith(prefix)}
    network.load_state_dict(own)
    return network.eval()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Without gradients, and with sums that do not depend on how many cores there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def _tensors(*arrays: NDArray[Any]) -> list[Tensor]:
    import torch

    return [torch.from_numpy(array) for array in arrays]


def _floats(tensor: Tensor) -> Floats:
    found: Floats = tensor.numpy()
    return found


# ---------------------------------------------------------------- writing cells


def write_graphs(
    predictor: LinkPredictor, count: int, rng: np.random.Generator, temperature: float = 1.0, *, bound: bool = True
) -> Graphs:
    """`count` graphs drawn from the author, vertex by vertex: its operation, then its sources from the latest to the earliest.

    `bound`: what the space forbids is never drawn, so that nothing needs repair. Without it only the size is limited, which
    shows what the author knows by itself. A `temperature` above 1 draws less likely ones more often.
    """
    space, vertices = predictor.space, VERTICES[predictor.space]
    links = np.zeros((count, vertices, vertices), bool)
    if space == "nasbench201":
        links[:] = nasbench201_links()
    done = Graphs(np.zeros((count, vertices), np.int64), links, np.ones(count, np.int64))
    writing = np.arange(count)
    for vertex in range(1, vertices):
        here = done[writing]
        h, logits = predictor.look(here, vertex)
        op = (
            logits + _possible_operations(here, space, vertex, bound) + temperature * rng.gumbel(size=logits.shape)
        ).argmax(1)
        here.ops[:, vertex] = op
        if space == "nasbench101":
            _draw_links(predictor, h, here, vertex, rng, temperature, bound)
        done.ops[writing], done.links[writing], done.sizes[writing] = here.ops, here.links, vertex + 1
        writing = writing[op != OUTPUT_CODE]
    return done


def _possible_operations(here: Graphs, space: str, vertex: int, bound: bool) -> Floats:
    """(N, K) or (K,): 0 for operations that the vertex may have, minus infinity for the others."""
    codes = np.arange(len(VOCABULARY[space]))
    if vertex == VERTICES[space] - 1:
        may = codes == OUTPUT_CODE
    elif space == "nasbench201":
        may = codes > OUTPUT_CODE
    else:
        # One more operation costs an edge beyond those that its predecessors' readers cost anyway.
        full = bound & (_spare_edges(here.links, vertex) < 1)
        may = (codes == OUTPUT_CODE) | ((codes > OUTPUT_CODE) & ~full[:, None])
    possible: Floats = np.where(may, np.float32(0), np.float32(-np.inf))
    return possible


def _spare_edges(links: NDArray[np.bool_], vertex: int) -> NDArray[np.int64]:
    """Edges left once every earlier vertex that nothing reads yet is read by the output."""
    earlier = links[:, :vertex, :vertex]
    spare: NDArray[np.int64] = MAX_EDGES - earlier.sum((1, 2)) - (~earlier.any(2)).sum(1)
    return spare


def _draw_links(
    predictor: LinkPredictor,
    h: Floats,
    here: Graphs,
    vertex: int,
    rng: np.random.Generator,
    temperature: float,
    bound: bool,
) -> None:
    """Write the sources of `vertex` into `here`; within bounds every vertex is read, reads, and edges suffice."""
    ends = here.ops[:, vertex] == OUTPUT_CODE
    unread: NDArray[np.bool_] = np.logical_not(here.links[:, :vertex, :vertex].any(2))  # (N, vertex)
    spare = _spare_edges(here.links, vertex) - ~ends  # an operation needs a reader itself
    chosen = np.zeros(len(here), np.int64)
    link = predictor.linker(h, vertex, here.ops[:, vertex])
    for source in reversed(range(vertex)):
        logit = link(source, link_features(here.links, source, chosen, vertex))
        yes = logit + temperature * rng.logistic(size=len(logit)) > 0
        if bound:
            later_choice = unread[:, :source].any(1) | ((spare > 0) & (source > 0))
            must = (ends & unread[:, source]) | ((chosen == 0) & ~later_choice)
            yes = must | (yes & (unread[:, source] | (spare > 0)))
            spare -= yes & ~unread[:, source]
        here.links[:, source, vertex] = yes
        chosen += yes


def _sigmoid(x: Floats) -> Floats:
    y: Floats = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + 1)
    return y


# ---------------------------------------------------------------- files


def save_predictor(predictor: LinkPredictor, path: Path) -> None:
    """Write weights and card; the same predictor gives the same bytes."""
    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in predictor.weights.items()}
    with one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, save(arrays, {"card": predictor.card.canonical_json().decode()}))


def load_predictor(path: Path) -> LinkPredictor:
    """Read what `save_predictor` wrote."""
    if not path.is_file():
        raise EdgenasError(f"{path} is not there: name a file that `edgenas nal fit --out` wrote")
    try:
        with safe_open(path, "numpy") as file:
            card = (file.metadata() or {}).get("card", "")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
        return LinkPredictor(msgspec.json.decode(card, type=PredictorCard), weights)
    except (SafetensorError, msgspec.DecodeError) as error:
        raise EdgenasError(
            f"{path} is no link predictor ({error}): name a file that `edgenas nal fit --out` wrote"
        ) from error
