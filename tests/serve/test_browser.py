"""A page of another site, in a real browser: it cannot enrol, delete or read, whatever it tries."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.test_faces import shared_face_bundle
from tests.report.browser import FLAGS
from tests.serve.running import HOST, Running, serving
from tests.serve.test_errors import picture

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytestmark = pytest.mark.skip(reason="no Chromium on this machine: apt-get install chromium")
REBOUND = "evil.example"  # whose owner lets it point to 127.0.0.1
TRY = """
async ([url, method, mode, picture]) => {
  const body = picture === null ? undefined : new Blob([Uint8Array.from(picture)]);
  try {
    const answer = await fetch(url, {method, mode, body});
    return [answer.type, answer.status, await answer.text()];
  } catch (error) {
    return ["error", 0, String(error)];
  }
}
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A page of http://localhost:PORT, which is another origin than the server's."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<!doctype html><title>a page</title>")
    site = http.server.ThreadingHTTPServer((HOST, 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=site.serve_forever).start()
    rules = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, rules])
        opened = browser.new_page()
        opened.goto(f"http://localhost:{site.server_port}/")
        yield opened
        browser.close()
    site.shutdown()
    site.server_close()


@pytest.fixture(scope="module")
def open_server() -> Iterator[Running]:
    """No gallery, no token: what a page could use without being known."""
    with serving(shared_face_bundle().folder) as running:
        yield running


def requests_by_status(server: Running, path: str) -> dict[str, float]:
    lines = server.ask("GET", "/metrics")[2].decode().splitlines()
    start = f'edgenas_requests_total{{endpoint="{path}",status="'
    return {line.removeprefix(start)[:3]: float(line.split()[-1]) for line in lines if line.startswith(start)}


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
def test_a_page_cannot_send_a_picture(page, open_server: Running, mode: str) -> None:
    before = requests_by_status(open_server, "/embed")
    url = f"http://{HOST}:{open_server.port}/embed"
    kind, status, text = page.evaluate(TRY, [url, "POST", mode, list(picture(1))])
    assert (kind, status) in (("opaque", 0), ("error", 0))
    assert "embedding" not in text
    assert requests_by_status(open_server, "/embed") == before  # it never came to the endpoint


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_page_can_neither_read_nor_delete(page, open_server: Running, method: str) -> None:
    url = (
        f"http://{HOST}:{open_server.port}/people/Ada" if method == "DELETE" else f"http://{HOST}:{open_server.port}/v2"
    )
    kind, status, text = page.evaluate(TRY, [url, method, "cors", None])
    assert (kind, status) == ("error", 0)
    assert "edgenas" not in text


def test_a_name_that_is_made_to_point_here_reads_nothing(page, open_server: Running) -> None:
    """DNS rebinding: the page and the server are one origin for the browser."""
    rebound = page.context.browser.new_page()
    rebound.goto(f"http://{REBOUND}:{open_server.port}/v2")
    assert "is not this machine" in rebound.content()
    kind, status, text = rebound.evaluate(TRY, ["/embed", "POST", "cors", list(picture(1))])
    assert (kind, status) == ("basic", 403)
    assert "is not this machine" in text
    rebound.close()


def test_a_gallery_gives_a_page_nothing_and_takes_nothing_from_it(page, tmp_path: Path) -> None:
    gallery = tmp_path / "people.db"
    with serving(shared_face_bundle().folder, "--gallery", str(gallery), "--threshold", "0.9") as running:
        running.token = (tmp_path / "people.db.token").read_text().strip()
        for mode in ("no-cors", "cors"):
            url = f"http://{HOST}:{running.port}/enroll?name=Boss"
            assert page.evaluate(TRY, [url, "POST", mode, list(picture(1))])[1] == 0
        rebound = page.context.browser.new_page()
        rebound.goto(f"http://{REBOUND}:{running.port}/people")
        assert "a bearer token is needed" in rebound.content()
        rebound.close()
        assert running.json("GET", "/people") == (200, {"people": []})


def test_who_types_the_address_in_is_answered(page, open_server: Running) -> None:
    typed = page.context.browser.new_page()
    typed.goto(f"http://{HOST}:{open_server.port}/v2")
    assert '"name":"edgenas"' in typed.content()
    typed.close()
