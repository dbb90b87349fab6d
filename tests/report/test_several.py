"""Several studies on one page: overlaid where they may be compared, and a sentence where they may not."""

import dataclasses
import re
from pathlib import Path

import msgspec

from edgenas.binomial import Validation
from edgenas.records import Metric
from edgenas.report.answers.commands import export_command
from edgenas.report.answers.onward import next_commands
from edgenas.report.facts import Facts
from edgenas.report.html import html_from_studies
from edgenas.report.several import compared_studies, told_apart
from edgenas.report.shown import cost_shown
from tests.report.answers.cases import TARGET, final, run, study, trial


def named(name: str, facts: Facts, **changes: object) -> Facts:
    return dataclasses.replace(
        facts, folder=facts.folder.with_name(name), study=msgspec.structs.replace(facts.study, **changes)
    )


ONE = named("one", study(trial(1, 80.0, 0.5), trial(2, 90.0, 1.0), chosen=2))
TWO = named("two", study(trial(1, 82.0, 0.4), trial(2, 89.0, 0.9), chosen=2))


def test_studies_of_the_same_data_and_target_share_one_figure() -> None:
    found = compared_studies([ONE, TWO])
    assert found.figure is not None
    by_latency, by_parameters = found.figure.views
    assert by_latency.label == f"latency on {TARGET}"
    points = [trace for trace in by_latency.data if trace["mode"] == "markers"]
    assert [(trace["name"], trace["x"], trace["y"]) for trace in points] == [
        ("one", [0.5, 1.0], [80.0, 90.0]),
        ("two", [0.4, 0.9], [82.0, 89.0]),
    ]
    assert by_parameters.data[0]["x"] == [100, 200]
    assert by_latency.layout["yaxis"]["title"]["text"] == "validation accuracy, %"


def test_the_best_of_each_stands_in_a_table_and_the_best_of_all_in_a_sentence() -> None:
    found = compared_studies([ONE, TWO])
    assert [row[:4] for row in found.table["rows"]] == [
        ["one", "gnas", "digits", "90.00 % (88.0 to 91.7)"],
        ["two", "gnas", "digits", "89.00 % (86.9 to 90.8)"],
    ]
    assert found.sentences[-1].startswith("one scores best on validation: 90.00 % (88.0 to 91.7); next is two, 89.00 %")
    assert "1.00 points worse, inside the noise of ±" in found.sentences[-1]
    worse = named("two", study(trial(1, 82.0, 0.4), chosen=1))
    assert "8.00 points worse, more than the noise of ±" in compared_studies([ONE, worse]).sentences[-1]


def test_what_was_trained_ahead_of_need_is_not_counted() -> None:
    ahead = msgspec.structs.replace(trial(3, 70.0, 0.7), number=None)
    found = compared_studies([ONE, named("two", study(trial(1, 82.0), ahead, chosen=1))])
    header, rows = found.table["header"], found.table["rows"]
    assert [row[header.index("trained")] for row in rows] == ["2", "1"]


def test_a_difference_is_held_against_the_noise_of_the_study_with_fewer_validation_images() -> None:
    """90 and 84 %: 2.9 points are noise on 1,000 images each, 9.3 on 100."""

    def of(name: str, accuracy: float, images: int) -> Facts:
        return named(name, study(trial(1, accuracy), chosen=1, planned={"validation": Validation(images, 10.0)}))

    def told(first: int, second: int) -> str:
        return compared_studies([of("one", 90.0, first), of("two", 84.0, second)]).sentences[-1]

    assert "more than the noise of" in told(1000, 1000)
    for images in ((100, 1000), (1000, 100)):
        assert "inside the noise of" in told(*images)


def test_the_other_one_is_called_worse_whichever_way_its_metric_is_better() -> None:
    """Degrees, 0.1 to either side each: 0.2 more are beyond their noise of 0.14, 0.1 more are not."""
    degrees = Metric("mae", unit="deg", better="lower")

    def of(name: str, error: float) -> Facts:
        scores = degrees.trial_scores({"mae": error, "mae_low": error - 0.1, "mae_high": error + 0.1})
        one = msgspec.structs.replace(trial(1, 0.0), scores=scores)
        known = {"validation": Validation(1000, 20.0, degrees)}
        return named(name, study(one, chosen=1, record={"metric": degrees}, planned=known))

    def told(error: float) -> str:
        return compared_studies([of("other", error), of("one", 3.0)]).sentences[-1]

    assert told(3.2).startswith(
        "one scores best on validation: 3 deg (2.9 to 3.1); next is other, 3.2 deg (3.1 to 3.3)"
    )
    assert told(3.2).endswith(": 0.2 deg worse, more than the noise of ±0.1414.")
    assert told(3.1).endswith(": 0.1 deg worse, inside the noise of ±0.1414, so neither is shown to be better.")
    assert told(3.0).endswith(": the same, inside the noise of ±0.1414, so neither is shown to be better.")


