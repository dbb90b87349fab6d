"""NAL: what the link predictor writes, ranks and transfers. Expected figures by hand, or from the benchmark's table."""

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from edgenas.architectures.cell import canonical_cell, cell_network, check_cell, pruned
from edgenas.architectures.cell_graph import attention_masks, cells_from_graphs, graphs_from_cells, link_features
from edgenas.architectures.cell_space import CellSpace
from edgenas.errors import EdgenasError, LimitError
from edgenas.identity import digest
from edgenas.methods import CONTROL
from edgenas.methods.baselines import with_control
from edgenas.methods.nal import NalRules, design, nal, shipped_predictor
from edgenas.methods.nal_evidence import auc, average_precision, held_out_report
from edgenas.methods.nal_model import LinkPredictor, PredictorCard, load_predictor, save_predictor, write_graphs
from edgenas.methods.nal_table import (
    LEVELS,
    CellTable,
    is_held_out,
    lesson,
    share_held_out,
    table_from_npz,
    table_from_trials,
)
from edgenas.methods.replay import cost_without_device
from edgenas.networks.link_prediction import Author, Judge
from edgenas.records import (
    Candidate,
    Classes,
    Cost,
    Limits,
    Nasbench101Cell,
    Nasbench201Cell,
    Recipe,
    Trial,
)
from edgenas.training.nal_fit import FitSettings, author_examples, fit_author, fit_judge
from tests.architectures.cells import BEST_101
from tests.methods.answers import SPACE, TRAINING, play
from tests.shared_data import shared_data

SMALL = FitSettings(width=12, layers=2, heads=3, batch_size=64, author_steps=30, judge_steps=40)
C3, C1, MP = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"


@pytest.fixture(scope="module")
def table101() -> CellTable:
    return table_from_npz(shared_data("nas/nb101_20000.npz"))


@pytest.fixture(scope="module")
def table201() -> CellTable:
    return table_from_npz(shared_data("nas/nb201.npz"))


def predictor_of(space: str, weights: dict[str, np.ndarray]) -> LinkPredictor:
    return LinkPredictor(PredictorCard(space, SMALL.heads, LEVELS, "t", "c", 1, 1, 0.0), weights)


@pytest.mark.parametrize("space", ["nasbench101", "nasbench201"])
def test_what_is_written_and_ranked_with_is_what_was_trained(space: str) -> None:
    """A prefix is looked at alone when cells are written; training sees all vertices, those to come hidden by masks."""
    shipped = shipped_predictor(space)
    graphs = graphs_from_cells(space, list(design(shipped, space, 40).cells))  # type: ignore[arg-type]
    author, judge = shipped._author, shipped._judge
    with torch.no_grad():
        levels = judge(*map(torch.from_numpy, (graphs.ops, attention_masks(graphs), graphs.sizes)))
        prefix, masks, vertex, op, features, _, asked = author_examples(space, graphs)
        op_logits, link_logits = author(prefix, masks, vertex, op, features)
    np.testing.assert_allclose(shipped.judge(graphs), levels.numpy(), atol=1e-4)
    h, logits = shipped.look(graphs, 2)
    rows = np.flatnonzero(vertex.numpy() == 2)
    np.testing.assert_allclose(logits, op_logits.numpy()[rows], atol=1e-4)
    if space == "nasbench101":
        chosen = graphs.links[:, 1:2, 2].sum(1)
        link = shipped.linker(h, 2, graphs.ops[:, 2])(0, link_features(graphs.links, 0, chosen, 2))
        np.testing.assert_allclose(link, link_logits.numpy()[rows, 0], atol=1e-4)
        assert asked[rows].sum(1).tolist() == [2.0] * len(rows)


def test_designs_are_the_same_with_any_number_of_threads_and_as_they_ever_were() -> None:
    shipped, before, digests = shipped_predictor("nasbench101"), torch.get_num_threads(), set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            cells = design(shipped, "nasbench101", 10).cells
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        digests.add(digest(*cells))
    assert digests == {"5fb088a173ab007b"}


