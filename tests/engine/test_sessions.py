"""Which study a search means: that of its settings, whatever it is called and wherever its data lie."""

import gzip
import re
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.subspace import SupernetRules
from edgenas.engine.decide import study_record
from edgenas.engine.folders import Asked, default_folder, folder_to_write, is_study, study_folder
from edgenas.engine.nse import NsePlan
from edgenas.engine.plan import plan_json
from edgenas.engine.sessions import begin_session, refuse_other_meaning
from edgenas.engine.settings import as_asked
from edgenas.engine.versions import versions
from edgenas.errors import StudyError
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.gnas import GnasRules
from edgenas.methods.ladder import Training
from edgenas.methods.nse_rules import NseRules
from edgenas.methods.replay import cost_without_device
from edgenas.methods.settings import SearchSettings
from edgenas.records import Candidate, Choice, Classes, Recipe, StudyRecord, Trial
from edgenas.report.facts import read_facts
from edgenas.report.origins import obtained
from edgenas.store import Store
from tests.cli.edgenas import edgenas_json, refusal
from tests.old_studies import as_schema
from tests.plans import RECIPE, plan

IMPOSSIBLE = ("search", "--target", "raspberry-pi-5", "--max-latency-ms", "0.0001")  # ends before anything is trained


PROFILES = (profile_from_name("raspberry-pi-5"),)


def asked(**settings: object) -> Asked:
    whole = SearchSettings(target=("raspberry-pi-5",), max_latency_ms=0.0001, **settings)  # type: ignore[arg-type]
    return Asked(study_record(whole, PROFILES), as_asked(whole, PROFILES), boards=False)


def study_of(recipe: Recipe = RECIPE, **settings: object) -> StudyRecord:
    of = asked(**settings)
    rules = NsePlan(NseRules(), SupernetRules(recipe)) if of.settings.method == "nse" else GnasRules()
    planned = plan(asked=of.settings, training=Training(recipe), rules=rules)
    return msgspec.structs.replace(of.study, plan=plan_json(planned))


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_unfinished_study_of_another_default_method_is_named(cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = default_folder(asked(method="random"))
    Store.create(cwd / other, study_of(method="random")).close()
    refusal(*IMPOSSIBLE)
    said = capsys.readouterr().err
    assert f"{other} holds an unfinished study of the same settings" in said
    assert "`--method random` goes on with it; this one begins with guided" in said


def test_a_finished_study_of_another_method_is_not_named(cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = chain(8, 4, (0,) * 4, (3,) * 4, Classes(10), image_size=8)
    with Store.create(cwd / default_folder(asked(method="random")), study_of(method="random")) as store:
        trial = Trial(Candidate(net, Recipe("r", 1, 8, 0.1), "random"), "complete", cost_without_device(net), 1)
        store.choose(Choice(trial))
    refusal(*IMPOSSIBLE)
    assert "unfinished" not in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{"method": "random", "seed": 1}, {"max_params": 5}])
