"""Studies -> one HTML page that needs nothing else: no network, no other file, no second click."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from typing import Any

from edgenas.errors import MissingExtraError
from edgenas.report import tables, words
from edgenas.report.facts import Facts, compared, noise
from edgenas.report.figure import Figure
from edgenas.report.figures_front import compared_fronts, front_figure, tar_figure
from edgenas.report.figures_network import network_figure, scatter_figure
from edgenas.report.figures_search import ladder_figure, micro_figure, rounds_figure, timeline_figure
from edgenas.report.network import stages_of
from edgenas.version import __version__


class Figures:
    """Gives figures page-wide names and keeps them for the page's script."""

    def __init__(self) -> None:
        self.by_name: dict[str, Figure] = {}

    def add(self, prefix: str, figure: Figure) -> Figure:
        figure = dataclasses.replace(figure, name=f"{prefix}-{figure.name}")
        self.by_name[figure.name] = figure
        return figure


def html_from_studies(studies: Sequence[Facts]) -> str:
    """The whole page. Raises MissingExtraError where Plotly or Jinja is not installed."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(f"a report needs {error.name}: pip install 'edgenas[report]'") from None
    figures = Figures()
    described = [_described(f"s{index}", facts, figures) for index, facts in enumerate(studies, start=1)]
    side_by_side = None
    if len(studies) > 1:
        figure = figures.add("all", compared_fronts(studies))
        side_by_side = tables.side_by_side(studies) | {"figure": figure}
    folder = resources.files("edgenas.report").joinpath("page")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        folder.joinpath("page.html").read_text()
    )
    return template.render(
        title=f"{', '.join(facts.name for facts in studies)} · EdgeNAS",
        version=__version__,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        studies=described,
        compared=side_by_side,
        data=Markup(_script_json(_page_data(studies, figures))),
        css=Markup(folder.joinpath("page.css").read_text()),
        js=Markup(folder.joinpath("page.js").read_text()),
        plotly=Markup(get_plotlyjs()),
    )


def _described(key: str, facts: Facts, figures: Figures) -> dict[str, Any]:
    """Everything that the template prints of one study."""
    spread = noise(facts)
    searched = [ladder_figure(facts, "depth"), ladder_figure(facts, "width"), micro_figure(facts, spread)]
    searched += [rounds_figure(facts), timeline_figure(facts), tar_figure(facts)]
    pairs = compared(facts)
    return {
        "id": key,
        "name": facts.name,
        "finished": facts.choice is not None,
        "headline": words.headline(facts),
        "lede": words.lede(facts),
        "figures_of_merit": words.merit(facts),
        "asked": words.asked(facts),
        "found": words.found(facts),
        "front": figures.add(key, front_figure(facts)) if facts.complete else None,
        "front_table": tables.front_table(facts),
        "search": [figures.add(key, figure) for figure in searched if figure is not None],
        "rounds": tables.rounds_table(facts),
        "network": _network(key, facts, figures),
        "finals": tables.finals_table(facts),
        "classes": tables.classes_table(facts),
        "comparison": tables.comparison_table(facts),
        "verdicts": words.verdicts(facts),
        "trust": words.trust_words(facts),
        "scatter": figures.add(key, scatter_figure(pairs)) if pairs else None,
        "scatter_words": words.scatter_words(pairs) if pairs else words.no_scatter_words(facts),
        "obtained": words.obtained(facts),
        "settings": words.settings(facts),
        "ledger": tables.ledger(facts),
    }


def _network(key: str, facts: Facts, figures: Figures) -> dict[str, Any] | None:
    trial = facts.best
    if trial is None:
        return None
    precision = facts.study.precision
    stages = stages_of(trial.candidate.architecture, facts.profile(facts.study.profiles[0]), precision)
    return {
        "title": "The chosen network" if facts.choice else "The best network so far",
        "words": words.network_sentence(facts, trial, stages),
        "figure": figures.add(key, network_figure(stages, precision)),
        "stages": tables.stages_table(stages, precision),
        "kernels": tables.kernels_table(stages, precision),
    }


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
