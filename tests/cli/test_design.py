"""`edgenas design`, `edgenas nal fit` and `edgenas search --method nal`, as a user runs them."""

import bz2
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenas.architectures.cell import canonical, cell_network, check_cell, operations_of
from edgenas.architectures.nasbench201 import text_from_nasbench201
from edgenas.methods.nal import design, shipped_predictor
from edgenas.methods.nal_table import is_held_out
from edgenas.methods.settings import SearchSettings
from edgenas.records import (
    Candidate,
    CellArchitecture,
    Classes,
    Cost,
    DartsCell,
    Nasbench101Cell,
    Recipe,
    Trial,
)
from edgenas.store import Store, read_json
from tests.cli.edgenas import ENVIRONMENT, REPOSITORY, edgenas, edgenas_json, refusal
from tests.methods.nal_files import framed, metrics_of, nats_state, row101, write_pickle, write_tfrecord
from tests.plans import plan, studied
from tests.shared_data import shared_data


def test_json_lines_are_valid_distinct_cells_best_first(tmp_path: Path) -> None:
    done = edgenas("design", "--space", "nasbench101", "--n", "50", "--json-lines", folder=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    cells = [Nasbench101Cell(tuple(map(tuple, line["matrix"])), tuple(line["ops"])) for line in lines]
    for cell in cells:
        check_cell(cell)
    assert len({canonical(cell) for cell in cells}) == 50
    scores = [line["score"] for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_designing_takes_seconds_and_loads_no_more_than_it_needs() -> None:
    program = (
        "import sys, time; from edgenas.cli.main import app\n"
        "app(['design', '--n', '3', '--target', 'jetson-nano', '--json'], standalone_mode=False)\n"
        "assert not {'torchvision', 'sklearn'} & set(sys.modules)\n"
        "assert time.process_time() < 5, f'{time.process_time():.1f} s of a processor'"  # of which torch's import is half
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [d["ms"] for d in document["designs"]] == sorted(d["ms"] for d in document["designs"])
    assert {d["profile"] for d in document["designs"]} == {"jetson-nano-4gb"}
    assert document["valid_before_repair"] == 1.0


def test_limits_hold_and_architectures_are_written(tmp_path: Path) -> None:
    arguments = ["design", "--space", "nasbench201", "--n", "4", "--max-params", "500000", "--out", "found"]
    document = edgenas_json(*arguments, folder=tmp_path)
    assert len(document["designs"]) == 4
    files = sorted((tmp_path / "found").glob("*.json"))
    networks = [read_json(file, CellArchitecture) for file in files]
    assert [list(network.cell.ops) for network in networks] == [line["ops"] for line in document["designs"]]  # type: ignore[union-attr]
    described = edgenas_json("describe", str(files[0]), folder=tmp_path)
    assert described["params"] <= 500_000
    for theirs in ("design-of-mine.json", "design-5.json"):
        (tmp_path / "found" / theirs).write_text("{}")
    arguments[4] = "2"
    edgenas_json(*arguments, folder=tmp_path)  # nothing of the longer list is left
    left = {file.name for file in (tmp_path / "found").iterdir()}
    assert left == {"design-0001.json", "design-0002.json", "design-of-mine.json", "design-5.json"}


@pytest.mark.parametrize("layout", ["nasbench101", "nasbench201"])
def test_a_predictor_is_fitted_to_the_published_files_of_nasbench101_and_nats_bench(
    layout: str, tmp_path: Path
) -> None:
    cells = design(shipped_predictor(layout), layout, 10).cells
    if layout == "nasbench101":
        rows = [row101(cell, 108, metrics_of(0.9 + i / 1e3, 0.9)) for i, cell in enumerate(cells)]  # type: ignore[arg-type]
        table = write_tfrecord(tmp_path / "nasbench_only108.tfrecord", rows)
    else:
        table = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
        table.mkdir()
        for i, cell in enumerate(cells):
            state = nats_state(text_from_nasbench201(cell), {("cifar10-valid", "x-valid"): [80.0 + i]}, 12)  # type: ignore[arg-type]
            write_pickle(table / f"{i:06d}.pickle.pbz2", {"12": state})
    flags = ["--start", "shipped", "--hold-out", "0", "--out", "own.safetensors"]
    fitted = edgenas_json("nal", "fit", "--table", table.name, *flags, folder=tmp_path)
    assert (fitted["space"], fitted["cells"], fitted["experts"]) == (layout, 10, 4)
    designed = edgenas_json("design", "--space", layout, "--weights", "own.safetensors", "--n", "3", folder=tmp_path)
    assert designed["learned_from"]["table"] == table.name


def test_a_predictor_is_fitted_to_a_study_of_darts_cells_and_designs_with_its_kinds(tmp_path: Path) -> None:
    drawn = design(shipped_predictor("darts"), "darts", 40).cells
    wide = [cell for cell in drawn if isinstance(cell, DartsCell)]
    asked = SearchSettings(target=("jetson-nano-4gb",), method="nal", space="darts")
    with Store.create(tmp_path / "studies" / "first", studied(plan(asked=asked))) as store:
        for place, cell in enumerate(wide):
            recipe = Recipe("r", epochs=1, batch_size=8, lr=0.1)
            candidate = Candidate(cell_network(cell, Classes(10)), recipe, "design")
            scores = {"val_accuracy": float(sum("5x5" in op for op in operations_of(cell)))}
            store.add(Trial(candidate, "complete", Cost(1, 1, 1, 1.0, 1.0), place, scores))
    fitted = edgenas_json("nal", "fit", "--table", "first", "--experts", "0.1", folder=tmp_path)
    assert (fitted["space"], fitted["cells"], fitted["experts"], fitted["held_out"]) == ("darts", 40, 4, None)
    flags = ["--space", "darts", "--n", "100"]
    before = edgenas_json("design", *flags, folder=tmp_path)["operations"]
    after = edgenas_json("design", *flags, "--weights", fitted["weights"], folder=tmp_path)
    assert after["learned_from"]["kinds"]["five"] > 0.5
    assert share_of_wide(after["operations"]) > 1.4 * share_of_wide(before)
    refused = refusal("nal", "fit", "--table", str(tmp_path / "studies/first"), "--start", "scratch", "--hold-out", "0")
    assert "--start scratch is not for DARTS cells" in refused
    weights = str(tmp_path / fitted["weights"])
    assert "learned in darts, not for nasbench101" in refusal("design", "--weights", weights)


def test_a_predictor_is_fitted_to_a_study_of_eight_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = design(shipped_predictor("nasbench201"), "nasbench201", 30).cells
    held = [cell for cell in drawn if is_held_out(cell, 0.2)]
    cells = [*held[:1], *(cell for cell in drawn if cell not in held)][:8]
    asked = SearchSettings(target=("jetson-nano-4gb",), method="nal", space="nasbench201")
    with Store.create(tmp_path / "studies" / "first", studied(plan(asked=asked))) as store:
        for place, cell in enumerate(cells):
            candidate = Candidate(
                cell_network(cell, Classes(10)), Recipe("r", epochs=1, batch_size=8, lr=0.1), "design"
            )
            store.add(Trial(candidate, "complete", Cost(1, 1, 1, 1.0, 1.0), place, {"val_accuracy": float(place)}))
    fitted = edgenas_json("nal", "fit", "--table", "first", folder=tmp_path)
    assert (fitted["cells"], fitted["held_out"]) == (8, None)
    beyond = refusal("nal", "fit", "--table", "first", "--hold-out", "0.5")  # of what the shipped weights know
    assert "have learned from all but a share of 0.2: hold out at most that, or take --start scratch" in beyond
    assert "7 of 8 cells of" in refusal("nal", "fit", "--table", "first", "--hold-out", "0.2")


def share_of_wide(operations: dict[str, int]) -> float:
    of_convolutions = {op: count for op, count in operations.items() if "conv" in op}
    return sum(count for op, count in of_convolutions.items() if "5x5" in op) / sum(of_convolutions.values())


def test_a_hostile_benchmark_file_is_one_line_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "000000.pickle.pbz2").write_bytes(bz2.compress(b"cos\nsystem\n(S'touch ran'\ntR."))
    assert "nothing of it was run" in refusal("nal", "fit", "--table", str(tmp_path), "--out", "x.safetensors")
    (tmp_path / "a.tfrecord").write_bytes(framed(b"x", 10**10))
    words = refusal("nal", "fit", "--table", str(tmp_path / "a.tfrecord"), "--out", "x.safetensors")
    assert "record 1 has 10,000,000,000 bytes" in words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.pickle.pbz2", "a.tfrecord"]


def test_designs_within_a_limit_on_macs_up_to_the_very_number(tmp_path: Path) -> None:
    shape = ["design", "--space", "darts", "--n", "3", "--channels", "16", "--cells-per-stage", "1", "--json"]
    free = json.loads(edgenas(*shape, "--max-mmacs", "1e6", folder=tmp_path).stdout)["designs"]
    most = max(line["macs"] for line in free)
    at = json.loads(edgenas(*shape, "--max-mmacs", f"{most / 1e6:.6f}", "--out", "d", folder=tmp_path).stdout)
    assert [line["macs"] for line in at["designs"]] == [line["macs"] for line in free]
    described = edgenas_json("describe", "d/design-0001.json", folder=tmp_path)
    assert described["macs"] == at["designs"][0]["macs"]
    below = json.loads(edgenas(*shape, "--max-mmacs", f"{(most - 1) / 1e6:.6f}", folder=tmp_path).stdout)["designs"]
    assert max(line["macs"] for line in below) < most
    assert len(below) == 3


@pytest.mark.slow
def test_the_two_hundred_best_darts_designs_are_those_of_the_page(tmp_path: Path) -> None:
    """Counts by operation, and MACs under the 600 M of the ImageNet setting: docs/nal.md shows what is printed here."""
    page = (REPOSITORY / "docs" / "nal.md").read_text()
    setting = ["design", "--space", "darts", "--image-size", "224", "--classes", "1000", "--n", "200"]
    within = edgenas_json(*setting, "--max-mmacs", "600", folder=tmp_path)
    macs = [line["macs"] / 1e6 for line in within["designs"]]
    assert f"\n{len(macs)} {min(macs)} {max(macs)}\n{within['operations']}\n" in page
    assert max(macs) <= 600
    free = edgenas_json(*setting, folder=tmp_path)["operations"]
    assert len(free) == 7
    shown = page.split("since then ", 1)[1].split(". ", 1)[0].replace("\n", " ").replace(",", "")
    assert all(f"{count} `{operation}`" in shown for operation, count in free.items())


def test_operations_of_the_designs_are_counted(tmp_path: Path) -> None:
    document = edgenas_json("design", "--space", "nasbench201", "--n", "7", folder=tmp_path)
    ops = [op for line in document["designs"] for op in line["ops"]]
    assert document["operations"] == {op: ops.count(op) for op in sorted(set(ops), key=ops.count, reverse=True)}
    assert sum(document["operations"].values()) == 42


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-mmacs", "nan"], "max-mmacs nan: give a number"),
        (["--max-mmacs", "0"], "--max-mmacs 0.0 was asked for"),
        (["--max-mmacs", "1"], "M MACs > 1 M MACs"),
    ],
)
def test_a_limit_on_macs_that_is_no_number_or_that_nothing_meets_is_refused(arguments: list[str], words: str) -> None:
    assert words in refusal("design", "--n", "2", *arguments)


