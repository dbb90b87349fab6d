"""A search decodes its images once, ever, and traces every network once, whatever it decides by them."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.architectures.chain import workload_from_chain
from edgenas.cli.main import app
from edgenas.tasks import TaskSettings, load_task
from tests.image_folders import fill
from tests.tasks.test_faces import write_people

TINY = ("--target", "raspberry-pi-5", "--workers", "0", "--max-depth", "5", "--max-width", "8")
RULES = {"random": "trials = 2", "nse": "networks = 4\ncheap_networks = 2\nfinals = 1\nsupernet_epochs = 1"}

opened: Counter[str] = Counter()
counted: list[str] = []  # folders; an audit hook stays for good, and counts nothing while this is empty


def count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and counted and (path := str(arguments[0])).startswith(counted[0]) and path.endswith(".png"):
        opened[path] += 1


sys.addaudithook(count)


@contextlib.contextmanager
def counting(folder: Path) -> Iterator[Counter[str]]:
    """How often each image under `folder` is opened meanwhile."""
    opened.clear()
    counted.append(str(folder))
    try:
        yield opened
    finally:
        counted.clear()


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path / "pets", each=60)


def search(data: Path, method: str, *flags: str) -> None:
    Path("project.toml").write_text(f'method = "{method}"\n[rules]\n{RULES[method]}\n')
    app(["search", "project.toml", "--data", str(data), "--study", "one", *TINY, *flags], standalone_mode=False)


def opened_by_one_load(data: Path, task: str = "classification") -> Counter[str]:
    """As they are where nothing is decoded yet."""
    with pytest.MonkeyPatch.context() as patch, counting(data) as found:
        patch.setenv("EDGENAS_CACHE", str(data.parent / "apart"))
        load_task(TaskSettings(str(data), task, settings={"far": 0.1}))  # type: ignore[arg-type]
        return Counter(found)


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("random", ("--epoch-scale", "0.1")),
        ("random", ("--epoch-scale", "0.1", "--search-images", "40")),
        ("random", ("--budget", "1")),
        pytest.param("nse", ("--rounds", "1", "--budget", "1"), marks=pytest.mark.slow),  # it fills its minute
    ],
)
def test_a_search_reads_every_image_once(pets: Path, method: str, flags: tuple[str, ...]) -> None:
    once = opened_by_one_load(pets)
    assert len(once) == 120
    bounds = TINY[:4] if method == "nse" else TINY
    Path("project.toml").write_text(f'method = "{method}"\n[rules]\n{RULES[method]}\n')
    with counting(pets) as found:
        app(["search", "project.toml", "--data", str(pets), "--study", "one", *bounds, *flags], standalone_mode=False)
    assert found == once


def test_a_search_on_faces_reads_every_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people = write_people(tmp_path / "people", 12, each=4)
    once = opened_by_one_load(people, "faces")
    flags = ("--task", "faces", "--image-size", "28", "--far", "0.1", "--epoch-scale", "0.1", "--search-images", "24")
    with counting(people) as found:
        search(people, "random", *flags)
    assert found == once


def test_a_search_that_goes_on_reads_none_again(pets: Path) -> None:
    search(pets, "random", "--epoch-scale", "0.1")
    with sqlite3.connect("studies/one/study.db") as connection:  # as if killed before it chose
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
    connection.close()
    with counting(pets) as found:
        app(["search", "--resume", "one", "--workers", "0"], standalone_mode=False)
    assert found == Counter()


def test_a_search_traces_every_network_once(pets: Path) -> None:
    workload_from_chain.cache_clear()
    search(pets, "random", "--epoch-scale", "0.1", "--target", "jetson-nano")
    traced = workload_from_chain.cache_info()
    assert traced.misses == traced.currsize >= 2