def test_a_study_of_other_settings_is_not_named(
    settings: dict[str, object], cwd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.create(cwd / default_folder(asked(**settings)), study_of(**settings)).close()
    refusal(*IMPOSSIBLE)
    assert "unfinished" not in capsys.readouterr().err


def test_a_study_that_an_earlier_version_called_otherwise_is_found(cwd: Path) -> None:
    Store.create(cwd / "studies/digits-raspberry-pi-5-gnas-0ld0ld0l", study_of()).close()
    (cwd / "studies/damaged").mkdir()
    (cwd / "studies/damaged/study.db").write_bytes(b"no database at all" * 100)
    assert folder_to_write(None, asked(), print) == Path("studies/digits-raspberry-pi-5-gnas-0ld0ld0l")
    assert folder_to_write(None, asked(data_dir="/elsewhere"), print) == Path(
        "studies/digits-raspberry-pi-5-gnas-0ld0ld0l"
    )
    assert folder_to_write(None, asked(seed=1), print) == default_folder(asked(seed=1))


def test_going_on_with_other_versions_is_said_and_put_on_record(tmp_path: Path) -> None:
    told: list[str] = []
    old = {**versions(), "torch": "1.0.0", "gone": "3"}
    with Store.create(tmp_path, msgspec.structs.replace(study_of(), versions=old)) as store:
        begin_session(store, "search", told.append)
        (said,) = told
        assert f"(gone 3 before, none now; torch 1.0.0 before, {versions()['torch']} now)" in said
        begin_session(store, "train", told.append)
        assert told == [said]  # as in the session before: nothing more
        assert store.study.versions == old
    (words,) = (words for name, words in obtained(read_facts(tmp_path)) if name == "versions")
    assert "torch 1.0.0" in words
    assert re.search(rf"; from 20\S+ \(search, after 0 trials\) torch {re.escape(versions()['torch'])}$", words)


def write_mnist(root: Path, seed: int = 0) -> None:
    """200 training and 50 test images in MNIST's own files."""
    rng = np.random.default_rng(seed)
    folder = root / "MNIST/raw"
    folder.mkdir(parents=True)
    for prefix, count in (("train", 200), ("t10k", 50)):
        for name, array in (
            ("images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28))),
            ("labels-idx1-ubyte", np.arange(count) % 10),
        ):
            header = bytes((0, 0, 8, array.ndim)) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            content = header + array.astype(np.uint8).tobytes()
            (folder / f"{prefix}-{name}.gz").write_bytes(gzip.compress(content))


MNIST = """
target = "raspberry-pi-5"
data = "mnist"
method = "random"
max-depth = 5
max-width = 8
epoch-scale = 0.1
[rules]
trials = 2
"""


def test_a_study_goes_on_where_its_data_lie_elsewhere_if_they_are_the_same(tmp_path: Path) -> None:
    write_mnist(tmp_path / "here")
    (tmp_path / "project.toml").write_text(MNIST)
    search = ("search", "project.toml", "--workers", "0")
    first = edgenas_json(*search, "--data-dir", str(tmp_path / "here"), folder=tmp_path)
    study = tmp_path / first["study"]
    with sqlite3.connect(study / "study.db") as connection:  # as if killed before it chose
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
    connection.close()
    (tmp_path / "here").rename(tmp_path / "there")
    again = edgenas_json(*search, "--data-dir", str(tmp_path / "there"), folder=tmp_path)
    assert (again["study"], again["front"]) == (first["study"], first["front"])
    sessions = edgenas_json("front", first["study"], folder=tmp_path)["sessions"]
    assert [(session["command"], session["trials"]) for session in sessions] == [("search", 0), ("search", 2)]
    assert sessions[0]["versions"] == sessions[1]["versions"] == versions()
    assert edgenas_json(*search, folder=tmp_path)["chosen"] == first["chosen"]  # finished: it needs no data


COSINE = msgspec.structs.replace(RECIPE, schedule="cosine-epoch")


@pytest.mark.parametrize(
    ("settings", "recipe", "words"),
    [
        ({}, RECIPE, None),
        ({}, COSINE, "the schedule cosine-epoch was mended"),
        ({"method": "trgnas"}, RECIPE, "when TRG-NAS stops was mended"),
        ({"method": "trgnas"}, COSINE, "the schedule cosine-epoch and when TRG-NAS stops was mended"),
        ({"method": "nse"}, RECIPE, "what NSE aims at under a latency limit was mended"),
    ],
)
def test_an_unfinished_study_from_before_its_rules_were_mended_is_not_mixed(
    settings: dict[str, object], recipe: Recipe, words: str | None, tmp_path: Path
) -> None:
    begun = study_of(recipe, **settings)
    with Store.create(tmp_path / "new", begun) as store:
        refuse_other_meaning(store)  # of this identity: nothing to refuse
    as_schema(tmp_path / "new", 1)
    with Store.read(tmp_path / "new") as store:
        assert store.identity == 1
        if words is None:
            refuse_other_meaning(store)
            return
        with pytest.raises(StudyError, match=words):
            refuse_other_meaning(store)
    method = ("--method", begun.method)
    assert words in refusal(*IMPOSSIBLE, *method, "--study", str(tmp_path / "new"))


@pytest.mark.parametrize("name", ["", " ", ".", "..", "./", "../", "././", "../..", "a/..", " ./ "])
def test_what_is_no_name_of_a_study_is_refused_before_anything_is_written(cwd: Path, name: str) -> None:
    with pytest.raises(StudyError, match=rf"^--study '{re.escape(name)}' was asked for: give a name, such as first"):
        folder_to_write(name, asked(), print)
    assert list(cwd.iterdir()) == []
    assert folder_to_write(".a", asked(), print) == Path("studies/.a")
    assert folder_to_write("./a/", asked(), print) == Path("a")
    assert folder_to_write(str(cwd), asked(), print) == cwd  # a folder that is named


def test_a_study_that_cannot_be_looked_for_is_one_line(cwd: Path) -> None:
    with pytest.raises(StudyError, match=r"^no study can be looked for in 'xxx.*: File name too long$"):
        study_folder("x" * 300)
    with pytest.raises(StudyError, match=r"^no study can be looked for in .*: File name too long$"):
        is_study("x" * 300)
    with pytest.raises(StudyError, match=r"^no study 'nothing' "):
        study_folder("nothing")


def test_a_study_is_called_after_its_data_set_or_after_its_folder_wherever_it_lies(cwd: Path) -> None:
    (cwd / "photos").mkdir()
    for link in ("digits", "holiday"):
        (cwd / link).symlink_to(cwd / "photos")
    for data, called in (("digits", "digits"), ("./digits", "photos"), ("holiday", "photos"), ("gone", "gone")):
        assert default_folder(asked(data=data)).name.startswith(f"{called}-raspberry-pi-5-")


def test_of_two_studies_of_one_name_the_folder_here_is_meant_and_that_is_said(cwd: Path) -> None:
    said: list[str] = []
    Store.create(cwd / "studies/mine", study_of()).close()
    for name in ("mine", "studies/mine", str(cwd / "studies/mine")):
        assert study_folder(name, said.append).resolve() == cwd / "studies/mine"
    assert said == []
    Store.create(cwd / "mine", study_of()).close()
    assert study_folder("mine", said.append) == Path("mine")
    assert said == ["study mine: the folder of this name here; the study that is called so is studies/mine"]
