import subprocess
import sys
from pathlib import Path

from edgenas.runtimes.child import child_environment
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


def test_a_study_that_is_named_twice_is_shown_once(tmp_path: Path) -> None:
    published_study(tmp_path / "studies" / "cifar10", finished=False)
    document = edgenas_json("report", "cifar10", "studies/cifar10", folder=tmp_path)
    assert len(document["studies"]) == 1
    assert document["report"] == "report.html"


def test_a_page_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = published_study(tmp_path / "cifar10")
    line = refusal("report", str(folder), "--out", str(tmp_path / "missing" / "page.html"))
    assert "page.html: No such file or directory: choose another place" in line


def test_a_disk_that_fills_leaves_the_page_that_was_there(tmp_path: Path) -> None:
    """As `ulimit -f` ends it: the page is larger than a process may write."""
    folder = published_study(tmp_path / "cifar10")
    page = tmp_path / "page.html"
    page.write_text("the good page")
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from edgenas.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "report", str(folder), "--out", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=child_environment())
    assert done.returncode == 1
    assert f"cannot write {page}: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert page.read_text() == "the good page"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar10", "page.html"]
