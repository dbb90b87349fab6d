"""The front as the page shows it: its chart and its table, on both sides of each thing that they mark."""

from __future__ import annotations

from typing import Any

import msgspec

from edgenas.methods import CONTROL
from edgenas.records import Expectation, Latency, Limits, Trial
from edgenas.report.facts import Facts
from edgenas.report.figures_front import front_figure
from edgenas.report.html import content_from_studies, html_from_studies
from edgenas.report.origins import found, obtained
from edgenas.report.tables import front_table, ledger
from edgenas.report.words import merit
from tests.report.answers.cases import TARGET, latency, study, trial


def ringed(facts: Facts, view: int = 0) -> list[int]:
    """The trials in the ring."""
    names = ("chosen", "best so far")
    return [n for trace in front_figure(facts).views[view].data if trace["name"] in names for n in trace["customdata"]]


def numbered(facts: Facts) -> list[str]:
    return [row[0] for row in front_table(facts)["rows"]]


def drawn(facts: Facts, name: str) -> dict[str, Any]:
    """By the label of a view: where it has points of this name."""
    views = front_figure(facts).views
    return {view.label: trace["x"] for view in views for trace in view.data if trace["name"] == name}


# ---------------------------------------------------------------- the choice


def trained_again(of: Trial, number: int, score: float) -> Trial:
    candidate = msgspec.structs.replace(of.candidate, repeat=1)
    return msgspec.structs.replace(of, candidate=candidate, scores={"val_accuracy": score}, number=number)


def test_the_chosen_network_is_marked_in_the_training_by_which_it_is_on_the_front() -> None:
    """It is on a guided front by its first training, and scored best in its second one; by scores alone it is the other way."""
    one, two = trial(1, 80.0, 0.5), trial(2, 84.0, 1.0)
    again = trained_again(two, 3, 86.0)
    known = {of.candidate.architecture.fingerprint: Expectation(mean, 0.5) for of, mean in ((one, 80.0), (two, 85.0))}
    for chosen in (2, 3):
        guided = study(one, two, again, chosen=chosen, expected=known)
        assert numbered(guided) == ["1", "2 (chosen)"]
        assert ringed(guided) == ringed(guided, 1) == [2]
        by_scores = study(one, two, again, chosen=chosen)
        assert numbered(by_scores) == ["1", "3 (chosen)"]
        assert ringed(by_scores) == [3]
    assert "2 (chosen)" in html_from_studies([guided])


def test_a_choice_that_is_not_on_the_front_stands_below_it() -> None:
    facts = study(trial(1, 84.0, 0.5), trial(2, 83.0, 1.0), chosen=2)
    assert numbered(facts) == ["1", "2 (chosen, not on the front)"]
    assert ringed(facts) == [2]


def test_a_search_that_runs_has_a_ring_and_no_choice() -> None:
    facts = study(trial(1, 80.0, 0.5), trial(2, 84.0, 1.0))
    assert numbered(facts) == ["1", "2"]
    assert ringed(facts) == [2]


# ---------------------------------------------------------------- energy


def metered(number: int, score: float, ms: float, energy_mj: float | None) -> Trial:
    return trial(number, score, latency(ms, origin="measured", energy_mj=energy_mj))


def test_a_front_of_energy_says_so_and_shows_it() -> None:
    """The second network is worse, slower and larger: it is on the front by its energy alone."""
    facts = study(metered(1, 90.0, 1.0, 5.0), metered(2, 89.0, 1.2, 3.25), chosen=1, limits=Limits(energy_mj=6.0))
    table, figure = front_table(facts), front_figure(facts)
    energies = table["header"].index(f"mJ on {TARGET}")
    assert [(row[0], row[energies]) for row in table["rows"]] == [("1 (chosen)", "5"), ("2", "3.25")]
    assert "beaten by no other in score, latency, energy and parameters at once" in figure.caption
    assert [view.label for view in figure.views] == [f"latency on {TARGET}", f"energy on {TARGET}", "parameters"]
    assert drawn(facts, "front")[f"energy on {TARGET}"] == [3.25, 5.0]
    assert figure.views[1].layout["annotations"][0]["text"] == "limit 6"
    shown = dict(content_from_studies([facts]).data["trials"]["s1"]["2"])
    assert shown[f"energy, {TARGET}"] == "3.25 mJ (measured)"


def test_energy_that_was_not_measured_of_all_is_shown_and_decides_nothing() -> None:
    facts = study(metered(1, 90.0, 1.0, 5.0), metered(2, 89.0, 1.2, None), chosen=1)
    table, figure = front_table(facts), front_figure(facts)
    assert [(row[0], row[table["header"].index(f"mJ on {TARGET}")]) for row in table["rows"]] == [("1 (chosen)", "5")]
    assert "in score, latency and parameters at once" in figure.caption
    assert [view.label for view in figure.views] == [f"latency on {TARGET}", "parameters"]


