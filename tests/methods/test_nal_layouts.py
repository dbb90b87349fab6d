"""Tables of NAL in the published layouts of NAS-Bench-101 and NATS-Bench, and what is refused of files that are not so."""

import bz2
import os
import pickle
import random
import resource
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from edgenas.architectures.cell import canonical, canonical_cell
from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.nasbench201 import nasbench201_from_text, text_from_nasbench201
from edgenas.errors import EdgenasError
from edgenas.methods.nal_layouts import is_nats, table_from_nats, table_from_tfrecord
from edgenas.methods.plain_pickle import plain_pickle
from edgenas.methods.tfrecord import LONGEST, TOGETHER, crc32c, crc32c_of, fields, records
from edgenas.records import Classes, Nasbench101Cell, Nasbench201Cell
from tests.methods.nal_files import (
    ModelMetrics,
    framed,
    metrics_of,
    nats_state,
    row101,
    write_pickle,
    write_tfrecord,
)


def drawn(family: Literal["nasbench101", "nasbench201"]) -> list[Any]:
    """Nine cells of which no two are the same network."""
    space, rng = CellSpace(Classes(10), 3, 32, family), random.Random(0)
    cells = [canonical_cell(space.draw(rng).cell) for _ in range(50)]  # type: ignore[attr-defined]
    return list(dict.fromkeys(cells))[:9]


CELLS: tuple[Nasbench101Cell, ...] = tuple(drawn("nasbench101"))
CELLS201: tuple[Nasbench201Cell, ...] = tuple(drawn("nasbench201"))


