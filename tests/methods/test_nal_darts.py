"""DARTS designs: all seven operations, drawn as often as the author's own probabilities say."""

import math
from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from edgenas.architectures.cell import DARTS_OPS, cell_network, check_cell, family_of, operations_of
from edgenas.architectures.cell_graph import Graphs, link_features
from edgenas.errors import EdgenasError
from edgenas.identity import digest
from edgenas.methods.nal import NalRules, design, shipped_predictor
from edgenas.methods.nal_darts import CONV3X3, MAXPOOL, coarse, draw_darts, graphs_of, kinds_of
from edgenas.methods.nal_model import LinkPredictor
from edgenas.methods.nal_table import DartsTable, is_held_out, share_held_out, table_from_trials
from edgenas.methods.spec import changed
from edgenas.records import Candidate, Classes, Cost, DartsCell, Nasbench201Cell, Recipe, Trial
from edgenas.training.nal_fit import FitSettings, fit_author

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


def test_three_or_seven_operations_are_a_rule_and_no_other_number() -> None:
    for number in (3.0, 7.0):  # as a project file gives them
        assert changed("nal", NalRules(), {"darts_operations": number}).darts_operations == number  # type: ignore[attr-defined]
    with pytest.raises(EdgenasError, match="darts_operations = 5: DARTS designs have 7 operations, or 3"):
        design(SHIPPED, "darts", 1, darts_operations=5)


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


def test_what_was_fitted_to_darts_cells_designs_those_alone() -> None:
    fitted = knowing(five=0.5, dilated=0.5, average=0.5)
    assert fitted.space == SHIPPED.space == "nasbench101"
    assert len(design(fitted, "darts", 2).cells) == len(design(SHIPPED, "nasbench101", 2).cells) == 2
    for space in ("nasbench101", "nasbench201"):
        words = f"these weights were learned in darts, not for {space}: take --space darts, or fit others with `edgenas nal fit`"
        with pytest.raises(EdgenasError, match=f"^{words}$"):
            design(fitted, space, 2)
    with pytest.raises(EdgenasError, match="learned in nasbench201, not for darts: take --space nasbench201"):
        design(shipped_predictor("nasbench201"), "darts", 2)


def test_no_darts_cells_are_held_out_as_nothing_judges_them() -> None:
    cells = tuple(drawn(SHIPPED, 60))
    assert sum(is_held_out(cell, 0.2) for cell in cells) >= 8
    table = DartsTable("s", "val_accuracy", cells, np.arange(60.0))
    assert share_held_out(table, None, 1.0) == share_held_out(table, 0.0, 1.0) == 0.0
    with pytest.raises(
        EdgenasError, match=r"--hold-out 0\.2 is not for DARTS cells, which are not judged: leave it out"
    ):
        share_held_out(table, 0.2, 1.0)


# ---------------------------------------------------------------- from DARTS cells

SEP3, SEP5, DIL3, DIL5 = "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"
MAX, AVG, SKIP = "max_pool_3x3", "avg_pool_3x3", "skip_connect"
ONE = ((SEP3, 0), (DIL5, 1), (SKIP, 0), (SEP5, 2), (MAX, 2), (AVG, 3), (SKIP, 1), (SKIP, 4))


def test_a_genotype_as_the_predictor_of_nasbench101_knows_it_by_hand() -> None:
    cell = coarse(ONE)
    assert cell.ops == ("input", "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3", "conv1x1-bn-relu", "output")
    edges = {(i, j) for i, row in enumerate(cell.matrix) for j, entry in enumerate(row) if entry}
    # both inputs are the input; nodes 2 to 5 of DARTS are vertices 1 to 4; only vertex 4 is read by no other
    assert edges == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (0, 4), (3, 4), (4, 5)}
    assert coarse(((MAX, 0), (SEP3, 1), (AVG, 0), (SKIP, 1), *ONE[4:])).ops[1:3] == ("conv3x3-bn-relu", "maxpool3x3")


def test_the_kinds_of_experts_are_counted_with_one_more_of_each() -> None:
    cell = DartsCell(ONE, ONE)  # twice: two of three convolutions are 5x5, one is dilated, one of two pools averages
    assert kinds_of([cell]) == {"five": 5 / 8, "dilated": 3 / 8, "average": 3 / 6}
    assert kinds_of([]) == {"five": 0.5, "dilated": 0.5, "average": 0.5}


def trained(cell: DartsCell, score: float) -> Trial:
    candidate = Candidate(cell_network(cell, Classes(2)), Recipe("r", epochs=1, batch_size=8, lr=0.1), "design")
    return Trial(candidate, "complete", Cost(1, 1, 1, 1.0, 1.0), 0, {"val_accuracy": score})


def test_darts_cells_that_a_study_trained_become_a_table_and_two_spaces_do_not() -> None:
    cells = drawn(SHIPPED, 9)
    trials = tuple(trained(cell, 50.0 + place) for place, cell in enumerate(cells))
    table = table_from_trials("s", (*trials, trained(cells[0], 90.0)), "val_accuracy")
    assert isinstance(table, DartsTable)
    assert table.cells == tuple(cells)
    assert table.accuracy.tolist() == [90.0, *(51.0 + place for place in range(8))]
    other = replace(trials[0].candidate, architecture=cell_network(Nasbench201Cell(("skip_connect",) * 6), Classes(2)))
    with pytest.raises(EdgenasError, match="10 trained cells of darts and nasbench201; NAL learns from"):
        table_from_trials("s", (*trials, replace(trials[0], candidate=other)), "val_accuracy")
    with pytest.raises(EdgenasError, match="7 trained cells of darts; NAL learns from at least 8"):
        table_from_trials("s", trials[:7], "val_accuracy")


def test_what_is_fitted_to_darts_experts_writes_graphs_like_theirs() -> None:
    """Experts whose nodes all read both inputs: after the fit far more nodes do so than before."""
    ops = ((SEP3, 0), (SEP3, 1))
    experts = [DartsCell(ops * 4, ops * 4)]
    settings = FitSettings.for_table(8, from_scratch=False)
    weights = fit_author("nasbench101", graphs_of(experts), settings, 0, SHIPPED.weights)
    fitted = LinkPredictor(SHIPPED.card, {**SHIPPED.weights, **weights})

    def both_inputs(predictor: LinkPredictor) -> float:
        pairs = [cell.normal[2 * node : 2 * node + 2] for cell in drawn(predictor, 300) for node in range(1, 4)]
        return float(np.mean([{source for _, source in pair} == {0, 1} for pair in pairs]))

    assert both_inputs(fitted) > 2 * both_inputs(SHIPPED)
    assert not any("judge" in name for name in weights)
