"""Who may ask a server without a token on this machine: programs, not the pages that somebody looks at."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.test_faces import shared_face_bundle
from tests.serve.running import HOST, TOKEN, Running, eventually, serving, started, token_file
from tests.serve.test_errors import picture


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A recogniser without a gallery, and so without a token."""
    with serving(shared_face_bundle().folder) as running:
        yield running


def status_of(
    server: Running, method: str = "GET", path: str = "/v2", body: bytes | None = None, **headers: str
) -> int:
    """With exactly these headers (underscores are dashes)."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers or headers.pop("No_host", "") != "")
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status == 403:
        assert json.loads(content)["error"]
    return response.status


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:9000", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]:8000", "localhost."]
)
def test_this_machine_has_many_names(server: Running, host: str) -> None:
    assert status_of(server, Host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.7", "[::2]", "[", "0"],
)
def test_a_name_that_somebody_lets_point_here_is_refused(server: Running, host: str) -> None:
    for path in ("/v2", "/metrics", "/v2/health/live", "/v2/models/door"):
        assert status_of(server, Host=host, path=path) == 403
    assert status_of(server, "POST", "/embed", picture(1), Host=host) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://["},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": ""},
    ],
)
def test_a_page_of_another_site_is_refused(server: Running, headers: dict[str, str]) -> None:
    assert status_of(server, Host=f"localhost:{server.port}", **headers) == 403
    assert status_of(server, "POST", "/embed", picture(1), Host=f"localhost:{server.port}", **headers) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "none"},  # typed into the browser
        {"Sec_Fetch_Site": "same-origin"},
        {
            "Sec_Fetch_Site": "same-origin",
            "Origin": "https://door.example",
        },  # behind a proxy that does not pass its name on
    ],
)
def test_what_a_browser_says_is_no_foreign_page_is_answered(server: Running, headers: dict[str, str]) -> None:
    assert status_of(server, Host=f"localhost:{server.port}", **headers) == 200


def test_a_page_that_came_from_here_is_answered(server: Running) -> None:
    assert status_of(server, Host=f"localhost:{server.port}", Origin=f"http://localhost:{server.port}") == 200
    assert status_of(server, Host=f"LOCALHOST:{server.port}", Origin=f"http://localhost:{server.port}") == 200


def test_with_a_token_any_name_is_taken_and_a_foreign_page_still_is_not(tmp_path: Path) -> None:
    with serving(shared_face_bundle().folder, "--token-file", str(token_file(tmp_path)), token=TOKEN) as running:
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert status_of(running, Host="door.example", **right) == 200
        assert status_of(running, Host="door.example", Origin="https://evil.example", **right) == 403
        assert status_of(running, Host="door.example") == 401


def test_a_gallery_always_asks_for_a_token_and_makes_one(tmp_path: Path) -> None:
    gallery = tmp_path / "people.db"
    with started(shared_face_bundle().folder, "--gallery", str(gallery), "--threshold", "0.9") as running:
        made = tmp_path / "people.db.token"
        token = made.read_text().strip()
        assert made.stat().st_mode & 0o777 == 0o600
        assert len(token) == 64
        assert token not in running.text()
        assert f"asking for the token in {made} (made now)" in running.text()
        assert f"names and faces stand unencrypted in {gallery}" in running.text()
        for method, path in (
            ("GET", "/people"),
            ("POST", "/enroll?name=A"),
            ("DELETE", "/people/A"),
            ("POST", "/identify"),
        ):
            assert status_of(running, method, path) == 401
        eventually(running.ready)
        running.token = token
        assert running.json("POST", "/enroll?name=A", picture(1))[0] == 200
    with started(shared_face_bundle().folder, "--gallery", str(gallery)) as running:
        running.token = token
        assert running.json("GET", "/people")[1]["people"][0]["name"] == "A"
        assert "(made now)" not in running.text()
