"""What a user writes first, as a script of its own: no `if __name__`, any number of workers, nothing on stdout."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.edgenas import ENVIRONMENT

# The contract of the API, to the letter; what stands behind `# facts` is the test's.
BLOCK = """
import numpy as np, edgenas

few = {"epoch_scale": .5, "search_images": 600, "rules": {"trials": 8}}
study = edgenas.search("digits", target="jetson", max_params=30_000, max_depth=6, study="api", **few)
study.front()
study.best.cost.latencies
final = study.train(seeds=1, epochs=3)
network = study.network()
bundle = study.export("bundle", precision=("fp32", "fp16"))
study = edgenas.open_study("studies/api")
edgenas.predict("bundle/model.onnx", target="jetson").ms
images, labels = np.zeros((200, 16, 16, 1), np.uint8), np.arange(200) % 2
images[labels == 1, 4:12] = 200
edgenas.search((images, labels), target="jetson", max_depth=5, epoch_scale=.1, study="arrays", rules={"trials": 3})
"""
FACTS = """
# facts
import json, pathlib, msgspec, torch
from edgenas.records import FinalTraining, Latency, Trial
from edgenas.hardware.prediction import Prediction
predicted = edgenas.predict("bundle/model.onnx", target="jetson")
rows = pathlib.Path("rows.csv"); rows.write_text("architecture\\nbundle/model.onnx\\nbundle/model.onnx\\n")
with torch.no_grad():
    outputs = network(torch.zeros(2, 1, network_side := study.best.candidate.architecture.image_size, network_side))
facts = {
    "records": [
        all(isinstance(trial, Trial) for trial in study.front()),
        all(isinstance(latency, Latency) for latency in study.best.cost.latencies.values()),
        isinstance(final, FinalTraining), isinstance(predicted, Prediction),
        isinstance(edgenas.predict(rows, target="jetson"), list),
        isinstance(edgenas.predict(["bundle/model.onnx"], target="jetson"), list),
    ],
    "same": [predicted.ms, edgenas.predict(bundle.path("fp16"), target="jetson").ms],
    "params": [study.best.cost.params, predicted.params, sum(p.numel() for p in network.parameters())],
    "training": network.training, "outputs": list(outputs.shape), "files": sorted(bundle.manifest.models),
    "test": final.runs[0].test["accuracy"], "finals": len(study.finals), "trials": len(study.trials),
    "decisions": len(study.decisions), "choice": study.choice.trial == study.best, "repr": repr(study),
    "dir": sorted(name for name in edgenas.__all__ if not hasattr(edgenas, name)),
}
pathlib.Path("facts.json").write_text(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], "subprocess.CompletedProcess[str]"]:
    """The block, run in a fresh process in a folder of its own; the facts that it left."""
    folder = tmp_path_factory.mktemp("block")
    (folder / "block.py").write_text(BLOCK + FACTS)
    command = [sys.executable, "-W", "error", "block.py"]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "facts.json").read_text()), done


def test_it_runs_to_its_last_line_and_prints_nothing_on_stdout(ran: Any) -> None:
    folder, facts, done = ran
    assert done.stdout == ""
    assert "study studies/api" in done.stderr  # progress is there, one line each
    assert "of the first design, on the front" in done.stderr
    assert facts["dir"] == []
    assert facts["repr"].startswith("<Study studies/api: guided on digits, ")
    assert (folder / "studies/arrays/data.npz").is_file()


def test_everything_that_it_gets_is_a_record(ran: Any) -> None:
    _, facts, _ = ran
    assert facts["records"] == [True] * 6
    assert facts["choice"] is True
    assert (facts["finals"], facts["trials"] > 5, facts["decisions"] > 5) == (1, True, True)


def test_the_trained_network_is_the_chosen_one(ran: Any) -> None:
    _, facts, _ = ran
    best, _, built = facts["params"]
    assert best == built <= 30_000
    assert facts["training"] is False
    assert facts["outputs"] == [2, 10]
    assert facts["test"] > 50
    assert facts["files"] == ["fp16", "fp32"]


def test_another_process_goes_on_with_arrays_that_only_the_first_one_had(ran: Any) -> None:
    folder, _, _ = ran
    code = (
        "import edgenas\n"
        "study = edgenas.open_study('arrays', quiet=True)\n"
        "final = study.train(seeds=1, epochs=1)\n"
        "assert final.data == study.record.data and final.data.startswith('arrays-'), final.data\n"
        "assert sum(final.images.values()) == 200\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=code, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_line_reads_the_same_study(ran: Any) -> None:
    folder, facts, _ = ran
    done = subprocess.run(
        [sys.executable, "-m", "edgenas", "front", "api", "--json"],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    document = msgspec.json.decode(done.stdout)
    assert document["trials"] + document["infeasible"] + document["failed"] == facts["trials"]


def test_importing_edgenas_is_quick_and_takes_no_torch() -> None:
    code = "import sys, edgenas; assert not {'torch', 'numpy', 'msgspec', 'onnx'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True, timeout=240)


def test_an_unknown_name_says_what_there_is() -> None:
    import edgenas

    with pytest.raises(AttributeError, match="has no attribute 'serch': it has EdgenasError, "):
        edgenas.serch  # noqa: B018