def test_link_features_count_what_a_writer_must_know() -> None:
    graphs = graphs_from_cells("nasbench101", [BEST_101])
    # before vertex 4: 0 -> 1, 2, 3 are there, nothing reads 1, 2, 3; asked about source 2 after 3 was chosen
    np.testing.assert_allclose(link_features(graphs.links, 2, 1, 4), [[4 / 9, 1 / 7, 0, 1, 1 / 7]], rtol=1e-6)


def test_what_is_written_within_bounds_is_always_valid_even_by_an_untrained_author() -> None:
    torch.manual_seed(1)
    author, judge = Author("nasbench101", SMALL.size), Judge("nasbench101", SMALL.size, len(LEVELS))
    weights = {f"author.{k}": v.numpy() for k, v in author.state_dict().items()}
    weights |= {f"judge.{k}": v.numpy() for k, v in judge.state_dict().items()}
    predictor = predictor_of("nasbench101", weights)
    cells = cells_from_graphs("nasbench101", write_graphs(predictor, 3000, np.random.default_rng(0)))
    for cell in cells:
        check_cell(cell)
    edges = [np.sum(cell.matrix) for cell in cells if isinstance(cell, Nasbench101Cell)]
    assert max(edges) == 9
    assert len({len(cell.ops) for cell in cells}) >= 5  # small cells and large ones
    loose = cells_from_graphs("nasbench101", write_graphs(predictor, 500, np.random.default_rng(0), bound=False))
    assert any(pruned(cell) != cell for cell in loose if isinstance(cell, Nasbench101Cell))


def test_designs_are_valid_distinct_pruned_ranked_and_repeatable() -> None:
    predictor = shipped_predictor("nasbench101")
    found = design(predictor, "nasbench101", 300)
    assert len(set(map(canonical_cell, found.cells))) == 300
    assert all(pruned(cell) == cell for cell in found.cells if isinstance(cell, Nasbench101Cell))
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert found.valid == found.drawn
    assert design(predictor, "nasbench101", 300) == found != design(predictor, "nasbench101", 300, seed=1)


def test_designs_are_far_above_the_tables_95th_percentile_on_cells_never_seen_too(table101: CellTable) -> None:
    predictor = shipped_predictor("nasbench101")
    accuracy = dict(zip(table101.cells, table101.accuracy.tolist(), strict=True))
    found = [cell for cell in design(predictor, "nasbench101", 3000).cells if cell in accuracy]
    unseen = [cell for cell in found if is_held_out(cell, predictor.card.held_out)]  # type: ignore[arg-type]
    bar = np.percentile(table101.accuracy, 95)
    assert len(found) >= 100
    assert len(unseen) >= 15
    assert np.mean([accuracy[cell] for cell in found]) > bar  # type: ignore[index]
    assert np.mean([accuracy[cell] for cell in unseen]) > bar  # type: ignore[index]


def test_nasbench201_designs_are_among_the_best_by_the_full_training(table201: CellTable) -> None:
    full = table_from_npz(shared_data("nas/nb201.npz"), "acc200_test_cifar10")
    accuracy = dict(zip(full.cells, full.accuracy.tolist(), strict=True))
    found = design(shipped_predictor("nasbench201"), "nasbench201", 50)
    values = [accuracy[cell] for cell in found.cells]  # type: ignore[index]
    assert np.mean(values) > np.percentile(full.accuracy, 95)
    assert table201.column == "acc12_val_cifar10"


