"""Identities: records may grow, and a known network stays the one that it is."""

import ast
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.fbnet import FbnetSpace
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.stages_space import StagesSpace
from edgenas.architectures.subspace import AdditiveCost, RoundPlan, SupernetRules
from edgenas.engine.decide import study_record
from edgenas.engine.folders import Asked, default_folder
from edgenas.engine.settings import as_asked
from edgenas.hardware.profile import profile_from_name
from edgenas.identity import FIRST, IDENTITY, default_of, digest, identity, later_defaults
from edgenas.methods.baselines import BaselineRules
from edgenas.methods.gnas import GnasRules
from edgenas.methods.guided_hunt import GuidedRules
from edgenas.methods.ladder import Training
from edgenas.methods.nal import NalRules
from edgenas.methods.nse_rules import NseRules
from edgenas.methods.settings import SearchSettings
from edgenas.methods.trgnas import TrgnasRules
from edgenas.records import (
    BranchCell,
    Calibration,
    Candidate,
    CellArchitecture,
    ChainArchitecture,
    Classes,
    DartsCell,
    Embedding,
    FbnetArchitecture,
    HardwareProfile,
    Kernel,
    Limits,
    MultiBranchArchitecture,
    Nasbench101Cell,
    Nasbench201Cell,
    OnnxArchitecture,
    Outputs,
    OwnArchitecture,
    PowerMode,
    Recipe,
    Record,
    Stage,
    StagesArchitecture,
    Workload,
)
from edgenas.runtimes.tensorrt import Gpu, Sidecar
from edgenas.store import Store
from edgenas.tasks import TaskSettings

GOLDEN = Path(__file__).parent / "golden" / "identity" / f"{IDENTITY}.json"
PACKAGE = Path(__file__).parents[1] / "edgenas"

CHAIN = ChainArchitecture(12, 2, (0, 1), (3, 5), Classes(10), 1, 8, (2,), (1, 2))
CELLS = (BranchCell("N", 16, (3, 1)), BranchCell("R", 24, (0,)))
SPACE = MultiBranchSpace(19, "NR", (8, 16), Classes(10), 3, 32, 1, 64)
STAGE = Stage("mbconv", 24, 2, 5, 2, squeeze=True)
KERNEL = Kernel("conv", 3, 16, 8, 8, 8, 8, (-1,), kernel=(3, 3), padding=(1, 1), norm=True, activation="relu")
RECIPE = Recipe("mine", 3, 64, 0.1, crop_padding=1, cutout=4, settings={"scale": 64.0, "margin": 0.5})
PROFILE = HardwareProfile("board", "Board", "onnxruntime", "1.20", "fp32", "measured", peaks={"int8": 2.0, "fp32": 1.0})
PLAN = RoundPlan(1, 7, SPACE, ((0, 1), (2,)), ((), ()), AdditiveCost(1.5, ((0.5, 0.25), (1.0,))), 3.0, "M MACs")
# One of every record that enters a fingerprint, a key, a seed or a folder's name.
HASHED: dict[str, Record] = {
    "Classes": Classes(10),
    "Embedding": Embedding(128),
    "Outputs": Outputs(2),
    "ChainArchitecture": CHAIN,
    "BranchCell": CELLS[0],
    "MultiBranchArchitecture": MultiBranchArchitecture(19, CELLS, Classes(10), tail_channels=64),
    "Nasbench101Cell": Nasbench101Cell(((0, 1), (0, 0)), ("input", "output")),
    "Nasbench201Cell": Nasbench201Cell(("none",) * 6),
    "DartsCell": DartsCell((("skip_connect", 0),), (("skip_connect", 1),)),
    "CellArchitecture": CellArchitecture(Nasbench201Cell(("none",) * 6), Embedding(64, "depthwise"), 16, 5),
    "FbnetArchitecture": FbnetArchitecture((0,) * 22, Classes(1000), 224),
    "Stage": STAGE,
    "StagesArchitecture": StagesArchitecture((STAGE,), Classes(10), 3, 32, 16, stem_stride=2),
    "Kernel": KERNEL,
    "Workload": Workload((KERNEL,)),
    "OwnArchitecture": OwnArchitecture("mine", {"wide": True, "a": 2}, Workload((KERNEL,)), Classes(10), 3, 8),
    "OnnxArchitecture": OnnxArchitecture("net.onnx", Workload((KERNEL,)), Classes(10), 3, 8, (0.001,), (0,)),
    "Recipe": RECIPE,
    "Candidate": Candidate(CHAIN, RECIPE, "depth"),
    "PowerMode": PowerMode("15W", 15.0),
    "Calibration": Calibration("kernels", {"a": 1}, 10, 2, None, 0.5, 0.1, 0.5, 1.0, 0.2, "bench", "2026-01-01"),
    "HardwareProfile": PROFILE,
    "MultiBranchSpace": SPACE,
    "AdditiveCost": PLAN.cost,
    "RoundPlan": PLAN,
    "SupernetRules": SupernetRules(RECIPE),
    "SearchSettings": SearchSettings(method="gnas", max_params=30_000),
    "Gpu": Gpu("GPU", "9.0", 1),
    "Sidecar": Sidecar("ab", "10", Gpu("GPU", "9.0", 1), "fp16", 1),
}
# Records whose defaults say what a study means, hashed or written out in it.
MEANT: dict[str, type[Record]] = {
    **{name: type(record) for name, record in HASHED.items()},
    **{
        record.__name__: record
        for record in (
            *(GnasRules, TrgnasRules, NseRules, NalRules, BaselineRules, GuidedRules),
            *(ChainSpace, CellSpace, FbnetSpace, StagesSpace, Training, TaskSettings, Limits),
        )
    },
}


