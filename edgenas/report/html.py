"""Studies -> one HTML page that needs nothing else: no network, no other file, no second click."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from typing import Any

from edgenas import __version__
from edgenas.errors import MissingExtraError
from edgenas.report import sections
from edgenas.report.facts import Facts, compared, noise
from edgenas.report.figure import Figure
from edgenas.report.figures_front import compared_fronts, front_figure, tar_figure
from edgenas.report.figures_network import network_figure, scatter_figure
from edgenas.report.figures_search import ladder_figure, micro_figure, rounds_figure, timeline_figure
from edgenas.report.network import stages_of


class Gallery:
    """Hands out figures under page-wide names and keeps them for the page's script."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}

    def hang(self, prefix: str, figure: Figure) -> Figure:
        figure = dataclasses.replace(figure, name=f"{prefix}-{figure.name}")
        self.figures[figure.name] = figure
        return figure


def html_from_studies(studies: Sequence[Facts]) -> str:
    """The whole page. Raises MissingExtraError where Plotly or Jinja is not installed."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError(f"a report needs {error.name}: pip install 'edgenas[report]'") from None
    gallery = Gallery()
    described = [_described(f"s{index}", facts, gallery) for index, facts in enumerate(studies, start=1)]
    side_by_side = None
    if len(studies) > 1:
        figure = gallery.hang("all", compared_fronts(studies))
        side_by_side = sections.side_by_side(studies) | {"figure": figure}
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
        data=Markup(_script_json(_page_data(studies, gallery))),
        css=Markup(folder.joinpath("page.css").read_text()),
        js=Markup(folder.joinpath("page.js").read_text()),
        plotly=Markup(get_plotlyjs()),
    )


def _described(key: str, facts: Facts, gallery: Gallery) -> dict[str, Any]:
    """Everything that the template prints of one study."""
    spread = noise(facts)
    searched = [ladder_figure(facts, "depth"), ladder_figure(facts, "width"), micro_figure(facts, spread)]
    searched += [rounds_figure(facts), timeline_figure(facts), tar_figure(facts)]
    pairs = compared(facts)
    return {
        "id": key,
        "name": facts.name,
        "finished": facts.choice is not None,
        "headline": sections.headline(facts),
        "lede": sections.lede(facts),
        "figures_of_merit": sections.merit(facts),
        "asked": sections.asked(facts),
        "found": sections.found(facts),
        "front": gallery.hang(key, front_figure(facts)) if facts.complete else None,
        "front_table": sections.front_table(facts),
        "search": [gallery.hang(key, figure) for figure in searched if figure is not None],
        "rounds": sections.rounds_table(facts),
        "network": _network(key, facts, gallery),
        "finals": sections.finals_table(facts),
        "trust": sections.trust_words(facts),
        "scatter": gallery.hang(key, scatter_figure(pairs)) if pairs else None,
        "scatter_words": sections.scatter_words(pairs) if pairs else sections.no_scatter_words(facts),
        "obtained": sections.obtained(facts),
        "settings": sections.settings(facts),
        "ledger": sections.ledger(facts),
    }


def _network(key: str, facts: Facts, gallery: Gallery) -> dict[str, Any] | None:
    trial = facts.best
    if trial is None:
        return None
    precision = facts.study.precision
    stages = stages_of(trial.candidate.architecture, facts.profile(facts.study.profiles[0]), precision)
    return {
        "title": "The chosen network" if facts.choice else "The best network so far",
        "words": sections.network_sentence(facts, trial, stages),
        "figure": gallery.hang(key, network_figure(stages, precision)),
        "stages": sections.stages_table(stages, precision),
        "kernels": sections.kernels_table(stages, precision),
    }


def _page_data(studies: Sequence[Facts], gallery: Gallery) -> dict[str, Any]:
    """What the page's script draws and shows."""
    return {
        "figures": {
            name: {"views": [{"data": view.data, "layout": view.layout} for view in figure.views]}
            for name, figure in gallery.figures.items()
        },
        "trials": {
            f"s{index}": {
                str(trial.number): sections.trial_facts(trial) for trial in facts.trials if trial.number is not None
            }
            for index, facts in enumerate(studies, start=1)
        },
    }


def _script_json(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can close the element or open a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