def refused(call: Any, path: Path, *more: Any) -> str:
    with pytest.raises(EdgenasError) as caught:
        call(path, *more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- NAS-Bench-101


def test_cells_of_nasbench101_have_the_mean_of_their_runs_at_the_end_of_training(tmp_path: Path) -> None:
    rows = []
    for place, cell in enumerate(CELLS):
        for run in range(3):
            rows.append(row101(cell, 108, metrics_of(0.90 + 0.001 * place + 0.01 * run, 0.80 + 0.001 * place)))
            rows.append(row101(cell, 4, metrics_of(0.5, 0.4)))
    path = write_tfrecord(tmp_path / "nasbench_full.tfrecord", rows)
    table = table_from_tfrecord(path)
    assert (table.space, table.column, table.name) == ("nasbench101", "val_acc_108ep", "nasbench_full.tfrecord")
    known = dict(zip(table.cells, table.accuracy.tolist(), strict=True))
    assert known == {canonical(cell): pytest.approx(0.91 + 0.001 * place) for place, cell in enumerate(CELLS)}
    tested = table_from_tfrecord(path, "test_acc_108ep")
    assert tested.accuracy.tolist() == pytest.approx([0.80 + 0.001 * place for place in range(9)])
    assert set(table_from_tfrecord(path, "val_acc_4ep").accuracy.tolist()) == {0.5}
    words = refused(table_from_tfrecord, path, "val_acc_12ep")
    assert "val_acc_12ep" in words
    assert words.endswith("it has val_acc_4ep, test_acc_4ep, val_acc_108ep, test_acc_108ep")


def test_checksums_are_castagnolis_of_contents_of_any_length() -> None:
    assert crc32c_of(b"123456789") == 0xE3069283  # RFC 3720
    rng = np.random.default_rng(0)
    contents = [rng.integers(0, 256, length, np.uint8).tobytes() for length in (0, 1, 300, 8, 0, 299, 300)]
    assert crc32c(contents).tolist() == [crc32c_of(content) for content in contents]
    assert crc32c([b"123456789"] * 2).tolist() == [0xE3069283] * 2
    assert crc32c([b"", b""]).tolist() == [0, 0]
    assert crc32c([]).tolist() == []


def test_every_record_is_read_whatever_their_number(tmp_path: Path) -> None:
    for count in (0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1):
        contents = [b"%d" % number for number in range(count)]
        assert list(records(write_tfrecord(tmp_path / "t", contents))) == contents


@pytest.mark.parametrize("changed", [0, 7, 8, 11, 12, 20, -5, -4, -1])
def test_one_changed_byte_anywhere_in_a_record_is_refused(tmp_path: Path, changed: int) -> None:
    content = bytearray(framed(row101(CELLS[0], 108, metrics_of(0.9, 0.9))))
    content[changed] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(framed(b"first") + content)
    assert "record 2" in refused(lambda path: list(records(path)), tmp_path / "a.tfrecord")


def test_a_file_that_ends_within_a_record_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    content = framed(row101(CELLS[0], 108, metrics_of(0.9, 0.9)))
    for end in range(1, len(content)):
        (tmp_path / "a.tfrecord").write_bytes(content[:end])
        assert "ends within record 1" in refused(table_from_tfrecord, tmp_path / "a.tfrecord")


@pytest.mark.parametrize("length", [LONGEST + 1, 10 * 10**9, 2**63, 2**64 - 1])
def test_a_length_beyond_all_records_takes_no_memory(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.tfrecord").write_bytes(framed(b"x" * 100, length))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert f"record 1 has {length:,} bytes" in refused(table_from_tfrecord, tmp_path / "a.tfrecord")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    (tmp_path / "b.tfrecord").write_bytes(framed(b"x" * LONGEST))
    assert list(records(tmp_path / "b.tfrecord")) == [b"x" * LONGEST]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"[1, 2]", "record 1 is none of NAS-Bench-101"),
        (b'["h", "108", "01", "input,output", ""]', "record 1 is none of NAS-Bench-101"),
        (b"\xff\xfe", "record 1 is none of NAS-Bench-101"),
        (b'["h", 108, "0100", "input,output", "***"]', "record 1 is none of NAS-Bench-101"),
        (b'["h", 108, "0100", "input,output", ""]', "no evaluation at the end"),
        (row101(CELLS[0], 108, metrics_of(1.5, 0.5)), "field 4 is no accuracy"),
        (row101(CELLS[0], 108, metrics_of(float("nan"), 0.5)), "field 4 is no accuracy"),
        (row101(Nasbench101Cell(((0, 1), (0, 0)), ("input", "conv9x9")), 108, metrics_of(0.9, 0.9)), "operations are"),
        (row101(Nasbench101Cell(((0, 1, 0),), ("input", "output")), 108, metrics_of(0.9, 0.9)), "is no square"),
        (row101(Nasbench101Cell(((0, 2), (0, 0)), ("input", "output")), 108, metrics_of(0.9, 0.9)), "is no square"),
    ],
)
def test_records_of_another_kind_are_one_line(tmp_path: Path, row: bytes, words: str) -> None:
    assert words in refused(table_from_tfrecord, write_tfrecord(tmp_path / "a.tfrecord", [row]))


