"""Studies -> one HTML page that needs nothing else: no network, no other file, no second click."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from edgenas.errors import MissingExtraError, pip_line
from edgenas.report import origins, tables, tables_good, words
from edgenas.report.answers.good import goodness
from edgenas.report.answers.limit import met_limits
from edgenas.report.answers.more import more_budget
from edgenas.report.answers.onward import next_commands
from edgenas.report.answers.ship import shipped
from edgenas.report.beside import fairness_words
from edgenas.report.facts import Facts, compared
from edgenas.report.figure import Figure
from edgenas.report.figures_front import front_figure
from edgenas.report.figures_more import curves_figure, progress_figure
from edgenas.report.figures_network import network_figure, scatter_figure
from edgenas.report.figures_search import ladder_figure, micro_figure, rounds_figure
from edgenas.report.network import stages_of
from edgenas.report.several import compared_studies, told_apart
from edgenas.report.shown import architecture_shown, cost_shown, is_another
from edgenas.report.typeset import coded, command, is_number, kept, path, whole
from edgenas.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = resources.files("edgenas.report").joinpath("page")
THEME = """document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";"""


class Figures:
    """Gives figures page-wide names and keeps them for the page's script."""

    def __init__(self) -> None:
        self.by_name: dict[str, Figure] = {}

    def add(self, prefix: str, figure: Figure) -> Figure:
        figure = dataclasses.replace(figure, name=f"{prefix}-{figure.name}")
        self.by_name[figure.name] = figure
        return figure

    def added(self, prefix: str, *figures: Figure | None) -> list[Figure]:
        return [self.add(prefix, figure) for figure in figures if figure is not None]


@dataclasses.dataclass(frozen=True)
class Content:
    """What changes on a page while a search runs: the body of `main`, and what its script draws."""

    title: str
    main: str
    data: dict[str, Any]


def html_from_studies(studies: Sequence[Facts]) -> str:
    """The whole page. Raises MissingExtraError where Plotly or Jinja is not installed."""
    return html_from_content(content_from_studies(studies), scripts_of())


def html_from_content(content: Content, scripts: Mapping[str, str], *, tag: str = "", trouble: str = "") -> str:
    """The page around a content. `tag`: what its server calls it, "" for a page that asks no server; `trouble`: what keeps the
    server from reading the newest state."""
    from markupsafe import Markup

    return (
        _environment()
        .from_string(PAGE.joinpath("page.html").read_text())
        .render(
            title=content.title,
            version=__version__,
            tag=tag,
            trouble=trouble,
            policy=content_policy(scripts.values(), live="live" in scripts),
            main=Markup(content.main),
            data=Markup(_script_json(content.data)),
            css=Markup(PAGE.joinpath("page.css").read_text()),
            scripts={name: Markup(script) for name, script in scripts.items()},
        )
    )


def scripts_of(*, live: bool = False) -> dict[str, str]:
    """The page's scripts by name. `live`: with that which asks its server for what is new."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(f"a report needs {error.name}: {pip_line('report')}") from None
    names = ("page", "live") if live else ("page",)
    return {"theme": THEME, "plotly": str(get_plotlyjs())} | {n: PAGE.joinpath(f"{n}.js").read_text() for n in names}


def content_from_studies(studies: Sequence[Facts]) -> Content:
    """The part of the page that says something about the studies."""
    environment = _environment()
    figures = Figures()
    studies = told_apart(studies)
    described = [_described(f"s{index}", facts, figures) for index, facts in enumerate(studies, start=1)]
    several = None
    if len(studies) > 1:
        found = compared_studies(studies)
        figure = None if found.figure is None else figures.add("all", found.figure)
        several = {"sentences": found.sentences, "table": found.table, "figure": figure}
    main = environment.from_string(PAGE.joinpath("main.html").read_text()).render(
        studies=described, several=several, written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    )
    return Content(f"{', '.join(facts.name for facts in studies)} · EdgeNAS", main, _page_data(studies, figures))


def content_policy(scripts: Iterable[str], *, live: bool = False) -> str:
    """The Content-Security-Policy of a page with these scripts and no other, which loads nothing from anywhere."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    own = " connect-src 'self';" if live else ""
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:;{own} base-uri 'none'; "
        "form-action 'none'"
    )


