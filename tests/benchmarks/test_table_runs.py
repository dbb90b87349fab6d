"""The runs over all tables: what is there is not searched again, and what is summarised follows from the lines by hand."""

import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.table_picture import draw, title_of
from benchmarks.table_results import Line, document_of, goals, lines_of, section, summarised
from benchmarks.table_runs import CASES, Case, main, run, truth_for
from benchmarks.table_scores import runs_of, scores_of
from edgenas.engine.registry import method_named
from edgenas.errors import EdgenasError
from tests.benchmarks import made_tables


def line(method: str, seed: int, hypervolume: float, cost: int = 25, table: str = "t") -> Line:
    return Line(table, method, cost, seed, hypervolume)


def cases(folder: Path) -> tuple[Case, ...]:
    made_tables.nasbench201(folder / "cells.npz")
    made_tables.accel(folder / "stages.npz")
    return (
        Case("nasbench201", "other_phone", "flowers", folder / "cells.npz"),
        Case("accel", file=folder / "stages.npz"),
    )


def test_a_run_that_was_cut_off_goes_on_and_ends_as_it_would_have(tmp_path: Path) -> None:
    asked = (("random", "evolution"), 3, (10, 25), 1)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    run(whole, *asked, cases(tmp_path))
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2 * 2 * 3 * 2
    cut.write_bytes(b"".join(lines[:9]) + lines[9][:30])  # in the middle of a line
    assert len(lines_of(cut)) == 9
    run(cut, *asked, cases(tmp_path))
    assert sorted(found.key for found in lines_of(cut)) == sorted(found.key for found in lines_of(whole))
    assert {found.key: found for found in lines_of(cut)} == {found.key: found for found in lines_of(whole)}
    before = cut.read_bytes()
    run(cut, *asked, cases(tmp_path))
    assert cut.read_bytes() == before


def test_a_line_is_what_the_search_of_that_cost_comes_to_and_the_first_seeds_are_searched_under_limits(
    tmp_path: Path,
) -> None:
    case = cases(tmp_path)[1]
    run(tmp_path / "work.jsonl", ("random",), 2, (10, 25), 1, (case,))
    found = {one.key: one for one in lines_of(tmp_path / "work.jsonl")}
    truth = truth_for(case)
    name = truth.table.space.name
    for cost in (10, 25):
        for seed in (0, 1):
            scores = scores_of(truth, runs_of(truth, method_named("random"), cost, seed))
            one = found[name, "random", cost, seed]
            assert one.hypervolume == scores.hypervolume
            limited = seed == 0 and cost == 25
            assert one.regret == (scores.regret if limited else ())
            assert one.accuracy == (scores.accuracy if limited else ())


def test_figures_by_hand() -> None:
    lines = [
        *(line("random", seed, value) for seed, value in enumerate((0.5, 0.6, 0.7))),
        *(line("guided", seed, value) for seed, value in enumerate((0.6, 0.6, 0.9))),
    ]
    lines[3] = msgspec.structs.replace(lines[3], regret=(1.0, 2.0, 3.0), accuracy=(70.0, 80.0, 90.0))
    figures = summarised(lines)["t"]["guided"]["25"]
    assert figures == {
        "n": 3,
        "hypervolume": 0.7,
        "sd": pytest.approx(math.sqrt((0.01 + 0.01 + 0.04) / 2), abs=1e-4),
        "pairs": 3,
        "beats_random": 0.667,  # equal is not above
        "n_under_limits": 1,
        "regret": 2.0,
        "accuracy": 80.0,
    }


def test_a_seed_that_random_does_not_have_yet_is_no_pair() -> None:
    figures = summarised([line("random", 0, 0.5), line("guided", 0, 0.6), line("guided", 1, 0.4)])["t"]["guided"]["25"]
    assert (figures["n"], figures["pairs"], figures["beats_random"]) == (2, 1, 1.0)