def defaults() -> dict[str, dict[str, Any]]:
    """Of the fields that came after the first version: those of FIRST are written out everywhere, whatever their value."""
    return {
        name: {
            field.name: default_of(field)
            for field in msgspec.structs.fields(record)
            if not field.required and field.name not in FIRST.get(name, "").split()
        }
        for name, record in MEANT.items()
    }


def golden() -> Any:
    return json.loads(GOLDEN.read_bytes())


@pytest.mark.parametrize("name", MEANT)
def test_no_default_changes_under_one_identity(name: str) -> None:
    first = FIRST.get(name, "").split()
    known = {field: value for field, value in golden()["defaults"][name].items() if field not in first}
    found = json.loads(msgspec.json.encode(defaults()[name]))
    new = set(found) - set(known)
    assert not new, f"write the defaults of the new fields {new} of {name} into {GOLDEN.name}: from now on they stay"
    assert found == known, (
        f"a default of {name} changed: raise edgenas.identity.IDENTITY and write a golden file for it"
    )


@pytest.mark.parametrize("name", HASHED)
def test_fingerprints_are_those_that_studies_hold(name: str) -> None:
    assert digest(HASHED[name]) == golden()["fingerprints"][name]


@pytest.mark.parametrize("name", HASHED)
def test_every_record_in_a_hash_is_hashed_whole_as_in_the_first_version(name: str) -> None:
    later = later_defaults(type(HASHED[name]))
    written = {field.name for field in msgspec.structs.fields(type(HASHED[name]))} - set(later)
    assert written <= set(identity(HASHED[name]))
    assert set(FIRST) <= set(HASHED), "no list without a record"


def test_an_identity_is_json_in_order_of_definition_with_keys_sorted() -> None:
    assert msgspec.json.encode(identity(PLAN.cost)) == b'{"base":1.5,"operations":[[0.5,0.25],[1.0]]}'
    assert list(identity(RECIPE))[:5] == [
        "name",
        "epochs",
        "batch_size",
        "lr",
        "momentum",
    ]  # the last one at its default
    assert list(identity(RECIPE)["settings"]) == ["margin", "scale"]
    assert identity(Classes(3)) == {"kind": "classes", "count": 3}


class Grown(Recipe, frozen=True):
    """A recipe with what a later version might add."""

    grain: float = 0.0
    palette: dict[str, int] = {}


def grown(**values: Any) -> Grown:
    return Grown(**{name: getattr(RECIPE, name) for name in RECIPE.__struct_fields__}, **values)


