"""Files from outside: bounded, regular, and one line for what they are not."""

import hashlib
import io
import json
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgenas
from edgenas.cli.main import app
from edgenas.engine.settings import settings_from
from edgenas.errors import EdgenasError
from edgenas.files import at_home, lost, read_bytes, read_npz, with_homes
from edgenas.hardware.profile import profile_from_name, toml_from_profile
from edgenas.remote.tls import client_context
from edgenas.remote.token import read_or_make_token, read_token, server_token
from edgenas.runtimes.tensorrt import cache_folder
from edgenas.tasks import TaskSettings, load_task
from edgenas.tasks.cache import cache_beside
from edgenas.tasks.datasets import data_root
from edgenas.training.recipes import recipe_from_name
from tests.cli.edgenas import refusal
from tests.damaged_images import only_so_much_memory_more
from tests.damaged_npz import DAMAGES, damaged_npz

DIGITS = "9" * 5000
HOSTILE = {
    "a number of 5,000 digits": f"epochs = {DIGITS}\n",
    "2,000 nested lists": "a = " + "[" * 2000 + "]" * 2000 + "\n",
    "2,000 nested tables": "a = " + "{a = " * 2000 + "1" + "}" * 2000 + "\n",
    "more than a megabyte of comment": "#" * 1_000_001,
    "a name of 300,000 dots": "a" + ".b" * 300_000 + " = 1\n",
    "no text": "\0\x01",
    "an unclosed string": 'a = "',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_toml_is_one_line_and_quick_as_profile_recipe_and_project_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(HOSTILE[kind])
    began = time.monotonic()
    for command in (["describe", "gnas-cifar10-t", "--target", str(path)], ["search", str(path)]):
        assert str(path) in refusal(*command)
    assert time.monotonic() - began < 60


def test_a_pipe_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, reason in (
        ("pipe.toml", "a pipe or a device"),
        ("folder.toml", "Is a directory"),
        ("none.toml", "No such file"),
    ):
        assert reason in refusal("describe", "gnas-cifar10-t", "--target", str(tmp_path / name))
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    assert "a pipe or a device" in refusal("describe", "gnas-cifar10-t", "--target", str(tmp_path / "zero.toml"))
    assert "is not a file" in refusal("describe", str(tmp_path / "zero.onnx"))
    assert "a pipe or a device" in refusal("predict", str(tmp_path / "zero.csv"), "--target", "jetson")
    assert "a pipe or a device" in refusal("describe", str(tmp_path / "zero.json"))
    assert "a pipe or a device" in refusal("replay", str(tmp_path / "zero.json"))
    out = str(tmp_path / "o.safetensors")
    assert "a pipe or a device" in refusal("nal", "fit", "--table", str(tmp_path / "zero.npz"), "--out", out)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000, '{"rows":' + "[" * 5_000 + "]" * 5_000 + "}"])
def test_deep_json_is_one_line(tmp_path: Path, deep: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(deep)
    for command in ("replay", "describe"):
        assert str(path) in refusal(command, str(path))


def test_a_file_at_the_bound_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1" * 1000)
    assert read_bytes(path, 1000) == b"1" * 1000
    with pytest.raises(EdgenasError, match=r"more than 0\.000999 MB"):
        read_bytes(path, 999)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, and the limit on the address space, are Linux's")
def test_a_file_takes_memory_for_what_it_holds_and_not_for_what_it_may(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1" * 1000)
    with only_so_much_memory_more(megabytes=100):
        assert read_bytes(path, 2 * 10**9) == b"1" * 1000
    status = read_bytes(Path("/proc/self/status"), 10**6)  # whose size is said to be 0
    assert status.startswith(b"Name:")
    assert b"voluntary_ctxt_switches" in status
    with pytest.raises(EdgenasError, match=r"more than 1e-05 MB"):
        read_bytes(Path("/proc/self/status"), 10)


# -------- tables of arrays


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # NumPy's stub has another keyword
    return path


def test_a_file_is_lost_where_it_is_gone_or_another_and_without_a_hash_only_where_it_is_gone(tmp_path: Path) -> None:
    path, sha256 = tmp_path / "w", hashlib.sha256(b"weights").hexdigest()
    for kept in (sha256, ""):
        assert lost(path, kept) == "cannot be read (No such file or directory)"
        path.write_bytes(b"weights")
        assert lost(path, kept) == ""
        path.write_bytes(b"weight")
        assert lost(path, kept) == ("is not the file that was written (its SHA-256 differs)" if kept else "")
        path.unlink()


def test_an_npz_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6).reshape(2, 3),
        "b": np.asfortranarray(np.ones((2, 3), np.float32)),
        "c": np.array("text"),
    }
    np.savez_compressed(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    found = read_npz(tmp_path / "x.npz", 10_000)
    assert list(found) == list(arrays)
    assert all(np.array_equal(found[key], arrays[key]) and found[key].dtype == arrays[key].dtype for key in arrays)


def test_an_npz_that_holds_or_promises_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, a=np.zeros(10**6))
    assert len(read_npz(bomb, 8 * 10**6 + 200)["a"]) == 10**6
    with pytest.raises(EdgenasError, match="unpacked it has more than"):
        read_npz(bomb, 8 * 10**6)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    with pytest.raises(EdgenasError, match=r"shape \(1000000000000,\) .* does not fit into 128 bytes"):
        read_npz(tmp_path / "lie.npz", 10**9)


