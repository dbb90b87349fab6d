"""A board made known in one command: measured, kept, interrupted, gone on with, fitted."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgenas
from edgenas.architectures.chain import chain
from edgenas.architectures.from_onnx import workload_from_onnx
from edgenas.architectures.workload import workload_from_architecture
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.hardware.candidates import KIND
from edgenas.hardware.designed import designed_network
from edgenas.hardware.measure import MeasureError
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_file, profile_from_name
from edgenas.records import Candidate, Classes, Cost, Latency, Limits, Measurement, Recipe, StudyRecord, Trial
from edgenas.remote.calibration import Line, calibration_of_board, lines_from_file, rows_from_board
from edgenas.remote.client import BoardAway
from edgenas.remote.job import BUILD_S, Job
from edgenas.store import Store
from tests.cli.edgenas import refusal
from tests.remote.conftest import listening
from tests.remote.models import QUICK

PI = profile_from_name("raspberry-pi-5")
BARE = msgspec.structs.replace(PI, calibration=None, carried_from="")
DEVICE = {"model": "A Board", "power_mode": "", "power_mw": {}}


class Drawn:
    """A board that takes `slower` times what the datasheet says; it goes away before measurement `away`."""

    url = "http://board:8765"

    def __init__(self, slower: float = 1.7, away: int = 10**6, model: str = "A Board", refuses: int = -1) -> None:
        self.slower, self.away, self.model, self.refuses, self.asked = slower, away, model, refuses, 0
        self.threads, self.mode, self.version, self.provider, self.runtime = 4, "", "1.99", "cpu", "onnxruntime"
        self.deadlines: list[float] = []
        self.refusal = "oom"

    def info(self) -> dict[str, Any]:
        return {
            "device": {**DEVICE, "model": self.model, "power_mode": self.mode},
            "runtime": self.runtime,
            "runtime_version": self.version,
            "load": {"provider": self.provider, "threads": self.threads},
        }

    def measure(self, model: bytes, job: Job) -> Measurement:
        if self.asked == self.away:
            raise BoardAway(f"board {self.url} does not answer")
        self.asked += 1
        self.deadlines.append(job.deadline_s)
        if self.asked - 1 == self.refuses:
            raise MeasureError(self.refusal, "too large")
        import onnx

        network = workload_from_onnx(onnx.load_model_from_string(model))
        ms = self.slower * latencies(BARE, [Row("", network)])[0].ms
        device = {"before": DEVICE, "after": DEVICE}
        detail = {"round_ms": [ms] * 4, "reference_ms": [0.5] * 4, "settings": {"provider": "cpu"}, "device": device}
        detail |= {"warnings": [], "runs": 20}
        return Measurement(job.profile, self.model, "onnxruntime 1.99", "fp32", 1, (ms,) * 20, detail=detail)


def kept(tmp_path: Path) -> Path:
    return tmp_path / "mine.measured.jsonl"


def test_a_board_is_measured_kept_and_fitted(tmp_path: Path) -> None:
    said: list[str] = []
    result = calibration_of_board(Drawn(), kept(tmp_path), "raspberry-pi-5", samples=30, say=said.append)
    assert (result.card.n, result.card.held_out) == (24, 6)
    assert (result.card.mape or 1) < 0.1
    assert "30 designed networks on A Board, onnxruntime 1.99" in result.card.source
    assert result.profile.runtime_version == "1.99"
    network = designed_network(99, 5).workload
    (found,) = latencies(result.profile, [Row("", network)])
    assert found.ms == pytest.approx(1.7 * latencies(BARE, [Row("", network)])[0].ms, rel=0.25)
    assert sum("/30 " in line for line in said) == 30
    assert len(lines_from_file(kept(tmp_path))) == 30


def test_what_was_measured_is_not_measured_again_and_more_samples_go_on(tmp_path: Path) -> None:
    board = Drawn(away=7)
    with pytest.raises(EdgenasError, match="7 of 12 networks are measured and kept; run the same command to go on"):
        calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=12)
    board.away = 10**6
    whole = calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=12)
    assert board.asked == 12
    at_once = calibration_of_board(Drawn(), tmp_path / "other.jsonl", "raspberry-pi-5", samples=12)
    assert whole.profile == at_once.profile
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=15)
    assert board.asked == 15
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=3, seed=1)  # other networks
    assert board.asked == 18


def test_a_line_that_a_crash_cut_off_is_measured_again(tmp_path: Path) -> None:
    calibration_of_board(Drawn(), kept(tmp_path), "raspberry-pi-5", samples=5)
    content = kept(tmp_path).read_bytes()
    kept(tmp_path).write_bytes(content[:-20])
    board = Drawn()
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=6)
    assert board.asked == 2
    assert [line.number for line in lines_from_file(kept(tmp_path))] == list(range(6))
    assert kept(tmp_path).read_bytes().startswith(content[: content[:-20].rfind(b"\n") + 1])


def test_measurements_of_another_board_are_not_mixed_in(tmp_path: Path) -> None:
    calibration_of_board(Drawn(), kept(tmp_path), "raspberry-pi-5", samples=3)
    with pytest.raises(EdgenasError, match=r"is of another board \(A Board; here: Another\): name another --out"):
        calibration_of_board(Drawn(model="Another"), kept(tmp_path), "raspberry-pi-5", samples=4)
    kept(tmp_path).write_text("{}\n")
    with pytest.raises(EdgenasError, match="is no file of measurements"):
        calibration_of_board(Drawn(), kept(tmp_path), "raspberry-pi-5", samples=4)


@pytest.mark.parametrize(
    ("name", "value", "now"),
    [
        ("threads", 1, "onnxruntime 1.99 (cpu), 1 threads, power mode 15W"),
        ("mode", "7W", "onnxruntime 1.99 (cpu), 4 threads, power mode 7W"),
        ("version", "2.0", "onnxruntime 2.0 (cpu), 4 threads, power mode 15W"),
        ("provider", "cuda", "onnxruntime 1.99 (cuda), 4 threads, power mode 15W"),
    ],
)
def test_measurements_of_the_same_board_that_runs_otherwise_are_not_mixed_in(
    name: str, value: Any, now: str, tmp_path: Path
) -> None:
    board = Drawn()
    board.mode = "15W"
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=3)
    setattr(board, name, value)
    was = "was measured with onnxruntime 1.99 (cpu), 4 threads, power mode 15W"
    with pytest.raises(EdgenasError, match=re.escape(f"{was}, and the board now has {now}: set it as it was")):
        calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=4)
    assert board.asked == 3


def test_measurements_of_earlier_versions_do_not_say_how_the_board_ran_and_are_gone_on_with(tmp_path: Path) -> None:
    board = Drawn()
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=3)
    lines = [json.loads(line) for line in kept(tmp_path).read_text().splitlines()]
    kept(tmp_path).write_text("".join(json.dumps({k: v for k, v in one.items() if k != "ran"}) + "\n" for one in lines))
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=4)
    assert board.asked == 4


@pytest.mark.parametrize(("provider", "threads"), [("cpu", 2), ("cuda", PI.threads)])
def test_the_profile_has_the_threads_that_were_measured(provider: str, threads: int, tmp_path: Path) -> None:
    board = Drawn()
    board.threads, board.provider = 2, provider
    made = calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=3).profile
    assert made.threads == threads


def test_a_network_that_the_board_cannot_run_is_left_out_and_not_tried_again(tmp_path: Path) -> None:
    board = Drawn(refuses=2)
    board.refusal = "unsupported_op"
    result = calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=6)
    assert result.card.n + result.card.held_out == 5
    assert result.warnings[0] == "1 of 6 networks could not be measured, and are left out"
    calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=6)
    assert board.asked == 6
    assert [line.status for line in lines_from_file(kept(tmp_path))].count("unsupported_op") == 1


@pytest.mark.parametrize(
    ("status", "again"),
    [
        ("timeout", True),
        ("mismatch", True),
        ("refused", True),
        ("oom", True),
        ("unsupported_op", False),
        ("invalid", False),
    ],
)
def test_what_failed_for_a_reason_that_passes_is_asked_again_by_the_same_command(
    status: str, again: bool, tmp_path: Path
) -> None:
    board = Drawn(refuses=2)
    board.refusal = status
    assert len(rows_from_board(board, PI, 4, 0, kept(tmp_path))) == 3
    for _ in range(2):  # and only once, where it then went well
        assert len(rows_from_board(board, PI, 4, 0, kept(tmp_path))) == 3 + again
        assert board.asked == 4 + again
    assert [line.status for line in lines_from_file(kept(tmp_path))] == ["ok", "ok", status, "ok", *["ok"] * again]


def test_unstable_measurements_are_taken_twice_and_the_calmer_one_counts_less(tmp_path: Path) -> None:
    class Busy(Drawn):
        def measure(self, model: bytes, job: Job) -> Measurement:
            calm = super().measure(model, job)
            wide = 3.0 if job.repeat == 0 else 2.0
            samples = tuple(np.linspace(1, wide, 20) * calm.samples_ms[0])
            return msgspec.structs.replace(calm, samples_ms=samples, stable=False, status="unstable")

    board = Busy()
    result = calibration_of_board(board, kept(tmp_path), "raspberry-pi-5", samples=3)
    assert board.asked == 6
    lines = lines_from_file(kept(tmp_path))
    assert {line.status for line in lines} == {"unstable"}
    assert lines[0].spread == pytest.approx(1 / 3, rel=0.1)  # of 1 to 2, not of 1 to 3
    told = "3 of 3 measurements are unstable, and count less: a calm board is learned better"
    assert result.warnings[0] == told
    calm = calibration_of_board(Drawn(), tmp_path / "calm.jsonl", "raspberry-pi-5", samples=3)
    assert told not in calm.warnings


def test_an_unstable_measurement_stays_where_the_second_one_fails(tmp_path: Path) -> None:
    class Busy(Drawn):
        def measure(self, model: bytes, job: Job) -> Measurement:
            if job.repeat:
                raise MeasureError("timeout", "not done after 62 s")
            return msgspec.structs.replace(super().measure(model, job), stable=False, status="unstable")

    rows = rows_from_board(Busy(), PI, 3, 0, kept(tmp_path))
    assert len(rows) == 3
    assert {line.status for line in lines_from_file(kept(tmp_path))} == {"unstable"}


def test_a_board_that_runs_something_else_than_the_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        EdgenasError, match="describes tensorrt, and board http://board:8765 runs onnxruntime: start the agent"
    ):
        calibration_of_board(Drawn(), kept(tmp_path), "jetson", samples=3)
    for samples in (0, 2, 1001):
        with pytest.raises(EdgenasError, match=f"{samples} networks were asked for: possible are 3 to 1000"):
            calibration_of_board(Drawn(), kept(tmp_path), "raspberry-pi-5", samples=samples)
    assert not kept(tmp_path).exists()  # nothing was measured
    with pytest.raises(EdgenasError, match="cannot be measured in int8"):
        calibration_of_board(Drawn(), kept(tmp_path), "raspberry-pi-5", precision="int8", samples=3)
    new = calibration_of_board(Drawn(), kept(tmp_path), new="mine", samples=3).profile
    assert (new.name, new.runtime, new.precision) == ("mine", "onnxruntime", "fp32")


@pytest.mark.parametrize(
    ("runtime", "target", "builds"), [("onnxruntime", PI.name, False), ("tensorrt", "jetson", True)]
)
def test_a_board_that_builds_an_engine_for_every_network_has_the_time(
    runtime: str, target: str, builds: bool, tmp_path: Path
) -> None:
    board = Drawn()
    board.runtime, board.provider = runtime, "cuda" if builds else "cpu"
    calibration_of_board(board, kept(tmp_path), target, samples=3)
    assert all((deadline > BUILD_S) == builds for deadline in board.deadlines)


def test_the_profile_of_this_machine_gets_a_name_by_which_it_predicts(tmp_path: Path) -> None:
    assert calibration_of_board(Drawn(), kept(tmp_path), "host-cpu", samples=3).profile.name == "host-cpu-calibrated"


@pytest.mark.slow
def test_one_command_calibrates_a_board_on_loopback(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("edgenas.remote.calibration.SHORT", QUICK)
    with listening() as board:
        (tmp_path / "token").write_text(board.token)
        (tmp_path / "token").chmod(0o600)
        where = ["--board", board.url, "--token-file", str(tmp_path / "token"), "--out", str(tmp_path / "mine.toml")]
        app(["calibrate", *where, "--new", "mine", "--samples", "4", "--json"], standalone_mode=False)
    card = json.loads(capsys.readouterr().out)
    assert card["n"] + card["held_out"] == 4
    profile = profile_from_file(tmp_path / "mine.toml")
    assert (profile.name, profile.runtime, profile.confidence) == ("mine", "onnxruntime", "estimate")
    lines = lines_from_file(kept(tmp_path))
    assert all(isinstance(line, Line) and line.ms is not None and line.ms > 0 for line in lines)
    assert len({line.host for line in lines}) == 1


def study_of(tmp_path: Path, origin: str = "measured", runtime: str = "onnxruntime") -> Path:
    """A study that measured twelve small networks on a board that takes 1.7 times what the datasheet says."""
    study = StudyRecord("gnas", "classification", "digits", (PI.name,), "fp32", Limits(), 0)
    with Store.create(tmp_path / "study", study) as store:
        for width in range(4, 28, 2):
            architecture = chain(width, 6, (0, 1) * 3, (3,) * 6, Classes(10))
            work = workload_from_architecture(architecture)
            ms = 1.7 * latencies(BARE, [Row("", architecture)])[0].ms
            told = {PI.name: Latency(ms, origin, PI.name, precision="fp32")}  # type: ignore[arg-type]  # a Literal
            cost = Cost(work.params, work.macs, work.bytes_moved, work.size_mb(), work.memory_mb(), told)
            candidate = Candidate(architecture, Recipe("r", 1, 32, 0.1), "depth")
            store.add(Trial(candidate, "complete", cost, 0, {"val_accuracy": 90.0}))
            store.number(candidate.key)
            if origin == "measured":
                device = {**DEVICE, "power_mode": "slow"}
                detail = {"settings": {"provider": "cpu", "threads": 2}, "device": {"before": device}}
                taken = Measurement(PI.name, "A Board", f"{runtime} 9.1", "fp32", 1, (ms,) * 20, detail=detail)
                store.put(KIND, f"{architecture.fingerprint} {PI.name} fp32", taken)
    return tmp_path / "study"


def test_a_study_calibrates_by_its_own_measurements(tmp_path: Path, capsys) -> None:
    made = str(tmp_path / "pi.toml")
    app(["calibrate", str(study_of(tmp_path)), "--target", PI.name, "--out", made, "--json"], standalone_mode=False)
    card = json.loads(capsys.readouterr().out)
    assert (card["n"], card["held_out"]) == (9, 3)
    profile = profile_from_file(Path(made))
    assert profile.calibration is not None
    assert profile.calibration.source == "study study"
    assert (profile.threads, profile.power_mode, profile.runtime_version) == (2, "slow", "9.1")
    network = chain(16, 7, (0, 1, 0) * 2 + (1,), (3,) * 7, Classes(10))
    (found,) = latencies(profile, [Row("", network)])
    assert found.ms == pytest.approx(1.7 * latencies(BARE, [Row("", network)])[0].ms, rel=0.1)
    edgenas.calibrate(edgenas.open_study(tmp_path / "study"), PI.name, out=tmp_path / "again.toml")
    assert (tmp_path / "again.toml").read_text() == Path(made).read_text()


def test_a_study_that_another_runtime_measured_does_not_calibrate_the_target(tmp_path: Path) -> None:
    study = study_of(tmp_path, runtime="tensorrt")
    line = refusal("calibrate", str(study), "--target", PI.name, "--out", str(tmp_path / "x.toml"))
    said = f"{study} was measured by tensorrt, and raspberry-pi-5 describes onnxruntime: give --new NAME --runtime tensorrt"
    assert said in line
    with pytest.raises(EdgenasError, match="say --runtime tensorrt"):
        edgenas.calibrate(edgenas.open_study(study), new="mine", runtime="onnxruntime", precision="fp32")
    made = edgenas.calibrate(edgenas.open_study(study), new="mine", runtime="tensorrt", precision="fp32").profile
    assert (made.runtime, made.runtime_version) == ("tensorrt", "9.1")
    with pytest.raises(EdgenasError, match="shapes belong to ONNX files"):
        edgenas.calibrate(edgenas.open_study(study), PI.name, shapes={"x": (1, 3, 32, 32)})


def test_a_study_that_measured_nothing_calibrates_nothing(tmp_path: Path) -> None:
    study = study_of(tmp_path, "predicted")
    line = refusal("calibrate", str(study), "--target", PI.name, "--out", "x.toml")
    assert f"{study} has measured nothing on raspberry-pi-5: search with --board" in line


def test_one_source_of_measurements_is_asked_for() -> None:
    out = ("--target", "jetson", "--out", "x.toml")
    assert "say what was measured: a STUDY, --measurements FILE, or --board URL" in refusal("calibrate", *out)
    both = ("--measurements", "t.csv", "--board", "host-cpu")
    assert "one of them" in refusal("calibrate", *both, *out)
    assert refusal("calibrate", "x", "--token-file", "t", *out) == (
        "--token-file was given without --board URL: leave it out"
    )
    assert "--ca was given without --board" in refusal("calibrate", "x", "--ca", "ca.pem", *out)
    assert "--token-file was given, and host-cpu has no agent" in refusal(
        "calibrate", "--board", "host-cpu", "--token-file", "t", *out
    )
    assert "a board says what it runs" in refusal("calibrate", "--board", "host-cpu", "--shape", "x=1x3x8x8", *out)
    assert "a board says what it runs" in refusal("calibrate", "--board", "host-cpu", "--runtime", "tensorrt", *out)
    with pytest.raises(EdgenasError, match="one of them"):
        edgenas.calibrate(target="jetson")
    with pytest.raises(EdgenasError, match="name its file with out="):
        edgenas.calibrate(target="jetson", board="host-cpu")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"board": "host-cpu", "runtime": "tensorrt"}, "a board says what it runs"),
        ({"board": "host-cpu", "shapes": {"x": (1, 3, 32, 32)}}, "a board says what it runs"),
        ({"board": "host-cpu", "token_file": "t"}, "--token-file was given, and host-cpu has no agent"),
        ({"board": "host-cpu", "ca": "ca.pem"}, "--ca was given, and host-cpu has no certificate"),
        ({"measured": "t.csv", "token_file": "t"}, "--token-file was given without --board"),
        ({"measured": "t.csv", "ca": "ca.pem"}, "--ca was given without --board"),
    ],
)
def test_edgenas_calibrate_refuses_what_the_command_does(asked: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(EdgenasError, match=words):
        edgenas.calibrate(target="raspberry-pi-5", out=tmp_path / "x.toml", samples=3, **asked)
    assert not list(tmp_path.iterdir())


def test_edgenas_calibrate_says_what_it_measures_unless_it_is_to_be_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgenas.remote.calibration.open_board", lambda *_: Drawn(refuses=1))
    how: dict[str, Any] = {"board": Drawn.url, "target": "raspberry-pi-5", "samples": 4}
    heard: list[Any] = []
    edgenas.calibrate(**how, out=tmp_path / "told.toml", on_event=heard.append)
    assert sum(": not measured: " in event.text for event in heard) == 1
    assert capsys.readouterr().err == ""
    found = edgenas.calibrate(**how, out=tmp_path / "quiet.toml", quiet=True)
    assert capsys.readouterr().err == ""
    assert found.warnings[0] == "1 of 4 networks could not be measured, and are left out"
    edgenas.calibrate(**how, out=tmp_path / "said.toml")
    assert "4/4 " in capsys.readouterr().err
    command = ["calibrate", "--board", Drawn.url, "--target", "raspberry-pi-5", "--samples", "4"]
    app([*command, "--out", str(tmp_path / "printed.toml"), "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    assert found.warnings[0] in json.loads(printed.out)["warnings"]
    assert printed.err.count(found.warnings[0]) == 1


def test_unstable_measurements_of_a_study_are_told(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    told = "measurements are unstable, and count less"
    made = edgenas.calibrate(edgenas.open_study(study), PI.name)
    assert not any(told in warning for warning in made.warnings)
    with Store.write(study) as store:
        key, taken = next(iter(store.all(KIND, Measurement).items()))
        store.put(KIND, key, msgspec.structs.replace(taken, stable=False, status="unstable"))
    made = edgenas.calibrate(edgenas.open_study(study), PI.name)
    assert any(warning.startswith(f"1 of 12 {told}") for warning in made.warnings)


@pytest.mark.parametrize("name", ["my-orin", "my.orin", "my.TOML", "toml"])
def test_a_profile_that_no_target_could_name_is_refused_before_anything_is_measured(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    words = f"--out {out}: a profile's file is known by its name's end, .toml, .* name it {out}.toml$"
    assert re.search(words, refusal("calibrate", "--board", "host-cpu", "--new", "mine", "--out", str(out)))
    with pytest.raises(EdgenasError, match=words):
        edgenas.calibrate(board="host-cpu", new="mine", samples=3, out=out)
    with pytest.raises(EdgenasError, match=words):
        edgenas.calibrate(tmp_path / "missing.csv", "jetson", out=out)
    assert not list(tmp_path.iterdir())


def test_a_profile_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "there.toml").mkdir()
    for out, why in ((tmp_path / "none" / "x.toml", "No such file"), (tmp_path / "there.toml", "Is a directory")):
        line = refusal("calibrate", "--board", "host-cpu", "--new", "mine", "--out", str(out))
        assert line.startswith(f"cannot write {out}: {why}")
    assert [path.name for path in tmp_path.iterdir()] == ["there.toml"]


def test_a_board_is_asked_for_as_many_networks_as_were_said_and_by_no_seed_below_zero(tmp_path: Path) -> None:
    for numbers, words in (({"samples": 0}, "0 networks were asked for"), ({"seed": -1}, "seed -1 was asked for")):
        with pytest.raises(EdgenasError, match=words):
            edgenas.calibrate(board="host-cpu", new="mine", out=tmp_path / "x.toml", **numbers)
    with pytest.raises(EdgenasError, match="seed -1 was asked for: possible are 0 to 4294967295"):
        edgenas.calibrate(tmp_path / "missing.csv", "jetson", seed=-1)


def test_this_machine_is_calibrated_without_an_agent(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("edgenas.remote.calibration.SHORT", QUICK)
    result = edgenas.calibrate(board="host-cpu", new="mine", samples=3, out=tmp_path / "mine.toml")
    assert (result.card.n, result.profile.runtime) == (3, "onnxruntime")
    assert len(lines_from_file(kept(tmp_path))) == 3
