"""A method, a space, a task and a runtime of somebody else, installed by pip beside edgenas, from the first command to the last.

The packages are the tutorials' own files, to the letter. Everything runs in processes beside this one that find the packages by
their entry points alone; no file of edgenas knows them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenas.bundle import read_bundle
from tests.cli.edgenas import ENVIRONMENT
from tests.docs.blocks import ROOT, written
from tests.packages import pip_install, wheel
from tests.remote.conftest import listening
from tests.serve.running import serving

TUTORIALS = ROOT / "docs" / "tutorials"
PACKAGES = {
    "own_evolution": "new-method.md",
    "two-stages": "new-space.md",
    "angle-task": "new-task.md",
    "reference-runtime": "new-runtime.md",
}
PROJECT = """
task = "angle"
data = "lines"
method = "own-evolution"
space = "two-stages"
target = ["raspberry-pi-5"]
search_images = 500
max_params = 9000
[rules]
networks = 4
population = 2
epochs = 2
"""
API = """
import json, pathlib, edgenas
study = edgenas.search(
    data="lines", task="angle", method="own-evolution", space="two-stages", target="raspberry-pi-5", search_images=500,
    max_params=9000, rules={"networks": 4, "population": 2, "epochs": 2}, study="outside", workers=0,
)
best = study.best
document = {
    "ledger": [[trial.candidate.key, trial.scores] for trial in study.trials],
    "best": best.number, "scores": best.scores, "type": type(best.candidate.architecture).__name__,
    "metric": study.record.metric.words(best.scores["val_mae"]), "repr": repr(study),
    "best_is_lowest": best.scores["val_mae"] == min(trial.scores["val_mae"] for trial in study.trials),
    "refused": [],
}
for asked in ({"method": "no-such"}, {"task": "no-such"}, {"space": "no-such", "method": "random"}):
    try:
        edgenas.search(quiet=True, **asked)
    except edgenas.EdgenasError as error:
        document["refused"].append(str(error))
