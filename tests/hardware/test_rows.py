"""Columns of a table beside the latency: logs, batches, precisions, sizes, and networks by their published names."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import Row
from edgenas.hardware.rows import rows_from_csv, rows_from_files
from tests.architectures.graphs import CONV, W, conv, graph, node, pooled, value
from tests.hardware.measured_files import benched, exported_times, loadgen_summary, old_trtexec_log, trtexec_log

FREE = ("N", 3, "H", "W")


def table(tmp_path: Path, text: str, *, measured: bool = True, **more) -> list[Row]:
    (tmp_path / "t.csv").write_text(text)
    return rows_from_csv(tmp_path / "t.csv", measured=measured, **more)


def model(tmp_path: Path, name: str = "m.onnx", shape=("N", 3, 16, 16)) -> Path:
    onnx.save(graph([conv(), pooled()], W, inputs=[value("x", shape)]), str(tmp_path / name))
    return tmp_path / name


def test_batch_precision_and_size_are_read_from_their_columns(tmp_path: Path) -> None:
    model(tmp_path, shape=FREE)
    rows = table(
        tmp_path,
        "network,ms,batch,precision,input_px\nm.onnx,5,8,FP16,32\nm.onnx,3,,,16x64\nconvnet_L2_F8_K3x3_W32,1,4,int8,32\n",
    )
    assert [(row.batch, row.ran_in, row.ms) for row in rows] == [(8, "fp16", 5), (1, None, 3), (4, "int8", 1)]
    assert [row.workload.macs for row in rows[:2]] == [4 * CONV, 4 * CONV]
    assert [(k.in_height, k.in_width) for k in (row.workload.kernels[0] for row in rows[:2])] == [(32, 32), (16, 64)]


def test_the_same_network_is_averaged_where_batch_and_precision_are_the_same_too(tmp_path: Path) -> None:
    name = "convnet_L2_F8_K3x3_W32"
    rows = table(
        tmp_path,
        f"architecture,latency_ms,batch,precision\n{name},4,1,fp16\n{name},6,1,fp16\n{name},7,8,fp16\n{name},8,1,fp32\n",
    )
    assert [(row.ms, row.batch, row.ran_in) for row in rows] == [(5, 1, "fp16"), (7, 8, "fp16"), (8, 1, "fp32")]
    assert rows[0].noise == pytest.approx(np.std([4, 6], ddof=1) / 5)
    assert [row.noise for row in rows[1:]] == [None, None]


def test_a_log_stands_in_for_the_latency_and_says_batch_and_precision(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "run.log").write_text(trtexec_log(shape="4x3x16x16"))
    (tmp_path / "times.json").write_text(exported_times([2.5]))
    (tmp_path / "summary.txt").write_text(loadgen_summary())
    rows = table(
        tmp_path,
        "architecture,log,latency_ms,precision\nm.onnx,run.log,,\nm.onnx,times.json,,int8\n"
        "convnet_L2_F8_K3x3_W32,summary.txt,,\nconvnet_L3_F8_K3x3_W32,,9,\n",
    )
    assert [(row.ms, row.batch, row.ran_in) for row in rows] == [
        (1.3978, 4, "fp16"), (2.5, 1, "int8"), (2.788885, 1, None), (9, 1, None)
    ]  # fmt: skip


def test_a_row_has_a_latency_or_a_log_and_not_both(tmp_path: Path) -> None:
    (tmp_path / "times.json").write_text(exported_times([1.0, 1.5]))
    rows = "architecture,latency_ms,log\nconvnet_L2_F8_K3x3_W32,2,\nconvnet_L3_F8_K3x3_W32,{ms},times.json\n"
    assert [row.ms for row in table(tmp_path, rows.format(ms=""))] == [2, 1.25]
    with pytest.raises(EdgenasError, match=r"line 3: latency_ms is 9, and log is times\.json: a row has one of them"):
        table(tmp_path, rows.format(ms=9))


def test_logs_that_name_their_network_need_no_table(tmp_path: Path) -> None:
    model(tmp_path, "free.onnx", shape=FREE)
    (tmp_path / "a.log").write_text(trtexec_log("/somewhere/else/free.onnx", shape="4x3x32x32"))
    (tmp_path / "b.log").write_text(trtexec_log("free.onnx", shape="4x3x32x32", median=1.5))
    (row,) = rows_from_files([tmp_path / "a.log", tmp_path / "b.log"])
    assert (row.batch, row.ran_in, row.workload.macs) == (4, "fp16", 4 * CONV)
    assert row.ms == pytest.approx((1.3978 + 1.5) / 2)
    (tmp_path / "c.log").write_text(trtexec_log("missing.onnx"))
    with pytest.raises(EdgenasError, match=r"c\.log is of missing\.onnx, which is not here: copy it beside the log"):
        rows_from_files([tmp_path / "c.log"])
    (tmp_path / "d.json").write_text(exported_times([1.0]))
    with pytest.raises(
        EdgenasError, match=r"d\.json does not name its network: write a CSV with the columns architecture,log"
    ):
        rows_from_files([tmp_path / "d.json"])


def test_a_file_of_a_fixed_batch_was_measured_with_all_its_images(tmp_path: Path) -> None:
    model(tmp_path, "four.onnx", shape=(4, 3, 16, 16))
    (row,) = table(tmp_path, "architecture,latency_ms\nfour.onnx,5\n")
    assert (row.batch, row.workload.macs) == (4, CONV)
    assert table(tmp_path, "architecture,latency_ms,batch\nfour.onnx,5,4\n") == [row]
    with pytest.raises(EdgenasError, match=r"line 2: batch is 1, and four\.onnx can only run batches of 4"):
        table(tmp_path, "architecture,latency_ms,batch\nfour.onnx,5,1\n")


def test_a_log_of_a_file_of_a_fixed_batch_says_the_same_alone_and_in_a_table(tmp_path: Path) -> None:
    model(tmp_path, "four.onnx", shape=(4, 3, 16, 16))
    old = old_trtexec_log().replace("/home/me/m.onnx", "four.onnx")
    logs = {  # TensorRT 7 says no shapes, and one image whatever the file holds; later versions say what ran
        "explicit.log": old.replace("Batch: 4", "Batch: Explicit"),
        "one.log": old.replace("Batch: 4", "Batch: 1"),
        "shapes.log": trtexec_log("four.onnx", shape="4x3x16x16"),
    }
    for name, text in logs.items():
        (tmp_path / name).write_text(text)
        (alone,) = rows_from_files([tmp_path / name])
        assert alone.batch == 4, name
        assert table(tmp_path, f"architecture,log\nfour.onnx,{name}\n") == [alone]
        assert table(tmp_path, f"architecture,log,batch\nfour.onnx,{name},4\n") == [alone]
        with pytest.raises(
            EdgenasError, match=r"batch is 2, and (four\.onnx can only run|shapes\.log ran) batches of 4"
        ):
            table(tmp_path, f"architecture,log,batch\nfour.onnx,{name},2\n")
    (tmp_path / "other.log").write_text(trtexec_log("four.onnx", shape="8x3x16x16"))
    for read in (
        lambda: rows_from_files([tmp_path / "other.log"]),
        lambda: table(tmp_path, "architecture,log\nfour.onnx,other.log\n"),
    ):
        with pytest.raises(EdgenasError, match=r"batch is 8, and four\.onnx can only run batches of 4"):
            read()


def test_a_shape_is_of_an_input_of_any_of_the_measurements(tmp_path: Path) -> None:
    for name, data in (("a", "x"), ("b", "pixels")):
        inputs = [value(data, FREE)]
        onnx.save(graph([conv(data), pooled()], W, inputs=inputs), str(tmp_path / f"{name}.onnx"))
        (tmp_path / f"{name}.csv").write_text(f"architecture,latency_ms\n{name}.onnx,5\n")
    (tmp_path / "c.csv").write_text("architecture,latency_ms\nconvnet_L2_F8_K3x3_W32,5\n")  # no file, so no input
    (tmp_path / "run.log").write_text(trtexec_log("a.onnx", shape="1x3x32x32"))  # says its own
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv", "run.log")]
    shapes = {"x": (1, 3, 16, 16), "pixels": (1, 3, 16, 32)}
    rows = rows_from_files(files, shapes)
    assert [row.workload.macs for row in rows if row.name != "convnet_L2_F8_K3x3_W32"] == [CONV, 2 * CONV, 4 * CONV]
    alone = rows_from_files([tmp_path / "run.log", tmp_path / "b.csv"], {"pixels": (1, 3, 16, 32)})
    assert sorted(row.workload.macs for row in alone) == [2 * CONV, 4 * CONV]
    with pytest.raises(EdgenasError, match=r"--shape y: no network in .*b\.csv and .*run\.log has such an input"):
        rows_from_files([tmp_path / "b.csv", tmp_path / "run.log"], {"pixels": (1, 3, 16, 32), "y": (1, 3, 16, 16)})
    with pytest.raises(EdgenasError, match=r"--shape x: no network in .*c\.csv has such an input"):
        rows_from_files([tmp_path / "c.csv"], {"x": (1, 3, 16, 16)})


def test_a_measurement_that_calls_itself_unstable_is_as_sure_as_its_samples_agree(tmp_path: Path) -> None:
    for name, stable in (("calm", True), ("busy", False)):
        (tmp_path / f"{name}.json").write_text(benched(samples=[1.0, 2.0, 3.0, 4.0, 5.0], stable=stable))
    rows = table(tmp_path, "architecture,log\nconvnet_L2_F8_K3x3_W32,calm.json\nconvnet_L3_F8_K3x3_W32,busy.json\n")
    assert [row.ms for row in rows] == [3, 3]
    assert rows[0].noise is None
    assert rows[1].noise == pytest.approx((4 - 2) / 3 / 1.349)  # interquartile range over the median, as a deviation


def test_published_networks_are_built_at_the_size_of_the_row(tmp_path: Path) -> None:
    asked = []

    def zoo(name: str, px: tuple[int, int] | None) -> Row:
        asked.append((name, px))
        return msgspec.structs.replace(rows_from_csv(tmp_path / "n.csv", measured=False)[0], name=name)

    (tmp_path / "n.csv").write_text("architecture\nconvnet_L2_F8_K3x3_W32\n")
    text = "network,ms,input_px\ntorchvision:resnet18,5,192\ntimm:mixnet_s,6,\ntorchvision.models.vgg11,7,224x160\n"
    with pytest.raises(EdgenasError, match="hold the same network"):
        table(tmp_path, text.replace("7,", "70,"), zoo=zoo)
    assert asked == [
        ("torchvision:resnet18", (192, 192)),
        ("timm:mixnet_s", None),
        ("torchvision.models.vgg11", (224, 160)),
    ]
    with pytest.raises(EdgenasError, match="line 2: torchvision:resnet18 is built with torch, which is not used here"):
        table(tmp_path, text)


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("batch", "convnet_L2_F8_K3x3_W32,5,0", "line 2: batch is '0': it must be a whole number from 1 to 1024"),
        ("batch", "convnet_L2_F8_K3x3_W32,5,1025", "line 2: batch is '1025'"),
        ("batch", "convnet_L2_F8_K3x3_W32,5,2.5", "line 2: batch is '2.5'"),
        ("precision", "convnet_L2_F8_K3x3_W32,5,bf16", "line 2: precision 'bf16' is not known: choose fp32, fp16, int8, tf32"),
        ("precision", "half.onnx,5,int8", "line 2: half.onnx computes in fp16 by its own nodes, and its row says int8"),
        ("input_px", "convnet_L2_F8_K3x3_W32,5,64", "line 2: input_px is 64x64, and convnet_.* is a network for 32x32"),
        ("input_px", "m.onnx,5,32", "line 2: input_px is 32x32, and the input 'x' of m.onnx is Nx3x16x16"),
        ("input_px", "m.onnx,5,16x16x3", "line 2: input_px is '16x16x3': write 224, or 224x320"),
        ("input_px", "m.onnx,5,9999", "line 2: input_px is '9999': no side is larger than 8192"),
        ("log", "m.onnx,,none.log", "line 2: .*none.log cannot be read: No such file"),
        ("log", "m.onnx,,", "line 2: latency_ms is ''"),
        ("log,batch", "m.onnx,,run.log,2", "line 2: batch is 2, and run.log ran batches of 1"),
        ("log,precision", "m.onnx,,run.log,int8", "line 2: precision is int8, and run.log ran in fp16"),
    ],
)  # fmt: skip
def test_columns_that_contradict_are_refused_by_their_line(
    tmp_path: Path, header: str, line: str, message: str
) -> None:
    model(tmp_path)
    nodes = [node("Cast", ["x"], ["h"], to=10), conv("h"), pooled()]
    onnx.save(graph(nodes, {"w": np.ones((8, 3, 3, 3), np.float16)}), str(tmp_path / "half.onnx"))
    (tmp_path / "run.log").write_text(trtexec_log())
    with pytest.raises(EdgenasError, match=message) as caught:
        table(tmp_path, f"architecture,latency_ms,{header}\n{line}\n")
    assert "\n" not in str(caught.value)


def test_right_columns_on_the_other_side_of_each_refusal_are_read(tmp_path: Path) -> None:
    model(tmp_path)
    (tmp_path / "run.log").write_text(trtexec_log())
    rows = table(
        tmp_path,
        "architecture,latency_ms,batch,precision,input_px,log\nm.onnx,5,1024,int8,16,\nm.onnx,,1,fp16,16x16,run.log\n",
    )
    assert [(row.batch, row.ran_in) for row in rows] == [(1024, "int8"), (1, "fp16")]
