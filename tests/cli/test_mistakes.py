"""What is said of words that were meant otherwise: what was given, and what to give in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgenas.architectures.chain import LAYERS
from edgenas.engine.settings import PRESETS
from edgenas.training.recipes import recipe_names
from tests.cli.edgenas import edgenas, edgenas_json
from tests.trained_study import trained_study

NO_DATA = ("--data", "no/such")  # a search that gets this far has read its settings


def last(folder: Path, *arguments: str) -> str:
    """The line with which the command ends."""
    done = edgenas(*arguments, folder=folder)
    assert done.returncode in (1, 2)
    return done.stderr.strip().splitlines()[-1].removeprefix("edgenas: ")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with images, one with a bundle's model, one with neither, and project files."""
    (tmp_path / "my-images/a").mkdir(parents=True)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/model.onnx").write_bytes(b"")
    (tmp_path / "typo.toml").write_text("max_latencyms = 1.0\n")
    (tmp_path / "flag.toml").write_text("workers = 2\n")
    (tmp_path / "from.toml").write_text('from = "x"\n')
    (tmp_path / "strange.toml").write_text("zzz = 2\n")
    (tmp_path / "right.toml").write_text('max_latency_ms = 1.0\ndata = "no/such"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("search --max-latency-ms 0,5", "Error: Invalid value for '--max-latency-ms': '0,5' was given: it takes a number such as "
                                        "0.5"),
        ("search --budget 10min", "Error: Invalid value for '--budget': '10min' was given: it takes a number such as 0.5"),
        ("train --epochs 1.5", "Error: Invalid value for '--epochs': '1.5' was given: it takes a whole number such as 5"),
        ("search --preset big", "Error: Invalid value for '--preset': 'big' is not one of 'tiny', 't', 'm', 'trg'."),
        ("search --max-latency-ms 0.5 --budget 10 --data no/such", "there is no folder no/such"),
        ("search --target jetson,jetson-nano", "target 'jetson,jetson-nano': several targets are given one by one: "
                                               "--target jetson --target jetson-nano"),
        ("search --target jetson,jetsn", "unknown target 'jetson,jetsn': "),
        ("search --target jetson --target jetson-nano --data no/such", "there is no folder no/such"),
        ("search my-images", "my-images is a folder, and no project file (TOML): images are given by --data my-images"),
        ("search --margin 0.5", "there is no project file 0.5 (--margin takes no value): `edgenas init FILE` writes one"),
        ("search nothing.toml", "there is no project file nothing.toml: `edgenas init FILE` writes one"),
        ("search right.toml --margin", "there is no folder no/such"),
        ("search typo.toml", "typo.toml: unknown setting max_latencyms: did you mean max_latency_ms?: "),
        ("search from.toml", "from.toml: unknown setting from: did you mean from_study?: "),
        ("search flag.toml", "flag.toml: unknown setting workers: it does not decide what is searched, and is a flag: "
                             "--workers: "),
        ("search strange.toml", "strange.toml: unknown setting zzz: `edgenas search --help`"),
        ("search right.toml", "there is no folder no/such"),
        ("data /no/pictures", "there is no folder /no/pictures"),
        ("data ./pictures", "there is no folder pictures"),
        ("data pictures", "data set 'pictures' is unknown: digits, "),
        ("search --task faces --data no/people", "there is no folder no/people"),
        ("search --task faces --data people", "data 'people' is unknown: synthetic, "),
        ("predict bundle --target jetson", "bundle is a folder: name the file in it: bundle/model.onnx"),
        ("predict my-images --target jetson", "my-images is a folder: give a file (.onnx, .csv)"),
        ("describe bundle", "bundle is a folder: name the file in it: bundle/model.onnx"),
        ("bench bundle", "bundle is a folder: name the file in it: bundle/model.onnx"),
        ("bench my-images", "no study 'my-images' "),
        ("train my-net --data two", "my-net is no study, no architecture file (.json) and no published network (as "
                                    "mobilenet-v2)"),
        ("train my-images --data two", "my-images is a folder: give a file (.json)"),
        ("train mobilenet-v2 --data no/such", "there is no folder no/such"),
        ("train my-net", "no study 'my-net' "),
    ],
)  # fmt: skip
def test_a_word_that_was_meant_otherwise_is_told_with_what_to_give(arguments: str, line: str, here: Path) -> None:
    assert last(here, *arguments.split()).startswith(line)


def test_where_an_export_would_go_is_looked_at_before_anything_else(here: Path) -> None:
    """The study is not there either: what is refused first tells the order."""
    assert (
        last(here, "export", "none", "--out", "bundle")
        == "bundle is not empty and holds no bundle: choose another --out"
    )
    for flag, what in (("--triton", "Triton model"), ("--deepstream", "DeepStream configuration")):
        line = last(here, "export", "none", "--out", "new", flag, "typo.toml")
        assert line == f"typo.toml/new cannot be written: Not a directory: choose another {flag} folder"
        line = last(here, "export", "none", "--out", "bundles/my-images", flag, ".")
        assert line == f"my-images exists and is no {what}: choose another {flag} folder"
    both = last(here, "export", "none", "--out", "new/net", "--triton", "new")
    assert both == "--out would write new/net, --triton new/net: choose two folders, none in the other"
    for fine in ([], ["--triton", "repository"], ["--deepstream", "my-images"]):
        assert last(here, "export", "none", "--out", "new", *fine).startswith("no study 'none'")


