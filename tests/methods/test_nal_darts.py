"""DARTS designs: all seven operations, drawn as often as the author's own probabilities say."""

import math
from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from edgenas.architectures.cell import DARTS_OPS, check_cell, family_of, operations_of
from edgenas.architectures.cell_graph import Graphs, link_features
from edgenas.identity import digest
from edgenas.methods.nal import NalRules, design, shipped_predictor
from edgenas.methods.nal_darts import CONV3X3, MAXPOOL, draw_darts
from edgenas.methods.nal_model import LinkPredictor
from edgenas.records import DartsCell

SHIPPED = shipped_predictor("darts")


def drawn(predictor: LinkPredictor, count: int, seed: int = 0) -> list[DartsCell]:
    cells = [cell for cell, _ in draw_darts(predictor, count, np.random.default_rng(seed))]
    assert all(isinstance(cell, DartsCell) for cell in cells)
    return cells  # type: ignore[return-value]


def knowing(**kinds: float) -> LinkPredictor:
    return LinkPredictor(replace(SHIPPED.card, kinds=kinds), SHIPPED.weights)


def test_two_hundred_designs_have_all_seven_operations_and_are_valid_distinct_and_ranked() -> None:
    found = design(SHIPPED, "darts", 200)
    assert len(set(found.cells)) == 200
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert all(score < 0 for score in found.scores)
    for cell in found.cells:
        check_cell(cell)
        assert family_of(cell) == "darts"
    assert set(Counter(op for cell in found.cells for op in operations_of(cell))) == set(DARTS_OPS)
    assert design(SHIPPED, "darts", 20) == design(SHIPPED, "darts", 20) != design(SHIPPED, "darts", 20, seed=1)


def test_studies_that_began_with_three_operations_get_the_designs_that_they_always_got() -> None:
    """The digest is of designs by the code before all seven were reached."""
    assert NalRules().darts_operations == 3
    found = design(SHIPPED, "darts", 20, darts_operations=3)
    assert digest(*found.cells) == "45fb19c8d140fd85"
    assert {op for cell in found.cells for op in operations_of(cell)} <= {
        "sep_conv_3x3",
        "max_pool_3x3",
        "skip_connect",
    }


def author_goes_on(code: int) -> float:
    """The author's probability that a vertex of this operation follows a first vertex conv3x3 and reads it, from its logits."""
    ops, links = np.zeros((1, 7), np.int64), np.zeros((1, 7, 7), bool)
    ops[0, 1], links[0, 0, 1] = CONV3X3, True
    h, logits = SHIPPED.look(Graphs(ops, links, np.ones(1, np.int64)), 2)
    odds = np.exp(logits[0, CONV3X3 : MAXPOOL + 1].astype(float))
    reads = SHIPPED.linker(h, 2, np.array([code]))(1, link_features(links, 1, 0, 2))[0]
    return float(odds[code - CONV3X3] / odds.sum() / (1 + math.exp(-float(reads))))


@pytest.mark.parametrize(("kind", "code"), [("5x5", CONV3X3), ("dil", MAXPOOL)])
def test_a_first_node_has_wide_windows_and_dilations_as_often_as_the_author_would_go_on_so(
    kind: str, code: int
) -> None:
    pairs = [cell.normal[:2] for cell in drawn(SHIPPED, 4000)]
    edges = [op for pair in pairs for op, _ in pair if all("conv" in name for name, _ in pair)]
    share = author_goes_on(code)
    assert 0.1 < share < 0.5
    spread = math.sqrt(share * (1 - share) / len(edges))
    assert np.mean([kind in op for op in edges]) == pytest.approx(share, abs=4 * spread)


@pytest.mark.parametrize(
    ("kinds", "convolution", "pool"),
    [
        ({"five": 1 - 1e-9, "dilated": 1e-9, "average": 0.0}, "sep_conv_5x5", "max_pool_3x3"),
        ({"five": 1e-9, "dilated": 1 - 1e-9, "average": 1.0}, "dil_conv_3x3", "avg_pool_3x3"),
        ({"five": 1 - 1e-9, "dilated": 1 - 1e-9, "average": 1.0}, "dil_conv_5x5", "avg_pool_3x3"),
    ],
)
def test_what_a_fit_to_darts_cells_knows_of_windows_dilations_and_pools_is_drawn(
    kinds: dict[str, float], convolution: str, pool: str
) -> None:
    pairs = [cell.reduce[2 * node : 2 * node + 2] for cell in drawn(knowing(**kinds), 300) for node in range(4)]
    whole = {op for pair in pairs for op, _ in pair if "skip_connect" not in {name for name, _ in pair}}
    assert whole == {convolution, pool}


def test_both_pools_are_equally_likely_where_no_table_knows_both_and_count_nothing_in_the_score() -> None:
    pools = Counter(op for cell in drawn(SHIPPED, 1500) for op in operations_of(cell) if "pool" in op)
    many = pools.total()
    assert pools["avg_pool_3x3"] == pytest.approx(many / 2, abs=4 * math.sqrt(many) / 2)
    found = {}
    for average in (0.0, 1.0):
        predictor = knowing(five=0.3, dilated=0.3, average=average)
        found[average] = draw_darts(predictor, 100, np.random.default_rng(1))
    assert [score for _, score in found[0.0]] == [score for _, score in found[1.0]]
    assert [cell for cell, _ in found[0.0]] != [cell for cell, _ in found[1.0]]
