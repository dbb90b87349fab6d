"""benchmarks/README.md is what the results say."""

from pathlib import Path

import pytest

from benchmarks import readme


def test_the_page_is_written_from_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = (readme.FOLDER / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(readme, "FOLDER", tmp_path)
    readme.write_readme()
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == there
    assert "latency, ms" not in there  # those of the table of methods were of a datasheet
