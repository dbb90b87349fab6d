"""Certificates made for a test, by authorities made for it."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

import pytest

x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402  # after the skip
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


class Signed(NamedTuple):
    """A certificate and its key: PEM files."""

    certificate: Path
    key: Path


def certificate(
    folder: Path,
    name: str = "tls",
    *,
    by: Signed | None = None,
    host: str = "127.0.0.1",
    days: tuple[float, float] = (-1, 1),
    password: bytes | None = None,
) -> Signed:
    """For `host`, valid from and until so many days from now, signed by the authority `by` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer_key, issuer = key, subject
    if by is not None:
        loaded = serialization.load_pem_private_key(by.key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer_key = loaded
        issuer = x509.load_pem_x509_certificate(by.certificate.read_bytes()).subject
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days[0]))
        .not_valid_after(now + datetime.timedelta(days[1]))
        .add_extension(x509.SubjectAlternativeName([alternative]), False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), False)
    )
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made = Signed(folder / f"{name}.crt", folder / f"{name}.key")
    made.certificate.write_bytes(builder.sign(signer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
    return made


class Signers(NamedTuple):
    """The authority that is trusted in a test, and another one."""

    ours: Signed
    others: Signed


def authorities(folder: Path) -> Signers:
    return Signers(certificate(folder, "ours"), certificate(folder, "others"))
