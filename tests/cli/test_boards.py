"""bench, verify and agent on the command line."""

import json
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from typer.testing import CliRunner

import edgenas as edgenas_api
from edgenas.architectures.onnx_weights import precision_of_model
from edgenas.architectures.workload import workload_from_architecture
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.hardware.profile import profile_from_name
from edgenas.records import (
    Candidate,
    Choice,
    Cost,
    FinalTraining,
    Latency,
    Limits,
    Measurement,
    Recipe,
    StudyRecord,
    Trial,
)
from edgenas.remote import boards
from edgenas.remote.job import BUILD_S, Job, job_for
from edgenas.store import Store
from tests.cli.edgenas import edgenas, edgenas_json, refusal
from tests.digits_bundle import digits_bundle
from tests.remote.conftest import listening
from tests.remote.models import QUICK, honest, job_line, small, unknown_operator
from tests.remote.test_calibration import Drawn

HOST = profile_from_name("host-cpu")


def finished_study(
    folder: Path,
    limit_ms: float | None,
    told: Latency | None = None,
    precision: str = "fp32",
    limit_mj: float | None = None,
) -> Path:
    """A study of two trained networks, the smaller one chosen; `told`: what the search went by, for both."""
    limits = Limits(latency_ms=limit_ms, energy_mj=limit_mj)
    study = StudyRecord("gnas", "classification", "digits", ("host-cpu",), precision, limits, 0)  # type: ignore[arg-type]  # a Literal
    with Store.create(folder / "study", study) as store:
        for width, accuracy in ((4, 90.0), (16, 95.0)):
            work = workload_from_architecture(small(width))
            latency = told or Latency(width / 1e3, "measured", "host-cpu")
            cost = Cost(
                work.params, work.macs, work.bytes_moved, work.size_mb(), work.memory_mb(), {"host-cpu": latency}
            )
            candidate = Candidate(small(width), Recipe("r", 1, 32, 0.1), "depth")
            store.add(Trial(candidate, "complete", cost, 0, {"val_accuracy": accuracy}))
            trial = store.number(candidate.key)
            if width == 4:
                store.put("choice", "choice", Choice(trial))
    return folder / "study"


def test_bench_measures_a_model_here_and_keeps_its_samples(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(honest())
    document = edgenas_json("bench", "model.onnx", "--target", "host-cpu", "--out", "raw.json", folder=tmp_path)
    assert document["profile"] == "host-cpu"
    assert document["n"] >= 200
    assert 0 < document["ms"]["median"] <= document["ms"]["p90"] <= document["ms"]["p99"]
    assert document["stable"] is (document["warnings"] == [])
    assert len(json.loads((tmp_path / "raw.json").read_text())["samples_ms"]) >= 200


def test_what_cannot_be_measured_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(honest())
    assert "measured are host-cpu, ssh://.., https://.. and http://.." in refusal(
        "bench", "model.onnx", "--target", "jetson"
    )
    assert "missing.onnx cannot be read" in refusal("bench", "missing.onnx")
    assert "no study" in refusal("bench", "nothing")
    assert "no token" in refusal("bench", "model.onnx", "--target", "http://127.0.0.1:9", "--token-file", "missing")
    assert "provider 'tpu'" in refusal("agent", "--provider", "tpu")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert refusal("bench", "bad.onnx") == "bad.onnx is not an ONNX file"


def test_agent_once_refuses_a_model_that_is_too_large_as_an_answer_to_its_job(tmp_path: Path) -> None:
    for size, status in ((1_000_000, "invalid"), (1_000_001, "refused"), (3_000_000, "refused")):
        model = b"\0" * size
        (tmp_path / "job").write_bytes(job_line(model))
        result = CliRunner().invoke(app, ["agent", "--once", str(tmp_path / "job"), "--max-model-mb", "1"])
        assert result.exit_code == 0
        found = json.loads(result.stdout)
        assert (found["id"], found["status"]) == (job_for(model, "host-cpu", QUICK).id, status)
        assert ("larger than 1 MB" in found["error"]) == (status == "refused")


def test_agent_once_answers_a_job_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "job").write_bytes(job_line(honest()))
    answer = json.loads(edgenas("agent", "--once", "job", folder=tmp_path).stdout)
    assert answer["status"] in ("ok", "unstable")
    assert len(answer["measurement"]["samples_ms"]) >= QUICK.runs
    (tmp_path / "evil").write_bytes(job_line(unknown_operator()))
    answer = json.loads(edgenas("agent", "--once", "evil", folder=tmp_path).stdout)
    assert (answer["status"], answer["measurement"]) == ("unsupported_op", None)
    (tmp_path / "nonsense").write_bytes(b"nonsense")
    done = edgenas("agent", "--once", "nonsense", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the first line is not a job" in done.stderr
    line = refusal("agent", "job", "--tls-key", "key")  # that would be refused next: an agent would listen
    assert line == "job is a job for --once: add it, or leave the file out"


class Board:
    """A board on which everything takes 2 ms in the median, and 9 now and then; `energy_mj`: what its sensors say, if any."""

    url = "http://board:8765"

    provider = "cpu"

    def __init__(self, status: str = "ok", runtime: str = "onnxruntime", energy_mj: float | None = None) -> None:
        self.status, self.runtime, self.models, self.deadlines = status, runtime, list[bytes](), list[float]()
        self.energy_mj = energy_mj

    def info(self) -> dict[str, Any]:
        load = {"provider": self.provider}
        return {"device": {"model": "a board"}, "runtime": self.runtime, "runtime_version": "1", "load": load}

    def measure(self, model: bytes, job: Job) -> Measurement:
        self.models.append(model)
        self.deadlines.append(job.deadline_s)
        detail: dict[str, Any] = {"warnings": [] if self.status == "ok" else ["spread 40 %"], "sha256": job.sha256}
        if self.energy_mj is not None:
            detail["energy_mj"] = self.energy_mj
        samples = (2.0,) * 8 + (9.0,) * 2
        return Measurement("host-cpu", "board", "onnxruntime 1", "fp32", 10, samples, status=self.status, detail=detail)


@pytest.mark.parametrize(("limit_ms", "code"), [(2.0, 0), (1.99, 3)])
def test_verify_holds_the_median_against_the_limit_and_ends_with_3_where_it_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_ms: float, code: int
) -> None:
    monkeypatch.setattr(boards, "open_board", lambda *_: Board())
    study = finished_study(tmp_path, limit_ms)
    done = CliRunner().invoke(app, ["verify", str(study), "--trial", "1", "--board", Board.url, "--json"])
    assert (done.exit_code, [item["holds"] for item in json.loads(done.stdout)]) == (code, [code == 0])