def test_a_fit_learns_and_the_same_seed_gives_the_same_weights(table101: CellTable, tmp_path: Path) -> None:
    some = CellTable("nasbench101", "t", "c", table101.cells[:800], table101.accuracy[:800])
    learned = lesson(some, 0.05, 0.3)
    graphs = graphs_from_cells("nasbench101", some.cells)
    fitted = [
        fit_author("nasbench101", graphs[learned.experts], SMALL, 0)
        | fit_judge("nasbench101", graphs[learned.seen], learned.standing, learned.levels, SMALL, 0)
        for _ in range(2)
    ]
    assert all((fitted[0][name] == fitted[1][name]).all() for name in fitted[0])
    predictor = predictor_of("nasbench101", fitted[0])
    card = held_out_report(predictor, some, learned)
    assert card is not None
    assert card["spearman"] > 0.4
    assert card["experts"]["model"]["auc"] > card["experts"]["degree"]["auc"]
    save_predictor(predictor, tmp_path / "a.safetensors")
    again = load_predictor(tmp_path / "a.safetensors")
    assert again.card == predictor.card
    np.testing.assert_array_equal(again.score(graphs), predictor.score(graphs))


def test_experts_are_the_best_seen_cells_within_the_limits() -> None:
    cells = tuple(Nasbench101Cell(((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("input", C3, "output")) for _ in range(1))
    cells += design(shipped_predictor("nasbench101"), "nasbench101", 19).cells  # type: ignore[assignment]
    accuracy = np.arange(20.0)
    plain = lesson(CellTable("nasbench101", "t", "c", cells, accuracy), 0.25)
    assert sorted(plain.experts.tolist()) == [15, 16, 17, 18, 19]
    limited = lesson(CellTable("nasbench101", "t", "c", cells, accuracy), 0.25, allowed=lambda c: c in cells[:12])
    assert sorted(limited.experts.tolist()) == [8, 9, 10, 11]  # at least four, of the twelve
    assert limited.standing[12:].tolist() == [1.0] * 8
    assert limited.standing[11] == 0.0
    with pytest.raises(EdgenasError, match="2 of 20 cells of t meet the limits"):
        lesson(CellTable("nasbench101", "t", "c", cells, accuracy), 0.25, allowed=lambda c: c in cells[:2])


def table_of(cells: tuple[Nasbench101Cell, ...]) -> CellTable:
    return CellTable("nasbench101", "t", "c", cells, np.arange(float(len(cells))))


@pytest.fixture(scope="module")
def parted() -> tuple[tuple[Nasbench101Cell, ...], tuple[Nasbench101Cell, ...]]:
    """Eighty cells: those below a fifth by their digest, and the others."""
    cells: tuple[Nasbench101Cell, ...] = design(shipped_predictor("nasbench101"), "nasbench101", 80).cells  # type: ignore[assignment]
    below = tuple(cell for cell in cells if is_held_out(cell, 0.2))
    assert len(below) >= 8
    return below, tuple(cell for cell in cells if cell not in below)


def test_cells_are_held_out_where_eight_of_them_can_be_judged_on_and_none_where_fewer(
    parted: tuple[tuple[Nasbench101Cell, ...], tuple[Nasbench101Cell, ...]],
) -> None:
    below, above = parted
    assert share_held_out(table_of(below[:8] + above), None, 1.0) == 0.2
    assert share_held_out(table_of(below[:7] + above), None, 1.0) == 0.0
    assert share_held_out(table_of(below[:7] + above), None, 0.2) == 0.0
    assert (
        len(lesson(table_of(below[:1] + above[:7]), 0.01, 0.0).seen) == 8
    )  # the least that a study can be learned from
    # weights that never saw a tenth: no more than that is judged on
    tenth = tuple(cell for cell in below if is_held_out(cell, 0.1))
    share = 0.1 if len(tenth) >= 8 else 0.0
    assert share_held_out(table_of(below + above), None, 0.1) == share
    # what is asked for is done
    assert share_held_out(table_of(below[:1] + above), 0.2, 1.0) == 0.2
    assert share_held_out(table_of(below[:8] + above), 0.0, 0.2) == 0.0


def test_what_the_first_weights_have_learned_from_is_not_judged_on(
    parted: tuple[tuple[Nasbench101Cell, ...], tuple[Nasbench101Cell, ...]],
) -> None:
    table = table_of(parted[0] + parted[1])
    assert share_held_out(table, 0.2, 0.2) == 0.2
    assert share_held_out(table, 0.5, 1.0) == 0.5
    words = r"--hold-out 0\.21: .* have learned from all but a share of 0\.2: hold out at most that, or take --start scratch"
    with pytest.raises(EdgenasError, match=words):
        share_held_out(table, 0.21, 0.2)


def test_too_few_cells_are_told_by_what_makes_them_few(
    parted: tuple[tuple[Nasbench101Cell, ...], tuple[Nasbench101Cell, ...]],
) -> None:
    below, above = parted
    few = table_of(below[:1] + above[:7])
    held = "^7 of 8 cells of t are left to learn from, the others are held out; NAL needs at least 8: hold out less$"
    with pytest.raises(EdgenasError, match=held):
        lesson(few, 0.01, 0.2)
    with pytest.raises(EdgenasError, match=held):
        lesson(few, 0.01, 0.2, lambda _: True)  # limits that all of them meet
    with pytest.raises(EdgenasError, match=r"^6 of 7 cells of t meet the limits; NAL needs at least 8: raise them$"):
        lesson(few, 0.01, 0.2, lambda cell: cell != above[0])
    with pytest.raises(EdgenasError, match=r"^t has 7 distinct cells; NAL needs at least 8$"):
        lesson(table_of(above[:7]), 0.01)


def test_a_table_spelled_in_dead_edges_is_one_cell() -> None:
    dead = Nasbench201Cell(("none", "none", "nor_conv_3x3", "nor_conv_3x3", "nor_conv_1x1", "none"))
    assert canonical_cell(dead) == Nasbench201Cell(("none", "none", "none", "nor_conv_3x3", "none", "none"))


def test_studies_without_cells_say_what_is_needed() -> None:
    recipe = Recipe("r", epochs=1, batch_size=8, lr=0.1)
    cost = Cost(1, 1, 1, 1.0, 1.0)
    chain = Trial(Candidate(SPACE.chain(4, 8), recipe, "depth"), "complete", cost, 0, {"val_accuracy": 50.0})
    with pytest.raises(EdgenasError, match=r"0 trained cells; its others are ChainArchitecture.*--method nal"):
        table_from_trials("s", (chain,) * 9, "val_accuracy")


def test_the_method_trains_the_best_designs_within_the_limits_and_chooses() -> None:
    space = CellSpace(Classes(10), 3, 32)
    rules = NalRules(channels=8, cells_per_stage=1, designs=3, epochs=2)
    limits = Limits(params=30_000)
    predictor = shipped_predictor("nasbench101")
    method = nal(predictor, space, rules, TRAINING, cost_without_device, limits)
    choice, trials, decisions = play(method, lambda c: -cost_without_device(c.architecture).params, cost_without_device)
    assert len({trial.candidate.architecture for trial in trials}) == 3
    assert all(trial.status == "complete" and trial.cost.params <= 30_000 for trial in trials)
    assert choice.trial.cost.params == min(trial.cost.params for trial in trials)  # that scored best
    assert [decision.verdict for decision in decisions] == ["accept"]
    with pytest.raises(LimitError, match="no design meets the limits; the smallest: "):
        next(nal(predictor, space, rules, TRAINING, cost_without_device, Limits(params=10)))


def test_in_the_place_of_a_design_that_is_measured_and_too_slow_comes_the_next() -> None:
    """Which are within the limits is not known before they are asked for, where latencies are measured."""
    space = CellSpace(Classes(10), 3, 32)
    rules = NalRules(channels=8, cells_per_stage=1, designs=3, epochs=2)
    predictor, limits = shipped_predictor("nasbench101"), Limits(params=30_000)
    asked_for = nal(predictor, space, rules, TRAINING, cost_without_device)
    _, trials, _ = play(asked_for, lambda _: 50.0, cost_without_device, limits)
    assert [t.status for t in trials].count("complete") == 3 < len(trials)
    with pytest.raises(LimitError, match=r"none of the \d+ networks that were asked for is within the limits"):
        play(
            nal(predictor, space, rules, TRAINING, cost_without_device),
            lambda _: 50.0,
            cost_without_device,
            Limits(params=10),
        )


def test_cells_that_a_study_trained_become_a_table() -> None:
    cells = design(shipped_predictor("nasbench101"), "nasbench101", 9).cells
    cost, recipe = Cost(1, 1, 1, 1.0, 1.0), Recipe("r", epochs=1, batch_size=8, lr=0.1)
    trials = [
        Trial(Candidate(cell_network(c, Classes(2)), recipe, "design"), "complete", cost, 0, {"val_accuracy": 50.0 + i})
        for i, c in enumerate(cells)
    ]
    again = replace(trials[0], candidate=replace(trials[0].candidate, repeat=1), scores={"val_accuracy": 90.0})
    table = table_from_trials("s", (*trials, again), "val_accuracy")
    assert table.cells == cells
    assert table.accuracy.tolist() == [90.0, *(51.0 + i for i in range(8))]


def test_bad_files_and_requests_are_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    np.savez(tmp_path / "t.npz", a=np.zeros(3))
    for call, message in (
        (lambda: load_predictor(tmp_path / "x.safetensors"), "is no link predictor"),
        (lambda: load_predictor(tmp_path / "y.safetensors"), "is not there"),
        (lambda: table_from_npz(tmp_path / "t.npz"), "is no table of cells"),
        (lambda: table_from_npz(tmp_path / "u.npz"), "cannot be read"),
        (lambda: shipped_predictor("enas"), "nasbench101, nasbench201, darts"),
        (
            lambda: design(shipped_predictor("nasbench101"), "nasbench201", 5),
            "learned in nasbench101, not for nasbench201",
        ),
        (lambda: design(shipped_predictor("nasbench101"), "nasbench101", 0), "at least one"),
    ):
        with pytest.raises(EdgenasError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_auc_and_average_precision_by_hand() -> None:
    truth = np.array([True, False, True, False])
    assert auc(truth, np.array([4.0, 3.0, 2.0, 1.0])) == 0.75  # of four pairs one is wrong
    assert auc(truth, np.zeros(4)) == 0.5
    assert average_precision(truth, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(truth, np.zeros(4)) == 0.5


def test_a_random_control_of_nal_trains_members_of_its_space_as_long() -> None:
    space = CellSpace(Classes(10), 3, 8, "nasbench101", channels=8, cells_per_stage=1)
    training = replace(TRAINING, epoch_scale=0.25)
    rules = NalRules("nasbench101", channels=8, cells_per_stage=1, designs=2, epochs=20)
    search = nal(shipped_predictor("nasbench101"), space, rules, training, cost_without_device)
    choice, trials, _ = play(
        with_control(search, space, training, cost_without_device, Limits(), 0), lambda _: 50.0, cost_without_device
    )
    assert choice.macro == {"epochs": 20}
    assert {(trial.candidate.phase, trial.candidate.recipe.epochs) for trial in trials} == {("design", 5), (CONTROL, 5)}
    assert all(space.contains(trial.candidate.architecture) for trial in trials)


def test_of_too_many_edges_those_go_that_no_vertex_needs() -> None:
    space = CellSpace(Classes(10), 3, 8, "nasbench101", channels=8, cells_per_stage=1)
    everything = {name: values[-1] for name, values in space.choices().items()}
    cell = space.pick(everything).cell
    assert isinstance(cell, Nasbench101Cell)
    assert (len(cell.ops), np.sum(cell.matrix)) == (7, 9)
    check_cell(cell)
