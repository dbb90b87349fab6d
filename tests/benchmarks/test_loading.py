"""Memory of a command and its workers does not follow the number of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.loading import PROJECT, ROOT, Watched, generate, rows_decoded

FEW, MANY, SIZE = 60, 4000, 128
PIXELS_MB = MANY * SIZE * SIZE * 3 / 1e6  # 197 MB, of which no process may hold a copy


@pytest.mark.slow
def test_caching_and_searching_many_images_take_the_memory_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peaks over all processes, anonymous and shared; both with two workers and the same batches."""
    peaks = {}
    for count in (FEW, MANY):
        here = tmp_path / str(count)
        generate(here / "pics", count, (160, 120), processes=1)
        monkeypatch.setenv("EDGENAS_CACHE", str(here / "cache"))
        cached = Watched(["data", str(here / "pics"), "--image-size", str(SIZE)], here, ROOT).result()
        assert rows_decoded(here / "cache") == count
        project = here / "project.toml"
        text = PROJECT.format(images=here / "pics", size=SIZE, searched=40).replace("trials = 4", "trials = 2")
        project.write_text(text)
        searched = Watched(["search", str(project), "--study", "s", "--workers", "2"], here, ROOT).result()
        assert searched["processes"] >= 3  # a process may have a child for a moment
        peaks[count] = [each["peak_anonymous_and_shared_mb"] for each in (cached, searched)]
    for few, many in zip(peaks[FEW], peaks[MANY], strict=True):
        assert many < few + 0.6 * PIXELS_MB, peaks
