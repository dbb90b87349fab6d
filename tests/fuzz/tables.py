"""Files of text and arrays: profiles, recipes, projects, architectures, traces, measurements, tables of cells."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.mutation import NUMBERS, RANDOMS, json_documents, mutated, mutations, toml, toml_documents

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
MANY_DIGITS = "9" * 5000
DEEP = "[" * 100_000


def _documents(*paths: str) -> list[dict[str, Any]]:
    return [tomllib.loads((ROOT / path).read_text()) for path in paths]


def _toml_found_before(key: str, base: dict[str, Any]) -> tuple[bytes, ...]:
    """The base itself; then numbers, depths and sizes that ended in tracebacks once."""
    whole = toml(base)
    texts = (
        f"{key} = {MANY_DIGITS}\n", f"{key} = 1e308\n", f"{key} = 1e400\n", f"{key} = nan\n", f"{key} = inf\n", f"{key} = -1\n",
        f"{key} = {'[' * 2000}{']' * 2000}\n", f"x = {'{a = ' * 2000}1{'}' * 2000}\n", f"[{'a.' * 2000}a]\n",
        f"{key} = 1979-05-27\n",
        f"{key} = 1\n{key} = 1\n", "\ufeff", "# " + "a" * 2_000_000, f'{key} = "\\ud800"\n', f'{key} = "\\U00110000"\n',
        f"{key} = 0x{'f' * 20_000}\n",
    )  # fmt: skip
    binary = (b"\xff\xfe" + whole, whole.replace(b"\n", b"\r\n"), whole[: len(whole) // 2], b"\0" * 100)
    return (whole, b"", *binary, *(text.encode() for text in texts), *(whole + b"\n" + text.encode() for text in texts))


def profiles() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    names = ("jetson-nano-4gb", "raspberry-pi-5", "jetson-orin-nano-8gb-super", "pixel-3-tflite")
    bases = _documents(*(f"profiles/{name}.toml" for name in names))
    return _toml_found_before("bandwidth_gb_s", bases[1]), toml_documents(*bases)


def recipes() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    bases = _documents(*(f"edgenas/training/recipes/{name}.toml" for name in ("fast", "final", "paper")))
    return _toml_found_before("lr", bases[0]), toml_documents(*bases)


def projects() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    base = {
        "data": "digits", "task": "classification", "target": ["jetson", "raspberry-pi-5"], "method": "gnas",
        "max_latency_ms": 1.5,
        "max_params": 500_000, "max_mmacs": 30.0, "max_size_mb": 1.0,
        "min_depth": 4, "max_depth": 10, "min_width": 8, "max_width": 24,
        "width_step": 2,
        "recipe": "fast", "budget": 10.0, "epoch_scale": 1.0, "search_images": 300, "policy": "gnas", "confirm_seeds": 0,
        "seed": 0,
        "final_width": "matched", "image_size": 16, "rules": {"depth_accept": 0.1, "first_epochs": 6},
    }  # fmt: skip
    other = {
        "data": "digits",
        "target": "jetson",
        "method": "random",
        "rules": {"trials": 9, "epochs": 3},
        "preset": "t",
        "image_size": [16, 40],
    }
    nal = {"data": "digits", "target": "jetson", "method": "nal", "space": "nasbench201", "rules": {"designs": 3}}
    return _toml_found_before("epoch-scale", base), toml_documents(base, other, nal)


def _json_found_before(whole: bytes) -> tuple[bytes, ...]:
    texts = (
        "",
        "null",
        "[]",
        "{}",
        "1",
        DEEP,
        "[" * 10**6,
        '{"a":' * 50_000,
        MANY_DIGITS,
        '"\\ud800"',
        "\ufeff{}",
        "NaN",
        "{" * 900,
    )
    return (
        whole,
        *(text.encode() for text in texts),
        whole[:-9],
        whole + whole,
        whole.replace(b"3", b"NaN", 1),
        b"\xff" + whole,
    )


def architectures() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    from edgenas.architectures.cell import cell_network
    from edgenas.architectures.chain import chain
    from edgenas.architectures.published import PUBLISHED, published_architecture
    from edgenas.architectures.tracer import Tracer
    from edgenas.records import (
        Architecture,
        BranchCell,
        Classes,
        MultiBranchArchitecture,
        Nasbench101Cell,
        Nasbench201Cell,
        OwnArchitecture,
    )

    cells = (
        Nasbench201Cell(("nor_conv_3x3", "none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3")),
        Nasbench101Cell(((0, 1, 1), (0, 0, 1), (0, 0, 0)), ("input", "conv3x3-bn-relu", "output")),
    )
    bases: list[Architecture] = [published_architecture(name) for name in list(PUBLISHED)[:3]] + [
        cell_network(cell, Classes(10)) for cell in cells
    ]
    branches = (BranchCell("N", 4, (28, 71, 24)), BranchCell("R", 6, (40, 3)))
    bases.append(MultiBranchArchitecture(72, branches, Classes(3), 4, 1, 8, 1, 16))
    bases.append(chain(8, 3, (0, 1, 0), (3, 5, 3), Classes(3), 1, (16, 320), "growing"))
    trace = Tracer(3, 8, 8)
    first = trace.conv(-1, 4, 3, norm=True, activation="relu")
    second = trace.conv(trace.pool("maxpool", first, 3), 4, 5, groups=4, residual=first, activation="silu")
    trace.channels(
        "shuffle", trace.concat([trace.elementwise("mul", [second, trace.global_pool(second)]), first]), 8, groups=2
    )
    bases.append(OwnArchitecture("own", {"width": 4, "gate": True, "kind": "a"}, trace.workload(), Classes(3), 3, 8))
    documents = [json.loads(base.canonical_json()) for base in bases]
    found = _json_found_before(json.dumps(documents[0]).encode())
    return (*found, *(json.dumps(one).encode() for one in documents)), json_documents(*documents)


def traces() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    texts = [
        (ROOT / f"tests/golden/{name}.json").read_bytes()
        for name in ("gnas_fashion_m", "trgnas_cifar10", "gnas_cifar10_t")
    ]
    return (*_json_found_before(texts[0]), *texts), json_documents(*map(json.loads, texts))


# ---------------------------------------------------------------- measurements

_NETWORKS = (
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_1x1~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",
    "fbnet:0123456780123456780123", "fbnet:8888888888888888888888", "FBNET:0000000000000000000000", "fbnet:012345678012345678012",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "convnet_1", "net.onnx", "../net.onnx", "total", "=SUM(A1:A9)", "",
    "{", "{}",
)  # fmt: skip
_MS = (
    "4.5",
    "1.25",
    "30",
    "0,5",
    "1.000,5",
    "4.6 ms",
    "3 us",
    "",
    "-1",
    "0",
    "#DIV/0!",
    "1e3",
    ".5",
    "5 %",
    "∞",
    *NUMBERS,
)


def _table(rows: list[tuple[str, str]], separator: str, head: str, encoding: str, newline: str) -> bytes:
    lines = [head.replace(",", separator)]
    lines += [
        f'"{network}"{separator}{ms}' if separator in network else f"{network}{separator}{ms}" for network, ms in rows
    ]
    return newline.join(lines).encode(encoding, "replace")


def measurements() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    good = [(f"fbnet:{place:022d}", f"{3 + 0.37 * place:.3f}") for place in range(9)]
    heads = (
        "architecture,latency_ms",
        "Architecture,Latency (ms)",
        "latency_ms,architecture",
        "architecture,ms",
        "a,architecture,latency_ms",
    )
    rows = st.lists(
        st.tuples(st.sampled_from(_NETWORKS) | st.text(max_size=30), st.sampled_from(_MS) | st.floats().map(str)),
        max_size=5,
    )
    text = st.builds(
        _table, rows.map(lambda odd: good + odd), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(heads),
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-16-le"]), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    )  # fmt: skip
    whole = _table(good, ",", heads[0], "utf-8", "\n")
    odd = ([(network, "4.5")] for network in _NETWORKS)
    seeds = (
        whole, b"", b"\xef\xbb\xbf" + whole, whole.replace(b",", b";"), whole.upper(), whole + b'"', whole + b"\0",
        whole + b"a" * 200_000,
        *(_table(good + row, ",", heads[0], "utf-8", "\n") for row in odd),
        *(_table([*good, ("fbnet:0000000000000000000099", ms)], ",", heads[0], "utf-8", "\n") for ms in _MS),
        whole + json.dumps("{" * 50_000).encode() + b",1\n", whole + b'"{""a"":' + b"[" * 50_000 + b'",1\n',
    )  # fmt: skip
    return seeds, text | mutations(whole)


# ---------------------------------------------------------------- tables of cells


def npz(arrays: dict[str, Any], *, packed: bool = True) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def _promising(header: str, size: int = 100) -> bytes:
    """An .npy whose header says more than there is."""
    head = header.encode() + b" " * (118 - len(header)) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(size)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("ops", "adj", "n_vertices", "op_names"):
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _arrays() -> tuple[dict[str, Any], ...]:
    from edgenas.architectures.cell import NASBENCH201_OPS

    rng = np.random.default_rng(3)
    ops = np.full((30, 7), -1)
    ops[:, 1:6], ops[:, 6] = rng.integers(0, 3, (30, 5)), -2
    first = {
        "adj": rng.integers(0, 2**21, 30),
        "ops": ops,
        "n_vertices": np.full(30, 7),
        "val_acc_108ep": rng.random(30),
    }
    second = {
        "ops": rng.integers(0, 5, (30, 6)),
        "op_names": np.array(NASBENCH201_OPS),
        "acc12_val_cifar10": rng.random(30),
    }
    return first, second


def _odd_arrays(base: dict[str, Any], rng: Random) -> bytes:
    arrays = dict(base)
    for _ in range(rng.randint(1, 2)):
        name = rng.choice([*arrays])
        old = np.asarray(arrays[name])
        numeric = np.atleast_1d(old if old.dtype.kind in "fiu" else np.zeros(old.shape))
        changes = (
            lambda a: a[:-3], lambda a: a.astype(np.float32), lambda a: a.reshape(-1), lambda a: a[..., None],
            lambda a: a * 0 - 7,
            lambda a: a.astype("S3"), lambda a: a * 2**40, lambda a: a + np.nan, lambda _: np.array(3),
            lambda a: np.zeros((0, *a.shape[1:])),
            lambda a: a.astype(np.complex64), lambda a: a.astype("U9"), lambda a: a.astype(bool), lambda _: np.array([]),
            lambda a: a.T,
            lambda a: a.astype("M8[s]"), lambda a: a.astype([("x", "i4")]),
        )  # fmt: skip
        with np.errstate(all="ignore"):
            arrays[name] = rng.choice(changes)(numeric)
        if rng.random() < 0.2:
            arrays[rng.choice(["ops", "adj", "x_acc", "op_names"])] = arrays.pop(name)
    return npz(arrays)


def cells() -> tuple[tuple[bytes, ...], SearchStrategy[bytes]]:
    first, second = _arrays()
    whole = npz(first)
    shapes = (
        "(500000000000,)",
        "(-1,)",
        "(2147483648, 2147483648)",
        "(1e9,)",
        "('a',)",
        "(" * 40,
        "()",
        "(0,)",
        "(4,)" * 9,
    )
    headers = [f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}" for shape in shapes]
    kinds = ("|O", "<V9", "<x9", "O8", "<U2147483647", "|S0", "<f2")
    headers += [f"{{'descr': '{kind}', 'fortran_order': False, 'shape': (4,)}}" for kind in kinds]
    seeds = (
        whole, npz(second), b"", b"PK\x05\x06" + bytes(18), whole[: len(whole) // 2], whole[:-10], b"x" + whole, whole + b"x",
        npz({"ops": np.array([{}], object)}), *map(_promising, headers), npz({**first, "adj": np.zeros(3 * 10**7)}),
    )  # fmt: skip
    bases = (whole, npz(first, packed=False), npz(second, packed=False))
    odd = st.builds(_odd_arrays, st.sampled_from((first, second)), RANDOMS)
    return seeds, odd | st.builds(lambda base, rng: mutated(base, rng), st.sampled_from(bases), RANDOMS)
