"""What `edgenas compare` asks for before it can compare."""

from pathlib import Path

import pytest

from edgenas.engine.compare import winners_in
from edgenas.errors import StudyError
from edgenas.store import Store
from tests.report.studies import published_study


def test_the_command_that_is_missing_is_quoted_for_a_shell(tmp_path: Path) -> None:
    for name, quoted in (("it is $5", f"'{tmp_path}/it is $5'"), ("plain", f"{tmp_path}/plain")):
        with Store.read(published_study(tmp_path / name)) as store, pytest.raises(StudyError) as caught:
            winners_in(store)
        assert f"run `edgenas train {quoted}` first" in str(caught.value)
