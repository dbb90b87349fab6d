"""Tokens: long enough, readable by their owner only, made once."""

from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.remote.token import VARIABLE, read_or_make_token, read_token, server_token


def test_a_token_is_made_once_with_256_bits_for_its_owner_alone(tmp_path: Path) -> None:
    token, file = read_or_make_token(tmp_path / "deep" / "token")
    assert file == tmp_path / "deep" / "token"
    assert len(token) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_or_make_token(file)[0] == read_token(file) == token


def test_a_token_that_others_can_read_or_guess_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 64)
    file.chmod(0o644)
    with pytest.raises(EdgenasError, match="mode 0644 and others can read it: chmod 600"):
        read_token(file)
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(EdgenasError, match="too weak: at least 32 characters"):
        read_token(file)
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(EdgenasError, match=r"\$EDGENAS_AGENT_TOKEN is too weak"):
        read_token(None)


@pytest.mark.parametrize("weak", ["a" * 31, "a" * 20 + " " + "a" * 20, "a" * 20 + "\t" + "a" * 20, "\u00e4" * 40])
def test_a_token_has_32_characters_and_no_space(weak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "a" * 32)
    assert read_token(None) == "a" * 32
    monkeypatch.setenv(VARIABLE, weak)
    with pytest.raises(EdgenasError, match="too weak: at least 32 characters without spaces"):
        read_token(None)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_token_file_that_its_group_or_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text("a" * 64)
    file.chmod(mode)
    with pytest.raises(EdgenasError, match=f"mode {mode:04o} and others can read it: chmod 600"):
        read_token(file)
    file.chmod(mode & 0o700)
    assert read_token(file) == "a" * 64


def test_the_environment_is_read_where_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "b" * 40)
    assert read_token(None) == "b" * 40
    assert read_or_make_token(None) == ("b" * 40, None)
    with pytest.raises(EdgenasError, match=r"no token: .*missing cannot be read"):
        read_token(tmp_path / "missing")


def test_each_program_advises_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for ask, named, told in ((read_token, VARIABLE, "copy the agent's"), (read_or_make_token, VARIABLE, "another file"),
                             (server_token, "--token-file", "another file")):  # fmt: skip
        with pytest.raises(EdgenasError, match=told) as caught:
            ask(tmp_path)
        assert named in str(caught.value)
        assert (VARIABLE in str(caught.value)) is (named == VARIABLE)
    token = server_token(tmp_path / "token")
    assert server_token(tmp_path / "token") == read_token(tmp_path / "token") == token