def test_where_no_energy_is_known_nothing_is_said_of_it() -> None:
    facts = study(trial(1, 90.0), chosen=1)
    assert not [name for name in front_table(facts)["header"] if "mJ" in name]
    assert "mJ" not in str(content_from_studies([facts]).data)


def test_energy_on_one_of_two_targets_is_said_of_that_one() -> None:
    facts = study(
        *(on_targets(one, measured=5.0) for one in (trial(1, 90.0), trial(2, 91.0))), chosen=2, record=TARGETS
    )
    assert "in score, latency, energy (on host-cpu) and parameters at once" in front_figure(facts).caption


# ---------------------------------------------------------------- what broke a limit


def broken(number: int, *, measured: bool) -> Trial:
    one = trial(number, 0.0, 3.0)
    cost = one.cost if measured else msgspec.structs.replace(one.cost, latencies={})
    return msgspec.structs.replace(one, status="infeasible", scores={}, cost=cost, error="900 parameters > 500")


def test_what_was_not_measured_because_it_broke_another_limit_stands_over_the_costs_that_are_known() -> None:
    strip, limits = "infeasible, not trained", Limits(params=500, mmacs=0.005)
    facts = study(trial(1, 80.0), broken(9, measured=False), chosen=1, limits=limits)
    assert drawn(facts, strip) == {"parameters": [900], "MACs": [0.009]}
    assert [("yaxis2" in view.layout) for view in front_figure(facts).views] == [False, True, True]
    said = f"1 of them is not in the picture of {TARGET}: what breaks another limit is not measured."
    assert said in front_figure(facts).caption
    assert said in html_from_studies([facts])
    both = study(trial(1, 80.0), broken(8, measured=True), broken(9, measured=True), chosen=1, limits=limits)
    assert drawn(both, strip)[f"latency on {TARGET}"] == [3.0, 3.0]
    assert drawn(both, strip)["parameters"] == [800, 900]
    assert "Crosses in the strip broke a limit and were never trained." in front_figure(both).caption
    assert "not in the picture" not in front_figure(both).caption


def test_what_was_tried_ahead_of_need_is_in_no_count_nor_picture() -> None:
    """Their number depends on how many workers there were; no decision has read them, and they have no number of a trial."""
    control = trial(4, 70.0)
    control = msgspec.structs.replace(control, candidate=msgspec.structs.replace(control.candidate, phase=CONTROL))
    read = (trial(1, 80.0), broken(8, measured=True), control)
    ahead = [msgspec.structs.replace(one, number=None) for one in (trial(5, 81.0), broken(9, measured=True), control)]
    limits = Limits(params=500)
    alone, more = study(*read, chosen=1, limits=limits), study(*read, *ahead, chosen=1, limits=limits)
    assert more.control == alone.control
    assert front_figure(more).caption == front_figure(alone).caption
    assert front_figure(more).alt == front_figure(alone).alt
    assert drawn(more, "infeasible, not trained") == drawn(alone, "infeasible, not trained")
    (_, told), *others = found(more)
    assert (told, found(alone)[0][1]) == ("2 networks, and 2 ahead of need", "2 networks")
    assert others == found(alone)[1:]
    assert obtained(more) == obtained(alone)


# ---------------------------------------------------------------- several targets


TARGETS = {"profiles": ("host-cpu", TARGET, "raspberry-pi-5")}


def on_targets(one: Trial, measured: float | None = None) -> Trial:
    """On three targets; the first one asked for was measured, which comes last in what is known of a trial."""
    latencies = {
        **one.cost.latencies,
        "raspberry-pi-5": Latency(2.0, "datasheet", "raspberry-pi-5"),
        "host-cpu": Latency(9.0, "measured", "host-cpu", energy_mj=measured),
    }
    return msgspec.structs.replace(one, cost=msgspec.structs.replace(one.cost, latencies=latencies))


def test_latencies_stand_in_the_order_of_the_targets_and_under_their_names() -> None:
    facts = study(on_targets(trial(1, 90.0)), broken(9, measured=True), chosen=1, record=TARGETS)
    told = [(figure["name"].split(",")[0], figure["value"]) for figure in merit(facts) if figure["unit"] == "ms"]
    assert told == [("host-cpu", "9.00"), (TARGET, "1.00")]
    table = ledger(facts)
    first = table["header"].index("ms on host-cpu")
    assert table["header"][first : first + 3] == ["ms on host-cpu", f"ms on {TARGET}", "ms on raspberry-pi-5"]
    assert [row[first : first + 3] for row in table["rows"]] == [
        ["9.000", "1.000 (0.8 to 1.25)", "2.000"],
        ["-", "3.000 (2.4 to 3.75)", "-"],
    ]
    panel = content_from_studies([facts]).data["trials"]["s1"]["1"]
    assert [name for name, _ in panel if name.startswith("latency")] == [
        "latency, host-cpu",
        f"latency, {TARGET}",
        "latency, raspberry-pi-5",
    ]
