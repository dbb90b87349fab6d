"""A file that a setting names counts by what it says: with another content the same command asks for another study."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from edgenas.database import seal
from edgenas.engine.contents import FITTED, contents_in, contents_of
from edgenas.engine.decide import study_record
from edgenas.engine.folders import ROOT, Asked, asked_in, default_folder, differences, folder_to_write
from edgenas.engine.plan import plan_json
from edgenas.engine.settings import as_asked
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.nal import NalRules
from edgenas.methods.settings import SearchSettings
from edgenas.store import Store
from tests.cli.edgenas import edgenas, edgenas_json, refusal
from tests.plans import plan

PI = "raspberry-pi-5"
NAMED = {
    "recipe": ("my.toml", "random", "--recipe"),
    "start": ("torchvision:mobilenet_v2=net.pth", "random", "--start"),
    "from_study": ("own.safetensors", "nal", "--from"),
}
FIRST, OTHER = b"lr = 0.05\n", b"lr = 0.1\n"  # for each of them: nothing else reads it here


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(settings: SearchSettings) -> Asked:
    profiles = (profile_from_name(PI),)
    return Asked(
        study_record(settings, profiles),
        as_asked(settings, profiles),
        boards=False,
        contents=contents_of(settings, ROOT),
    )


def begun(folder: Path, of: Asked) -> None:
    """A study of these settings."""
    record = msgspec.structs.replace(of.study, plan=plan_json(plan(asked=of.settings, contents=of.contents)))
    Store.create(folder, record).close()


@pytest.mark.parametrize("setting", NAMED)
def test_another_content_under_the_name_is_another_study_and_refused_of_one_that_is_named(
    setting: str, cwd: Path
) -> None:
    value, method, flag = NAMED[setting]
    file = cwd / value.rpartition("=")[2]
    settings = SearchSettings(target=(PI,), method=method, **{setting: value})  # type: ignore[arg-type]
    file.write_bytes(FIRST)
    folder = default_folder(asked(settings))
    begun(folder, asked(settings))
    assert folder_to_write(None, asked(settings), print) == folder
    file.write_bytes(OTHER)
    another = folder_to_write(None, asked(settings), print)
    assert another == default_folder(asked(settings)) != folder
    words = ("search", "--target", PI, "--method", method, flag, value, "--study", str(folder))
    assert refusal(*words) == (
        f"{folder} was made with other settings ({value} is not the file that it began with): use those, or another --study NAME"
    )
    file.write_bytes(FIRST)
    assert folder_to_write(None, asked(settings), print) == folder
    file.unlink()  # what is needed of it is in the study
    assert folder_to_write(None, asked(settings), print) == folder


@pytest.mark.parametrize("setting", NAMED)
def test_a_study_from_before_contents_were_noted_is_found_by_the_same_command(setting: str, cwd: Path) -> None:
    value, method, _ = NAMED[setting]
    (cwd / value.rpartition("=")[2]).write_bytes(FIRST)
    settings = SearchSettings(target=(PI,), method=method, **{setting: value})  # type: ignore[arg-type]
    now = asked(settings)
    before = msgspec.structs.replace(now, contents={})
    begun(default_folder(before), before)
    assert default_folder(before) != default_folder(now)
    assert folder_to_write(None, now, print) == default_folder(before)


def test_a_study_from_before_knows_the_weights_that_it_began_with(cwd: Path) -> None:
    (cwd / "own.safetensors").write_bytes(FIRST)
    now = asked(SearchSettings(target=(PI,), method="nal", from_study="own.safetensors"))
    rules = NalRules(weights="own.safetensors", weights_sha256=now.contents["from_study"])
    record = msgspec.structs.replace(now.study, plan=plan_json(plan(asked=now.settings, rules=rules)))
    with Store.create(cwd / "before", record) as store:
        assert contents_in(store) == now.contents
        assert not differences(asked_in(store), now)
        (cwd / "own.safetensors").write_bytes(OTHER)
        (line,) = differences(asked_in(store), asked(now.settings))
    assert line == "own.safetensors is not the file that it began with"


def test_names_have_no_content_and_a_study_that_is_named_has_that_of_what_was_fitted_there(cwd: Path) -> None:
    assert contents_of(SearchSettings(), ROOT) == {}
    (cwd / "fast").write_bytes(OTHER)  # the recipe that comes along goes before a file of its name
    download = SearchSettings(recipe="fast", start="torchvision:mobilenet_v2=download", from_study="first")
    assert contents_of(download, ROOT) == {}
    (cwd / "studies/first").mkdir(parents=True)
    (cwd / "studies/first" / FITTED).write_bytes(FIRST)
    (cwd / "own.safetensors").write_bytes(FIRST)
    own = SearchSettings(from_study="own.safetensors")
    assert contents_of(download, ROOT) == contents_of(own, ROOT) != {}


RECIPE = "epochs = 1\nbatch_size = 50\nlr = 0.05\n"
SEARCH = (
    *("search", "one.toml", "--target", PI, "--method", "random", "--recipe", "my.toml", "--search-images", "100"),
    *("--max-depth", "4", "--max-width", "6", "--workers", "0"),
)


def rates(folder: Path) -> set[float]:
    """The learning rates of a study's trials."""
    with Store.read(folder) as store:
        return {trial.candidate.recipe.lr for trial in store.ledger()}


def as_before(folder: Path, name: Path) -> None:
    """The study as an earlier version left it, under the name that it gave it."""
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as connection, connection:
        (body,) = connection.execute("SELECT body FROM meta WHERE name = 'study'").fetchone()
        study = msgspec.json.decode(body)
        assert set(study["plan"].pop("contents")) == {"recipe"}
        old = msgspec.json.encode(study)
        values = (old, seal("meta", ("study",), old), "study")
        connection.execute("UPDATE meta SET body = ?, sha256 = ? WHERE name = ?", values)
    folder.rename(name)


def test_a_recipe_that_was_edited_is_searched_by_and_one_that_was_only_commented_is_the_same(cwd: Path) -> None:
    (cwd / "one.toml").write_text("[rules]\ntrials = 1\n")
    (cwd / "my.toml").write_text(RECIPE)
    first = cwd / edgenas_json(*SEARCH, folder=cwd)["study"]
    (cwd / "my.toml").write_text(f"# as before\n{RECIPE}")
    again = edgenas(*SEARCH, folder=cwd)
    assert f"study {first.relative_to(cwd)} is finished" in again.stderr
    assert "noted" not in again.stderr
    (cwd / "my.toml").write_text(RECIPE.replace("0.05", "0.1"))
    other = cwd / edgenas_json(*SEARCH, folder=cwd)["study"]
    assert other != first
    assert (rates(first), rates(other)) == ({0.05}, {0.1})

    (cwd / "my.toml").write_text(RECIPE)
    as_before(first, cwd / "studies/before")
    done = edgenas(*SEARCH, "--json", folder=cwd)
    assert msgspec.json.decode(done.stdout)["study"] == "studies/before"
    said = done.stderr.splitlines()
    line = (
        "warning: studies/before was begun before it was noted what my.toml says: it keeps to what that said then; for another "
        "content name another --study"
    )
    assert said[said.index(line) + 1] == "study studies/before is finished"
