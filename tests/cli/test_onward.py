"""After a result for people stands the next command, of a study the same as on its report's page; JSON is followed by nothing."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from edgenas.cli.main import app
from edgenas.cli.onward import serve_commands
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import read_facts
from tests.digits_bundle import digits_bundle
from tests.report.studies import published_study
from tests.trained_study import trained_study


def after(*arguments: object) -> list[str]:
    """The next commands, of a command that succeeds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None, result.output
    return [line.removeprefix("next: ") for line in result.stderr.splitlines() if line.startswith("next: ")]


def test_what_follows_a_search_is_training_and_before_its_end_the_search(tmp_path: Path) -> None:
    done = published_study(tmp_path / "a study")
    shown = shlex.quote(str(done))
    onward, report = f"edgenas train {shown}", f"edgenas report {shown}"
    assert [line for line in after("front", done) if "verify" not in line] == [onward, report]
    begun = published_study(tmp_path / "begun", finished=False)
    assert after("front", begun) == [f"edgenas search --resume {begun}", f"edgenas report {begun}"]


def test_a_trained_network_is_exported_and_compared_and_the_report_says_the_same(tmp_path: Path) -> None:
    folder = trained_study(tmp_path / "digits")
    page = [command.line for command in next_commands(read_facts(folder))]
    assert [line.split()[1] for line in page] == ["export", "compare"]
    assert after("front", folder) == [*page, f"edgenas report {folder}"]
    assert after("report", folder, "--out", tmp_path / "page.html") == page


def test_a_bundle_is_served_once_it_was_checked_or_tried(tmp_path: Path) -> None:
    bundle, picture = digits_bundle().folder, tmp_path / "one.png"
    Image.new("L", (8, 8)).save(picture)
    for command in (("bundle", "verify", bundle), ("classify", bundle, picture)):
        assert after(*command) == [f"edgenas serve {shlex.quote(str(bundle))}"]


def test_a_bundle_for_boards_with_tensorrt_is_served_by_it_there() -> None:
    here, there = serve_commands(Path("my bundle"), "jetson-orin-nano-8gb")
    assert here == "edgenas serve 'my bundle'"
    assert there == "edgenas serve 'my bundle' --runtime tensorrt    # on jetson-orin-nano-8gb"
    for profile in ("host-cpu", "raspberry-pi-4", "jetson-nano-4gb", "mine"):  # of JetPack 4; of a file of one's own
        assert len(serve_commands(Path("bundle"), profile)) == 1


def test_a_prediction_and_the_data_lead_to_a_search_that_ends_in_minutes() -> None:
    file = digits_bundle().folder / "model.onnx"
    bounded = "--max-latency-ms MS --budget 10"
    assert after("predict", file, "--target", "jetson") == [f"edgenas search --target jetson --data FOLDER {bounded}"]
    assert after("data", "digits") == [f"edgenas search --target jetson --data digits {bounded}"]


@pytest.mark.parametrize("command", ["front", "report"])
def test_a_program_is_told_nothing_more(tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert after(command, published_study(tmp_path / "s"), "--json") == []
