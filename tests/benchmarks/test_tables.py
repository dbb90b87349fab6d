"""Searches on tables that nobody tuned on: what is a member, what a search sees, what it costs, how it is judged."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.table_cells import paths_of
from benchmarks.table_files import Layout, Table, table_from
from benchmarks.table_scores import Truth, area, front, limits_of, runs_of, scores_of, truth_of
from benchmarks.table_searches import Ledger, searched
from benchmarks.table_space import NEIGHBOURS, network_of, number_of
from benchmarks.tables import main, methods_for
from edgenas.architectures.cell import canonical
from edgenas.architectures.cell_space import CellSpace
from edgenas.engine.registry import method_named
from edgenas.errors import EdgenasError
from edgenas.records import Candidate, CellArchitecture, Classes, Limits, Nasbench101Cell, Recipe
from tests.benchmarks import made_tables
from tests.shared_data import shared_data

MADE: dict[Layout, Callable[[Path], dict[str, np.ndarray]]] = {
    "nasbench201": made_tables.nasbench201,
    "nasbench101": made_tables.nasbench101,
    "accel": made_tables.accel,
}
SCORES = ("acc200_test_flowers", "acc200_test_weeds", "acc12_val_flowers", "acc12_test_flowers")
RECIPE = Recipe("table", epochs=200, batch_size=64, lr=0.1)
each_layout = pytest.mark.parametrize("layout", MADE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Path]:
    folder = tmp_path_factory.mktemp("tables")
    for layout, make in MADE.items():
        make(folder / f"{layout}.npz")
    return {layout: folder / f"{layout}.npz" for layout in MADE}


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, dict[str, float]]:
    assert main([*map(str, arguments), "--json"]) == 0
    document: dict[str, dict[str, float]] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([*map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def altered(folder: Path, layout: Layout, **columns: np.ndarray | None) -> Path:
    """The made table with these columns; None = without it."""
    data = {**MADE[layout](folder / "whole.npz"), **columns}
    np.savez(folder / "altered.npz", **{name: column for name, column in data.items() if column is not None})
    return folder / "altered.npz"


# ---------------------------------------------------------------- the command


@each_layout
def test_every_layout_gives_five_numbers_for_each_method(
    layout: Layout, files: dict[Layout, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    document = printed(capsys, layout, "--file", files[layout], "--methods", "random,nsga2", "--seeds", 3, "--cost", 12)
    assert list(document) == ["random", "nsga2"]
    for row in document.values():
        assert set(row) == {"hypervolume", "sd", "regret", "accuracy", "beats_random"}
        assert 0 < row["hypervolume"] <= 1
        assert row["sd"] > 0
        assert row["regret"] >= 0
        assert 50 < row["accuracy"] < 100
        assert 0 <= row["beats_random"] <= 1
    assert document["random"]["beats_random"] == 0  # never higher than itself


def test_a_table_for_people_has_the_same_numbers(files: dict[Layout, Path], capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("accel", "--file", files["accel"], "--methods", "random", "--seeds", 2, "--cost", 5)
    row = printed(capsys, *asked)["random"]
    assert main([*map(str, asked)]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[:3] == ["random", f"{row['hypervolume']:.3f}", f"{row['sd']:.3f}"]


def test_the_same_seeds_give_the_same_document_and_a_method_is_paired_with_random(
    files: dict[Layout, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("nasbench201", "--file", files["nasbench201"], "--seeds", 4, "--cost", 10)
    alone = printed(capsys, *asked, "--methods", "nsga2")
    assert printed(capsys, *asked, "--methods", "random,nsga2") == alone
    truth = truth_of(table_from("nasbench201", files["nasbench201"]))
    pairs = [
        [scores_of(truth, runs_of(truth, method_named(name), 10, seed)).hypervolume for name in ("nsga2", "random")]
        for seed in range(4)
    ]
    assert alone["nsga2"]["beats_random"] == sum(one > other for one, other in pairs) / 4
    assert alone["nsga2"]["hypervolume"] == pytest.approx(sum(one for one, _ in pairs) / 4)


@pytest.mark.parametrize("named", [True, False])
def test_without_optuna_its_methods_are_left_out_or_refused_where_they_were_named(
    named: bool, files: dict[Layout, Path]
) -> None:
    blocked = (
        "import sys; sys.modules['optuna'] = None; from benchmarks.tables import main; sys.exit(main(sys.argv[1:]))"
    )
    asked = ["accel", "--file", str(files["accel"]), "--seeds", "2", "--cost", "5", "--json"]
    methods = ["--methods", "random,tpe"] if named else []
    done = subprocess.run(
        [sys.executable, "-c", blocked, *asked, *methods],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    if named:
        assert done.returncode == 1
        assert "pip install '.[baselines]' in your clone" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        left = set(methods_for(None)) - {"nsga2", "tpe", "gp"}
        assert set(json.loads(done.stdout)) == left
        assert "tpe is left out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nasbench201", "--device", "toaster"), "--device toaster: 0 devices"),
        (("nasbench201", "--device", "o"), "--device o: 2 devices"),
        (("nasbench201", "--dataset", "cifar10"), "flowers, weeds"),
        (("accel", "--dataset", "flowers"), "leave it out"),
        (("nasbench101", "--device", "board"), "0 devices"),
        (("accel", "--methods", "gnas"), "gnas: it does not search every space"),
        (("accel", "--methods", "best"), "best"),
        (("accel", "--cost", "91"), "give at most 90"),  # 180 of 200 rows have a latency
    ],
)
def test_what_a_table_does_not_have_is_refused_with_what_it_has(
    arguments: tuple[str, ...], reason: str, files: dict[Layout, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refused(capsys, *arguments, "--file", files[arguments[0]])  # type: ignore[index]


def test_a_search_of_half_the_members_is_allowed(files: dict[Layout, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The other side of the refusal."""
    asked = ("--file", files["accel"], "--methods", "random", "--seeds", 1, "--cost", 90)
    assert printed(capsys, "accel", *asked)["random"]["hypervolume"] > 0.5


