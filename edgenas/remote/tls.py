"""TLS on both ends of a connection: a server's certificate and key, and what a client trusts. Nothing is ever left unverified."""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from edgenas.errors import EdgenasError
from edgenas.files import at_home

CA_VARIABLE = "EDGENAS_AGENT_CA"
EXPIRED, NOT_YET, OTHER_HOST, OTHER_IP = 10, 9, 62, 64  # X509_V_ERR_*, openssl/x509_vfy.h
UNKNOWN_SIGNER = (18, 19, 20, 21)


class Tls(NamedTuple):
    """A certificate with its chain and its key, PEM files."""

    certificate: Path
    key: Path


def tls_from_options(certificate: Path | None, key: Path | None) -> Tls | None:
    """What --tls-cert and --tls-key say; None without both. EdgenasError where one lacks the other."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise EdgenasError("--tls-cert and --tls-key belong together: give both")
    return Tls(certificate, key)


def server_context(tls: Tls) -> ssl.SSLContext:
    """For a server, TLS 1.2 and later (Python's own minimum); EdgenasError where the files cannot be used, one with a
    password among them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise EdgenasError(
            f"--tls-cert {tls.certificate} and --tls-key {tls.key} cannot be used ({_reason(error)}): give a certificate and "
            "the key that belongs to it, PEM files without a password"
        ) from error
    return context


def client_context(ca: Path | None) -> ssl.SSLContext:
    """For a client: certificates and host names are checked, by the CAs in `ca`, else in $EDGENAS_AGENT_CA, else the system's."""
    named = os.environ.get(CA_VARIABLE)
    file = ca or (Path(named) if named else None)
    try:
        return ssl.create_default_context(cafile=None if file is None else at_home(file))
    except (OSError, ValueError) as error:
        where = "--ca" if ca else f"${CA_VARIABLE}:"
        raise EdgenasError(
            f"{where} {file} cannot be used ({_reason(error)}): give a PEM file with the certificate that signed the board's, "
            "or the board's own if it signed itself"
        ) from error


def distrust(error: ssl.SSLError, url: str, host: str) -> EdgenasError:
    """What to do about a board whose TLS does not come about, in one line."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return EdgenasError(
            f"board {url} speaks no TLS that is accepted here ({_reason(error)}): start the agent with --tls-cert and "
            "--tls-key, or ask for http:// where it has none"
        )
    code = error.verify_code
    if code in UNKNOWN_SIGNER:
        advice = f"nobody trusted here signed it: give the certificate of who did with --ca FILE or {CA_VARIABLE}"
    elif code in (EXPIRED, NOT_YET):
        state = "expired" if code == EXPIRED else "not valid yet"
        advice = f"it is {state}: renew it on the board, or set the clock that is wrong, there or here"
    elif code in (OTHER_HOST, OTHER_IP):
        advice = f"it is not for {host}: use a name that it is for, or make one for {host} (subjectAltName)"
    else:
        advice = f"{error.verify_message}: give the board another one"
    return EdgenasError(f"board {url} shows a certificate that is refused: {advice}")


def is_loopback(address: str) -> bool:
    """Whether packets to this address stay on this machine; a name other than localhost is somewhere else."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