def test_every_damaged_table_of_cells_is_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = {"ops": rng.integers(0, 5, (40, 6)).astype(np.uint8), "acc12_val_cifar10": rng.random(40).astype(np.float32),
             "op_names": np.array(["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"])}  # fmt: skip
    whole = saved(tmp_path / "whole.npz", **table).read_bytes()
    outcomes = set()
    for _ in range(50):
        broken = bytearray(whole)
        if rng.random() < 0.5:
            broken = broken[: rng.integers(0, len(broken))]
        else:
            broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        (tmp_path / "t.npz").write_bytes(broken)
        outcomes.add(fitted(tmp_path / "t.npz").split(" ", 1)[-1][:20])
    assert any("cannot be read" in outcome for outcome in outcomes)


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage != "other array"])
def test_whatever_is_damaged_in_a_table_of_cells_is_one_line(tmp_path: Path, damage: str) -> None:
    (tmp_path / "t.npz").write_bytes(damaged_npz("ops")[damage])
    assert "t.npz cannot be read" in fitted(tmp_path / "t.npz")


def fitted(table: Path) -> str:
    """The line with which `nal fit` refuses a table; a whole one is refused by its held-out share, which leaves no cell."""
    out = str(table.with_suffix(".safetensors"))
    return refusal("nal", "fit", "--table", str(table), "--out", out, "--max-params", "1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ops": np.full((40, 6), 9, np.uint8)}, "rows are no cells"),
        ({"ops": np.zeros((40, 5), np.uint8)}, "rows are no cells"),
        ({"op_names": np.array(["none", "conv"])}, "rows are no cells"),
        ({"acc12_val_cifar10": np.full(40, np.nan, np.float32)}, "something that is no number"),
        ({"acc12_val_cifar10": np.zeros(39, np.float32)}, "has no accuracies 'acc12_val_cifar10': it has none"),
    ],
)
def test_a_table_of_nonsense_is_refused_by_its_reason(
    tmp_path: Path, change: dict[str, np.ndarray], reason: str
) -> None:
    table = {"ops": np.ones((40, 6), np.uint8), "acc12_val_cifar10": np.ones(40, np.float32),
             "op_names": np.array(["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"])}  # fmt: skip
    assert reason in fitted(saved(tmp_path / "t.npz", **{**table, **change}))


# -------- numbers that cannot be


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"max_width": 0}, "$.space.max_width"),
        ({"max_depth": 1001}, "$.space.max_depth"),
        ({"kernels": [0]}, "$.space.kernels[0]"),
    ],
)
def test_a_trace_has_numbers_that_can_be(tmp_path: Path, change: dict[str, object], place: str) -> None:
    space = {"in_channels": 3, "num_outputs": 10, "image_size": 32, "max_width": 8, "min_width": 8, "width_step": 2,
             "min_depth": 4, "max_depth": 6, "kernels": [3, 5]}  # fmt: skip
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"method": "gnas", "space": {**space, **change}, "rows": []}))
    assert place in refusal("replay", str(path))


CHAIN = ('{{"type": "chain", "width": {width}, "depth": {depth}, "ops": {ops}, "kernels": {kernels}, "image_size": {side}, '
         '"in_channels": 3, "head": {{"kind": "classes", "count": {count}}}}}')  # fmt: skip


def chain(width: int = 8, depth: int = 3, kernel: int = 3, side: int = 32, count: int = 10) -> str:
    return CHAIN.format(width=width, depth=depth, ops=[0] * min(depth, 2000), kernels=[kernel] * min(depth, 2000), side=side,
                        count=count)  # fmt: skip