def test_a_start_has_weights(tmp_path: Path) -> None:
    trained_study(tmp_path / "studies/digits")
    for name in ("torchvision:resnet18", "timm:resnet18"):
        line = last(tmp_path, "train", "digits", "--start", name)
        assert line == f"--start needs trained weights: {name}=FILE.pth, or {name}=download"
    assert last(tmp_path, "train", "digits", "--start", "torchvision:resnet18=none.pth").startswith(
        "none.pth cannot be read"
    )


def test_published_networks_are_known_by_both_lists_of_names(tmp_path: Path) -> None:
    """Parameters as published: MobileNetV2 of torchvision has 3,504,872."""
    (one,) = edgenas_json("predict", "mobilenet-v2", "--target", "jetson", folder=tmp_path)
    assert (one["name"], one["params"]) == ("mobilenet-v2", 3_504_872)
    two = edgenas_json("describe", "torchvision:mobilenet_v2", "--target", "jetson", folder=tmp_path)
    assert two["params"] == one["params"]
    assert two["latency"]["ms"] == pytest.approx(one["ms"], rel=0.05)  # ReLU6 and the classifier are written otherwise
    half = edgenas_json("describe", "torchvision:mobilenet_v2", "--image-size", "112", folder=tmp_path)
    assert half["macs"] < two["macs"] / 3
    assert last(tmp_path, "predict", "mobilenet-v3", "--target", "jetson").startswith("mobilenet-v3 cannot be read")
    assert "torchvision has no network 'mobilnet'" in last(tmp_path, "describe", "torchvision:mobilnet")
    assert last(tmp_path, "predict", "mobilenet-v2", "--target", "jetson", "--image-size", "64").startswith(
        "--image-size is"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--board", "http://127.0.0.1:9"], "no token: "),
        (["--board", "gopher://board"], "board 'gopher://board': possible are "),
        (["--board", "ssh://board", "--target", "jetson", "--target", "jetson-nano"], "--board measures one target"),
        (["--board", "ssh://board", "--precision", "int8"], "boards measure candidates as "),
        (["--board", "ssh://board", "--ca", "ca.pem"], "--ca was given, and no board has a certificate"),
        (["--max-energy-mj", "2"], "a limit on energy needs a board"),
        (["--ca", "ca.pem"], "--ca was given without --board"),
    ],
)
def test_a_search_that_cannot_measure_leaves_no_study_behind(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGENAS_AGENT_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    said = last(tmp_path, "search", "--method", "random", *arguments)
    assert said.startswith(line), said
    assert not (tmp_path / "studies").exists()


def helped(folder: Path, command: str, option: str) -> str:
    """The option's part of the command's help, on one line."""
    text = " ".join(edgenas(command, "--help", folder=folder).stdout.split())
    *_, found = re.findall(rf" (--{option} .*?) --[a-z]", text)  # examples stand before the options
    return str(found).replace("- ", "-")


def test_help_says_what_presets_bound_and_which_recipes_there_are(tmp_path: Path) -> None:
    told = helped(tmp_path, "search", "preset")
    for name, one in PRESETS.items():
        numbers = rf"{one.min_depth}-{one.max_depth}, (?:width )?{one.min_width}-{one.max_width}"
        assert re.search(rf"\b{name}( \([^)]*\))?: (?:depth )?{numbers}", told), (name, told)
    own = {name for name in recipe_names() if not name.endswith("-faces") and name != "supernet"}
    for command in ("search", "train"):
        said = helped(tmp_path, command, "recipe")
        assert {name for name in own if re.search(rf"(?<![\w-]){name}(?![\w-])", said)} == own, said


def test_help_says_which_precision_is_served(tmp_path: Path) -> None:
    said = helped(tmp_path, "export", "precision")
    assert "the first one is served" in said
    assert "Limits on a Jetson are judged at fp16" in said


def test_a_space_says_what_its_numbers_mean(tmp_path: Path) -> None:
    chain = edgenas("space", "chain", "--image-size", "64x320", folder=tmp_path).stdout
    assert re.search(r"^op_0 to op_9 +0 separable, 1 dense$", chain, re.MULTILINE)
    assert [line.split("  ")[0] for line in chain.splitlines() if line.startswith("largest")] == [
        f"largest, {words}" for words in LAYERS.values()
    ]
    branches = edgenas("space", "multibranch", folder=tmp_path).stdout
    assert len(branches.splitlines()) < 40
    assert "none, one or two of 27 operations, as 3+17" in branches
    assert "depthwise 3x3, dilation 2, expansion 1, 3, 6" in branches
    whole = edgenas_json("space", "multibranch", folder=tmp_path)
    assert len(whole["choices"]["cell_0"].split(", ")) == 1 + 27 + 27 * 26 // 2  # the document has them all


def test_space_without_a_name_lists_the_spaces_where_no_nse_study_is_the_newest(tmp_path: Path) -> None:
    assert {"chain", "stages", "multibranch", "fbnet"} <= set(edgenas_json("space", folder=tmp_path)["spaces"])
    trained_study(tmp_path / "studies/digits")  # of method gnas
    assert "chain        layers one after another" in edgenas("space", folder=tmp_path).stdout
    assert "only nse evolves a space" in last(tmp_path, "space", "studies/digits")


def test_a_limit_that_only_its_margin_breaks_says_so(tmp_path: Path) -> None:
    """Chains of 8 px were never judged on a Jetson: the upper end is three times the figure."""
    asked = ("search", "--method", "random", "--target", "jetson", "--preset", "tiny", "--max-latency-ms")
    narrow = "; by the figure alone, without --margin, it does, and `edgenas calibrate --board URL` narrows intervals"
    assert last(tmp_path, *asked, "0.45", "--margin").endswith(narrow)
    for other in (["0.05", "--margin"], ["0.05"]):
        assert "narrows intervals" not in last(tmp_path, *asked, *other)