def _environment() -> Environment:
    """Templates that escape whatever a study holds."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise MissingExtraError(f"a report needs {error.name}: {pip_line('report')}") from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(coded=coded, command=command, kept=kept, path=path, whole=whole, is_number=is_number)
    return environment


def _described(key: str, facts: Facts, figures: Figures) -> dict[str, Any]:
    """Everything that the template prints of one study, in the order of a person's questions."""
    return {
        "id": key,
        "name": facts.name,
        "finished": facts.choice is not None,
        "headline": words.headline(facts),
        "lede": words.lede(facts),
        "figures_of_merit": words.merit(facts),
        "met": met_limits(facts),
        "good": _good(facts),
        "ship": shipped(facts),
        "front": figures.add(key, front_figure(facts)) if facts.complete else None,
        "front_table": tables.front_table(facts),
        "more": more_budget(facts),
        "more_figures": figures.added(key, progress_figure(facts), curves_figure(facts.final) if facts.final else None),
        "next": next_commands(facts),
        **_evidence(key, facts, figures),
    }


def _good(facts: Facts) -> dict[str, Any]:
    """The second question: sentences, then tables and pictures of the network that would be exported."""
    found: dict[str, Any] = {"sentences": goodness(facts), "finals": tables.finals_table(facts)}
    found |= {"comparison": tables.comparison_table(facts), "fairness": fairness_words(facts)}
    final = facts.final or (facts.finals[-1] if facts.finals else None)
    found["classes"] = final and tables_good.classes_table(final)
    found["matrix"] = final and tables_good.matrix(final)
    found["confusions"] = final and tables_good.confusions_table(final)
    found["faces"] = final and tables_good.verification_table(final)
    found["baselines"] = tables_good.baselines_words(final) if final else ""
    found["mistakes"], found["mistakes_words"] = tables_good.mistakes(facts, final) if final else ([], "")
    return found


def _evidence(key: str, facts: Facts, figures: Figures) -> dict[str, Any]:
    """What stands behind the answers: the network, the search as it happened, where numbers come from."""
    pairs = compared(facts)
    searched = figures.added(
        key,
        ladder_figure(facts, "depth"),
        ladder_figure(facts, "width"),
        micro_figure(facts, facts.seed_noise),
        rounds_figure(facts),
    )
    return {
        "asked": origins.asked(facts),
        "found": origins.found(facts),
        "search": searched,
        "rounds": tables.rounds_table(facts),
        "network": _network(key, facts, figures),
        "trust": origins.trust_words(facts),
        "scatter": figures.add(key, scatter_figure(pairs)) if pairs else None,
        "scatter_words": origins.scatter_words(pairs) if pairs else origins.no_scatter_words(facts),
        "obtained": origins.obtained(facts),
        "settings": origins.settings(facts),
        "ledger": tables.ledger(facts),
    }


def _network(key: str, facts: Facts, figures: Figures) -> dict[str, Any] | None:
    cost, architecture = cost_shown(facts), architecture_shown(facts)
    if cost is None or architecture is None:
        return None
    precision = facts.study.precision
    stages = stages_of(architecture, facts.profile(facts.study.profiles[0]), precision)
    return {
        "title": _title(facts),
        "words": words.network_sentence(facts, cost, stages),
        "figure": figures.add(key, network_figure(stages, precision)),
        "stages": tables.stages_table(stages, precision),
        "kernels": tables.kernels_table(stages, precision),
    }


def _title(facts: Facts) -> str:
    if is_another(facts):
        return "The network that was trained in full"
    return "The chosen network" if facts.choice else "The best network so far"


def _page_data(studies: Sequence[Facts], figures: Figures) -> dict[str, Any]:
    """What the page's script draws and shows."""
    return {
        "figures": {
            name: {"views": [{"data": view.data, "layout": view.layout} for view in figure.views]}
            for name, figure in figures.by_name.items()
        },
        "trials": {
            f"s{index}": {
                str(trial.number): words.trial_facts(trial, facts.study)
                for trial in facts.trials
                if trial.number is not None
            }
            for index, facts in enumerate(studies, start=1)
        },
    }


def _script_json(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
