"""scripts/elpv.py, ELPV's package as class folders, by its command line: a small package of the same layout, and the real one."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.preprocessing import pixels_from_image
from edgenas.records import Preprocessing

ROOT = Path(__file__).parents[1]
# (probability, type, how many): the published strata are the same, with other counts
STRATA = (("0.0", "mono", 8), ("0.3333333333333333", "poly", 4), ("0.6666666666666666", "mono", 4), ("1.0", "poly", 12))


def elpv(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/elpv.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as `pip install --target` leaves it."""
    images = tmp_path / "site/elpv_dataset/data/images"
    images.mkdir(parents=True)
    rng, lines = np.random.default_rng(0), []
    for probability, kind, count in STRATA:
        for _ in range(count):
            name = f"cell{len(lines) + 1:04}.png"
            Image.fromarray(rng.integers(0, 256, (30, 30), dtype=np.uint8)).save(images / name)
            lines.append(f"images/{name}  {probability:18}  {kind}")
    (images.parent / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "site"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def of_classes(folder: Path) -> dict[str, set[str]]:
    return {label: names(folder / label) for label in ("defective", "functional")}


def test_every_split_takes_a_quarter_of_every_probability_of_every_type_for_the_test(
    site: Path, tmp_path: Path
) -> None:
    done = elpv(tmp_path / "out", "--package", site)
    assert (done.returncode, done.stdout) == (0, "")
    assert "28 images, 16 of them defective, in 5 splits" in done.stderr
    of_stratum = {f"cell{i + 1:04}.png": s for i, s in enumerate(s for s in STRATA for _ in range(s[2]))}
    tests = []
    for split in range(5):
        train, test = (of_classes(tmp_path / f"out/split-{split}" / part) for part in ("train", "test"))
        tests.append(test)
        assert Counter(of_stratum[name] for names in test.values() for name in names) == {s: s[2] // 4 for s in STRATA}
        everything = train["defective"] | test["defective"], train["functional"] | test["functional"]
        assert everything[0] == {name for name, stratum in of_stratum.items() if float(stratum[0]) > 0.5}
        assert everything[1] == {name for name, stratum in of_stratum.items() if float(stratum[0]) < 0.5}
        assert not (train["defective"] & test["defective"]) | (train["functional"] & test["functional"])
    assert all(one != other for place, one in enumerate(tests) for other in tests[:place])


def test_without_a_size_files_are_copied_and_the_same_command_draws_the_same_splits(site: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        assert elpv(tmp_path / out, "--package", site).returncode == 0
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert files == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.png"))
    for file in files[:3]:
        assert (tmp_path / "one" / file).read_bytes() == (site / "elpv_dataset/data/images" / file.name).read_bytes()


def test_with_a_size_pixels_are_those_that_a_search_would_see_of_the_originals(site: Path, tmp_path: Path) -> None:
    assert elpv(tmp_path / "out", "--package", site, "--image-size", "16").returncode == 0
    written = next((tmp_path / "out/split-0/train/defective").iterdir())
    how = Preprocessing(1, 16, (0.0,), (1.0,))
    with Image.open(site / "elpv_dataset/data/images" / written.name) as original:
        seen = pixels_from_image(original, how)[..., 0]
    with Image.open(written) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), seen)


@pytest.mark.parametrize(
    ("break_it", "arguments", "message"),
    [
        (str, ("--package", "nowhere"), "nowhere holds no elpv_dataset: pip install"),
        (str, (), "the package elpv-dataset is not installed: pip install"),
        (lambda site: (site / "elpv_dataset/data/labels.csv").unlink(), ("--package", "SITE"), "labels.csv is missing"),
        (lambda site: (site / "elpv_dataset/data/labels.csv").write_text(""), ("--package", "SITE"), "labels.csv is empty"),
        (lambda site: (site / "elpv_dataset/data/images/cell0003.png").unlink(), ("--package", "SITE"), "cell0003.png cannot"),
        (str, ("--package", "SITE", "--image-size", "7"), "--image-size 7: 8 to 512 px are possible"),
    ],
)  # fmt: skip
def test_what_is_missing_is_refused_in_a_line_and_nothing_is_left(break_it, arguments, message, site, tmp_path) -> None:
    break_it(site)
    done = elpv(tmp_path / "out", *(str(site) if word == "SITE" else word for word in arguments))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line", ["images/cell0001.png 1.0", "images/cell0001.png much mono", "images/cell0001.png 1.1 mono",
                                  "images/cell0001.png 1.0 thin"])  # fmt: skip
def test_a_line_that_is_no_label_is_named(line: str, site: Path, tmp_path: Path) -> None:
    labels = site / "elpv_dataset/data/labels.csv"
    labels.write_text(labels.read_text() + line + "\n")
    done = elpv(tmp_path / "out", "--package", site)
    assert done.returncode == 1
    assert f"line {len(labels.read_text().splitlines())}: {line!r}" in done.stderr


def test_a_folder_with_something_in_it_is_refused_and_an_interrupted_conversion_begins_anew(site, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "out.part/split-0/train/other").mkdir(parents=True)
    assert elpv(out, "--package", site).returncode == 0
    assert names(out / "split-0/train") == {"defective", "functional"}
    again = elpv(out, "--package", site)
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)


@pytest.mark.slow
def test_the_real_package_has_the_published_counts(tmp_path: Path) -> None:
    site = os.environ.get("ELPV_PACKAGE")
    if not site:
        pytest.skip("the package elpv-dataset is not here (set ELPV_PACKAGE to the folder it was installed into)")
    assert elpv(tmp_path / "out", "--package", site, "--image-size", "8").returncode == 0
    counts = {
        f"{part}/{label}": len(names(tmp_path / f"out/split-3/{part}/{label}"))
        for part in ("train", "test")
        for label in ("defective", "functional")
    }
    # 588, 920, 117, 178 functional and 56, 50, 313, 402 defective cells by probability and type: a quarter of each, rounded
    assert counts == {"train/defective": 617, "train/functional": 1353, "test/defective": 204, "test/functional": 450}
