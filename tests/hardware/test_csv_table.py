"""Tables as people keep them: read where they have one meaning, otherwise refused by the line that is meant."""

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.hardware.calibrate import calibrate, profile_to_calibrate
from edgenas.hardware.csv_table import lines_from_csv, milliseconds
from edgenas.hardware.plausible import doubts, outliers
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import profile_from_name
from edgenas.hardware.rows import rows_from_csv
from edgenas.records import Precision
from tests.architectures.graphs import CONV, W, conv, graph, pooled, value
from tests.cli.edgenas import refusal

NETWORKS = [(f"convnet_L{2 + i % 6}_F{8 * (1 + i % 5)}_K3x3_W{32 + 16 * (i % 4)}", 4.6 + i / 8) for i in range(24)]
NEW = profile_to_calibrate(None, "mine", "tensorrt", "fp32")
TENSORRT = ("--new", "mine", "--runtime", "tensorrt", "--precision", "fp32")


def table(separator=",", header="architecture,latency_ms", number=str, end="\n", rows=NETWORKS) -> str:
    lines = [header.replace(",", separator), *(f"{name}{separator}{number(ms)}" for name, ms in rows)]
    return end.join(lines) + end


def read(tmp_path: Path, content: str | bytes) -> list[Row]:
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return rows_from_csv(path, measured=True)


