"""The ten worst mistakes as pictures in the page, and what is said where they are not there."""

import dataclasses
import hashlib
import html
from pathlib import Path

import msgspec
import pytest

from edgenas.records import Metric, Mistake
from edgenas.report.facts import Facts
from edgenas.report.html import html_from_studies
from edgenas.report.tables_good import mistakes
from tests.report.answers.cases import final, run, study, trial

PICTURE = b"\x89PNG\r\n\x1a\n and more"
MATRIX = [[5, 1], [1, 5]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "0.png").write_bytes(PICTURE)
    return tmp_path


def mistake(file: str = "cat/7.jpg") -> Mistake:
    return Mistake(4, "cat", "dog", 97.4, 1.2, "weights/0.png", hashlib.sha256(PICTURE).hexdigest(), file)


def trained(folder: Path, *kept: tuple[Mistake, ...] | None, val: tuple[float, ...] = (91.0, 90.0)) -> Facts:
    one = trial(1, 85.0)
    runs = [run(90.0, v, MATRIX, seed=place, mistakes=m) for place, (m, v) in enumerate(zip(kept, val, strict=False))]
    return dataclasses.replace(study(one, chosen=1, finals=(final(one, *runs, test=12),)), folder=folder)


def test_a_mistake_is_a_picture_in_the_page_with_what_it_is_and_was_called(folder: Path) -> None:
    page = html_from_studies([trained(folder, (mistake(),))])
    alt = "cat/7.jpg: called “dog” (97 % sure), is “cat” (1 %)"
    assert f'<img src="data:image/png;base64,iVBORw0KGgogYW5kIG1vcmU=" alt="{alt}">' in page
    assert "<span>cat/<wbr>7.jpg</span>" in page


def test_a_mistake_without_a_file_is_named_by_its_place(folder: Path) -> None:
    facts = trained(folder, (mistake(""),))
    (shown,), _ = mistakes(facts, facts.finals[0])
    assert shown.file == "test image 4"


def test_a_picture_that_is_another_file_now_is_not_shown(folder: Path) -> None:
    facts = trained(folder, (mistake(),))
    (folder / "weights" / "0.png").write_bytes(PICTURE + b"!")
    (shown,), words = mistakes(facts, facts.finals[0])
    assert shown.picture == ""
    # Finished seeds are not trained again: no command writes it anew, and none is named.
    assert words.endswith("or changed there; the line below each names its image.")
    (folder / "weights" / "0.png").unlink()
    page = html_from_studies([facts])
    assert "no picture" in page
    assert "data:image/png" not in page.split("<script")[1]


def test_a_training_of_an_earlier_version_says_what_is_missing_and_which_command_gives_it(folder: Path) -> None:
    facts = trained(folder, None)
    shown, words = mistakes(facts, facts.finals[0])
    assert shown == []
    again = f"`edgenas train {folder} --recipe fast --epochs 40 --seeds 2` trains another seed and keeps them."
    assert words == f"Its worst mistakes are not here, as an earlier version trained it: {again}"
    first = final(trial(1, 85.0), run())  # of the first version, which kept no report either
    assert mistakes(facts, first)[1] == (
        f"Its classes and worst mistakes are not here, as an earlier version trained it: {again}"
    )


def test_another_seeds_mistakes_stand_in_for_those_of_the_exported_one_and_say_so(folder: Path) -> None:
    facts = trained(folder, None, (mistake(),))
    shown, words = mistakes(facts, facts.finals[0])
    assert len(shown) == 1
    assert words.endswith("They are of seed 1, as the exported one kept none.")


def test_a_network_without_mistakes_says_so_and_one_of_another_task_says_nothing(folder: Path) -> None:
    facts = trained(folder, ())
    assert mistakes(facts, facts.finals[0]) == ([], "It made no mistake on the test set.")
    angles = msgspec.structs.replace(final(trial(1, 85.0), run()), metric="mae", scored=Metric("mae", "deg", "lower"))
    angles = msgspec.structs.replace(angles, runs=(msgspec.structs.replace(run(), val={"mae": 2.0}),))
    assert mistakes(facts, angles) == ([], "")


def test_a_picture_outside_of_the_study_is_not_read(folder: Path) -> None:
    """A study that somebody sent: its rows may name any file of this machine."""
    inner = folder / "study"
    inner.mkdir()
    outside = msgspec.structs.replace(mistake(), image="../weights/0.png")
    facts = trained(inner, (outside,))
    assert mistakes(facts, facts.finals[0])[0][0].picture == ""
    facts = trained(folder, (msgspec.structs.replace(outside, image="weights/../weights/0.png"),))
    assert mistakes(facts, facts.finals[0])[0][0].picture


def test_names_of_classes_and_files_are_text_on_the_page(folder: Path) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>`'
    one = msgspec.structs.replace(mistake(evil), true=evil, called=evil)
    facts = trained(folder, (one,))
    report = facts.finals[0].runs[0].report
    report["classes"][0]["name"] = evil
    renamed = msgspec.structs.replace(facts.finals[0], classes=(evil, "dog"))
    page = html_from_studies([dataclasses.replace(facts, finals=(renamed,))])
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert html.escape(evil, quote=True).replace("&quot;", "&#34;") in page