@pytest.mark.parametrize(("measured_mj", "limit_mj", "code"), [(8.0, 8.0, 0), (8.0, 7.9, 3), (None, 7.9, 0)])
def test_verify_holds_the_energy_against_the_limit_and_says_where_a_board_has_no_sensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured_mj: float | None, limit_mj: float, code: int
) -> None:
    monkeypatch.setattr(boards, "open_board", lambda *_: Board(energy_mj=measured_mj))
    study = finished_study(tmp_path, None, limit_mj=limit_mj)
    done = CliRunner().invoke(app, ["verify", str(study), "--trial", "1", "--board", Board.url, "--json"])
    (item,) = json.loads(done.stdout)
    assert (done.exit_code, item["holds"]) == (code, code == 0)
    assert (item["measured"]["energy_mj"], item["energy_limit"]) == (measured_mj, limit_mj)
    blind = f"warning: trial 1: {Board.url} has no power sensor, so the limit of 7.9 mJ is not verified"
    assert (blind in done.stderr) is (measured_mj is None)


def verified(monkeypatch: pytest.MonkeyPatch, board: Board, *arguments: str) -> tuple[Any, str]:
    monkeypatch.setattr(boards, "open_board", lambda *_: board)
    done = CliRunner().invoke(app, ["verify", *arguments, "--board", Board.url, "--json"])
    assert done.exit_code in (0, 3), done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize(
    ("told", "beyond"),
    [
        (Latency(1.9, "predicted", "host-cpu", low=1.5, high=2.0), False),
        (Latency(1.9, "predicted", "host-cpu", low=1.5, high=1.99), True),
        (Latency(2.2, "predicted", "host-cpu", low=2.0, high=2.4), False),
        (Latency(2.2, "predicted", "host-cpu", low=2.01, high=2.4), True),
        (Latency(1.9, "predicted", "host-cpu"), None),
        (Latency(1.83, "measured", "host-cpu"), False),
        (Latency(1.8, "measured", "host-cpu"), True),
    ],
)
def test_verify_says_where_the_board_is_beyond_what_the_search_was_told(tmp_path, monkeypatch, told, beyond) -> None:
    study = finished_study(tmp_path, None, told)
    (item,), said = verified(monkeypatch, Board(), str(study), "--trial", "1")
    assert item["beyond"] is beyond
    assert item["ratio"] == pytest.approx(2.0 / told.ms)
    assert (f"warning: trial 1: the board takes {2 / told.ms:.2f} times what the search went by" in said) is (
        beyond is True
    )


