"""docs/results/report.md says where the page answers each of ten questions: those places are there, under these names."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = (REPOSITORY / "edgenas/report/page/main.html").read_text()


def answers() -> list[tuple[str, list[str]]]:
    """(question, places) of the list's rows."""
    text = (REPOSITORY / "docs/results/report.md").read_text().split("## Ten questions")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+\. [^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    return [(question, re.findall(r"\*([^*]+)\*", where)) for question, where in rows]


def test_there_are_ten_and_each_names_a_heading_of_the_page() -> None:
    headings = [re.sub(r"<[^>]+>|\{\{.*?\}\}", "", h).strip() for h in re.findall(r"<h[23]>(.*?)</h[23]>", TEMPLATE)]
    found = answers()
    assert [question.split(".")[0] for question, _ in found] == [str(number) for number in range(1, 11)]
    for question, places in found:
        if not question.startswith("2."):  # "there": where the first is answered
            assert places, question
        assert set(places) <= set(headings), question


def test_each_is_held_by_a_test_of_a_real_study() -> None:
    held = (REPOSITORY / "tests/report/test_real_study.py").read_text()
    names = re.findall(r"def test_((?:\d+_(?:and_)?)+)", held)
    numbers = {int(number) for name in names for number in re.findall(r"\d+", name)}
    assert numbers == set(range(1, 11))
