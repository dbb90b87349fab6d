"""`edgenas search --method nse` through the command line: rounds, limits, kill -9, a larger pool, the space that survived."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

import edgenas as edgenas_api
from edgenas.engine.events import Event, SearchBegins
from edgenas.store import Store
from tests.cli.edgenas import ENVIRONMENT, edgenas, edgenas_json, refusal

# A whole evolution in seconds: two cells a stage, four channels, 300 digits.
PROJECT = """
method = "nse"
target = "jetson"
search_images = 300
epoch_scale = 0.2
rounds = 2

[rules]
channels = 4
tail_channels = 16
networks = 8
cheap_networks = 2
finals = 2
supernet_epochs = 2
calibration_batches = 2
"""


def write(folder: Path, pool: int, more: str = "") -> Path:
    file = folder / f"nse-{pool}.toml"
    file.write_text(f"pool = {pool}\n{more}{PROJECT}")
    return file


def essence(folder: Path) -> Any:
    """What must not depend on interruptions: rounds without their seconds, trials without theirs."""
    from edgenas.architectures.subspace import Round

    with Store.read(folder) as store:
        rounds = [(r.plan, r.fitness, r.networks, r.kept) for r in store.all("round", Round).values()]
        trials = [(t.number, t.candidate, t.status, t.scores) for t in store.ledger()]
    return rounds, trials


def test_an_evolution_ends_in_ordinary_trials_within_the_limit_and_shows_its_space(tmp_path: Path) -> None:
    file = write(tmp_path, 27, 'max_latency_ms = 0.5\ncontrol = "random"\n')
    document = edgenas_json("search", str(file), "--study", "small", "--workers", "0", folder=tmp_path)
    assert document["chosen"]["architecture"]["type"] == "multibranch"
    assert document["chosen"]["latency"]["ms"] <= 0.5
    assert document["trials"] == 4  # two finals and as many random members
    assert len(document["control"]) >= 1
    space = edgenas_json("space", "small", folder=tmp_path)
    assert [played["round"] for played in space["rounds"]] == [1, 2]
    assert space["surviving"] == space["rounds"][1]["kept"]
    assert space["unit"] == "ms"
    for cell, kept in enumerate(space["rounds"][0]["kept"]):
        assert set(kept) <= set(space["rounds"][1]["subspace"][cell])
    text = edgenas("space", "small", folder=tmp_path).stdout
    assert text.count("round ") >= 2
    assert edgenas_json("search", str(file), "--study", "small", folder=tmp_path) == document  # finished: at once


@pytest.mark.slow
def test_a_larger_pool_goes_on_from_a_finished_study(tmp_path: Path) -> None:
    edgenas_json("search", str(write(tmp_path, 27)), "--study", "small", "--workers", "0", folder=tmp_path)
    space = edgenas_json("space", "small", folder=tmp_path)
    larger = write(tmp_path, 72)
    grown = edgenas_json(
        "search", str(larger), "--from", "small", "--study", "larger", "--workers", "0", folder=tmp_path
    )
    assert grown["trials"] == 2
    first = edgenas_json("space", "larger", folder=tmp_path)["rounds"][0]
    for cell, kept in enumerate(space["surviving"]):
        assert set(kept) <= set(first["subspace"][cell])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    file = write(tmp_path, 19)
    started, hits = time.monotonic(), 0
    edgenas_json("search", str(file), "--study", "whole", "--workers", "0", folder=tmp_path)
    duration = time.monotonic() - started
    command = [sys.executable, "-m", "edgenas", "search", str(file), "--study", "killed", "--workers", "2"]
    for part in (0.35, 0.45, 0.55, 0.65):  # sessions that get on, and leave something to the next
        process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        time.sleep(part * duration)
        hits += process.poll() is None
        process.kill()
        process.wait()
    assert hits >= 2
    edgenas_json("search", str(file), "--study", "killed", "--workers", "2", folder=tmp_path)
    assert essence(tmp_path / "studies" / "killed") == essence(tmp_path / "studies" / "whole")


@pytest.mark.slow
def test_two_processes_evolve_to_an_end_together(tmp_path: Path) -> None:
    file = write(tmp_path, 19)
    how = ("--workers", "2", "--processes", "2")
    together = edgenas_json("search", str(file), "--study", "together", *how, folder=tmp_path)
    assert together["chosen"]["architecture"]["type"] == "multibranch"
    space = edgenas_json("space", "together", folder=tmp_path)
    assert [played["round"] for played in space["rounds"]] == [1, 2]


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = ["search", "--method", "nse", "--target", "jetson", "--search-images", "300"]
    assert "its smallest member" in refusal(*base, "--max-params", "100")
    assert "no such rule; it has operations" in refusal(*base[:1], str(_with_rule(tmp_path, "magic = 1")))
    assert "no study 'nowhere'" in refusal(*base, "--from", "nowhere")
    few = _with_rule(tmp_path, "held_out = 0.01")  # one image of each of ten classes: none is left to score with
    assert "10 and 0 are too few" in refusal(*base[:1], str(few))
    assert "preset trg is not one of nse" in refusal(*base, "--preset", "trg")
    alone = "--processes 2: this search has 1 workers: take 1 or fewer, or more --workers"
    assert refusal(*base, "--processes", "2", "--workers", "1") == alone
    assert refusal(*base, "--processes", "2", "--workers", "0") == alone
    assert "--ray takes a cluster: give one of them" in refusal(*base, "--processes", "2", "--ray", "auto")
    side_by_side = refusal("search", "--search-images", "300", "--processes", "2")
    assert side_by_side.startswith(
        "--processes 2: method guided trains candidates side by side, and none of them in several"
    )


def _with_rule(folder: Path, rule: str) -> Path:
    file = folder / "rule.toml"
    file.write_text(f'method = "nse"\nsearch_images = 300\n[rules]\n{rule}\n')
    return file


def test_the_published_cells_are_fixed_and_what_would_set_them_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = str(_with_rule(tmp_path, "channels = 8\ncells = 2\nstem_stride = 1\ntail_channels = 16"))
    at = ["--target", "jetson", "--max-params", "100"]  # nothing is so small: what is refused first tells the order
    line = refusal("search", file, *at, "--image-size", "128", "--preset", "t")
    assert line == (
        "[rules] channels, cells, stem_stride, tail_channels: images of 128 px and more are searched in the published cells, "
        "which are fixed: leave it out, or take --preset tiny, whose cells can be set"
    )
    for settable in (("--image-size", "128", "--preset", "tiny"), ("--image-size", "127", "--preset", "t")):
        assert refusal("search", file, *at, *settable).endswith("raise the limit, or set fewer channels under [rules]")
    plain = refusal("search", "--method", "nse", *at, "--image-size", "128", "--preset", "t")
    assert plain.endswith("raise the limit, or take --preset tiny or a smaller --image-size")


@pytest.mark.parametrize(("rules", "operations"), [({}, 6), ({"operations": 8}, 8)])
def test_how_many_operations_are_looked_at_is_the_rule_s_where_there_is_one(
    rules: dict[str, float], operations: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, SearchBegins):
            raise StoppedError

    monkeypatch.chdir(tmp_path)
    how: dict[str, Any] = {"method": "nse", "preset": "t", "pool": 19, "image_size": 128, "search_images": 300}
    with pytest.raises(StoppedError):
        edgenas_api.search("digits", target="jetson", rules=rules, study="k", workers=0, on_event=stop, **how)
    planned = msgspec.json.decode(edgenas_api.open_study("k", quiet=True).plan.rules)
    assert planned["rules"]["operations"] == operations
