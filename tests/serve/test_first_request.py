"""What the server says to ask it with is what it answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.digits_bundle import digits_bundle
from tests.export.test_faces import shared_face_bundle
from tests.serve.running import TOKEN, eventually, serving, token_file


def suggested(said: str) -> list[str]:
    return re.findall(r"^next: (curl .*)$", said, re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("guarded", [False, True])
def test_the_command_that_a_server_of_a_classifier_says_gets_an_answer(tmp_path: Path, guarded: bool) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "digit.png")
    (tmp_path / "a folder").mkdir()
    options = ["--token-file", str(token_file(tmp_path / "a folder"))] if guarded else []
    with serving(digits_bundle().folder, *options, token=TOKEN if guarded else None) as running:
        eventually(lambda: suggested(running.text()) != [])
        (command,) = suggested(running.text())
        line = command.replace("@IMAGE", "@digit.png").replace("curl ", "curl -sf ")
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=True)
    assert len(json.loads(done.stdout)["classes"]) == 5


def test_a_server_of_faces_says_none() -> None:
    with serving(shared_face_bundle().folder) as running:
        assert suggested(running.text()) == []