def test_studies_of_other_data_are_not_drawn_into_one_figure() -> None:
    found = compared_studies([ONE, named("two", TWO, data="cifar10")])
    assert found.figure is None
    assert found.sentences == (
        "Their scores cannot be compared (data: digits, cifar10), so their fronts are not drawn into one figure: each has its "
        "own below.",
    )
    page = html_from_studies([ONE, named("two", TWO, data="cifar10")])
    assert 'id="all-compared"' not in page
    assert 'id="s2-front"' in page


def test_one_folder_is_one_data_set_however_it_is_written_and_two_of_one_name_are_two() -> None:
    def of(name: str, data: str, *places: str) -> Facts:
        return dataclasses.replace(named(name, TWO, data=data), data_places=frozenset(places))

    one = of("one", "photos", "/a/photos")
    assert compared_studies([one, of("two", "./photos", "/a/photos")]).figure is not None
    assert compared_studies([one, of("two", "photos", "/a/photos", "/before/photos")]).figure is not None
    found = compared_studies([one, of("two", "photos", "/b/photos")])
    assert found.figure is None
    assert "(data: /a/photos, /b/photos)" in found.sentences[0]
    assert "(data: photos, others)" in compared_studies([one, of("two", "others", "/a/others")]).sentences[0]


def test_studies_without_a_common_target_share_parameters_only() -> None:
    latency = {"raspberry-pi-5": TWO.trials[0].cost.latencies[TARGET]}
    moved = tuple(
        msgspec.structs.replace(one, cost=msgspec.structs.replace(one.cost, latencies=latency)) for one in TWO.trials
    )
    other = dataclasses.replace(named("two", TWO, profiles=("raspberry-pi-5",)), trials=moved)
    found = compared_studies([ONE, other])
    assert "no target in common (one: jetson-nano-4gb; two: raspberry-pi-5)" in found.sentences[0]
    assert found.figure is not None
    assert [view.label for view in found.figure.views] == ["parameters"]


def test_other_precisions_and_other_seeds_are_said() -> None:
    sentences = compared_studies([ONE, named("two", TWO, precision="fp16", seed=3)]).sentences
    assert sentences[0] == "Their latencies are at different precisions: one fp32, two fp16."
    assert sentences[1].startswith("Their seeds differ")
    assert len(compared_studies([ONE, TWO]).sentences) == 1


def test_a_study_without_a_training_is_in_the_table() -> None:
    found = compared_studies([ONE, named("new", study())])
    assert found.table["rows"][1][3] == "-"
    assert found.sentences[-1] == "Fewer than two of them have trained a network."


def test_studies_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    apart = [dataclasses.replace(ONE, folder=tmp_path / part / "digits") for part in ("a", "b")]
    found = told_apart([*apart, TWO])
    assert [one.name for one in found] == [str(tmp_path / "a" / "digits"), str(tmp_path / "b" / "digits"), "two"]
    page = html_from_studies(apart)
    labels = re.findall(r'role="region" tabindex="0" aria-label="([^"]+)"', page)
    assert len(labels) == len(set(labels)) > 10


def test_commands_of_studies_whose_folders_have_one_name_make_folders_of_their_own() -> None:
    one, two = (
        dataclasses.replace(ONE, folder=Path(f"/data/{place}/st"), finals=(final(ONE.best, run()),))  # type: ignore[arg-type]
        for place in "ab"
    )
    exported = [export_command(facts) for facts in told_apart([one, two])]
    assert exported == [f"edgenas export /data/{place}/st --out bundles/data-{place}-st" for place in "ab"]
    assert export_command(told_apart([one, TWO])[0]) == "edgenas export /data/a/st --out bundles/st"
    hopeless = [
        dataclasses.replace(study(trial(1, 10.0), chosen=1), folder=Path(f"/data/{place}/st")) for place in "ab"
    ]
    again = [next_commands(facts)[0].line for facts in told_apart(hopeless)]
    assert [line.rsplit(" ", 1)[1] for line in again] == ["data-a-st-longer", "data-b-st-longer"]


def test_the_table_has_the_costs_of_what_would_be_exported() -> None:
    """Trained wider than it was searched: its parameters are those that the study's own page has."""
    searched = ONE.best
    assert searched is not None
    wider = msgspec.structs.replace(final(searched, run()), architecture=trial(9, 0.0).candidate.architecture)
    facts = dataclasses.replace(ONE, finals=(wider,))
    table = compared_studies([facts, TWO]).table
    params = [row[table["header"].index("parameters")] for row in table["rows"]]
    cost = cost_shown(facts)
    assert cost is not None
    assert cost.params != searched.cost.params
    assert params == [f"{cost.params:,}", "200"]
