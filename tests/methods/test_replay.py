"""The published searches, replayed. Traces: logs of Siddiqui, Kyrkou, Theocharides (see tests/golden/README.md)."""

import json
from pathlib import Path

import msgspec
import pytest

from edgenas.errors import EdgenasError
from edgenas.methods.ladder import chain_of
from edgenas.methods.replay import Trace, replay

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


def load(path: Path) -> tuple[Trace, dict]:
    return msgspec.json.decode(path.read_bytes(), type=Trace), json.loads(path.read_bytes())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_published_search_is_reproduced_candidate_by_candidate(path: Path) -> None:
    trace, raw = load(path)
    result = replay(trace)
    asked = [
        (
            t.candidate.phase,
            chain_of(t).depth,
            chain_of(t).width,
            t.candidate.recipe.epochs,
            round(t.cost.params / 1e6, 6),
        )
        for t in result.trials
    ]
    recorded = [(r["phase"], r["depth"], r["width"], r["epochs"], r["params_M"]) for r in raw["rows"]]
    if trace.method == "trgnas":  # every candidate is trained for the published 600 epochs
        assert {epochs for *_, epochs, _ in asked} == {600}
    assert asked == recorded


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_published_search_leads_where_it_led(path: Path) -> None:
    trace, raw = load(path)
    result = replay(trace)
    net, expected = chain_of(result.choice.trial), raw["expected"]
    assert result.choice.macro == expected["macro"]
    assert (net.depth, net.width) == (expected["architecture"]["depth"], expected["architecture"]["width"])
    assert [i for i, op in enumerate(net.ops) if op == 1] == expected["architecture"]["dense_layers"]
    assert [i for i, k in enumerate(net.kernels) if k == 5] == expected["architecture"]["kernel5_layers"]
    assert result.choice.trial.cost.params == expected["params"]


def test_a_trace_without_the_next_candidate_names_it() -> None:
    trace, _ = load(GOLDEN[0])
    cut = msgspec.structs.replace(trace, rows=trace.rows[:5])
    with pytest.raises(EdgenasError, match="no depth row of depth 15, width 64"):
        replay(cut)
