import io
import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError
from edgenas.faces.images import image_from_bytes
from edgenas.faces.readers import MAGIC, faces_from_path, pairs_from_bin, write_folders
from edgenas.preprocessing import GROUND
from tests.damaged_images import (
    IMAGES,
    RGB_DEEP,
    TOO_MANY_PIXELS,
    only_so_much_memory_more,
    png_without_pixels,
)


def picture(value: int, size: tuple[int, int] = (112, 112), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value if mode != "RGB" else (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def record(content: bytes, labels: tuple[float, ...], number: int) -> bytes:
    """RecordIO framing around MXNet's image header, as `recordio.pack` and `MXRecordIO.write` lay them down."""
    if len(labels) == 1:
        header = struct.pack("<IfQQ", 0, labels[0], number, 0)
    else:
        header = struct.pack("<IfQQ", len(labels), 0.0, number, 0) + struct.pack(f"<{len(labels)}f", *labels)
    body = header + content
    return struct.pack("<II", MAGIC, len(body)) + body + b"\0" * (-len(body) % 4)


def rec_set(folder: Path) -> Path:
    """Record 0 says that images end before 5 and people are 5..6; images of identities 30 and 10; per-person records."""
    bodies = [
        record(b"", (5.0, 7.0), 0),
        record(picture(10), (30.0,), 1),
        record(picture(20), (10.0, 0.5), 2),
        record(picture(30), (10.0,), 3),
        record(picture(40), (30.0,), 4),
        record(b"", (1.0, 3.0), 5),
        record(b"", (3.0, 5.0), 6),
    ]
    offsets = np.cumsum([0] + [len(body) for body in bodies])
    (folder / "train.rec").write_bytes(b"".join(bodies))
    (folder / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in enumerate(offsets[:-1])))
    return folder / "train.rec"


def test_identity_folders_of_any_size_and_colour_become_one_array(tmp_path: Path) -> None:
    for name, size, mode in (("Zoë", (92, 112), "L"), ("ada l.", (250, 250), "RGB"), ("empty", None, "")):
        (tmp_path / name).mkdir()
        if size:
            (tmp_path / name / "1.png").write_bytes(picture(77, size, mode))
            (tmp_path / name / "notes.txt").write_text("no image")
    faces = faces_from_path(tmp_path)
    assert faces.names == ("Zoë", "ada l.")
    assert faces.images.shape == (2, 112, 112, 3)
    assert (faces.images == 77).all()


def test_the_lfw_layout_is_read_one_level_down(tmp_path: Path) -> None:
    for name in ("Ada_Lovelace", "Alan_Turing"):
        folder = tmp_path / "lfw-deepfunneled" / name
        folder.mkdir(parents=True)
        (folder / f"{name}_0001.jpg").write_bytes(picture(9))
    assert faces_from_path(tmp_path).names == ("Ada_Lovelace", "Alan_Turing")


def test_an_insightface_training_set_is_read_by_identity(tmp_path: Path) -> None:
    for path in (tmp_path, rec_set(tmp_path)):
        rec_set(tmp_path)
        faces = faces_from_path(path)
        assert faces.names == ("10", "30")
        assert faces.labels.tolist() == [0, 0, 1, 1]
        assert faces.images[:, 0, 0, 0].tolist() == [20, 30, 10, 40]


def test_a_cut_off_training_set_is_refused(tmp_path: Path) -> None:
    path = rec_set(tmp_path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match="no whole record at byte"):
        faces_from_path(path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(DataError, match="are both needed"):
        faces_from_path(path)


@pytest.mark.parametrize("offset", [-3, 10**20, 2**63 - 1])
def test_an_index_that_points_out_of_its_file_is_one_line(tmp_path: Path, offset: int) -> None:
    path = rec_set(tmp_path)
    path.with_suffix(".idx").write_text(f"0\t0\n1\t{offset}\n")
    with pytest.raises(DataError, match=f"no whole record at byte {offset}"):
        faces_from_path(path)


@pytest.mark.parametrize("label", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_a_record_whose_label_is_no_number_is_one_line(tmp_path: Path, place: int, label: float) -> None:
    bodies = [record(b"", (5.0, 7.0), 0), record(picture(10), (30.0,), 1)]
    bodies[place] = record(picture(10), (label, 7.0) if place == 0 else (label,), place)
    (tmp_path / "train.rec").write_bytes(b"".join(bodies))
    (tmp_path / "train.idx").write_text(f"0\t0\n1\t{len(bodies[0])}\n")
    with pytest.raises(DataError, match=r"train\.rec has a damaged record at byte"):
        faces_from_path(tmp_path)


@pytest.mark.parametrize("name", ["a\nb", os.fsdecode(b"caf\xe9")])
def test_a_person_whose_name_no_file_or_terminal_holds_is_refused(tmp_path: Path, name: str) -> None:
    for folder in ("ada", "bob", name):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(picture(9))
    with pytest.raises(DataError, match="control characters or bytes that are not UTF-8 in its name: rename it"):
        faces_from_path(tmp_path)
    (tmp_path / name / "1.png").unlink()
    assert faces_from_path(tmp_path).names == ("ada", "bob")


@pytest.mark.skipif(sys.platform != "linux", reason="a file that cannot be read")
def test_a_face_that_a_drive_does_not_give_is_named(tmp_path: Path) -> None:
    for folder in ("ada", "bob"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(picture(9))
    (tmp_path / "ada" / "2.png").symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=r"ada/2\.png cannot be read: Input/output error$"):
        faces_from_path(tmp_path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_verification_set_is_read_in_pairs(tmp_path: Path, protocol: int) -> None:
    content = ([picture(value) for value in (1, 2, 3, 4)], [True, False])
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(content, protocol=protocol))
    pairs = pairs_from_bin(tmp_path / "lfw.bin")
    assert pairs.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert pairs.same.tolist() == [True, False]


def test_a_verification_set_that_runs_something_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (tmp_path / "evil.bin").write_bytes(pickle.dumps(([Evil()], [True])))
    with pytest.raises(DataError, match=r"asks for posix\.system, which is refused"):
        pairs_from_bin(tmp_path / "evil.bin")
    assert not (tmp_path / "ran").exists()


ODD_PICKLES = (
    b"\x80\x04\x95" + b"\xff" * 8,  # OverflowError: a frame of 2^64 bytes
    b"c_codecs\nencode\n)R.",  # TypeError: a call without arguments
    b"c_codecs\nencode\nK\x01a.",  # AttributeError: what has no `append`
)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04garbage", pickle.dumps([1]), pickle.dumps(([b"x"], [True])), *ODD_PICKLES]
)
def test_a_damaged_verification_set_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match="is not a verification set"):
        pairs_from_bin(tmp_path / "x.bin")


def test_a_folder_without_people_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two people or more"):
        faces_from_path(tmp_path)
    with pytest.raises(DataError, match="name a folder with one folder per person"):
        faces_from_path(tmp_path / "missing")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be decoded"),
        (b"\xff\xd8\xff\xe0 not a jpeg", "cannot be decoded"),
        (picture(5)[:80], "cannot be decoded"),
        (picture(5, (3000, 3000)), "3000x3000 pixels; at most 1000000"),
    ],
)
def test_images_that_cannot_be_used_are_one_line(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_from_bytes(data, max_pixels=1_000_000)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by Linux's limit on the address space")
def test_a_face_that_memory_does_not_hold_is_named() -> None:
    whole = png_without_pixels((5000, 8000), RGB_DEEP)  # 160 MB in memory
    with only_so_much_memory_more(megabytes=20), pytest.raises(DataError, match=r"decoded \((MemoryError|OSError)\)"):
        image_from_bytes(whole)
    with pytest.raises(DataError, match=r"cannot be decoded \(OSError\)"):  # it has no pixels
        image_from_bytes(whole)
    with pytest.raises(DataError, match=r"cannot be decoded \(DecompressionBombError\)"):
        image_from_bytes(png_without_pixels(TOO_MANY_PIXELS))


def test_sixteen_bit_grey_palette_and_alpha_become_rgb() -> None:
    def encoded(image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    deep = Image.fromarray(np.full((4, 4), 257 * 100, np.uint16))
    assert (image_from_bytes(encoded(deep)) == 100).all()
    clear = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
    assert (image_from_bytes(encoded(clear)) == GROUND).all()
    assert image_from_bytes(encoded(Image.new("P", (4, 4)))).shape == (4, 4, 3)


def test_what_systems_leave_in_folders_is_no_face(tmp_path: Path) -> None:
    for name in ("ada", "bob", "__MACOSX/ada", ".cache"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("ada/1.png", "ada/2.jfif", "bob/1.png"):
        Image.new("RGB", (112, 112), (len(name), 0, 0)).save(tmp_path / name, format="PNG")
    for name in ("ada/._1.png", "bob/notes.txt", "__MACOSX/ada/._1.png", ".cache/1.png", "ada/gone.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "ada" / "gone.png").unlink()
    (tmp_path / "ada" / "gone.png").symlink_to("/nowhere/x.png")
    faces = faces_from_path(tmp_path)
    assert (faces.names, faces.labels.tolist()) == (("ada", "bob"), [0, 0, 1])


def test_faces_written_as_folders_are_read_back_unchanged(tmp_path: Path) -> None:
    rec = tmp_path / "rec"
    rec.mkdir()
    faces = faces_from_path(rec_set(rec))
    assert write_folders(faces, tmp_path / "out") == 4
    assert np.array_equal(faces_from_path(tmp_path / "out").images, faces.images)


@pytest.mark.parametrize("data", IMAGES)
def test_a_damaged_exif_is_one_line(data: bytes) -> None:
    with pytest.raises(DataError, match=r"the image cannot be decoded \((SyntaxError|error)\)"):
        image_from_bytes(data)