def test_goals_by_hand() -> None:
    """Table a: above random in 9 of 10 seeds at 25; b: in 8. GP is beaten on a alone; at 10, random is clearly above on b."""
    lines = [
        *(line("random", seed, 0.5 + 0.001 * seed, table=table) for seed in range(10) for table in "ab"),
        *(line("guided", seed, 0.6 if seed < 9 else 0.1, table="a") for seed in range(10)),
        *(line("guided", seed, 0.6 if seed < 8 else 0.4, table="b") for seed in range(10)),
        *(line("gp", seed, 0.54, table="a") for seed in range(2)),
        *(line("gp", seed, 0.57, table="b") for seed in range(2)),
        *(line("random", seed, 0.5 + 0.001 * seed, 10, table) for seed in range(10) for table in "ab"),
        *(line("guided", seed, 0.49 + 0.001 * seed, 10, "b") for seed in range(10)),
    ]
    assert goals(summarised(lines), "guided") == {
        "above_random_in_nine_of_ten": {"tables": 1, "of": 2},
        "above_gp_in_the_mean": {"tables": 1, "of": 2},
        "below_random_by_a_standard_error": ["b at 10"],
    }


def test_the_document_and_the_picture_hold_every_table_and_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["nasbench201 cifar100 help_pixel3", "nasbench101 cifar10", "accel imagenet zcu102"]
    lines = [
        line(method, seed, 0.5 + 0.01 * seed, cost, table)
        for method in ("random", "guided")
        for seed in range(3)
        for cost in (10, 50)
        for table in names
    ]
    document = document_of(lines)
    assert set(document["tables"]) == set(names)
    assert set(document["goals"]) == {"guided"}
    monkeypatch.setattr("benchmarks.table_picture.PATH", tmp_path / "tables.svg")
    draw(document["tables"])
    picture = (tmp_path / "tables.svg").read_text()
    assert sorted(map(title_of, names)) == sorted(re.findall(r'<text x="0" y="-6">([^<]*)</text>', picture))
    assert picture.count("<polyline") == len(names) * 2
    page = section(document)
    assert all(f"| {name}, 50 | 0.510 (3; 0%) | 0.510 (3) |" in page for name in names)
    assert ", 25 |" not in page  # nothing was searched with 25


def test_more_seeds_take_the_place_of_fewer_and_all_else_stays() -> None:
    before = document_of(
        [
            *(line("random", seed, 0.5) for seed in range(3)),
            *(msgspec.structs.replace(line("gp", seed, 0.4), regret=(1.0,), accuracy=(70.0,)) for seed in range(2)),
            *(line("guided", seed, 0.6, table=table) for seed in range(3) for table in "tu"),
        ]
    )

    def added(seeds: int, *, paired: bool = True) -> dict[str, Any]:
        lines = [line("random", seed, 0.5) for seed in range(seeds * paired)]
        return document_of([*lines, *(line("gp", seed, 0.55) for seed in range(seeds))], before)["tables"]

    assert added(1) == before["tables"]  # fewer searches
    assert added(2, paired=False) == before["tables"]  # compared with none
    more = added(2)
    assert more["t"]["gp"]["25"] == before["tables"]["t"]["gp"]["25"] | {"hypervolume": 0.55, "beats_random": 1.0}
    assert more["t"]["gp"]["25"]["regret"] == 1.0
    more["t"]["gp"] = before["tables"]["t"]["gp"]
    assert more == before["tables"]
    assert document_of([], before)["goals"] == before["goals"]


def test_results_of_another_optuna_are_not_mixed() -> None:
    before = document_of([line("random", 0, 0.5)])
    before["versions"]["optuna"] = "4.9.0"
    with pytest.raises(EdgenasError, match=r"of Optuna 4\.9\.0"):
        document_of([line("random", 0, 0.5)], before)


@pytest.mark.parametrize("options", [["--write"], ["--seeds", "0"]])
def test_results_of_another_optuna_are_refused_in_one_line(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = document_of([line("random", 0, 0.5)])
    before["versions"]["optuna"] = "4.9.0"
    results, work = tmp_path / "tables.json", tmp_path / "work.jsonl"
    results.write_text(json.dumps(before))
    work.write_bytes(msgspec.json.encode(line("random", 0, 0.5)) + b"\n")
    monkeypatch.setattr("benchmarks.table_results.PATH", results)
    assert main(["--work", str(work), *options]) == 1
    assert re.fullmatch(
        r"error: tables\.json is of Optuna 4\.9\.0, and \S+ is installed: [^\n]*\n", capsys.readouterr().err
    )
    assert json.loads(results.read_text()) == before


def test_there_are_six_tables_or_more_and_each_once() -> None:
    assert len(set(CASES)) == len(CASES) == 14
