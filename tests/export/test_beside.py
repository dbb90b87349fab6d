"""Which folders take files for another server: new ones, empty ones, their own, and what a killed export left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.export.beside import check_apart
from edgenas.export.deepstream import deepstream_folder
from edgenas.export.triton import triton_folder


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        ((), True),  # killed before the first file
        ((".model.onnx.0123abcd",), True),
        (("1/.model.onnx.0123abcd",), True),
        (("1/model.onnx",), True),
        (("1/model.onnx", "labels.txt", ".config.pbtxt.0123abcd"), True),
        (("1/model.onnx", "labels.txt", "config.pbtxt"), True),
        (("config.pbtxt", "2/model.plan", "mine.txt"), True),  # a Triton model with more in it
        (("labels.txt",), False),  # somebody's
        (("1/model.onnx", "mine.txt"), False),
        (("mine.txt",), False),
    ],
)
def test_a_triton_model_is_written_over_what_a_kill_left_of_one(
    files: tuple[str, ...], taken: bool, tmp_path: Path
) -> None:
    folder = filled(tmp_path / "net", files)
    if taken:
        assert triton_folder(tmp_path, "net") == folder
        return
    with pytest.raises(EdgenasError, match="net exists and is no Triton model: choose another --triton folder"):
        triton_folder(tmp_path, "net")


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        ((), True),
        ((".model-0123abcd.onnx.0123abcd",), True),
        (("model-0123abcd.onnx",), True),
        (("model-0123abcd.onnx", "labels.txt", "config_infer_primary.txt"), True),
        (("config_infer_secondary.txt", "model-0123abcd.onnx", "model-0123abcd.onnx_b1_gpu0_fp16.engine"), True),
        (("labels.txt", "config_infer_primary.txt"), False),
        (("model-0123abcd.onnx", "mine.txt"), False),
        (("model.onnx",), False),
    ],
)
def test_a_deepstream_configuration_is_written_over_what_a_kill_left_of_one(
    files: tuple[str, ...], taken: bool, tmp_path: Path
) -> None:
    folder = filled(tmp_path / "net", files)
    if taken:
        assert deepstream_folder(tmp_path, "net") == folder
        return
    with pytest.raises(
        EdgenasError, match="net exists and is no DeepStream configuration: choose another --deepstream"
    ):
        deepstream_folder(tmp_path, "net")


def test_a_file_of_that_name_is_no_folder_and_a_new_folder_is_not_made_yet(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("")
    with pytest.raises(EdgenasError, match="net cannot be written: Not a directory: choose another --triton folder"):
        triton_folder(tmp_path, "net")
    assert triton_folder(tmp_path / "new", "net") == tmp_path / "new/net"
    assert not (tmp_path / "new").exists()


def filled(folder: Path, files: tuple[str, ...]) -> Path:
    """The folder with these files."""
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    return folder


def test_a_file_in_the_place_of_tritons_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    for name in ("config.pbtxt", "1"):
        (tmp_path / "net" / name).write_text("x")
    with pytest.raises(EdgenasError, match="net/1 is no folder: choose another --triton folder"):
        triton_folder(tmp_path, "net")


@pytest.mark.parametrize(
    ("place", "file"),
    [(triton_folder, "1/model.onnx"), (triton_folder, "labels.txt")]
    + [(deepstream_folder, name) for name in ("model-0123abcd.onnx", "labels.txt", "config_infer_primary.txt")],
)
def test_a_folder_in_the_place_of_a_file_is_refused(
    place: Callable[[Path, str], Path], file: str, tmp_path: Path
) -> None:
    (tmp_path / "net" / file).mkdir(parents=True)
    for sign in ("config.pbtxt", "config_infer_secondary.txt"):
        (tmp_path / "net" / sign).write_text("x")
    with pytest.raises(EdgenasError, match=f"net/{file} is no file: choose another --"):
        place(tmp_path, "net")


def test_no_flag_writes_into_the_folder_of_another(tmp_path: Path) -> None:
    check_apart({"--out": tmp_path / "net", "--triton": tmp_path / "net2", "--deepstream": tmp_path / "ds/net"})
    for other in (tmp_path / "net", tmp_path / "net/net", tmp_path):
        with pytest.raises(
            EdgenasError, match=f"--out would write {tmp_path}/net, --triton {other}: choose two folders"
        ):
            check_apart({"--out": tmp_path / "net", "--triton": other})
