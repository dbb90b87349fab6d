"""A predictor that a search names is kept in its study."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from edgenas.engine.nal import _predictor
from edgenas.errors import EdgenasError
from edgenas.methods import nal
from edgenas.methods.nal import NalRules

SHIPPED = Path(nal.__file__).parent / "weights"


def test_a_search_goes_on_from_any_folder_with_the_predictor_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine, other = (SHIPPED / f"{name}.safetensors" for name in ("nasbench201", "nasbench101"))
    shutil.copyfile(mine, "mine.safetensors")
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    rules = NalRules("nasbench201", weights="mine.safetensors", weights_sha256=sha256)
    study = tmp_path / "study"
    study.mkdir()
    card = _predictor(rules).card
    assert list(study.iterdir()) == []  # while a search is planned there is no study
    assert _predictor(rules, study).card == card
    (kept,) = (study / "weights").iterdir()
    assert kept.read_bytes() == mine.read_bytes()
    shutil.copyfile(other, "mine.safetensors")
    assert _predictor(rules, study).card == card
    with pytest.raises(EdgenasError, match=r"^mine.safetensors is another predictor than this study began with"):
        _predictor(rules, tmp_path / "of an earlier version")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert _predictor(rules, study).card == card
    kept.write_bytes(b"damaged")
    with pytest.raises(EdgenasError, match=r"mine.safetensors"):
        _predictor(rules, study)
