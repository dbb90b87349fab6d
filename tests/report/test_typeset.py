"""Where a line of the page may be broken."""

from __future__ import annotations

import html
import re

import pytest

from edgenas.records import ACCURACY, TAR
from edgenas.report.typeset import coded, command, is_number, kept, path, whole
from edgenas.report.values import data_words, metric_words

KEPT = "\u00a0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("95 % interval 38.3 to 49.5", f"95{KEPT}% interval 38.3 to 49.5"),
        ("sure (90 %), 0.4 ms", f"sure (90{KEPT}%), 0.4{KEPT}ms"),
        ("27.00 (21.3 to 33.5)", f"27.00 (21.3{KEPT}to{KEPT}33.5)"),
        ("48 × 48 px", f"48{KEPT}×{KEPT}48{KEPT}px"),
        ("83.28 ± 0.42", f"83.28{KEPT}±{KEPT}0.42"),
        ("1 point, 2 points", f"1{KEPT}point, 2{KEPT}points"),
        ("10 classes, 3 pxs", "10 classes, 3 pxs"),
    ],
)
def test_numbers_stay_with_their_units_and_intervals_on_one_line(text: str, shown: str) -> None:
    assert kept(text) == shown


def test_names_with_hyphens_and_words_of_commands_are_broken_nowhere_inside() -> None:
    assert whole("for jetson-orin-nano at <1 ms") == (
        f'for <span class="whole">jetson-orin-nano</span> at &lt;1{KEPT}ms'
    )
    assert command("train --seeds 3") == " ".join(f'<span class="whole">{w}</span>' for w in ("train", "--seeds", "3"))


def test_code_and_text_of_a_sentence_are_escaped() -> None:
    assert coded("a <b> `x <y>` 3 %") == (
        'a &lt;b&gt; <code><span class="whole">x</span> <span class="whole">&lt;y&gt;</span></code> 3\u00a0%'
    )


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        (
            "Run `edgenas train 'my`study'` or `edgenas front \"it`s\"`.",
            ["edgenas train 'my`study'", 'edgenas front "it`s"'],
        ),
        ("Class “it`s” is called “a `b` c”; `edgenas train x` again", ["edgenas train x"]),
        ("trained on my`data: (`edgenas compare`) tries; mine`", ["edgenas compare"]),
        ("`one`, `two`; no code", ["one", "two"]),
    ],
)
def test_backticks_in_names_make_no_code_and_end_none(sentence: str, code: list[str]) -> None:
    page = coded(sentence)
    found = [html.unescape(re.sub("<[^>]+>", "", one)) for one in re.findall("<code>(.*?)</code>", page)]
    assert found == code
    left = sentence
    for one in code:
        left = left.replace(f"`{one}`", one)
    assert html.unescape(re.sub("<[^>]+>", "", page)) == left


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("33,650", True),
        ("43.3", True),
        ("6.8 min", True),
        ("1e-3", True),
        ("-", True),
        ("depth 6", False),
        ("0.4 ms (0.1 to 2)", False),
    ],
)
def test_a_cell_of_a_number_alone_is_known(cell: str, number: bool) -> None:
    assert is_number(cell) is number


def test_a_path_is_broken_behind_its_slashes_and_escaped() -> None:
    assert path("a/<b>.png") == "a/<wbr>&lt;b&gt;.png"
    assert command("--out a/b") == '<span class="whole">--out</span> <span class="whole">a/<wbr>b</span>'


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("/home/me/cells/split-1", "cells/split-1"),
        ("photos", "photos"),
        ("../data/a/b", "../data/a/b"),
        ("/photos", "/photos"),
    ],
)
def test_sentences_name_data_shortly(data: str, shown: str) -> None:
    assert data_words(data) == shown


def test_verification_is_called_tar_as_people_write_it() -> None:
    assert (metric_words(TAR), metric_words(ACCURACY)) == ("TAR", "accuracy")