@pytest.mark.parametrize(
    ("last", "first", "place"),
    [
        ({"width": 1}, {"width": 0}, "$.width"),
        ({"width": 4096}, {"width": 65_537}, "$.width"),
        ({"depth": 1000}, {"depth": 1001}, "$.depth"),
        ({"kernel": 99}, {"kernel": 101}, "$.kernels[0]"),
        ({"side": 1024}, {"side": 16_385}, "$.image_size"),
        ({"side": 1}, {"side": 0}, "$.image_size"),
        ({"count": 10_000_000}, {"count": 10_000_001}, "$.head.count"),
        ({"count": 1}, {"count": -1}, "$.head.count"),
    ],
)
def test_an_architecture_has_numbers_that_can_be(
    tmp_path: Path, last: dict[str, int], first: dict[str, int], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(chain(**last))
    app(["describe", str(path)], standalone_mode=False)
    assert "parameters" in capsys.readouterr().out
    path.write_text(chain(**first))
    assert place in refusal("describe", str(path))
    (tmp_path / "t.csv").write_text('architecture\n"' + chain(**first).replace('"', '""') + '"\n')
    assert place in refusal("predict", str(tmp_path / "t.csv"), "--target", "jetson")


def test_a_network_that_is_too_large_as_a_whole_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(chain(width=65_536, depth=1000).replace("[0, ", "[1, "))
    assert "can be meant" in refusal("describe", str(path))
    (tmp_path / "t.csv").write_text("architecture\nconvnet_L1000_F65536_K3x3_W16384\n")
    assert "at most 1e+10" in refusal("predict", str(tmp_path / "t.csv"), "--target", "jetson")
    (tmp_path / "t.csv").write_text("architecture\nconvnet_L1001_F8_K3x3_W16\n")
    assert "at most 1000 layers" in refusal("predict", str(tmp_path / "t.csv"), "--target", "jetson")


PROFILE = toml_from_profile(profile_from_name("jetson"))


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("threads", "4096", "4097"),
        ("threads", "1", "0"),
        ("bandwidth_gb_s", "1e6", "1e308"),
        ("bandwidth_gb_s", "0.001", "nan"),
        ("bandwidth_gb_s", "0.001", "1e-300"),
        ("memory_mb", "1", "-inf"),
        ("launch_overhead_us", "1e6", "1e7"),
        ("error_band", "0.1", "-0.1"),
        ("onnx_opset", "7", "6"),
        ("batch_size", "1", "0"),
        ("compute_capability", '"8.7"', '"eight"'),
        ("usable_memory_mb", "1e9", "2e9"),
    ],
)
def test_a_profile_has_numbers_that_can_be(
    tmp_path: Path, key: str, good: str, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = "".join(line for line in PROFILE.splitlines(keepends=True) if not line.startswith(f"{key} ="))
    path = tmp_path / "p.toml"
    path.write_text(f"{key} = {good}\n{rest}")
    app(["describe", "gnas-cifar10-t", "--target", str(path)], standalone_mode=False)
    assert "ms on" in capsys.readouterr().out
    path.write_text(f"{key} = {bad}\n{rest}")
    line = refusal("describe", "gnas-cifar10-t", "--target", str(path))
    assert key in line
    assert str(path) in line


@pytest.mark.parametrize(
    "change", [("\nbase = ", "\nbass = "), ("\nbase = ", "\nbase = -"), ("\ndense2 = ", "\ndense2 = 1e300 #")]
)
def test_a_calibration_that_is_damaged_is_one_line(tmp_path: Path, change: tuple[str, str]) -> None:
    path = tmp_path / "p.toml"
    text = toml_from_profile(profile_from_name("jetson-nano"))
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1]))
    assert "the calibration in the profile is damaged" in refusal("describe", "gnas-cifar10-t", "--target", str(path))