@pytest.mark.parametrize(
    ("option", "below", "above"),
    [("--n", 0, 1_000_001), ("--channels", 0, 65_537), ("--cells-per-stage", 0, 1_001), ("--classes", 1, 1_000_001)],
)
def test_a_number_outside_its_range_is_wrong_usage(option: str, below: int, above: int, tmp_path: Path) -> None:
    for value in (below, above, -4):
        for more in ((), ("--target", "jetson"), ("--out", "found")):
            done = edgenas("design", f"{option}={value}", *more, folder=tmp_path)
            assert done.returncode == 2, done.stderr
            assert option in done.stderr
    assert not (tmp_path / "found").exists()


def test_the_smallest_numbers_are_what_is_designed(tmp_path: Path) -> None:
    smallest = ["--channels", "4", "--cells-per-stage", "1", "--classes", "2", "--seed", "4294967295"]
    document = edgenas_json("design", "--n", "1", "--max-params", "99999", *smallest, "--out", "d", folder=tmp_path)
    assert len(document["designs"]) == 1
    network = read_json(tmp_path / "d" / "design-0001.json", CellArchitecture)
    assert (network.channels, network.cells_per_stage, network.head) == (4, 1, Classes(2))


def test_a_predictor_that_could_not_be_written_is_not_fitted(tmp_path: Path) -> None:
    cells = design(shipped_predictor("nasbench101"), "nasbench101", 10).cells
    rows = [row101(cell, 108, metrics_of(0.9 + i / 1e3, 0.9)) for i, cell in enumerate(cells)]  # type: ignore[arg-type]
    table = write_tfrecord(tmp_path / "t.tfrecord", rows)
    (tmp_path / "there").mkdir()
    for out, why in ((tmp_path / "there", "Is a directory"), (table / "x.safetensors", "Not a directory")):
        words = f"cannot write {out}: {why}: choose another place, or make room"
        assert refusal("nal", "fit", "--table", str(table), "--out", str(out)) == words
    assert not list((tmp_path / "there").iterdir())