GOOD = table()
FORMS = {
    "a byte order mark": GOOD.encode("utf-8-sig"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 of the other order": b"\xfe\xff" + GOOD.encode("utf-16-be"),
    "semicolons": table(";"),
    "semicolons and decimal commas": table(";", number=lambda ms: str(ms).replace(".", ",")),
    "tabs": table("\t"),
    "Windows' line ends": table(end="\r\n"),
    "old line ends": table(end="\r"),
    "capitals": table(header="Architecture,Latency_MS"),
    "spaces": table(header=" architecture , latency ms "),
    "the names of other tables": table(header="network,ms"),
    "a unit in the header": table(header="architecture,latency (ms)"),
    "a unit in the cells": table(number=lambda ms: f"{ms} ms"),
    "other columns between": "note,latency_ms,board,architecture\n" + "".join(f"a,{ms},pi,{n}\n" for n, ms in NETWORKS),
    "blank lines": GOOD.replace("\n", "\n\n"),
    "rows of nothing but commas": GOOD + ",,,\n",
    "comments": "# measured in May, ger\xe4t 5\n".encode("latin-1") + GOOD.encode() + b"# end\n",
    "trailing commas": GOOD.replace("\n", ",\n"),
    "quotes": '"architecture","latency_ms"\n' + "".join(f'"{n}","{ms}"\n' for n, ms in NETWORKS),
    "a name in capitals": GOOD.replace("convnet_", "ConvNet_"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_keep_a_table_that_has_one_meaning_is_read_alike(tmp_path: Path, form: str) -> None:
    rows = read(tmp_path, FORMS[form])
    assert [row.ms for row in rows] == [ms for _, ms in NETWORKS]
    assert [row.network for row in rows] == [row.network for row in read(tmp_path, GOOD)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(header="model,latency"), r"no column 'architecture': line 1 is 'model,latency', the first line must be"),
        ("# May\n\n" + table(header="architecture,time"), r"no column 'latency_ms': line 3 is 'architecture,time'"),
        (table(header="architecture,latency_ms,latency_ms"), "has the column 'latency_ms' twice|has the column"),
        (table(number=lambda ms: f'"1,{ms:07.3f}"'), r"line 2: latency_ms is '1,004.600': .* without separators of thousands"),
        (table(";", number=lambda ms: f"1.000,{ms:.0f}"), "line 2: .* without separators of thousands"),
        (table(number=lambda ms: f"{ms} us"), "line 2: latency_ms is '4.6 us': it must be a positive number of millisec"),
        (table(number=lambda ms: f"{ms} s"), "line 2: .* milliseconds, such as"),
        (table() + "mean,5\n", "line 26: 'mean' is not a network.*take totals and formulas out"),
        (table() + "=SUM(B2:B9),5\n", "line 26: '=SUM.*take totals and formulas out"),
        (table() + "convnet_L9_F8_K3x3_W32,1e8\n", "line 26: .*from 0.0001 to 1e\\+07"),
        (table() + "convnet_L9_F8_K3x3_W32,1e-5\n", "line 26: .*from 0.0001 to 1e\\+07"),
        (table() + "convnet_L9_F8_K3x3_W32,1,5\n", "line 26: 3 values under 2 columns: put quotes around values that hold"),
        (table() + "\n\nconvnet_L9_F8_K3x3_W32,-1\n", "line 28: latency_ms is '-1'"),
        (GOOD.encode() + "convnet_gerät,5\n".encode("latin-1"), "line 26: not UTF-8"),
        (GOOD.encode() + b"convnet_\0,5\n", "line 26"),
        (b"\xff\xfe\x00\xd8", "is no text"),
        (table() + '"convnet,5\n', "line 26: unexpected end of data"),
        (table() + "models/none.onnx,5\n", r"line 26: .*models/none\.onnx cannot be read: No such file"),
        (table() + "{" + '"a":[' * 1 + "[" * 5000 + ",5\n", "line 26"),
    ],
)  # fmt: skip
def test_what_has_no_one_meaning_is_refused_by_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(EdgenasError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


NUMBERS = {"4.5": 4.5, " 4.5 MS": 4.5, "1e1": 10.0, ".5": 0.5, "+2": 2.0, "1e-4": 1e-4, "1e7": 1e7}


@pytest.mark.parametrize(("text", "ms"), NUMBERS.items())
def test_numbers_as_people_write_them(text: str, ms: float) -> None:
    assert milliseconds(text, ",") == ms


def test_a_decimal_comma_is_read_only_where_commas_do_not_separate() -> None:
    assert milliseconds("4,5", ";") == milliseconds("4,5", "\t") == 4.5
    with pytest.raises(ValueError, match="thousands"):
        milliseconds("4,5", ",")


def test_repeated_measurements_are_averaged_and_their_spread_is_kept(tmp_path: Path) -> None:
    again = [(name, ms * 1.02) for name, ms in NETWORKS]
    rows = read(tmp_path, table(rows=NETWORKS + again))
    assert len(rows) == len(NETWORKS)
    assert rows[0].ms == pytest.approx(1.01 * 4.6)
    assert rows[0].noise == pytest.approx(0.02 / 2**0.5 / 1.01)  # sd of two = their difference / sqrt 2
    assert read(tmp_path, table())[0].noise is None


def test_repetitions_that_differ_by_more_than_twice_are_a_mistake(tmp_path: Path) -> None:
    name, ms = NETWORKS[0]
    assert len(read(tmp_path, table(rows=[(name, ms), (name, 2 * ms)]))) == 1
    with pytest.raises(EdgenasError, match=r"lines 2 to 3 hold the same network with 4\.6 and 9\.7 ms"):
        read(tmp_path, table(rows=[(name, ms), (name, 9.7)]))


def test_a_network_may_be_an_onnx_file_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    onnx.save(graph([conv(), pooled()], W), str(tmp_path / "models" / "a.onnx"))
    free = graph([conv("pixels"), pooled()], W, inputs=[value("pixels", ("N", 3, "H", "W"))])
    onnx.save(free, str(tmp_path / "models" / "b.onnx"))
    (tmp_path / "t.csv").write_text("architecture,latency_ms\nmodels/a.onnx,1\nmodels/b.onnx,2\n")
    with pytest.raises(EdgenasError, match=r"line 3: .*no fixed size"):
        rows_from_csv(tmp_path / "t.csv", measured=True)
    rows = rows_from_csv(tmp_path / "t.csv", measured=True, shapes={"pixels": (1, 3, 32, 32)})
    assert [(row.name, row.workload.macs) for row in rows] == [("models/a.onnx", CONV), ("models/b.onnx", 4 * CONV)]
    with pytest.raises(EdgenasError, match=r"--shape image: no network in .* has such an input"):
        rows_from_csv(tmp_path / "t.csv", measured=True, shapes={"pixels": (1, 3, 32, 32), "image": (1, 3, 32, 32)})


# -------- can these be milliseconds?


def at(scale: float) -> list[Row]:
    """Networks on a device of 10 GMAC/s and 1 ms a run, times `scale`."""
    from edgenas.hardware.predictor import row_from_text

    rows = [row_from_text(name) for name, _ in NETWORKS]
    return [msgspec.structs.replace(row, ms=scale * (1 + row.workload.macs / 1e7)) for row in rows]


def test_latencies_in_another_unit_are_doubted_on_a_new_device() -> None:
    assert doubts(NEW, at(1)) == []
    assert "is latency_ms in microseconds?" in doubts(NEW, at(1000))[0]
    assert "is latency_ms in seconds?" in doubts(NEW, at(1e-5))[0]
    small = profile_to_calibrate(None, "mine", "tflite", "fp32")  # microcontrollers run other runtimes
    assert doubts(small, at(1000)) == []


def test_the_bounds_of_doubt_lie_where_the_page_says() -> None:
    macs = at(1)[0].workload.macs
    for network_ms, doubted in (
        (macs / 1.9e5, True),
        (macs / 2.1e5, False),
        (macs / 2.1e10, True),
        (macs / 1.9e10, False),
    ):
        row = msgspec.structs.replace(at(1)[0], ms=network_ms)
        assert bool(doubts(NEW, [row])) is doubted


RATES = [("fp32", 2e13), ("tf32", 1e14), ("fp16", 2e14), ("int8", 4e14)]  # MACs a second: faster is no device


@pytest.mark.parametrize(("precision", "fastest"), RATES)
@pytest.mark.parametrize(("share", "doubted"), [(0.95, False), (1.05, True)])
def test_every_precision_has_a_bound_of_its_own(
    precision: Precision, fastest: float, share: float, doubted: bool
) -> None:
    row = at(1)[0]
    said = doubts(
        msgspec.structs.replace(NEW, precision=precision),
        [msgspec.structs.replace(row, ms=1e3 * row.workload.macs / (share * fastest))],
    )
    assert [line.startswith("the fastest row does") and "is latency_ms in seconds?" in line for line in said] == [
        True
    ] * doubted


@pytest.mark.parametrize(("runtime", "slowest"), [("tensorrt", 2e8), ("onnxruntime", 2e8), ("tflite", 1e6)])
@pytest.mark.parametrize(("share", "doubted"), [(0.95, True), (1.05, False)])
def test_every_runtime_has_a_bound_of_its_own(runtime: str, slowest: float, share: float, doubted: bool) -> None:
    row = at(1)[0]
    slow = msgspec.structs.replace(row, ms=1e3 * row.workload.macs / (share * slowest))
    said = doubts(profile_to_calibrate(None, "mine", runtime, "fp32"), [slow])
    assert ["is latency_ms in microseconds?" in line for line in said] == [True] * doubted


@pytest.mark.parametrize(("times", "refused"), [(3.9, False), (4.1, True)])
def test_four_times_a_devices_peak_is_refused(times: float, refused: bool) -> None:
    nano = profile_from_name("jetson-nano")
    row = at(1)[0]
    fast = msgspec.structs.replace(row, ms=1e3 * row.workload.macs / (times * nano.peaks["fp32"] * 1e12 / 2))
    if refused:
        with pytest.raises(EdgenasError, match="is latency_ms in seconds"):
            doubts(nano, [fast])
    else:
        doubts(nano, [fast])  # whatever it says


@pytest.mark.parametrize("factor", [10, 1 / 10])
def test_a_row_that_the_fit_misses_ten_times_is_pointed_at(factor: float) -> None:
    nano, rows = profile_from_name("jetson-nano"), at(1)[:2]
    expected = [latency.ms for latency in latencies(nano, rows)]
    scaled = [
        msgspec.structs.replace(row, ms=ms * times)
        for row, ms, times in zip(rows, expected, (factor**0.995, factor**1.005), strict=True)
    ]
    (line,) = outliers(nano, scaled)
    assert line.startswith(f"{rows[1].name} was measured at ")


def test_latencies_are_held_against_the_figures_of_a_known_device() -> None:
    nano = msgspec.structs.replace(profile_from_name("jetson-nano"), calibration=None)
    rows = at(1)
    expected = [latency.ms for latency in latencies(nano, rows, "fp32")]
    for factor, said in ((1, 0), (29, 0), (31, 1), (1000, 1)):
        scaled = [msgspec.structs.replace(row, ms=ms * factor) for row, ms in zip(rows, expected, strict=True)]
        assert len(doubts(nano, scaled)) == said
    smallest = msgspec.structs.replace(rows[0], ms=expected[0] / 29)  # most of its time is overhead: its peak is far
    assert doubts(nano, [smallest]) == []
    (line,) = doubts(nano, [msgspec.structs.replace(smallest, ms=expected[0] / 31)])
    assert line.startswith(
        "the rows are 31 times faster than the datasheet of jetson-nano-4gb says (median): is latency_ms in s"
    )
    in_seconds = [msgspec.structs.replace(row, ms=ms / 1000) for row, ms in zip(rows, expected, strict=True)]
    with pytest.raises(EdgenasError, match="is latency_ms in seconds"):
        calibrate(nano, in_seconds, None, 0, "t.csv")


def run(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[dict[str, object], str]:
    (tmp_path / "t.csv").write_text(content)
    files = ["--measurements", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o.toml")]
    app(["calibrate", *TENSORRT, *files, *more, "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


@pytest.mark.parametrize("kind", ["constant", "shuffled", "reversed"])
def test_latencies_that_follow_no_network_end_as_an_estimate_that_says_so(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sorted(((row.name, row.ms) for row in at(1)), key=lambda row: row[1])
    ms = [one for _, one in rows]
    made = {
        "constant": [5.0] * 24,
        "shuffled": np.random.default_rng(3).permutation(ms).tolist(),
        "reversed": ms[::-1],
    }[kind]
    content = table(rows=[(name, one) for (name, _), one in zip(rows, made, strict=True)])
    card, said = run(tmp_path, content, capsys, "--samples", "12")
    assert card["confidence"] == "estimate"
    if kind != "constant":
        _, few = run(tmp_path, content, capsys)  # 19 fitted, 5 judge
        assert "5 networks were held out to judge it, 8 are needed" in few
        assert "the latencies do not follow the networks" in few
    assert "the latencies do not follow the networks" in said
    assert profile_from_name(str(tmp_path / "o.toml")).confidence == "estimate"
    assert ("every latency is the same" in said) is (kind == "constant")


def test_a_good_table_is_measured_and_a_slip_in_it_is_pointed_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(row.name, row.ms) for row in at(1)]
    card, said = run(tmp_path, table(rows=rows), capsys, "--samples", "12")
    assert (card["confidence"], card["warnings"]) == ("measured", [])
    card, said = run(tmp_path, table(rows=[*rows, ("convnet_L3_F8_K3x3_W40", 4000)]), capsys)
    assert "convnet_L3_F8_K3x3_W40 was measured at 4000 ms, and the fit says" in said
    assert len(card["warnings"]) == 1  # type: ignore[arg-type]  # a list, by the document


def test_two_networks_are_too_few_and_the_line_says_how_many_are_not(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table(rows=NETWORKS[:2]))
    line = refusal("calibrate", *TENSORRT, "--measurements", str(tmp_path / "t.csv"), "--out", str(tmp_path / "o.toml"))
    assert line == (
        "cannot calibrate on 2 measured networks: it takes at least 3, and 8 more to judge the fit: measure more"
    )
    assert lines_from_csv(tmp_path / "t.csv", ["architecture"])[0].number == 2
