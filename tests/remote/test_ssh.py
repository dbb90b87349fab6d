"""A board over SSH: argument lists, refusals, and a round trip against a real sshd on loopback with keys only."""

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.measure import MeasureError
from edgenas.remote import ssh
from edgenas.remote.boards import open_board
from edgenas.remote.client import BoardAway
from edgenas.remote.job import job_for
from edgenas.remote.ssh import CONFIG_VARIABLE, SshBoard
from tests.cli.edgenas import refusal
from tests.remote.models import QUICK, honest, unknown_operator

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def test_hosts_that_would_be_options_are_refused() -> None:
    for url in ("ssh://-oProxyCommand=x", "ssh://a:secret@host", "ssh://", "ssh://host?x=1", "ssh://-l@host"):
        with pytest.raises(EdgenasError, match="board 'ssh://"):
            SshBoard(url)


def test_ssh_is_called_in_batch_mode_with_host_keys_checked() -> None:
    board = SshBoard("ssh://pi@192.0.2.1:2222/opt/edge nas/bin/edgenas")
    assert board._ssh[:6] == ["ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    assert board._ssh[-6:] == ["-p", "2222", "-l", "pi", "--", "192.0.2.1"]
    assert board._command == "/opt/edge nas/bin/edgenas"


def test_options_of_the_agent_stand_behind_the_question_mark() -> None:
    board = SshBoard("ssh://board/opt/edgenas?runtime=tensorrt&threads=4")
    assert (board._command, board._options) == ("/opt/edgenas", ["--runtime", "tensorrt", "--threads", "4"])
    assert SshBoard("ssh://board/opt/edgenas")._options == []
    for query in (
        "x=1",
        "runtime",
        "runtime=",
        "runtime=-h",
        "runtime=a b",
        "runtime=a&runtime=b",
        "runtime=a;b",
        "host=x",
    ):
        with pytest.raises(EdgenasError, match="behind the question mark: possible are runtime, provider, threads"):
            SshBoard(f"ssh://board/opt/edgenas?{query}")


@pytest.fixture
def near(tmp_path: Path, command: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a "board" on this machine: in the place of ssh a shell that runs the last word, as a board's shell does."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    return f"ssh://board{str(command).replace(' ', '%20')}"


def test_an_agent_over_ssh_measures_with_the_threads_that_its_address_asks_for(near: str, tmp_path: Path) -> None:
    for query, threads in (("", 1), ("?threads=2", 2)):
        assert SshBoard(near + query).info()["load"]["threads"] == threads


def test_a_calibration_over_ssh_says_how_its_board_comes_to_the_targets_runtime(near: str, tmp_path: Path) -> None:
    asked = ("calibrate", "--target", "jetson", "--out", str(tmp_path / "mine.toml"), "--board")
    assert f"ask for {near}?runtime=tensorrt, or make a profile" in refusal(*asked, near)
    assert f"ask for {near}?threads=2&runtime=tensorrt" in refusal(*asked, f"{near}?threads=2")
    if importlib.util.find_spec("tensorrt") is None:  # then the board has none either, and says so itself
        assert "tensorrt" in (line := refusal(*asked, f"{near}?runtime=tensorrt"))
        assert "ask for" not in line


@pytest.mark.parametrize("stream", ["", " >&2"])
def test_an_answer_without_end_is_refused_and_ssh_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(ssh, "LARGEST_ANSWER", 1_000_000)
    script = tmp_path / "ssh"
    script.write_text(f"#!/bin/sh\nexec yes{stream}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EdgenasError, match="answers with more than 1 MB: this is no agent") as caught:
        SshBoard("ssh://board").measure(honest(), job_for(honest(), "host-cpu", QUICK))
    assert not isinstance(caught.value, BoardAway)


def test_a_board_that_says_nothing_over_ssh_is_away_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BoardAway, match="no answer within 1 s"):
        SshBoard("ssh://board")._run(["agent"], bytes(10_000_000), 1.0)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real server with its own keys and configuration: (address, client's configuration)."""
    if not Path(SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("no sshd here: install Debian's openssh-server")
    folder = tmp_path_factory.mktemp("ssh")
    Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # where sshd separates its privileges
    for name in ("host", "client", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\n"
        "PermitRootLogin prohibit-password\n"
    )
    kind, key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    _client(folder, "client", "known")
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE)
    try:
        _wait_until_it_listens(port, server)
        yield f"{getpass.getuser()}@127.0.0.1:{port}", folder
    finally:
        server.terminate()
        server.communicate()


def _client(folder: Path, key: str, known: str) -> None:
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/{known}\nGlobalKnownHostsFile none\n"
    )


def _wait_until_it_listens(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(100):
        assert server.poll() is None, server.stderr.read() if server.stderr else ""
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("sshd does not listen")


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """What a board has installed: an `edgenas` command, outside of any shell's PATH."""
    script = tmp_path / "edge nas"
    root = Path(__file__).parents[2]
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m edgenas "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.slow
def test_a_model_is_measured_over_a_real_ssh_connection(
    sshd: tuple[str, Path], command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = sshd
    monkeypatch.setenv(CONFIG_VARIABLE, str(folder / "ssh_config"))
    board = open_board(f"ssh://{address}{str(command).replace(' ', '%20')}")
    assert board.info()["runtime"] == "onnxruntime"
    measurement = board.measure(honest(), job_for(honest(), "host-cpu", QUICK))
    assert len(measurement.samples_ms) >= 20
    assert len(measurement.detail["reference_ms"]) == QUICK.rounds
    with pytest.raises(MeasureError, match="operators that are not allowed: Loop"):
        board.measure(unknown_operator(), job_for(unknown_operator(), "host-cpu", QUICK))


@pytest.mark.slow
def test_wrong_keys_unknown_hosts_missing_commands_and_closed_ports_are_told_apart(
    sshd: tuple[str, Path], command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = sshd
    monkeypatch.setenv(CONFIG_VARIABLE, str(folder / "ssh_config"))
    with pytest.raises(EdgenasError, match="give the path of edgenas there"):
        SshBoard(f"ssh://{address}/nowhere/edgenas").info()
    _client(folder, "stranger", "known")
    with pytest.raises(EdgenasError, match="Permission denied"):
        SshBoard(f"ssh://{address}{command}").info()
    _client(folder, "client", "nobody-known")
    with pytest.raises(EdgenasError, match="Host key verification failed"):
        SshBoard(f"ssh://{address}{command}").info()
    _client(folder, "client", "known")
    with pytest.raises(BoardAway, match="does not answer"):
        SshBoard("ssh://127.0.0.1:9/edgenas").info()