RECIPE = {"epochs": "4", "batch_size": "64", "lr": "0.1"}


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("epochs", "1", "0"),
        ("epochs", "100000", "100001"),
        ("lr", "1000.0", "1e308"),
        ("lr", "1e-9", "nan"),
        ("batch_size", "1", "-5"),
        ("momentum", "0.999", "1.0"),
        ("weight_decay", "10.0", "inf"),
        ("clip_norm", "1e-3", "0.0"),
        ("warmup_epochs", "0.0", "-1.0"),
        ("ema", "0.5", "1.0"),
    ],
)
def test_a_recipe_has_numbers_that_can_be(tmp_path: Path, key: str, good: str, bad: str) -> None:
    task = load_task(TaskSettings("digits"))
    path = tmp_path / "r.toml"
    for value, fine in ((good, True), (bad, False)):
        path.write_text("".join(f"{name} = {number}\n" for name, number in {**RECIPE, key: value}.items()))
        if fine:
            assert recipe_from_name(str(path), task, "cpu").epochs >= 1
        else:
            with pytest.raises(EdgenasError, match=rf"recipe r: {key} = .*out of range: it must be"):
                recipe_from_name(str(path), task, "cpu")


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("epoch_scale = 1e308", "--epoch-scale "),
        ("max_latency_ms = 1e10", "--max-latency-ms "),
        ("max_depth = 1001", "--max-depth "),
        ("max_width = 65537", "--max-width "),
        ("search_images = 0", "--search-images "),
        ("confirm_seeds = 1001", "--confirm-seeds "),
        ("[rules]\ntrials = 0", "$.trials"),
        ("[rules]\nrepeats = 1.5", "$.repeats"),
    ],
)
def test_a_project_file_has_numbers_that_can_be(tmp_path: Path, line: str, place: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(line + "\n")
    assert place in refusal("search", str(path), "--study", str(tmp_path / "s"))


def test_a_path_that_begins_with_a_tilde_lies_in_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert at_home("~/x") == tmp_path / "x"
    assert at_home(Path("x/~/y")) == Path("x/~/y")
    monkeypatch.setenv("EDGENAS_CACHE", "~/kept")
    assert cache_beside() == tmp_path / "kept"
    assert cache_folder() == tmp_path / "kept/engines"
    monkeypatch.delenv("EDGENAS_CACHE")
    assert cache_beside(Path("~")) == Path("~/.images")  # a folder here, which is called so
    assert data_root(None) == tmp_path / ".cache/edgenas/data"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "HOME"),
        ("~/x y", "HOME/x y"),
        ("--out=~/x", "--out=HOME/x"),
        ("--out=~", "--out=HOME"),
        ("torchvision:resnet18=~/r.pth", "torchvision:resnet18=HOME/r.pth"),
        ("--detector=yunet:~/y.onnx", "--detector=yunet:HOME/y.onnx"),
        ("--data=~/a=~/b", "--data=HOME/a=~/b"),
        *(
            (one, one)
            for one in ("", "x~", "./~/x", "a/~/x", "~x", "--license=~free", "~ 5/6", "http://host/~me/", "x=./~")
        ),
    ],
)
def test_homes_are_found_where_a_path_begins(
    written: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert with_homes(written) == meant.replace("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("init", "~/p.toml"), None),
        (("init", "--data=~/cells", "~/p.toml"), None),
        (("report", "--out=~/p.toml", "~/studies/none"), "no study 'HOME/studies/none'"),
        (("data", "~/cells"), "there is no folder HOME/cells"),
        (("bundle", "verify", "~/b"), "HOME/b"),
        (("bench", "--target=host-cpu", "~/net.onnx"), "HOME/net.onnx"),
    ],
)
def test_every_command_finds_the_homes_that_no_shell_has(
    words: tuple[str, ...], found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    if found is None:
        app(list(words), standalone_mode=False)
        assert (tmp_path / "home/p.toml").is_file()
    else:
        with pytest.raises(EdgenasError, match=re.escape(found.replace("HOME", str(tmp_path / "home")))):
            app(list(words), standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


NOBODY = "~nobody-of-this-name/x"
AT_HOME: dict[str, Callable[[str], object]] = {
    "a project's data": lambda path: settings_from(None, {"data": path}),
    "a project's target": lambda path: settings_from(None, {"target": ["jetson", path]}),
    "--data-dir": data_root,
    "--token-file of a client": lambda path: read_token(Path(path)),
    "--token-file of an agent": lambda path: read_or_make_token(Path(path)),
    "--token-file of a server": lambda path: server_token(Path(path)),
    "--ca": lambda path: client_context(Path(path)),
}


@pytest.mark.parametrize("what", AT_HOME)
def test_the_home_of_a_user_who_does_not_exist_is_one_line(what: str) -> None:
    with pytest.raises(
        EdgenasError, match=r"^~nobody-of-this-name/x: there is no user 'nobody-of-this-name' here: [^\n]*$"
    ):
        AT_HOME[what](NOBODY)


def test_a_user_without_a_home_reads_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # as in a container with another --user
    for name in ("EDGENAS_CACHE", "EDGENAS_DATA", "EDGENAS_AGENT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for asks in (lambda: data_root(None), cache_folder, lambda: read_token(None)):
        with pytest.raises(
            EdgenasError, match=r"^~/[^ ]*: this user has no home here: set HOME, or write the whole path$"
        ):
            asks()


def test_one_function_alone_looks_for_homes() -> None:
    root = Path(edgenas.__file__).parent
    looking = [file for file in root.rglob("*.py") if re.search(r"expanduser\(|\.home\(\)", file.read_text())]
    assert [file.relative_to(root) for file in looking] == [Path("files.py")]