pathlib.Path("api.json").write_text(json.dumps(document))
"""

SHELL = """
import json, pathlib, sys
from tests.cli.edgenas import edgenas
for line in sys.stdin:
    done = edgenas(*json.loads(line), folder=pathlib.Path.cwd())
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
"""


class Place:
    """A folder in which somebody works who has installed the packages."""

    def __init__(self, folder: Path) -> None:
        sources = [written(TUTORIALS / page, folder / "sources") / package for package, page in PACKAGES.items()]
        wheels = [wheel(source, folder) for source in sources]
        self.site = pip_install(wheels, folder / "site")
        path = os.pathsep.join((ENVIRONMENT["PYTHONPATH"], str(self.site)))
        self.environment = {**ENVIRONMENT, "PYTHONPATH": path}
        self.work = folder / "work"
        self.work.mkdir()
        (self.work / "project.toml").write_text(PROJECT)

    def python(self, *arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments], input=code, cwd=self.work, env=self.environment,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    @functools.cached_property
    def shell(self) -> subprocess.Popen[str]:
        """A process in which one command after the other is run, and torch is loaded once."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SHELL], cwd=self.work, env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def edgenas(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(json.dumps(arguments) + "\n")
        self.shell.stdin.flush()
        code, out, said = json.loads(self.shell.stdout.readline())
        assert code == 0, said[-3000:]
        return subprocess.CompletedProcess(arguments, code, out, said)

    def close(self) -> None:
        if "shell" in vars(self):
            self.shell.communicate()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.edgenas(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with contextlib.closing(Place(tmp_path_factory.mktemp("outside"))) as place:
        yield place


@pytest.fixture(scope="module")
def searched(place: Place) -> subprocess.CompletedProcess[str]:
    return place.edgenas("search", "project.toml", "--study", "outside", "--workers", "0")


@pytest.fixture(scope="module")
def document(place: Place, searched: Any) -> Any:
    return place.json("front", "outside")


@pytest.fixture(scope="module")
def from_python(place: Place, searched: Any) -> tuple[subprocess.CompletedProcess[str], Any]:
    """What a program said that did the same, in a process of its own, and what it found."""
    done = place.python("-", code=API)
    return done, json.loads((place.work / "api.json").read_text())


@pytest.fixture(scope="module")
def trained(place: Place, searched: Any) -> subprocess.CompletedProcess[str]:
    return place.edgenas("train", "outside", "--seeds", "1", "--epochs", "1")


@pytest.fixture(scope="module")
def exported(place: Place, trained: Any) -> subprocess.CompletedProcess[str]:
    return place.edgenas("export", "outside", "--out", "bundle")


def test_a_search_of_all_three_reads_in_the_tasks_own_unit(searched: Any, document: Any) -> None:
    assert re.search(r"-> trial \d: [0-9.]+ deg on validation after 2 epochs", searched.stdout)
    assert re.search(r"two-stages: width \d+, blocks_0 \d, blocks_1 \d, ", searched.stdout)
    lines = re.findall(
        r"evolution width \d+, blocks_0 \d, blocks_1 \d, \.\.\. +[0-9,]+ p  [0-9.]+ deg  [0-9.]+ ms", searched.stderr
    )
    assert len(lines) == 4
    assert "accept: the best so far" in searched.stderr
    told = searched.stderr.split("study studies/outside\n")[
        1
    ]  # before it, the target's profile tells how far it was off
    assert not re.search("%|accuracy|points|neg", searched.stdout + told)
    assert document["metric"] == {"name": "mae", "unit": "deg", "better": "lower", "share": False, "max_drop": 0.5}
    chosen, front = document["chosen"], document["front"]
    assert chosen["val_mae"] == min(item["val_mae"] for item in front)
    assert all(item["params"] <= 9000 and item["architecture"]["space"] == "two-stages" for item in front)
    assert document["trials"] == 4


def test_the_same_search_from_python_is_the_same_study_and_is_finished(from_python: Any, document: Any) -> None:
    done, found = from_python
    assert done.stdout == ""
    assert done.stderr.endswith("study studies/outside is finished\n")
    assert found["best"] == document["chosen"]["trial"]
    assert found["scores"]["val_mae"] == document["chosen"]["val_mae"] == -found["scores"]["val_neg_mae"]
    assert found["best_is_lowest"]
    assert found["type"] == "OwnArchitecture"
    assert found["metric"].endswith(" deg")
    assert found["repr"] == "<Study studies/outside: own-evolution on lines, 4 trained, finished>"
    assert len(found["ledger"]) == 4


def test_the_help_says_that_packages_add_names(place: Place) -> None:
    told = " ".join(place.edgenas("search", "--help").stdout.replace("│", " ").split())
    assert told.count("of another package") == 3


def test_a_name_that_nobody_has_is_refused_with_those_of_the_packages(from_python: Any) -> None:
    method, task, space = from_python[1]["refused"]
    assert method.startswith("method 'no-such' is unknown; possible: gnas, ")
    assert ", gp, own-evolution; " in method
    assert task.startswith("task 'no-such' is unknown; possible: classification, faces, angle; ")
    assert space.startswith("space 'no-such' is unknown; possible: ")
    assert ", two-stages; " in space


def test_its_final_training_is_told_in_degrees(place: Place, trained: Any) -> None:
    assert re.search(r"test mae [0-9.]+ deg over 1 seed \(last epoch\)$", trained.stdout.strip())
    assert "%" not in trained.stdout
    again = place.json("train", "outside", "--seeds", "1", "--epochs", "1")  # the same again is read, not trained
    assert again["metric"]["unit"] == "deg"
    assert again["test_mae"]["mean"] > 0
    assert again["test"].keys() == {"mae", "worst"}


class Words(HTMLParser):
    """What a page says outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.inside = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.words += f" {data.strip()}"


def test_its_report_knows_no_accuracy_and_no_percent(place: Place, trained: Any) -> None:
    place.edgenas("report", "outside", "--out", "outside.html")
    words = " ".join(Words((place.work / "outside.html").read_text()).words.split())
    assert "found by own-evolution on lines" in words
    assert "two-stages: width" in words
    assert re.search(r"reaches [0-9.]+ deg test mae \(1 seed\)", words)
    assert "validation mae, deg (lower is better)" in words
    assert not re.search(r"accuracy|error, %|[0-9] %", words.split("How far the latencies")[0])


@pytest.mark.slow
def test_its_bundle_is_measured_on_a_board_and_held_against_the_study(place: Place, exported: Any) -> None:
    with listening() as board:
        (place.work / "token").write_text(board.token)
        (place.work / "token").chmod(0o600)
        where = ["--board", board.url, "--token-file", "token"]
        (measured,) = place.json("verify", "outside", "--bundle", "bundle", *where)
    assert (measured["file"], measured["holds"]) == ("model.onnx", True)
    assert measured["measured"]["median"] > 0
    assert place.json("front", "outside")["chosen"]["trial"] == measured["trial"]


@pytest.mark.slow
def test_its_bundle_is_measured_and_run_by_the_runtime_of_a_package(place: Place, exported: Any) -> None:
    measured = place.json("bench", "bundle/model.onnx", "--runtime", "reference")
    assert measured["runtime"].startswith("reference ")
    code = """
        import pathlib, numpy
        from edgenas.bundle import read_bundle
        from edgenas.runtimes import open_runtime
        bundle = read_bundle(pathlib.Path("bundle"))
        golden = bundle.golden()
        with open_runtime("reference", bundle.path("fp32"), "fp32") as runtime:
            (outputs,) = runtime.run({"image": golden["inputs"]}).values()
        numpy.testing.assert_allclose(outputs, golden["fp32"], atol=1e-4)
    """
    place.python("-c", textwrap.dedent(code))


def test_its_bundle_is_served_by_the_protocol_alone_and_without_the_packages(place: Place, exported: Any) -> None:
    assert "val mae deg" in exported.stdout
    assert "top-1" not in exported.stdout
    bundle = read_bundle(place.work / "bundle")
    assert (bundle.kind, bundle.metric.name) == ("generic", "mae")
    golden = bundle.golden()
    pixels, outputs = golden["inputs"], golden["fp32"]
    (name,) = bundle.manifest.models["fp32"].artifact.inputs
    with serving(place.work / "bundle") as server:  # its environment has no package
        tensor = {"name": name, "shape": list(pixels.shape), "datatype": "FP32", "data": pixels.ravel().tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()
        status, answer = server.json("POST", f"/v2/models/{bundle.manifest.name}/infer", body)
        assert status == 200
        np.testing.assert_allclose(answer["outputs"][0]["data"], outputs.ravel(), atol=1e-5)
        assert server.ask("POST", "/classify", b"x")[0] == 404
