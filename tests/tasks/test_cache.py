"""Images are decoded once: what is found again, what is not, and what a kill leaves behind. Files and counts are real."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenas.errors import DataError, MachineError
from edgenas.preprocessing import pixels_from_image
from edgenas.tasks import Loading, TaskSettings, load_task
from edgenas.tasks.cache import caches_in, clear
from edgenas.tasks.cache_rows import CacheFiles, record_of
from edgenas.tasks.classification import Classification, load_classification, mean_and_std
from edgenas.tasks.mapped import PIXELS, RECORD, RECORDS, MappedImages
from tests.image_folders import fill, picture


class Decodes:
    """Loads folders with one cache, and counts the images that Pillow decodes."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache, self.count, self.said = cache, 0, list[str]()
        self.tell = self.said.append
        real = pixels_from_image

        def counting(*arguments: object) -> object:
            self.count += 1
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("edgenas.tasks.decoding.pixels_from_image", counting)

    def __call__(self, folder: Path, **settings: object) -> int:
        """How many images were decoded."""
        before = self.count
        self.task = load_classification(
            TaskSettings(str(folder), **settings),  # type: ignore[arg-type]
            Loading(self.cache, self.tell),
        )
        return self.count - before


@pytest.fixture
def decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decodes:
    return Decodes(tmp_path / "cache", monkeypatch)


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    """Two classes of 10."""
    return fill(tmp_path / "pics", each=10)


def pixels_file(cache: Path) -> Path:
    (found,) = cache.glob(f"*/*/{PIXELS}")
    return found


def everything(task: Classification) -> np.ndarray:
    return np.concatenate([split.images[:] for split in (task.train, task.val, task.test)])


def test_what_was_decoded_is_found_again_and_is_what_pillow_gives(decodes: Decodes, pics: Path) -> None:
    assert (decodes(pics), decodes(pics), decodes(pics, seed=3)) == (20, 0, 0)
    by_pillow = {
        pixels_from_image(Image.open(path), decodes.task.preprocessing).tobytes() for path in pics.glob("*/*.png")
    }
    assert {image.tobytes() for image in everything(decodes.task)} == by_pillow


def test_a_folder_that_moved_is_known_and_a_copy_is_not(decodes: Decodes, pics: Path, tmp_path: Path) -> None:
    assert decodes(pics) == 20
    assert decodes(pics.rename(tmp_path / "moved")) == 0
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert decodes(tmp_path / "copy") == 20


@pytest.mark.parametrize(
    ("settings", "again"), [({"image_size": 16}, 0), ({"image_size": 24}, 20), ({"fit": "stretch"}, 20)]
)
def test_other_settings_are_other_pixels(decodes: Decodes, pics: Path, settings: dict[str, object], again: int) -> None:
    assert decodes(pics) == 20
    assert decodes(pics, **settings) == again
    assert decodes(pics) == 0  # both are kept


def test_a_changed_a_new_and_a_removed_image_are_seen_and_the_others_are_kept(decodes: Decodes, pics: Path) -> None:
    decodes(pics)
    path = pics / "cat" / "003.png"
    before, status = everything(decodes.task), path.stat()
    picture(777).save(path)
    changed = path.read_bytes()
    path.write_bytes(changed[: status.st_size].ljust(status.st_size, b"\0"))  # the same length..
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # ..and the same time of modification
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert decodes(pics) == 1
    assert not np.array_equal(everything(decodes.task), before)
    picture(778).save(pics / "dog" / "new.png")
    assert decodes(pics) == 1
    (pics / "dog" / "001.png").unlink()
    assert decodes(pics) == 0
    assert sum(map(len, (decodes.task.train, decodes.task.val, decodes.task.test))) == 20  # one more, one less


def test_a_row_that_somebody_changed_is_decoded_again_also_for_another_listing(decodes: Decodes, pics: Path) -> None:
    decodes(pics)
    before = {image.tobytes() for image in everything(decodes.task)}
    flip(pixels_file(decodes.cache), 5 * 16 * 16 * 3 + 100)
    picture(778).save(pics / "dog" / "new.png")
    assert decodes(pics) == 2
    assert before <= {image.tobytes() for image in everything(decodes.task)}


