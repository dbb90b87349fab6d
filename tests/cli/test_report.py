from pathlib import Path

from tests.cli.edgenas import edgenas_json, refusal
from tests.report.studies import published_study


def test_a_report_is_written_where_asked_and_summed_up_as_json(tmp_path: Path) -> None:
    published_study(tmp_path / "studies" / "cifar10")
    document = edgenas_json("report", "cifar10", "--out", "page.html", folder=tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert document["report"] == "page.html"
    assert document["size_mb"] == round(len(page.encode()) / 1e6, 3)
    (study,) = document["studies"]
    assert study["chosen"]["params"] == 409_714
    assert study["infeasible"] == 1


def test_a_page_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "cifar10")
    line = refusal("report", str(folder), "--out", str(tmp_path / "missing" / "page.html"))
    assert "cannot be written: No such file or directory: choose another --out" in line
