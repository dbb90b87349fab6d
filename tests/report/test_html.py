import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgenas.binomial import Validation, wilson
from edgenas.confusion import document_of_confusion
from edgenas.engine.plan import plan_json
from edgenas.engine.verdict import Competitor, compared
from edgenas.records import Decision, FinalRun, FinalTraining, Limits, Metric, Preprocessing, Trial
from edgenas.report.facts import Facts, read_facts
from edgenas.report.figures_front import front_figure
from edgenas.report.html import html_from_studies
from edgenas.report.words import merit
from edgenas.store import Store
from tests.report.studies import PLAN, TARGET, played_round, published_study, study_record, trained_in_full


class Text(HTMLParser):
    """The words of a page outside scripts and styles, and the elements that it is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.elements or self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)

    def __str__(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_data(page: str) -> dict[str, dict[str, object]]:
    match = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    decoded: dict[str, dict[str, object]] = json.loads(match[1])
    return decoded


def test_the_page_says_what_was_asked_found_and_how(tmp_path: Path) -> None:
    words = str(Text(html_from_studies([read_facts(published_study(tmp_path / "cifar10"))])))
    assert "A network of 409,714 parameters for jetson-nano-4gb, found by gnas on cifar10" in words
    assert "latency ≤ 10 ms" in words
    assert "1 broke a limit and were not trained" in words
    assert "The seed noise of these gains was not measured" in words
    assert "No kernel was timed" in words
    assert "edgenas 0.1.0" in words


def test_every_phase_of_the_search_has_its_chart(tmp_path: Path) -> None:
    figures = page_data(html_from_studies([read_facts(published_study(tmp_path / "cifar10"))]))["figures"]
    assert set(figures) == {"s1-front", "s1-progress", "s1-depth", "s1-width", "s1-micro", "s1-network"}


@pytest.mark.parametrize(
    ("cut", "differ"), [(0, "seed alone"), (1, "seed and in the cut of their training and validation images")]
)
def test_the_band_of_micro_decisions_says_in_what_its_trainings_differ(tmp_path: Path, cut: int, differ: str) -> None:
    folder = published_study(tmp_path / "again")
    with Store.write(folder) as store:
        trial = store.ledger()[0]
        candidate = msgspec.structs.replace(trial.candidate, repeat=1, cut=cut)
        score = trial.scores["val_accuracy"] - 2
        store.add(msgspec.structs.replace(trial, candidate=candidate, scores={"val_accuracy": score}))
        store.number(candidate.key)
    words = str(Text(html_from_studies([read_facts(folder)])))
    assert (
        "Band: ± 2.00 points, one standard deviation of the difference of two trainings that differ in their "
        f"{differ} (2 trainings of 1 network)."
    ) in words


def test_whatever_a_study_holds_is_text_on_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    folder = published_study(
        tmp_path / "evil", data=evil, plan=msgspec.Raw(msgspec.json.encode({"asked": {"recipe": evil}, evil: evil}))
    )
    with Store.write(folder) as store:
        trial = store.ledger()[0]
        candidate = msgspec.structs.replace(trial.candidate, repeat=3)
        store.add(msgspec.structs.replace(trial, candidate=candidate, status="infeasible", scores={}, error=evil))
        store.number(candidate.key)
    page = html_from_studies([read_facts(folder)])
    text = Text(page)
    assert evil in str(text)
    assert "img" not in {tag for tag, _ in text.elements}
    assert page.count("<script") == 1 + page.count("</script>") - 1
    assert "<img" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_a_study_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    with Store.create(tmp_path / "new", study_record()):
        pass
    words = str(Text(html_from_studies([read_facts(tmp_path / "new")])))
    assert "gnas on cifar10 for jetson-nano-4gb: nothing is trained yet" in words
    assert "not finished" in words


def test_a_page_is_written_while_the_search_runs(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "running", finished=False)
    with Store.write(folder):  # the search's own lock
        words = str(Text(html_from_studies([read_facts(folder)])))
    assert "5 networks so far" in words


def test_several_studies_stand_side_by_side(tmp_path: Path) -> None:
    facts = [read_facts(published_study(tmp_path / name)) for name in ("one", "two")]
    page = html_from_studies(facts)
    assert "2 studies side by side" in str(Text(page))
    assert {"all-compared", "s1-front", "s2-front"} <= set(page_data(page)["figures"])


def test_rounds_of_space_evolution_are_drawn_and_listed(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "nse")
    with Store.write(folder) as store:
        for number in (1, 2):
            store.put("round", f"{number:02d}", played_round(number))
    page = html_from_studies([read_facts(folder)])
    assert "s1-rounds" in page_data(page)["figures"]
    assert "N:2 R:2" in str(Text(page))


def test_a_final_training_is_told_with_its_spread(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "final")
    with Store.write(folder) as store:
        trial = store.ledger()[0]
        runs = tuple(
            FinalRun(seed, f"{seed}.safetensors", {"accuracy": score}, {"accuracy": 96.0}, 40, {}, {}, 10.0)
            for seed, score in ((1, 95.0), (2, 96.0), (3, 97.0))
        )
        preprocessing = Preprocessing(3, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
        recipe = msgspec.structs.replace(trial.candidate.recipe, epochs=48)
        net = trial.candidate.architecture
        final = FinalTraining(1, net, recipe, "cifar10", "accuracy", ("a",), preprocessing, 5, runs, 30.0)
        store.put("final", trial.candidate.key, final)
    words = str(Text(html_from_studies([read_facts(folder)])))
    assert (
        "Trained for 48 epochs on cifar10, trial 1 reaches 96.00 ± 1.00 % test accuracy (3 seeds, ± their standard deviation)."
        in words
    )
    facts = read_facts(folder)
    assert facts.best is not None
    assert merit(facts)[0]["name"].startswith("validation accuracy")  # trial 1 is not the chosen one
    chosen = dataclasses.replace(facts, finals=(msgspec.structs.replace(final, trial=facts.best.number),))
    assert merit(chosen)[0] == {"name": "test accuracy, 48 epochs", "value": "96.00", "unit": "%", "origin": ""}


def test_verification_of_faces_is_drawn_with_its_intervals(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "faces", task="faces", metric=Metric("tar"))
    with Store.read(folder) as store:
        trials = store.ledger()

    def verified(trial: Trial) -> Trial:
        tar = trial.scores.get("val_accuracy", 0.0)
        scores = {"val_tar": tar, "val_tar_low": tar - 2, "val_tar_high": tar + 3, "val_far": 0.01}
        return msgspec.structs.replace(trial, scores=scores if trial.status == "complete" else {})

    before = read_facts(folder)
    assert before.choice is not None
    choice = msgspec.structs.replace(before.choice, trial=verified(before.choice.trial))
    fields = {name: getattr(before, name) for name in before.__dataclass_fields__}
    facts = Facts(**{**fields, "trials": tuple(map(verified, trials)), "choice": choice})
    page = html_from_studies([facts])
    assert "TAR at FAR 0.01, %" in page
    view = page_data(page)["figures"]["s1-front"]["views"][0]  # type: ignore[index]
    bars = next(trace for trace in view["data"] if trace["name"] == "front")["error_y"]
    assert {round(bar, 6) for bar in bars["array"]} == {3.0}
    assert {round(bar, 6) for bar in bars["arrayminus"]} == {2.0}


def test_the_chosen_network_is_drawn_with_the_latency_of_its_profile(tmp_path: Path) -> None:
    facts = read_facts(published_study(tmp_path / "cifar10"))
    assert facts.best is not None
    figure = page_data(html_from_studies([facts]))["figures"]["s1-network"]["views"][0]  # type: ignore[index]
    microseconds = sum(sum(trace["y"]) for trace in figure["data"] if trace["yaxis"] == "y2")
    assert abs(microseconds / 1e3 - facts.best.cost.latencies[TARGET].ms) < 1e-9


DEGREES = Metric("mae", unit="deg", better="lower")


def estimated(trial: Trial) -> Trial:
    """As if half of its error in percent were one in degrees, with the interval that the task gave."""
    if trial.status != "complete":
        return trial
    error = round((100 - trial.scores["val_accuracy"]) / 2, 6)
    scores = DEGREES.trial_scores({"mae": error, "mae_low": error - 0.25, "mae_high": error + 0.5})
    return msgspec.structs.replace(trial, scores={**scores, "train_mae": error})


def in_degrees(facts: Facts) -> Facts:
    """The study as it were if it had been one of angles, with a final training."""
    assert facts.choice is not None

    def decided(decision: Decision) -> Decision:
        score, best = (None if v is None else -(100 - v) / 2 for v in (decision.score, decision.best))
        return msgspec.structs.replace(decision, score=score, best=best)

    trial = estimated(facts.choice.trial)
    run = FinalRun(1, "1.safetensors", {"mae": 2.25}, {"mae": 2.5}, 3, {}, {}, 9.0)
    net, recipe = trial.candidate.architecture, trial.candidate.recipe
    how = (net, recipe, "lines", "mae", (), Preprocessing(1, 16, (0.5,), (0.2,)), 5, (run,), 9.0)
    return dataclasses.replace(
        facts,
        trials=tuple(map(estimated, facts.trials)),
        decisions=tuple(map(decided, facts.decisions)),
        choice=msgspec.structs.replace(facts.choice, trial=trial),
        finals=(FinalTraining(trial.number or 0, *how, scored=DEGREES),),
    )


def test_an_error_in_degrees_is_shown_as_it_is_and_nothing_is_called_percent_or_accuracy(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "angle", task="angle", data="lines", metric=DEGREES)
    facts = in_degrees(read_facts(folder))
    page = html_from_studies([facts, facts])
    words, figures = str(Text(page)), json.dumps(page_data(page)["figures"])
    told = words.split("How far the latencies can be trusted")[0]
    assert not re.search(r"accuracy|error, %|\bTAR\b|(?<!\b95) %", told)
    assert "validation mae, deg (lower is better)" in words
    assert "reaches 2.25 deg test mae (1 seed)" in words
    assert merit(facts)[0] == {"name": f"test mae, {facts.finals[0].recipe.epochs} epochs", "value": "2.25", "unit": "deg",
                               "origin": ""}  # fmt: skip
    best = min(facts.complete, key=lambda t: t.scores["val_mae"])
    value = best.scores["val_mae"]
    assert f"{value:.4g} ({value - 0.25:.3g} to {value + 0.5:.3g})" in words
    view = front_figure(facts).views[0]
    assert view.layout["yaxis"]["title"]["text"] == "validation mae, deg (lower is better)"
    shown = next(t for t in view.data if t["name"] == "front")
    assert min(shown["y"]) == pytest.approx(value, abs=1e-3)
    assert set(shown["error_y"]["array"]) == {0.5}
    assert set(shown["error_y"]["arrayminus"]) == {0.25}
    assert "%{y:.2f} %" not in figures
    assert "%{y:.4~g} deg" in figures
    assert "gain over the best so far, deg" in figures
    ladder = page_data(page)["figures"]["s1-depth"]["views"][0]  # type: ignore[index]
    assert all(y > 0 for trace in ladder["data"] for y in trace["y"])
    assert "val neg mae" not in json.dumps(page_data(page))
    assert re.search(r'"val mae", "[0-9.]+ deg \(', json.dumps(page_data(page)))


def test_points_of_the_front_carry_their_95_percent_intervals_as_bars(tmp_path: Path) -> None:
    known = dataclasses.replace(PLAN, validation=Validation(5000, 10.0))
    facts = read_facts(published_study(tmp_path / "known", plan=plan_json(known)))
    front = next(t for t in front_figure(facts).views[0].data if t["name"] == "front")
    bars = front["error_y"]
    for y, up, down, text in zip(front["y"], bars["array"], bars["arrayminus"], front["text"], strict=True):
        low, high = wilson(y, 5000)
        assert (y - down, y + up) == pytest.approx((low, high), abs=1e-3)
        assert text == f" ({low:.1f} to {high:.1f})"
    old = read_facts(published_study(tmp_path / "unknown"))
    front = next(t for t in front_figure(old).views[0].data if t["name"] == "front")
    assert set(front["error_y"]["array"]) == {None}
    assert set(front["text"]) == {""}


def test_each_class_is_shown_of_the_seed_that_is_exported(tmp_path: Path) -> None:
    """Two seeds; the second one is the better on validation."""
    facts = read_facts(published_study(tmp_path / "cifar10"))
    assert facts.best is not None
    net, recipe = facts.best.candidate.architecture, facts.best.candidate.recipe
    matrices = (np.array([[8, 2], [5, 5]]), np.array([[9, 1], [2, 2]]))
    runs = tuple(
        FinalRun(
            seed,
            f"{seed}.safetensors",
            {"accuracy": 70.0},
            {"accuracy": 90.0 + seed},
            1,
            {},
            {},
            1.0,
            report=document_of_confusion(matrix, ("cat", "dog")),
        )
        for seed, matrix in enumerate(matrices)
    )
    preprocessing = Preprocessing(3, 32, (0.5,) * 3, (0.5,) * 3)
    final = FinalTraining(1, net, recipe, "cifar10", "accuracy", ("cat", "dog"), preprocessing, 5, runs, 30.0)
    words = str(Text(html_from_studies([dataclasses.replace(facts, finals=(final,))])))
    # recall 9 of 10 and 2 of 4, precision 9 of 11 and 2 of 3, F1 18/21 and 4/7
    assert "class test images recall, % precision, % F1, % cat 10 90.0 (59.6 to 98.2) 81.8 85.7 dog 4 50.0 (" in words
    assert ") 66.7 57.1 " in words
    earlier = msgspec.structs.replace(
        final, runs=(msgspec.structs.replace(runs[0], report={}),)
    )  # of an earlier version
    page = str(Text(html_from_studies([dataclasses.replace(facts, finals=(earlier,))])))
    assert "class test images" not in page


def test_public_networks_stand_beside_the_searched_one_with_the_sentence_that_judges(tmp_path: Path) -> None:
    folder = published_study(
        tmp_path / "compared",
        plan=plan_json(dataclasses.replace(PLAN, validation=Validation(5000, 10.0, Metric("accuracy", share=True)))),
    )
    with Store.write(folder) as store:
        cost = store.ledger()[0].cost
        latency = cost.latencies[TARGET]
        slow = msgspec.structs.replace(
            cost, params=4_000_000, latencies={TARGET: msgspec.structs.replace(latency, ms=9 * latency.ms)}
        )
        ours = Competitor("trial 7", (94.0,), (93.5, 94.5), cost, 60, 90.0, trial=7, validation=(93.0,))
        theirs = Competitor("torchvision:resnet18", (91.0,), (90.4, 91.5), slow, 8, 91.0, validation=(90.0,))
        found = compared(Metric("accuracy", share=True), 10_000, TARGET, [ours], [theirs])
        store.put("comparison", "comparison", found)
    ours_in_full = trained_in_full(folder, 94.0, 93.0)
    with Store.write(folder) as store:
        store.put("final", "7", ours_in_full)
    page = html_from_studies([read_facts(folder)])
    words = str(Text(page))
    assert "Beside public networks" in words
    assert found.sentence in words
    assert "torchvision:resnet18" in words
    assert "4,000,000" in words
    by_latency, by_parameters = page_data(page)["figures"]["s1-front"]["views"]  # type: ignore[index]
    public = next(trace for trace in by_latency["data"] if trace["name"] == "public networks")
    low, high = wilson(90.0, 5000)
    assert public["x"] == [9 * latency.ms]
    assert public["y"] == [90.0]
    assert public["error_y"]["array"] == [pytest.approx(high - 90, abs=1e-3)]
    assert public["error_y"]["arrayminus"] == [pytest.approx(90 - low, abs=1e-3)]
    public = next(trace for trace in by_parameters["data"] if trace["name"] == "public networks")
    assert public["x"] == [4_000_000]
    assert "Beside public networks" not in str(
        Text(html_from_studies([read_facts(published_study(tmp_path / "alone"))]))
    )


def test_macs_have_a_picture_and_a_line_where_they_are_limited_and_only_there(tmp_path: Path) -> None:
    free, limited = published_study(tmp_path / "free"), published_study(tmp_path / "limited", limits=Limits(mmacs=60.0))
    *_, last = page_data(html_from_studies([read_facts(free)]))["figures"]["s1-front"]["views"]  # type: ignore[index]
    assert last["layout"]["xaxis"]["title"]["text"] == "parameters"
    page = html_from_studies([read_facts(limited)])
    assert "MACs ≤ 60 M" in str(Text(page))
    *_, last = page_data(page)["figures"]["s1-front"]["views"]  # type: ignore[index]
    assert last["layout"]["xaxis"]["title"]["text"] == "multiply-accumulates, millions"
    assert last["layout"]["annotations"][0]["text"] == "limit 60"
    facts = read_facts(limited)
    drawn = {x for trace in last["data"] for x in trace["x"]}
    assert {trial.cost.macs / 1e6 for trial in facts.complete} <= drawn