def test_a_later_field_is_part_of_a_hash_only_where_it_says_something() -> None:
    assert grown().fingerprint == RECIPE.fingerprint
    assert len({grown().fingerprint, grown(grain=0.5).fingerprint, grown(palette={"a": 1}).fingerprint}) == 3


@pytest.fixture(scope="module")
def grown_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with this package as a later version might be: one more field with a default in every record of a candidate."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(PACKAGE, folder / "edgenas", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "profiles").symlink_to(PACKAGE.parent / "profiles")
    for file, records in (
        ("records/trials.py", ("Recipe", "Candidate")),
        ("records/architectures.py", ("ChainArchitecture",)),
        ("records/workloads.py", ("Embedding",)),
        ("records/devices.py", ("HardwareProfile",)),
        ("methods/settings.py", ("SearchSettings",)),
    ):
        path = folder / "edgenas" / file
        text = path.read_text()
        for name in records:
            lines, tree = text.splitlines(keepends=True), ast.parse(text)
            (record,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
            last = max(field.end_lineno or 0 for field in record.body if isinstance(field, ast.AnnAssign))
            text = "".join([*lines[:last], "    grain: float = 0.25\n", *lines[last:]])
        path.write_text(text)
    return folder


def later_version(folder: Path, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    paths = filter(None, (str(folder), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


def test_one_more_field_with_a_default_changes_no_key(grown_package: Path) -> None:
    code = (
        "import sys, msgspec; from edgenas.records import Candidate, Recipe; assert Recipe('r', 1, 1, 1.0).grain == 0.25\n"
        "c = msgspec.json.decode(sys.argv[1], type=Candidate)\n"
        "print(c.key, c.architecture.fingerprint, c.recipe.fingerprint)\n"
        "from edgenas.engine.decide import study_record; from edgenas.engine.folders import Asked, default_folder\n"
        "from edgenas.engine.settings import as_asked; from edgenas.methods.settings import SearchSettings\n"
        "from edgenas.hardware.profile import profile_from_name\n"
        "asked, profiles = SearchSettings(), (profile_from_name('jetson'),)\n"
        "print(default_folder(Asked(study_record(asked, profiles), as_asked(asked, profiles), False)))\n"
    )
    candidate = Candidate(CHAIN, RECIPE, "depth", 2)
    done = later_version(grown_package, "-c", code, candidate.canonical_json().decode(), cwd=grown_package)
    asked, profiles = SearchSettings(), (profile_from_name("jetson"),)
    folder = default_folder(Asked(study_record(asked, profiles), as_asked(asked, profiles), False))
    assert done.stdout.split() == [candidate.key, CHAIN.fingerprint, RECIPE.fingerprint, str(folder)], done.stderr


QUICK = """
target = "raspberry-pi-5"
method = "random"
max-depth = 5
max-width = 8
epoch-scale = 0.1
search-images = 100
[rules]
trials = 3
"""


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a study that was killed before it could choose, in the folder of its settings."""
    cwd = tmp_path_factory.mktemp("unfinished")
    (cwd / "project.toml").write_text(QUICK)
    done = later_version(PACKAGE.parent, "-m", "edgenas", "search", "project.toml", "--workers", "0", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (study,) = (cwd / "studies").iterdir()
    with sqlite3.connect(study / "study.db") as connection:
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
    connection.close()
    return cwd


def keys(folder: Path) -> list[str]:
    with Store.read(folder) as store:
        assert len(store.ledger()) == len(store.trials())
        return [trial.candidate.key for trial in store.ledger()]


def test_a_study_goes_on_under_a_later_version_and_trains_nothing_again(grown_package: Path, unfinished: Path) -> None:
    (study,) = (unfinished / "studies").iterdir()
    before = keys(study)
    assert len(before) == 3
    done = later_version(grown_package, "-m", "edgenas", "search", "project.toml", "--workers", "0", cwd=unfinished)
    assert done.returncode == 0, done.stderr
    assert list((unfinished / "studies").iterdir()) == [study]  # found under the name of its settings
    assert keys(study) == before