def test_mistakes_are_one_line() -> None:
    table = str(shared_data("nas/nb101_20000.npz"))
    assert "--target" in refusal("design", "--max-latency-ms", "3")
    assert "the nearest" in refusal("design", "--n", "2", "--max-params", "10")
    assert "--out" in refusal("nal", "fit", "--table", table)
    assert "val_acc_108ep" in refusal(
        "nal", "fit", "--table", table, "--column", "val_acc_1ep", "--out", "x.safetensors"
    )
    assert "edgenas nal fit" in refusal("search", "--method", "nal", "--from", "nowhere")


@pytest.mark.slow
def test_a_search_trains_designs_and_the_next_one_learns_from_them(tmp_path: Path) -> None:
    (tmp_path / "cells.toml").write_text(
        'target = "jetson-nano"\nmethod = "nal"\nspace = "nasbench201"\nmax-params = 60000\nsearch-images = 120\n'
        "[rules]\ndesigns = 8\nepochs = 1\nchannels = 4\ncells_per_stage = 1\n"
    )
    found = edgenas_json("search", "cells.toml", "--study", "first", folder=tmp_path)
    assert found["trials"] == 8
    assert found["method"] == "nal"
    assert found["chosen"]["architecture"]["cell"]["space"] == "nasbench201"
    assert found["chosen"]["params"] <= 60_000
    again = edgenas_json("search", "cells.toml", "--study", "first", folder=tmp_path)
    assert again["chosen"] == found["chosen"]

    fitted = edgenas_json("nal", "fit", "--table", "first", folder=tmp_path)
    assert fitted["cells"] == 8
    assert Path(tmp_path / fitted["weights"]).is_file()
    designs = edgenas_json("design", "--space", "nasbench201", "--weights", fitted["weights"], folder=tmp_path)
    assert designs["learned_from"]["table"].endswith("first")
    following = edgenas("search", "cells.toml", "--from", "first", "--study", "second", "--json", folder=tmp_path)
    assert following.returncode == 0, following.stderr
    assert json.loads(following.stdout)["trials"] == 8


@pytest.mark.slow
def test_a_fit_to_the_whole_table_beats_the_bar_on_held_out_cells(tmp_path: Path) -> None:
    table = shared_data("nas/nb101_20000.npz")
    card = edgenas_json("nal", "fit", "--table", str(table), "--out", "a.safetensors", folder=tmp_path)
    assert card["size_mb"] < 1
    bar = np.percentile(np.load(table)["val_acc_108ep"], 95)
    assert card["held_out"]["mean_of_best_ranked"] > bar
    assert card["held_out"]["spearman"] > 0.9
    assert card["held_out"]["experts"]["model"]["auc"] > 0.85
