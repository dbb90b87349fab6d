import re
from pathlib import Path

import msgspec
import tomllib

from edgenas.cli.init import PROJECT
from edgenas.engine.nse import PRESETS as NSE
from edgenas.engine.settings import PRESETS, SearchSettings, settings_from
from tests.cli.edgenas import edgenas_json, refusal


def test_search_accepts_the_project_file_as_it_is(tmp_path: Path) -> None:
    written = edgenas_json("init", "mine.toml", "--data", "fashion-mnist", "--target", "jetson-nano", folder=tmp_path)
    assert written == {"file": "mine.toml"}
    settings = settings_from(tmp_path / "mine.toml", {})
    assert settings == SearchSettings(target=("jetson-nano",), data="fashion-mnist")


def test_every_setting_is_in_the_file_and_every_commented_line_is_valid(tmp_path: Path) -> None:
    text = PROJECT.format(name="p.toml", data='"digits"', task='"classification"', method='"nse"', target='"jetson"')
    uncommented = re.sub(r"^# (?=\w+ = |\[rules\])", "", text, flags=re.MULTILINE)
    values = tomllib.loads(uncommented)
    assert set(values) == set(SearchSettings.__struct_fields__)
    msgspec.convert(values, type=SearchSettings)


TINY = PRESETS["tiny"]
NO_ONE_DEFAULT = {"preset": "tiny", "epoch_scale": 1.0, "far": 1e-2, "pool": NSE["tiny"].pool, "space": "chain"} | {
    bound: getattr(TINY, bound) for bound in ("min_depth", "max_depth", "min_width", "max_width", "width_step")
}


def test_a_commented_line_is_the_default_or_says_that_it_is_an_example() -> None:
    lines = re.findall(r"^# (\w+) = (\S+)(?: +# (.*))?$", PROJECT, flags=re.MULTILINE)
    assert {"skip_damaged", "min_width", "confirm_seeds", "warm_start"} <= {name for name, _, _ in lines}
    for name, value, words in lines:
        usual = NO_ONE_DEFAULT.get(name, getattr(SearchSettings(), name, None))
        is_default = tomllib.loads(f"{name} = {value}")[name] == usual
        assert is_default != words.startswith("example"), name


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "edgenas.toml"
    file.write_text("mine")
    assert "is there already" in refusal("init", str(file))
    assert file.read_text() == "mine"


def test_a_name_with_quotes_is_still_valid_toml(tmp_path: Path) -> None:
    folder = tmp_path / 'my "images"'
    edgenas_json("init", "p.toml", "--data", str(folder), folder=tmp_path)
    assert settings_from(tmp_path / "p.toml", {}).data == str(folder)


def test_an_unknown_target_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    assert "did you mean" in refusal("init", str(file), "--target", "jetson-nanno")
    assert not file.exists()
