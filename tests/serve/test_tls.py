"""HTTPS with a certificate made here, and what is said where a token would travel in the clear."""

import http.client
import ssl
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.digits_bundle import digits_bundle
from tests.serve.running import TOKEN, started, token_file


def test_https_is_served_with_the_certificate_and_nothing_else(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    options = (
        "--tls-cert",
        str(crt),
        "--tls-key",
        str(key),
        "--host",
        "0.0.0.0",
        "--token-file",
        str(token_file(tmp_path)),
    )
    with started(digits_bundle().folder, *options) as running:
        assert f"https://0.0.0.0:{running.port}" in running.text()
        assert "warning" not in running.text()
        context = ssl.create_default_context(cafile=crt)
        connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=30, context=context)
        connection.request("GET", "/v2", headers={"Authorization": f"Bearer {TOKEN}"})
        assert connection.getresponse().read().startswith(b'{"name":"edgenas"')
        connection.close()
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            running.ask("GET", "/v2/health/live")
        old = ssl.create_default_context(cafile=crt)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=30, context=old)
        with pytest.raises(ssl.SSLError):
            connection.request("GET", "/v2/health/live")
        connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("token", [True, False])
def test_a_token_over_plain_http_beyond_this_machine_is_warned_of(tmp_path: Path, host: str, token: bool) -> None:
    options = ("--token-file", str(token_file(tmp_path))) if token else ()
    with started(digits_bundle().folder, "--host", host, *options) as running:
        text = running.text()
    beyond = host == "0.0.0.0"
    assert ("whoever listens in reads the token" in text) is (beyond and token)
    assert ("anybody who reaches 0.0.0.0 may use this server" in text) is (beyond and not token)
