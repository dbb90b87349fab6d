"""The last net: what no command turned into a line of its own."""

from pathlib import Path

import pytest

from edgenas.cli import main


def test_a_file_that_cannot_be_opened_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "app", tmp_path.read_bytes)
    with pytest.raises(SystemExit, match="1"):
        main.main()
    assert capsys.readouterr().err == f"edgenas: {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("error", [OSError("no file in it"), BrokenPipeError(32, "Broken pipe", "pipe")])
def test_other_errors_of_the_system_are_left_as_they_are(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(type(error)) as caught:
        main.main()
    assert caught.value is error