@pytest.mark.parametrize("status", ["ok", "unstable", "throttled"])
def test_verify_says_that_a_measurement_is_shaky(tmp_path, monkeypatch, status: str) -> None:
    (item,), said = verified(monkeypatch, Board(status), str(finished_study(tmp_path, None)), "--trial", "1")
    assert item["status"] == status
    assert (f"warning: trial 1: the measurement is {status} (spread 40 %): measure again" in said) is (status != "ok")


def test_verify_measures_the_very_files_of_a_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, board = digits_bundle(), Board()
    document, _ = verified(monkeypatch, board, "--bundle", str(bundle.folder))
    files = {precision: model.artifact for precision, model in bundle.manifest.models.items()}
    assert set(files) == {"fp32", "fp16", "int8"}
    assert [(item["file"], item["sha256"]) for item in document] == [
        (artifact.path, artifact.sha256) for artifact in files.values()
    ]
    assert board.models == [(bundle.folder / artifact.path).read_bytes() for artifact in files.values()]
    assert all(item["holds"] and item["limit"] is None and item["origin"] == "measured" for item in document)


@pytest.mark.parametrize(
    ("runtime", "provider", "builds"),
    [("onnxruntime", "cpu", False), ("tensorrt", "cpu", True), ("onnxruntime", "tensorrt", True)],
)
def test_a_board_that_builds_engines_has_the_time_for_it(
    runtime: str, provider: str, builds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(runtime=runtime)
    board.provider = provider
    verified(monkeypatch, board, str(finished_study(tmp_path, None)), "--trial", "1")
    verified(monkeypatch, board, "--bundle", str(digits_bundle().folder), "--precision", "fp32")
    drawn = Drawn()
    drawn.runtime, drawn.provider = runtime, provider
    monkeypatch.setattr(boards, "open_board", lambda *_: drawn)
    (tmp_path / "m.onnx").write_bytes(honest())
    done = CliRunner().invoke(app, ["bench", str(tmp_path / "m.onnx"), "--target", Board.url, "--json"])
    assert done.exception is None, done.exception
    assert [deadline > BUILD_S for deadline in (*board.deadlines, *drawn.deadlines)] == [builds] * 3


@pytest.mark.slow
def test_an_agent_measures_the_files_of_a_bundle(tmp_path: Path) -> None:
    bundle = digits_bundle()
    with listening() as board:
        (tmp_path / "token").write_text(board.token)
        (tmp_path / "token").chmod(0o600)
        where = ["--board", board.url, "--token-file", "token", "--bundle", str(bundle.folder)]
        document = edgenas_json("verify", *where, folder=tmp_path)
    files = {precision: model.artifact for precision, model in bundle.manifest.models.items()}
    assert [(item["precision"], item["file"], item["sha256"]) for item in document] == [
        (precision, artifact.path, artifact.sha256) for precision, artifact in files.items()
    ]
    assert set(files) == {"fp32", "fp16", "int8"}
    assert all(item["holds"] and item["limit"] is None and item["origin"] == "measured" for item in document)


class Detailed(Board):
    """Says all that `bench` prints, and at which precision the file was that it was sent."""

    def measure(self, model: bytes, job: Job) -> Measurement:
        taken = super().measure(model, job)
        detail = {**taken.detail, "runs": 10, "settings": {}, "device": {}, "reference_ms": [0.5], "round_ms": [2.0]}
        precision = precision_of_model(onnx.load_model_from_string(model))
        return msgspec.structs.replace(taken, precision=precision, detail=detail)


@pytest.mark.parametrize(("judged", "measured"), [("fp32", "fp32"), ("fp16", "fp16"), ("int8", "fp32")])
def test_bench_measures_a_study_s_network_at_the_precision_that_it_was_judged_at(
    judged: str, measured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "open_board", lambda *_: Detailed())
    study = finished_study(tmp_path, None, precision=judged)
    told = CliRunner().invoke(app, ["bench", str(study), "--target", Board.url, "--json"])
    assert told.exception is None, told.exception
    assert json.loads(told.stdout)["precision"] == measured
    assert (f"warning: {study} was judged at int8" in told.stderr) is (judged != measured)
    text = CliRunner().invoke(app, ["bench", str(study), "--target", Board.url]).stdout
    assert f"onnxruntime 1, {measured}; spread" in text


def test_what_is_of_this_machine_is_refused_beside_a_board_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "open_board", lambda *_: Detailed())
    (tmp_path / "m.onnx").write_bytes(honest())
    file, target = str(tmp_path / "m.onnx"), ("--target", Board.url)
    for flag, value in (("--threads", "4"), ("--threads", "1"), ("--provider", "cuda"), ("--runtime", "onnxruntime")):
        line = refusal("bench", file, *target, flag, value)
        assert line.startswith(
            f"{flag} {value} is for host-cpu: a board measures with the one that its agent was given"
        )
        assert line.endswith(f"?{flag[2:]}={value})")
    assert CliRunner().invoke(app, ["bench", file, *target]).exception is None
    assert "--token-file was given, and host-cpu has no agent" in refusal("bench", file, "--token-file", "token")
    monkeypatch.undo()
    ssh = "--token-file was given, and ssh:// has keys of its own: leave it out"
    assert refusal("bench", file, "--target", "ssh://board", "--token-file", "token") == ssh


