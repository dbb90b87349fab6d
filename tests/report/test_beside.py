"""When a comparison with public networks is shown, and what is said of how alike they were trained."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.engine.verdict import Competitor, compared
from edgenas.records import Metric
from edgenas.report.beside import fairness_words
from edgenas.report.facts import Facts, read_facts
from edgenas.report.html import html_from_studies
from edgenas.report.tables import comparison_table
from edgenas.store import Store
from tests.report.studies import TARGET, published_study, trained_in_full
from tests.report.test_html import Text

ACCURATE = Metric("accuracy", share=True)


def beside(facts: Facts, recipe: dict[str, Any], seconds: float, epochs: int = 8) -> Facts:
    """With a comparison of trial 7 (60 epochs in 90 s) with a public network that this recipe, else the winner's, trained."""
    (ours,) = facts.finals
    cost = facts.complete[0].cost
    first = Competitor("trial 7", (94.0,), (93.5, 94.5), cost, 60, 90.0, trial=7, validation=(93.0,))
    theirs = Competitor("timm:net", (91.0,), (90.4, 91.5), cost, epochs, seconds)
    trained = msgspec.structs.replace(ours, recipe=msgspec.structs.replace(ours.recipe, epochs=epochs, **recipe))
    found = compared(ACCURATE, 10_000, TARGET, [first], [theirs])
    return dataclasses.replace(facts, comparison=found, references={"timm:net": trained})


@pytest.mark.parametrize(
    ("recipe", "seconds", "words"),
    [
        ({}, 90.0, None),
        ({}, 81.0, None),  # a tenth less: its epochs are whole ones
        ({}, 80.9, "timm:net 80.9 s (8 epochs) a run in place of 1.5 min (60 epochs)"),
        ({}, 180.0, "timm:net 3.0 min (8 epochs) a run in place of 1.5 min (60 epochs)"),
        ({"lr": 0.2}, 90.0, "timm:net 0.2 times the learning rate"),
        ({"drop_path": 0.0}, 90.0, "timm:net without drop_path"),
        ({"batch_size": 7}, 90.0, "timm:net another batch_size"),
        (
            {"teacher": "", "teacher_weight": 0.0, "temperature": 1.0, "lr": 0.2}, 9.0,
            "timm:net without the teacher, 0.2 times the learning rate, 9.0 s (8 epochs) a run in place of 1.5 min (60 epochs)",
        ),
    ],
)  # fmt: skip
def test_a_public_network_is_said_to_be_trained_alike_only_where_it_was(
    tmp_path: Path, recipe: dict[str, Any], seconds: float, words: str | None
) -> None:
    folder = published_study(tmp_path / "compared")
    ours = trained_in_full(folder, 94.0, 93.0)
    taught = {"teacher": "0" * 64, "teacher_weight": 0.9, "temperature": 4.0, "lr": 1.0, "drop_path": 0.2, "threads": 2}
    ours = msgspec.structs.replace(ours, recipe=msgspec.structs.replace(ours.recipe, **taught))
    facts = beside(dataclasses.replace(read_facts(folder), finals=(ours,)), {"threads": 1, **recipe}, seconds)
    told = "All were trained on the same images, public ones by "
    alike = "the same recipe and for as many seconds."
    assert fairness_words(facts) == told + (alike if words is None else f"the winner's recipe but for this: {words}.")
    unknown = dataclasses.replace(facts, references={})
    assert "timm:net how is not known" in fairness_words(unknown)
    assert fairness_words(dataclasses.replace(facts, comparison=None)) == ""


def test_how_alike_they_were_trained_stands_below_their_table(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "compared")
    ours = trained_in_full(folder, 94.0, 93.0)
    facts = beside(dataclasses.replace(read_facts(folder), finals=(ours,)), {"batch_size": 7}, 90.0)
    words = str(Text(html_from_studies([facts])))
    assert (
        f"{fairness_words(facts)} 95 % intervals over the test set alone, without what another seed changes." in words
    )
    assert "timm:net another batch_size" in words


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        ({}, True),
        ({"trial": 8}, False),
        ({"data": "photos"}, False),
        ({"all_images": True}, False),
    ],
)
def test_a_comparison_stands_as_long_as_the_training_that_it_is_of(
    tmp_path: Path, change: dict[str, Any], stands: bool
) -> None:
    folder = published_study(tmp_path / "compared")
    ours = trained_in_full(folder, 94.0, 93.0)
    found = beside(dataclasses.replace(read_facts(folder), finals=(ours,)), {}, 90.0).comparison
    with Store.write(folder) as store:
        store.put("comparison", "comparison", found)
        store.put("final", "7", msgspec.structs.replace(ours, **change))
    facts = read_facts(folder)
    assert (facts.comparison is not None, facts.outdated) == (stands, not stands)
    assert (comparison_table(facts) is not None) == stands


@pytest.mark.parametrize(("test", "val", "epochs"), [(94.1, 93.0, 60), (94.0, 93.1, 60), (94.0, 93.0, 61)])
def test_another_training_of_the_same_trial_outdates_the_comparison(
    tmp_path: Path, test: float, val: float, epochs: int
) -> None:
    folder = published_study(tmp_path / "compared")
    ours = trained_in_full(folder, 94.0, 93.0)
    found = beside(dataclasses.replace(read_facts(folder), finals=(ours,)), {}, 90.0).comparison
    other = trained_in_full(folder, test, val)
    other = msgspec.structs.replace(other, recipe=msgspec.structs.replace(other.recipe, epochs=epochs))
    with Store.write(folder) as store:
        store.put("comparison", "comparison", found)
        store.put("final", "7", other)
    assert read_facts(folder).outdated