def test_protobuf_fields_are_those_that_protobuf_wrote_and_damaged_ones_end_with_an_error() -> None:
    message = ModelMetrics(trainable_parameters=300, total_time=2.5).SerializeToString()
    assert list(fields(message)) == [(2, 300), (3, 2.5)]
    for end in range(1, len(message)):
        if end != 3:  # between two fields
            with pytest.raises(ValueError, match="protobuf"):
                list(fields(message[:end]))
    for damaged in (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0b", b"\xff" * 11):
        with pytest.raises(ValueError, match="protobuf"):
            list(fields(damaged))


def test_files_that_are_no_tfrecord_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(b"something else, and long enough for a head")
    assert "record 1's length is wrong" in refused(table_from_tfrecord, tmp_path / "a.tfrecord")
    assert "is no file" in refused(table_from_tfrecord, tmp_path / "missing.tfrecord")
    os.mkfifo(tmp_path / "pipe.tfrecord")
    assert "is no file" in refused(table_from_tfrecord, tmp_path / "pipe.tfrecord")
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    assert "it has none" in refused(table_from_tfrecord, tmp_path / "empty.tfrecord")


# ---------------------------------------------------------------- NATS-Bench


def write_nats(folder: Path, protocol: int = 4) -> Path:
    folder.mkdir()
    texts = [text_from_nasbench201(cell) for cell in CELLS201]
    write_pickle(folder / "meta.pickle.pbz2", {"meta_archs": texts, "total_archs": len(texts)}, protocol)
    for place, text in enumerate(texts):
        short = nats_state(text, {("cifar10-valid", "x-valid"): [80.0 + place]}, 12)
        long = nats_state(
            text,
            {("cifar10-valid", "x-valid"): [90.0 + place, 91.0 + place], ("cifar100", "x-test"): [60.0 + place]},
            200,
        )
        write_pickle(folder / f"{place:06d}.pickle.pbz2", OrderedDict([("12", short), ("200", long)]), protocol)
    return folder


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_cells_of_nats_bench_have_the_mean_over_seeds_after_the_last_epoch(tmp_path: Path, protocol: int) -> None:
    folder = write_nats(tmp_path / "NATS-tss-v1_0-3ffb9-simple", protocol)
    assert is_nats(folder)
    table = table_from_nats(folder)
    assert (table.space, table.column, table.name) == ("nasbench201", "acc12_val_cifar10", folder.name)
    assert table.cells == CELLS201
    assert table.accuracy.tolist() == [80.0 + place for place in range(9)]
    assert table_from_nats(folder, "acc200_val_cifar10").accuracy.tolist() == [90.5 + place for place in range(9)]
    assert table_from_nats(folder, "acc200_test_cifar100").accuracy.tolist() == [60.0 + place for place in range(9)]
    assert "holds no architecture with accuracies 'acc200_test_cifar10'" in refused(
        table_from_nats, folder, "acc200_test_cifar10"
    )
    assert "it has acc12_val_cifar10" in refused(table_from_nats, folder, "accuracy")
    assert "acc90_val_cifar10 (it has no '90')" in refused(table_from_nats, folder, "acc90_val_cifar10")


def test_the_whole_benchmark_in_one_pickle_is_refused_with_the_folder_to_name(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2", {})
    assert is_nats(path)
    assert "NATS-tss-v1_0-3ffb9-simple" in refused(table_from_nats, path)


VALUES: list[Any] = [
    None, True, False, 0, 255, 256, 65535, 65536, -1, 2**31, -(2**40), 2**200, 1.5, -0.0, "", "é" * 300, b"x", b"y" * 300,
    [], [1], [1, [2, 3]], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {"a": 1}, {("a", 1): {"b": [2.5]}},
    OrderedDict(a=1, b=2), {1, 2, 3}, frozenset({"a"}), np.float64(2.5), np.float32(0.25), np.int64(-7), np.bool_(True),
    ["same"] * 300, [{"x": i} for i in range(300)],
]  # fmt: skip


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_values_are_those_that_were_pickled(protocol: int) -> None:
    for value in VALUES:
        if protocol == 3 and isinstance(value, set | frozenset):
            continue  # written as calls
        assert plain_pickle(pickle.dumps(value, protocol=protocol)) == value


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


FEW_STEPS = 1_000  # in the place of MOST_STEPS


def deep(opening: bytes, count: int) -> bytes:
    return b"\x80\x04" + opening + b"\x85" * count


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps(Hostile()), "names posix.system, and only plain values are read: nothing of it was run"),
        (b"cos\nsystem\n(S'touch ran'\ntR.", "names os.system"),
        (b"\x80\x04c__builtin__\neval\n(\x8c\x011tR.", "names __builtin__.eval"),
        (b"(ios\nsystem\n.", "instruction b'i'"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "names builtins.eval"),
        (b"\x80\x04ccollections\nOrderedDict\n.", "holds a name, and no value"),
        (b"\x80\x04ccollections\nOrderedDict\n(K\x01tR.", "in a way that makes no plain value"),
        (b"\x80\x04cnumpy\ndtype\n(\x8c\x02O8\x89\x88tR.", "in a way that makes no plain value"),
        (b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n.", "names numpy.core.multiarray._reconstruct"),
        (b"\x80\x04K\x01K\x02.", "too many values"),
        (b"\x80\x04.", "not enough values"),
        (b"\x80\x06N.", "later protocol"),
        (b"\x80\x04\x95" + struct.pack("<Q", 10**10) + b"N.", "ends too early"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 10**10) + b"N.", "ends too early"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"N.", "ends too early"),
        (b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1) + b"K\x01a.", "no list"),
        (b"\x80\x04\x8a\xff" + b"\x01" * 255 + b".", "a number of 255 bytes"),
        (b"\x80\x04}]K\x01s.", "a key is no text and no number"),
        (deep(b"}N", 100_000)[:3] + b"N" + b"\x85" * 100_000 + b"K\x01s.", "a key is no text and no number"),
        (b"\x80\x04\x8f(" + b"N" + b"\x85" * 100_000 + b"\x90.", "a key is no text and no number"),
        (b"\x80\x04" + b"N0", "instruction b'0'"),
        (b"\x80\x04" + b"]" * FEW_STEPS + b".", f"more than {FEW_STEPS:,} instructions"),
        (b"\x80\x04N(K\x01K\x02u.", "no dict"),
        (b"\x80\x04}(K\x01u.", "a key without a value"),
        (b"\x80\x04h\x07.", "7"),
        (b"\x80\x04t.", "pop from empty list"),
        (b"", "ends too early"),
    ],
)  # fmt: skip
def test_a_pickle_of_more_than_plain_values_runs_nothing_and_is_one_line(
    tmp_path: Path, content: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "instructions" in words:
        monkeypatch.setattr("edgenas.methods.plain_pickle.MOST_STEPS", FEW_STEPS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n").mkdir()
    (tmp_path / "n/000000.pickle.pbz2").write_bytes(bz2.compress(content))
    assert words in refused(table_from_nats, tmp_path / "n")
    assert not (tmp_path / "ran").exists()


def test_what_unpacks_to_more_than_an_architecture_takes_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    (tmp_path / "000000.pickle.pbz2").write_bytes(bz2.compress(b"\0" * 200_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "unpacked it has more than 16 MB" in refused(table_from_nats, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    whole = bz2.compress(pickle.dumps({"12": None}))
    (tmp_path / "000000.pickle.pbz2").write_bytes(whole[:-5])
    assert "000000.pickle.pbz2 cannot be read as a pickle of plain values" in refused(table_from_nats, tmp_path)
    (tmp_path / "000000.pickle.pbz2").write_bytes(b"no bz2")
    assert "cannot be read as a pickle of plain values" in refused(table_from_nats, tmp_path)


def test_architectures_of_another_kind_are_one_line(tmp_path: Path) -> None:
    text = text_from_nasbench201(CELLS201[0])
    good = nats_state(text, {("cifar10-valid", "x-valid"): [80.0]}, 12)
    result = good["all_results"]["cifar10-valid", 777]
    for changed, words in (
        ([1, 2], "a dictionary was expected"),
        ({"90": good}, "it has no '12'"),
        ({"12": {**good, "arch_str": "8:16:24:32:40"}}, "is not a NAS-Bench-201 cell"),  # the size space
        ({"12": {**good, "arch_str": text.replace("~0", "~1", 1)}}, "is not a NAS-Bench-201 cell"),
        ({"12": {**good, "arch_str": 7}}, "text was expected"),
        ({"12": {**good, "dataset_seed": {"cifar10-valid": []}}}, "it has no seeds"),
        ({"12": {**good, "dataset_seed": {"cifar10-valid": [[7]]}}}, "it has no seeds"),
        ({"12": {**good, "dataset_seed": {"cifar10-valid": [888]}}}, "888"),
        ({"12": {**good, "all_results": {("cifar10-valid", 777): {**result, "epochs": 13}}}}, "x-valid@12"),
        ({"12": {**good, "all_results": {("cifar10-valid", 777): {**result, "epochs": "12"}}}}, "is no number"),
        ({"12": nats_state(text, {("cifar10-valid", "x-valid"): [101.0]}, 12)}, "is no accuracy in percent"),
        ({"12": nats_state(text, {("cifar10-valid", "x-valid"): [float("inf")]}, 12)}, "is no number"),
    ):
        write_pickle(tmp_path / "000000.pickle.pbz2", changed)
        assert words in refused(table_from_nats, tmp_path)
    write_pickle(tmp_path / "000000.pickle.pbz2", {"12": good})
    assert table_from_nats(tmp_path).cells == (nasbench201_from_text(text).cell,)