DAMAGE = [
    "a byte",
    "cut short",
    "too long",
    "a record",
    "no records",
    "no pixels",
    "done",
    "odd rows",
    "listing",
    "headers",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_torn_cache_is_noticed_and_mended(decodes: Decodes, pics: Path, damage: str) -> None:
    decodes(pics)
    before, file = everything(decodes.task), pixels_file(decodes.cache)
    records, row = file.with_name(RECORDS), 16 * 16 * 3
    if damage == "a byte":
        flip(file, 5 * row + 100)
    elif damage == "cut short":
        os.truncate(file, file.stat().st_size - 3 * row - 1)  # four rows are not whole
    elif damage == "too long":
        file.write_bytes(file.read_bytes() + b"x")
    elif damage == "a record":
        flip(records, 7 * RECORD.itemsize + 3)
    elif damage == "done":
        os.truncate(file.with_name("done"), 20)
    elif damage == "odd rows":
        text = file.with_name("done").read_text()
        file.with_name("done").write_text(text.replace('"damaged":{}', '"damaged":{"99":"x","y":"z"}'))
    elif damage == "listing":
        os.truncate(file.parents[1] / "files.json", 300)
    elif damage == "headers":
        listing = json.loads((file.parents[1] / "files.json").read_text())
        (file.parents[1] / "files.json").write_text(json.dumps({**listing, "headers": listing["headers"][:5]}))
    elif damage == "no records":
        records.unlink()
    else:
        file.unlink()
    again = {"a byte": 1, "cut short": 4, "too long": 0, "a record": 1, "no records": 20, "no pixels": 20}
    assert decodes(pics) == again.get(damage, 0)
    assert np.array_equal(everything(decodes.task), before)
    assert decodes(pics) == 0


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


KILLED = """
import os, sys, time
import edgenas.tasks.decoding as decoding
real, count = decoding.pixels_from_image, [0]
def slow(*arguments):
    count[0] += 1
    if count[0] == 31:
        print("half way", flush=True)
        time.sleep(600)
    return real(*arguments)
decoding.pixels_from_image = slow
from pathlib import Path
from edgenas.tasks import Loading, TaskSettings
from edgenas.tasks.classification import load_classification
load_classification(TaskSettings(sys.argv[1]), Loading(Path(sys.argv[2]), threads=1))
"""


def test_after_a_kill_in_the_middle_only_the_rest_is_decoded(decodes: Decodes, tmp_path: Path) -> None:
    pics = fill(tmp_path / "many", each=30)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(pics), str(decodes.cache)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert decodes(pics) == 30  # of 60; 30 were whole
    assert any("30 of them are decoded already" in line for line in decodes.said)
    fresh = load_classification(TaskSettings(str(pics)), Loading(tmp_path / "other"))
    assert np.array_equal(everything(decodes.task), everything(fresh))


def test_a_second_process_waits_for_the_first(decodes: Decodes, tmp_path: Path) -> None:
    pics = fill(tmp_path / "many", each=30)
    slow = [sys.executable, "-c", KILLED.replace("time.sleep(600)", "input()"), str(pics), str(decodes.cache)]
    with subprocess.Popen(slow, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def goes_on(said: str) -> None:
            decodes.said.append(said)
            if "another process is decoding these images" in said:
                process.communicate("\n")

        assert process.stdout.readline() == "half way\n"
        decodes.tell = goes_on
        assert decodes(pics) == 0
    assert any("another process is decoding these images" in line for line in decodes.said)
    assert process.returncode == 0


def test_a_disk_that_is_too_full_is_refused_before_an_image_is_decoded(
    decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = 20 * 16 * 16 * 3
    free = shutil.disk_usage(pics)._replace(free=needs - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(
        DataError, match=r"20 images at 16 px take 15.4 kB as pixels, and there are 15.4 kB left in .*cache: "
    ) as caught:
        decodes(pics)
    assert "\n" not in str(caught.value)
    assert decodes.count == 0
    free = free._replace(free=needs)
    assert decodes(pics) == 20


def test_how_much_it_takes_is_said_before(decodes: Decodes, pics: Path) -> None:
    decodes(pics, image_size=224)
    (line,) = decodes.said
    assert line.startswith(f"20 images at 224 px take 3.0 MB as pixels: kept in {decodes.cache} (")
    decodes(pics, image_size=224)
    assert len(decodes.said) == 1  # nothing is written then


def test_a_place_that_cannot_be_written_is_one_line(pics: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be kept in .*file/cache \(Not a directory\): set EDGENAS_CACHE"):
        load_task(TaskSettings(str(pics)), Loading(tmp_path / "file" / "cache"))


def test_caches_are_listed_and_cleared_by_their_folder(decodes: Decodes, pics: Path, tmp_path: Path) -> None:
    other = fill(tmp_path / "other", each=5)
    decodes(pics)
    decodes(pics, image_size=24)
    decodes(other)
    found = {one.folder: one for one in caches_in(decodes.cache)}
    assert found[str(pics)].images == 20
    assert found[str(pics)].pixels == ("16x3-crop", "24x3-crop")
    assert found[str(pics)].bytes >= 20 * 3 * (16 * 16 + 24 * 24)
    assert [one.folder for one in clear(decodes.cache, pics)] == [str(pics)]
    assert (decodes(other), decodes(pics)) == (0, 20)
    clear(decodes.cache)
    assert caches_in(decodes.cache) == []


@pytest.mark.parametrize("read_again", [False, True])
def test_a_renamed_folder_has_its_caches_and_the_next_one_of_its_old_name_has_not(
    decodes: Decodes, pics: Path, tmp_path: Path, read_again: bool
) -> None:
    decodes(pics)
    renamed = pics.rename(tmp_path / "renamed")
    fill(tmp_path / "other", each=5)
    if read_again:
        assert decodes(renamed) == 0
        assert [one.folder for one in caches_in(decodes.cache)] == [str(renamed)]
        fill(pics, each=5)
        assert caches_in(decodes.cache, pics) == []
    assert caches_in(decodes.cache, tmp_path / "other") == []
    assert len(clear(decodes.cache, renamed)) == 1
    assert caches_in(decodes.cache) == []


def test_a_split_goes_to_another_process_as_a_name_and_rows_and_says_when_the_file_is_gone(
    decodes: Decodes, pics: Path
) -> None:
    decodes(pics, image_size=224)
    sent = pickle.dumps(decodes.task.train)
    assert len(sent) < 2000  # its pixels are 2.1 MB
    assert np.array_equal(pickle.loads(sent).images[:], decodes.task.train.images[:])
    clear(decodes.cache)
    assert decodes.task.train.images[0].shape == (224, 224, 3)  # who has it mapped keeps it
    with pytest.raises(MachineError, match=r"are gone or cut short .* run the command again"):
        pickle.loads(sent)


def test_statistics_from_the_records_are_those_of_the_pixels(decodes: Decodes, pics: Path) -> None:
    decodes(pics)
    images = decodes.task.train.images
    assert isinstance(images, MappedImages)
    assert mean_and_std(images) == mean_and_std(images[:])
    values = images[:].reshape(-1, 3) / 255
    assert np.allclose(mean_and_std(images), (values.mean(0), values.std(0)), atol=1e-6)


def test_mapped_images_are_the_same_when_the_program_changes_its_folder(
    pics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = load_task(TaskSettings(str(pics)), Loading(Path("kept"))).train.images
    assert isinstance(images, MappedImages)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert images.folder.is_relative_to(tmp_path / "kept")
    part = pickle.loads(pickle.dumps(images)).part(np.arange(2))
    assert np.array_equal(part[:], images[:2])
    assert len(part.digests) == 2


def test_a_record_is_sums_squares_and_constancy(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2], [3, 4]]], dtype=np.uint8)  # (1, 2, 2)
    record = np.frombuffer(record_of(pixels), RECORD)[0]
    assert record["sums"].tolist() == [4, 6, 0]
    assert record["squares"].tolist() == [10, 20, 0]
    assert record["constant"] == 0
    assert np.frombuffer(record_of(np.full((2, 2, 1), 9, np.uint8)), RECORD)[0]["constant"] == 1
    rows = CacheFiles(tmp_path, 2, (1, 2, 2))
    assert rows.stamp() == (0, 0)


def test_files_with_names_of_any_bytes_are_read(decodes: Decodes, pics: Path) -> None:
    picture(55).save(pics / "plain.png")
    (pics / "plain.png").rename(pics / "cat" / os.fsdecode(b"caf\xe9.png"))
    assert decodes(pics) == 21
    assert decodes(pics) == 0


def test_a_file_that_cannot_be_read_today_may_be_read_tomorrow(
    decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("edgenas.tasks.decoding.pixels_from_image", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(DataError, match="there is not enough memory for it"):
            decodes(pics)
    assert decodes(pics) == 20
    (pics / "cat" / "damaged.png").write_bytes((pics / "cat" / "000.png").read_bytes()[:-40])
    for again in (2, 0):  # from the file and from memory; what is damaged stays so, as long as the file is the same
        before = decodes.count
        with pytest.raises(DataError, match=r"cat/damaged.png \(the image is damaged"):
            decodes(pics)
        assert decodes.count - before == again


class FailingDrive(io.FileIO):
    """A file of a drive that fails from byte 45 on: behind a PNG's header, before its pixels."""

    BYTES = 45

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or self.tell() + size > self.BYTES:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


@pytest.mark.parametrize("good_bytes", [0, FailingDrive.BYTES], ids=["header", "pixels"])
@pytest.mark.parametrize("settings", [{}, {"skip_damaged": True}], ids=["strict", "skip"])
def test_a_drive_that_fails_for_a_moment_is_no_damaged_image(
    decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch, good_bytes: int, settings: dict[str, object]
) -> None:
    real = Path.open
    monkeypatch.setattr(FailingDrive, "BYTES", good_bytes)
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "open", lambda path, *a, **k: FailingDrive(path) if path.name == "003.png" else real(path, *a, **k)
        )
        for _ in range(2):
            with pytest.raises(DataError) as refused:
                decodes(pics, **settings)
            assert str(refused.value) == (
                f"{pics}: 2 of 20 images could not be read this time: cat/003.png, dog/003.png (Input/output error): mend that, "
                "and run the command again (--skip-damaged leaves out only what is damaged)"
            )
    assert decodes(pics, **settings) == (2 if good_bytes else 20)  # the others are kept
    assert decodes.task.facts.classes == {"cat": 10, "dog": 10}
    assert decodes(pics, **settings) == 0


def test_what_a_decoder_did_not_get_from_the_file_is_decoded_from_memory(
    decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libtiff reads by itself, and says "decoder error -2" whatever the drive said."""
    real, failed = Image.open, list[str]()

    def failing(file: object, **kept: object) -> Image.Image:
        name = str(getattr(file, "name", ""))
        if name.endswith("/003.png") and name not in failed:
            failed.append(name)
            raise OSError("decoder error -2")
        return real(file, **kept)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", failing)
    assert decodes(pics) == 20
    assert len(failed) == 2
    assert decodes.task.facts.classes == {"cat": 10, "dog": 10}


def test_what_one_pillow_does_not_know_another_one_reads(
    decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header, by a format that Pillow does not always have; what is no image stays none, and the others are kept."""
    picture(77).save(pics / "cat" / "new.webp")
    (pics / "dog" / "000000.png").write_bytes(b"<html>")
    with monkeypatch.context() as without:
        without.delitem(Image.OPEN, "WEBP")
        with pytest.raises(DataError, match=r"2 of 22 images cannot be read"):
            decodes(pics)
        assert decodes(pics, skip_damaged=True) == 0
        assert decodes.task.facts.ignored == {"damaged images": 2}
    assert decodes(pics, skip_damaged=True) == 1
    assert decodes.task.facts.ignored == {"damaged images": 1}
    assert decodes.task.facts.classes == {"cat": 11, "dog": 10}
    assert decodes(pics, skip_damaged=True) == 0
    listing = next(decodes.cache.glob("*/files.json"))
    before = listing.stat().st_mtime_ns
    with pytest.raises(DataError, match=r"1 of 22 images cannot be read: dog/000000.png \(no PNG, JPEG"):
        decodes(pics)
    assert listing.stat().st_mtime_ns == before  # nothing new is known


@pytest.mark.parametrize("other", ["PIL.__version__", "edgenas.tasks.decoding.__version__", "codecs", "before", None])
def test_pixels_that_one_reader_cannot_decode_are_tried_once_by_another(
    decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch, other: str | None
) -> None:
    """Another Pillow, EdgeNAS or set of codecs, or one that an older cache does not name; the same one does not try again."""
    (pics / "cat" / "cut.png").write_bytes((pics / "cat" / "000.png").read_bytes()[:-40])
    assert decodes(pics, skip_damaged=True) == 22  # tries, the damaged one also from memory
    assert decodes(pics, skip_damaged=True) == 0
    if other == "codecs":
        monkeypatch.setattr("edgenas.tasks.decoding.features.check", lambda name: name != "libtiff")
    elif other == "before":
        done = next(decodes.cache.glob("*/*/done"))
        fields = json.loads(done.read_text())
        done.write_text(json.dumps({name: value for name, value in fields.items() if name != "reader"}))
    elif other is not None:
        monkeypatch.setattr(other, "10.4.0")
    before = everything(decodes.task)
    assert [decodes(pics, skip_damaged=True) for _ in range(2)] == [2 if other is not None else 0, 0]
    assert np.array_equal(everything(decodes.task), before)


def test_what_is_damaged_is_not_said_to_be_decoded(decodes: Decodes, pics: Path) -> None:
    """Two of 22: one whose header cannot be read, and one that is cut off, which is known from the second time on."""
    (pics / "cat" / "cut.png").write_bytes((pics / "cat" / "000.png").read_bytes()[:-40])
    (pics / "cat" / "none.png").write_bytes(b"no image")
    decodes(pics, skip_damaged=True)
    assert not any("decoded already" in line for line in decodes.said)
    flip(pixels_file(decodes.cache), 3)
    pixels_file(decodes.cache).touch()
    decodes(pics, skip_damaged=True)
    assert any(", 19 of them are decoded already" in line for line in decodes.said)


def test_damaged_images_are_left_out_where_that_is_asked_for(decodes: Decodes, pics: Path) -> None:
    (pics / "cat" / "cut.png").write_bytes((pics / "cat" / "000.png").read_bytes()[:-40])
    (pics / "dog" / "000000.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"2 of 22 images cannot be read: .* or leave them out with --skip-damaged$"):
        decodes(pics)
    decodes(pics, skip_damaged=True)
    facts = decodes.task.facts
    assert facts.classes == {"cat": 10, "dog": 10}
    assert facts.ignored == {"damaged images": 2}
    truth = {
        picture_bytes(path): path.parent.name
        for path in pics.glob("*/*.png")
        if path.name[0] == "0" and len(path.name) == 7
    }
    for split in (decodes.task.train, decodes.task.val, decodes.task.test):
        for image, label in zip(split.images, split.labels, strict=True):
            assert truth[image.tobytes()] == ("cat", "dog")[label]


def picture_bytes(path: Path) -> bytes:
    return np.asarray(Image.open(path).convert("RGB")).tobytes()


def test_waiting_for_a_clock_tick_is_short(decodes: Decodes, pics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written a moment ago are listed once their times of change are sure."""
    slept, really = list[float](), time.sleep

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        really(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    decodes(pics)
    assert sum(slept) < 2


def test_a_finished_cache_of_another_user_is_read(decodes: Decodes, pics: Path) -> None:
    """Nothing in it can be written, as far as permissions hold here; and nothing is."""
    decodes(pics)
    folders = [path for path in decodes.cache.rglob("*") if path.is_dir()]
    before = {path: path.stat().st_mtime_ns for path in decodes.cache.rglob("*")}
    next(decodes.cache.glob("*/*/lock")).unlink()
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert decodes(pics) == 0
        left = {path: path.stat().st_mtime_ns for path in decodes.cache.rglob("*") if path.is_file()}
        assert left == {path: stamp for path, stamp in before.items() if path in left}
        assert not list(decodes.cache.glob("*/*/lock"))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_files_that_never_stop_changing_are_refused(pics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenas.tasks.listing.SETTLED_NS", 3_600_000_000_000)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(DataError, match="pics is being written to: run the command again when its images are whole"):
        load_task(TaskSettings(str(pics)))


def test_a_split_is_found_from_any_working_folder(
    decodes: Decodes, pics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    decodes.cache = Path("relative")
    decodes(pics)
    sent = pickle.dumps(decodes.task.train)
    monkeypatch.chdir("/")
    assert np.array_equal(pickle.loads(sent).images[:], decodes.task.train.images[:])


def test_a_cache_belongs_to_both_sides(decodes: Decodes, pics: Path) -> None:
    assert decodes(pics, image_size=(16, 40)) == 20
    wide = np.asarray(decodes.task.train.images)
    assert wide.shape[1:] == (16, 40, 3)
    assert decodes(pics, image_size=(40, 16)) == 20
    assert np.asarray(decodes.task.train.images).shape[1:] == (40, 16, 3)
    assert decodes(pics, image_size=16) == 20
    assert decodes(pics, image_size=(16, 40)) == 0
    assert np.array_equal(decodes.task.train.images, wide)
    (entry,) = (path for path in decodes.cache.iterdir() if path.is_dir())
    assert {path.name for path in entry.iterdir() if path.is_dir()} == {"16x40x3-crop", "40x16x3-crop", "16x3-crop"}