def test_edgenas_verify_in_python_refuses_what_the_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "open_board", lambda *_: Board())
    study = edgenas_api.open_study(finished_study(tmp_path, None), quiet=True)
    bundle = digits_bundle().folder
    with pytest.raises(EdgenasError, match="--bundle names the files: leave one out"):
        study.verify(Board.url, bundle=bundle, trials=[1])
    with pytest.raises(EdgenasError, match="--precision chooses among a bundle's files"):
        study.verify(Board.url, precision="int8")
    (item,) = study.verify(Board.url, trials=[1])
    assert item.trial == 1


def test_a_bundle_is_held_against_the_limits_of_its_own_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = digits_bundle()
    study = finished_study(tmp_path, 1.99)
    monkeypatch.setattr(boards, "open_board", lambda *_: Board())
    wanted = ["--bundle", str(bundle.folder), "--board", Board.url]
    assert f"which {study} does not know: name its own study" in refusal("verify", str(study), *wanted)
    with Store.write(study) as store:
        first = next(iter(store.ledger()))
        candidate = msgspec.structs.replace(first.candidate, architecture=bundle.manifest.architecture)
        store.add(msgspec.structs.replace(first, candidate=candidate, number=None))
        number = store.number(candidate.key).number
    found, _ = verified(monkeypatch, Board(), str(study), *wanted[:2], "--precision", "fp16,fp32")
    assert [(item["trial"], item["file"], item["holds"]) for item in found] == [
        (number, "model.fp16.onnx", False), (number, "model.onnx", False)
    ]  # fmt: skip
    assert "holds no tf32 model" in refusal("verify", *wanted, "--precision", "tf32")
    assert "--precision chooses among a bundle's files" in refusal("verify", "--board", "x", "--precision", "fp32")
    assert "--bundle names the files" in refusal("verify", *wanted, "--trial", "1")


@pytest.mark.parametrize("kind", ["final", "start-final"])
def test_a_bundle_of_a_network_that_the_study_trained_and_did_not_search_is_held_against_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With the classes of other data, at another width, or from a start; what the search went by is of none of these."""
    bundle, study = digits_bundle(), finished_study(tmp_path, 1.99)
    how = bundle.manifest.preprocessing
    with Store.write(study) as store:
        recipe, arch = Recipe("final", 1, 32, 0.1), bundle.manifest.architecture
        store.put(kind, "key", FinalTraining(1, arch, recipe, "digits", "accuracy", (), how, 1, (), 1.0))
    wanted = (str(study), "--bundle", str(bundle.folder), "--precision", "fp32")
    (item,), _ = verified(monkeypatch, Board(), *wanted)
    assert (item["trial"], item["file"], item["limit"], item["holds"]) == (None, "model.onnx", 1.99, False)
    (known,) = [one for one in bundle.manifest.models["fp32"].latencies if one.profile == "host-cpu"]
    assert item["predicted"] == known.ms


@pytest.mark.slow
def test_verify_measures_the_choice_and_the_front_and_exits_with_3_where_a_limit_breaks(tmp_path: Path) -> None:
    with listening() as board:
        (tmp_path / "token").write_text(board.token)
        (tmp_path / "token").chmod(0o600)
        where = ["--board", board.url, "--token-file", "token"]
        study = finished_study(tmp_path, limit_ms=60_000)
        document = edgenas_json("verify", str(study), *where, folder=tmp_path)
        assert [(item["trial"], item["predicted"], item["limit"], item["holds"]) for item in document] == [
            (1, 0.004, 60_000, True),
            (2, 0.016, 60_000, True),
        ]
        assert all(0 < item["measured"]["median"] <= item["measured"]["p90"] for item in document)
        (tmp_path / "tight").mkdir()
        tight = finished_study(tmp_path / "tight", limit_ms=1e-6)
        done = edgenas("verify", str(tight), "--trial", "2", *where, "--json", folder=tmp_path)
        assert done.returncode == 3
        assert [item["holds"] for item in json.loads(done.stdout)] == [False]
        assert "no trained trial 9" in edgenas("verify", str(study), "--trial", "9", *where, folder=tmp_path).stderr