@pytest.mark.parametrize(
    ("layout", "columns", "reason"),
    [
        ("nasbench201", {"ops": None}, "it has no 'ops'"),
        ("nasbench201", dict.fromkeys(SCORES), "it has no accuracies"),
        ("nasbench201", {"op_names": np.array(["none", "skip_connect", "conv", "conv3", "pool"])}, "'conv'"),
        ("nasbench201", {"latency_ms": np.ones((300, 3))}, "latency_ms is float64 (300, 3)"),
        ("nasbench201", {"acc200_test_flowers": np.ones(299)}, "give (300,)"),
        ("nasbench201", {"acc200_test_flowers": np.full(300, np.nan)}, "0 of its 300 rows"),
        ("nasbench201", {"ops": np.ones((300, 6))}, "ops is float64 (300, 6)"),
        ("nasbench201", {"ops": np.zeros((0, 6), int)}, "ops is int64 (0, 6)"),
        ("nasbench201", {"latency_devices": np.arange(2)}, "latency_devices is int64 (2,)"),
        ("nasbench201", {"latency_ms": np.full((300, 2), "fast")}, "latency_ms is <U4"),
        ("nasbench101", {"ops": np.full((120, 7), 5)}, "ops has 5"),
        ("nasbench101", {"adj": np.ones(120)}, "adj is float64"),
        ("nasbench101", {"adj": np.zeros(120, int)}, "NAS-Bench-101 cell"),
        ("nasbench101", {"n_vertices": np.full(120, 9)}, "n_vertices is 9 to 9"),
        ("accel", {"columns": np.array(["a"])}, "columns 1"),
        ("accel", {"latency_ms_stick": np.full(200, "fast")}, "latency_ms_stick is <U4"),
        ("accel", {"val_top1": None}, "it has no val_top1"),
        ("accel", {"arch": np.ones((200, 27), np.int8)}, "arch is (200, 27)"),
        ("accel", {"val_top1": np.full(200, 60.0)}, "nothing can be searched for"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    layout: Layout,
    columns: dict[str, np.ndarray | None],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = ("--dataset", "flowers") if layout == "nasbench201" and len(columns) == 1 else ()
    error = refused(capsys, layout, "--file", altered(tmp_path, layout, **columns), "--methods", "random", *dataset)
    assert reason in error


def test_what_is_no_npz_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.npz").write_text("not a table")
    np.save(tmp_path / "array.npz", np.arange(3))
    (tmp_path / "array.npz.npy").rename(tmp_path / "array.npz")
    made_tables.accel(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:3000])
    for path in (tmp_path / f"{name}.npz" for name in ("text", "array", "cut", "missing")):
        assert "is no table" in refused(capsys, "accel", "--file", path)


# ---------------------------------------------------------------- members, and what a search sees


def test_rows_without_a_latency_and_cells_that_carry_nothing_are_no_members(tmp_path: Path) -> None:
    data = made_tables.nasbench201(tmp_path / "t.npz")
    table = table_from("nasbench201", tmp_path / "t.npz", "any_board")

    def carries(ops: list[int]) -> bool:
        """By hand: some way 0-3, 0-1-3, 0-2-3 or 0-1-2-3 has no `none` on it."""
        way = [op != 0 for op in ops]
        a01, a02, a12, a03, a13, a23 = way
        return a03 or (a01 and a13) or (a02 and a23) or (a01 and a12 and a23)

    measured = np.isfinite(data["latency_ms"][:, 0])
    expected = [row for row in range(300) if measured[row] and carries(data["ops"][row].tolist())]
    assert len(expected) < measured.sum() < 300
    assert table.axis.tolist() == data["latency_ms"][expected, 0].astype(float).tolist()
    assert table.judged.tolist() == data["acc200_test_flowers"][expected].astype(float).tolist()


def test_a_search_sees_validation_of_a_short_training_and_is_judged_by_the_test_of_a_full_one(tmp_path: Path) -> None:
    data = made_tables.nasbench201(tmp_path / "t.npz")
    table = table_from("nasbench201", tmp_path / "t.npz", "other_phone", "flowers")
    first = int(np.flatnonzero(data["latency_ms"][:, 1] == np.float32(table.axis[0]))[0])
    assert sorted(table.seen) == [12, 200]
    assert table.seen[12][0] == data["acc12_val_flowers"][first]
    assert table.seen[200][0] == table.judged[0] == data["acc200_test_flowers"][first]
    long = altered(tmp_path, "nasbench201", acc200_val_flowers=np.linspace(40, 60, 300))
    table = table_from("nasbench201", long, "other_phone", "flowers")
    assert table.seen[200][0] == np.linspace(40, 60, 300)[first]
    assert table.judged[0] == data["acc200_test_flowers"][first]


def test_shares_are_percent_and_parameters_are_counted_where_the_file_has_none(tmp_path: Path) -> None:
    data = made_tables.nasbench101(tmp_path / "t.npz")
    table = table_from("nasbench101", tmp_path / "t.npz")
    assert table.judged == pytest.approx(100 * data["val_acc_108ep"].astype(float))
    assert table.axis[0] == table.cost(0).params == table.space.real.workload(table.space.architecture(0)).params


@pytest.mark.parametrize(("layout", "column"), [("nasbench201", "latency_ms"), ("accel", "latency_ms_stick")])
def test_without_latencies_the_axis_is_parameters(layout: Layout, column: str, tmp_path: Path) -> None:
    table = table_from(layout, altered(tmp_path, layout, **{column: None}))
    assert table.device == ""
    assert table.axis[3] == table.space.real.workload(table.space.architecture(3)).params
    found = searched(table, method_named("random"), 4, seed=0, limits=table.limits(limits_of(table)[0]))
    assert max(table.axis[list(found.full)]) <= limits_of(table)[0]


def test_words_may_be_bytes(tmp_path: Path) -> None:
    plain = altered(tmp_path, "accel", columns=made_tables.accel(tmp_path / "t.npz")["columns"].astype("S"))
    assert "block0_e" in table_from("accel", plain).space.choices()


def test_parameters_counted_are_those_of_the_published_table() -> None:
    whole = table_from("nasbench101", shared_data("nas/nb101_20000.npz"))
    for row in range(0, len(whole.axis), 4000):
        assert whole.space.real.workload(whole.space.architecture(row)).params == whole.axis[row]


def test_the_shared_tables_have_the_members_that_are_published_for_their_devices() -> None:
    nb201 = shared_data("nas/nb201.npz")
    assert (
        len(table_from("nasbench201", nb201, "help_raspi4").axis) == 15_284
    )  # 15,625 less the cells that carry nothing
    assert len(table_from("nasbench201", nb201, "jetson_tx2", "ImageNet16-120").axis) == 1_999
    assert len(table_from("accel", shared_data("nas/accel_nasbench.npz")).axis) == 5_138 - 2


# ---------------------------------------------------------------- the space of rows


@pytest.fixture(scope="module")
def tables(files: dict[Layout, Path]) -> dict[Layout, Table]:
    return {layout: table_from(layout, path) for layout, path in files.items()}


@each_layout
def test_the_choices_of_a_row_lead_to_that_row_or_to_an_equal_network(
    layout: Layout, tables: dict[Layout, Table]
) -> None:
    space = tables[layout].space
    for row in range(0, len(space.axis), 7):
        network = space.architecture(row)
        held = space.real.choices_of(network)
        found = space.choose(lambda name, values, held=held: held.get(name, values[0]))  # type: ignore[misc]
        assert np.array_equal(space.codes[number_of(found)], space.codes[row])
        assert space.contains(found)


@each_layout
def test_neighbours_are_the_nearest_rows_and_never_the_row_itself(layout: Layout, tables: dict[Layout, Table]) -> None:
    space = tables[layout].space
    rng = random.Random(0)
    for row in (0, 5, len(space.axis) - 1):
        near = space.nearest(row)
        distances = np.abs(space.codes - space.codes[row]).sum(1)
        others = np.delete(distances, row)
        assert row not in near
        assert len(near) >= NEIGHBOURS
        assert max(distances[list(near)]) == sorted(others)[len(near) - 1]
        assert number_of(space.neighbour(network_of(space.name, row), rng)) in near


def test_isomorphic_cells_have_the_same_paths() -> None:
    rng, space = random.Random(0), CellSpace(Classes(10), 3, 32, "nasbench101")
    codes = set()
    for _ in range(20):
        network = space.draw(rng)
        assert isinstance(network, CellArchitecture)
        assert isinstance(network.cell, Nasbench101Cell)
        other = msgspec.structs.replace(network, cell=canonical(network.cell))
        assert np.array_equal(paths_of(network), paths_of(other))
        codes.add(paths_of(network).tobytes())
    assert len(codes) > 10


def test_the_paths_of_a_cell_by_hand() -> None:
    """input -> conv3x3 -> output, and input -> output: the empty path and the first of length one."""
    cell = Nasbench101Cell(((0, 1, 1), (0, 0, 1), (0, 0, 0)), ("input", "conv3x3-bn-relu", "output"))
    code = paths_of(CellSpace(Classes(10), 3, 32, "nasbench101").network(cell))
    assert len(code) == 1 + 3 + 9 + 27 + 81 + 243
    assert np.flatnonzero(code).tolist() == [0, 1]


# ---------------------------------------------------------------- cost


def test_short_trainings_cost_their_share_and_nothing_twice_and_nothing_over_a_limit(
    tables: dict[Layout, Table],
) -> None:
    table = tables["nasbench201"]
    order = np.argsort(table.axis)
    cheap, dear = int(order[0]), int(order[-1])
    ledger = Ledger(table, table.limits(float(np.median(table.axis))), 3.0)

    def asked(row: int, epochs: int) -> Candidate:
        recipe = msgspec.structs.replace(RECIPE, epochs=epochs)
        return Candidate(network_of(table.space.name, row), recipe, "test")

    assert ledger.answer(asked(cheap, 12)).scores == {
        "val_accuracy": table.seen[12][cheap],
        "train_accuracy": table.seen[12][cheap],
    }
    assert ledger.spent == pytest.approx(12 / 200)
    assert ledger.answer(asked(cheap, 12)).status == "complete"
    assert ledger.spent == pytest.approx(12 / 200)
    assert ledger.full == {}
    assert ledger.answer(asked(dear, 200)).status == "infeasible"
    assert ledger.spent == pytest.approx(12 / 200)
    ledger.answer(asked(cheap, 200))
    assert ledger.full == {cheap: pytest.approx(1.06)}
    with pytest.raises(EdgenasError, match="trains for 67 epochs, the table has accuracies after 12, 200"):
        ledger.answer(asked(cheap, 67))
    ledger.budget = 2.05
    assert ledger.beyond((), asked(int(order[1]), 200)) == "the budget is spent"
    ledger.budget = 2.06
    assert ledger.beyond((), asked(int(order[1]), 200)) == ""
    assert ledger.beyond((), asked(dear, 200)) == ""


@pytest.mark.parametrize("method", ["random", "nsga2"])
@each_layout
def test_a_search_spends_its_budget_and_keeps_its_limit(
    method: str, layout: Layout, tables: dict[Layout, Table]
) -> None:
    table = tables[layout]
    found = searched(table, method_named(method), 9, seed=1)
    assert found.spent == len(found.full) == 9
    cap = limits_of(table)[0]
    held = searched(table, method_named(method), 9, seed=1, limits=table.limits(cap))
    assert 5 <= held.spent <= 9  # NSGA-II proposes the same few rows again and again, and ends
    assert all(table.axis[row] <= cap for row in held.full)
    assert any(table.axis[row] > cap for row in found.full)


def test_what_random_has_at_a_smaller_budget_is_what_it_ends_with_there(tables: dict[Layout, Table]) -> None:
    truth = truth_of(tables["nasbench201"])
    spec = method_named("random")
    long = runs_of(truth, spec, 20, seed=2)
    for budget in (5, 10, 20):
        short = scores_of(truth, runs_of(truth, spec, budget, seed=2))
        assert scores_of(truth, long, budget) == short


# ---------------------------------------------------------------- judgement, by hand


def test_the_area_under_a_corner_by_hand() -> None:
    """(error, axis): (4, 1) and (2, 3) under (5, 6): 5 x 1 and 3 x 2 more. (5, 0) and (1, 6) touch the corner's lines only."""
    assert area([4, 2], [1, 3], (5, 6)) == 5 * 1 + 3 * 2
    assert area([4, 2, 4.5, 5, 1], [1, 3, 2, 0, 6], (5, 6)) == 11


def test_the_front_has_what_nothing_beats_cheapest_first() -> None:
    gain, axis = np.array([50.0, 70, 60, 60, 80]), np.array([1.0, 3, 2, 2, 9])
    assert front(gain, axis) == [0, 2, 1, 4]


def small_table(tables: dict[Layout, Table], judged: list[float], axis: list[float], seen: list[float]) -> Table:
    """The made table's first rows with these figures."""
    from dataclasses import replace

    figures = (np.array(figure, float) for figure in (axis, judged, seen))
    along, final, full = figures
    return replace(tables["accel"], axis=along, judged=final, seen={1: full}, costs={})


def test_hypervolume_by_hand(tables: dict[Layout, Table]) -> None:
    """Front: (40 %, 1 ms), (60, e), (80, e^2); in (error, log ms) (60, 0), (40, 1), (20, 2) under (60, 2): 20 x 1."""
    table = small_table(tables, [40, 60, 80, 50], [1, math.e, math.e**2, math.e**2], [40, 60, 80, 50])
    truth = truth_of(table)
    assert truth.corner == pytest.approx((60, 2))
    assert truth.area == pytest.approx(20)
    assert truth.hypervolume([1]) == pytest.approx(1)
    assert truth.hypervolume([0, 2, 3]) == pytest.approx(0)
    assert truth.hypervolume([]) == 0
    half = Truth(table, (60.0, 2.0), 40.0)
    assert half.hypervolume([0, 1]) == pytest.approx(0.5)


def test_a_front_is_what_the_search_saw_and_is_judged_by_the_test(tables: dict[Layout, Table]) -> None:
    """The search takes row 2 for better than row 1, which is cheaper in nothing; judged, row 2 is worse: row 1 was not shown."""
    judged, axis = [40.0, 60, 50, 80], [1, math.e, math.e, math.e**2]
    table = small_table(tables, judged, axis, [40, 60, 70, 80])
    truth = Truth(table, (60.0, 2.0), 20.0)
    assert truth.hypervolume([1]) == pytest.approx(1)
    assert truth.hypervolume([1, 2]) == pytest.approx(0.5)


def test_a_front_of_one_member_is_measured_from_the_worst_of_the_table(tables: dict[Layout, Table]) -> None:
    table = small_table(tables, [80, 50, 60], [1, 2, math.e], [80, 50, 60])
    assert truth_of(table).corner == (50, 1)
    assert truth_of(table).area == pytest.approx(30)


def test_regret_by_hand(tables: dict[Layout, Table]) -> None:
    """Random takes every one of the rows within the limit, so that it finds the best of each; worse rows are told as a choice."""
    truth = truth_of(tables["accel"])
    runs = runs_of(truth, method_named("random"), 15, seed=0)
    scores = scores_of(truth, runs)
    for found, cap, accuracy, regret in zip(
        runs.limited, limits_of(truth.table), scores.accuracy, scores.regret, strict=True
    ):
        within = truth.table.axis <= cap
        assert accuracy == max(truth.table.judged[list(found.full)])
        assert regret == pytest.approx(truth.table.judged[within].max() - accuracy)
        assert truth.table.axis[found.choice] <= cap
    assert limits_of(truth.table) == pytest.approx(np.quantile(truth.table.axis, [0.2, 0.5, 0.8]))


def test_a_limit_that_no_member_meets_ends_a_search_without_a_choice(tables: dict[Layout, Table]) -> None:
    table = tables["accel"]
    found = searched(table, method_named("random"), 5, seed=0, limits=Limits(latency_ms=float(table.axis.min()) / 2))
    assert found.choice is None
    assert found.full == {}
