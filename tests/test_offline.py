"""Nothing leaves: each command under strace, where there is no network but loopback, works and speaks to nobody else."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.edgenas import ENVIRONMENT, REPOSITORY


def beyond_loopback(addresses: list[str]) -> list[str]:
    """Those elsewhere, and any name server's."""
    split = [address.rpartition(":") for address in addresses]
    return [f"{host}:{port}" for host, _, port in split if port == "53" or not ipaddress.ip_address(host).is_loopback]


def test_what_is_beyond_loopback_is_told_apart() -> None:
    here = ["127.0.0.1:8000", "::1:8000", "127.8.9.1:1"]
    assert beyond_loopback(here) == []
    there = ["10.0.0.1:80", "192.0.2.1:9", "2001:db8::1:9", "127.0.0.53:53"]
    assert beyond_loopback([*here, *there]) == there


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_search_train_export_report_serve_and_agent_send_no_packet_elsewhere(tmp_path: Path) -> None:
    for tool in ("unshare", "ip", "strace"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a network namespace: run as root")
    command = ["unshare", "--net", sys.executable, "-m", "tests.offline", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert beyond_loopback(document.pop("control")["addresses"]) == [
        "192.0.2.1:9",
        "2001:db8::1:9",
    ]  # the trace sees them
    bench = document["agent"]["bench"]
    assert bench["addresses"] != []
    for name, each in {**document, "bench": bench}.items():
        assert each["exit"] == 0, (name, each)
        assert each.get("answered", True), (name, each)
        assert beyond_loopback(each["addresses"]) == [], (name, each)
