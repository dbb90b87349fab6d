"""The published searches, replayed. Traces: logs of Siddiqui, Kyrkou, Theocharides (see tests/golden/README.md)."""

import json
from pathlib import Path

import msgspec
import pytest

from edgenas.errors import EdgenasError
from edgenas.methods.ladder import chain_of
from edgenas.methods.replay import Trace, replay
from edgenas.store import read_json

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


def test_a_candidate_that_was_recorded_twice_is_refused() -> None:
    """Whatever the second row says: which of them counts nobody knows."""
    trace, _ = load(GOLDEN[0])
    other = msgspec.structs.replace(trace.rows[3], val=trace.rows[3].val / 2)
    for again in (trace.rows[3], other):
        double = msgspec.structs.replace(trace, rows=(*trace.rows, again))
        with pytest.raises(
            EdgenasError, match=r"has a second depth row of depth 13, width 64, ops 0+, kernels 3+: leave"
        ):
            replay(double)
    replay(msgspec.structs.replace(trace, rows=trace.rows[::-1]))  # in another order they are the same rows


@pytest.mark.parametrize(
    "bounds",
    [
        {"kernels": []}, {"kernels": [4]}, {"kernels": [11]}, {"kernels": [0]}, {"kernels": [3, 11]}, {"kernels": None},
        {"min_depth": 101}, {"min_width": 65}, {"min_depth": 2}, {"width_step": 0}, {"in_channels": 0}, {"num_outputs": 0},
        {"image_size": 0}, {"max_depth": 0}, {"max_width": 0},
    ],
    ids=str,
)  # fmt: skip
def test_bounds_that_make_no_space_are_refused_in_one_line(bounds: dict[str, object], tmp_path: Path) -> None:
    _, raw = load(GOLDEN[0])
    line = refused(tmp_path, {**raw, "space": {**raw["space"], **bounds}})
    assert any(name in line for name in (*bounds, "depth bounds", "width bounds"))


@pytest.mark.parametrize(
    "row",
    [
        {"phase": "full"}, {"phase": "a\nb"}, {"ops": ""}, {"ops": "2"}, {"ops": "01\n"}, {"kernels": ""}, {"kernels": "30"},
        {"kernels": "3\n"}, {"depth": 0}, {"width": 0}, {"epochs": 0}, {"train": 101}, {"val": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_no_search_can_ask_for_is_refused_in_one_line(row: dict[str, object], tmp_path: Path) -> None:
    trace, raw = load(GOLDEN[0])
    line = refused(tmp_path, {**raw, "rows": [*raw["rows"], {**raw["rows"][0], **row}]})
    assert line.endswith(f" - at `$.rows[{len(trace.rows)}].{next(iter(row))}`")


@pytest.mark.parametrize("row", [{"depth": 11}, {"ops": "0" * 9}, {"kernels": "3" * 11}], ids=str)
def test_a_row_has_an_operation_and_a_kernel_for_every_layer(row: dict[str, object], tmp_path: Path) -> None:
    trace, raw = load(GOLDEN[0])
    assert trace.rows[0].depth == 10
    line = refused(tmp_path, {**raw, "rows": [*raw["rows"], {**raw["rows"][0], **row}]})
    assert "needs as many ops and kernels, not " in line
    assert line.endswith(f" - at `$.rows[{len(trace.rows)}]`")


def test_a_trace_without_rows_names_the_first_candidate(tmp_path: Path) -> None:
    _, raw = load(GOLDEN[0])
    assert "has no depth row of depth 10, width 64, " in refused(tmp_path, {**raw, "rows": []})


def refused(folder: Path, raw: dict[str, object]) -> str:
    """The one line with which a trace's file is refused."""
    (folder / "trace.json").write_text(json.dumps(raw))
    with pytest.raises(EdgenasError) as refusal:
        replay(read_json(folder / "trace.json", Trace))
    (line,) = str(refusal.value).splitlines()
    return line
