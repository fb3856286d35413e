"""The certificate the daemon shows: loaded from a directory, made there when there is none."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

log = structlog.get_logger(__name__)

KEY: Final = "server.key"
CERTIFICATE: Final = "server.crt"
LIFETIME: Final = timedelta(days=820)  # clients refuse more than 825 days
RENEW_BEFORE: Final = timedelta(days=30)
_ISSUER_UNIT: Final = "made by xapid at its start"


class CertificateUnusable(Exception):  # noqa: N818
    """The key and certificate in the directory cannot be used; the text says why."""


def load_or_make_certificate(directory: Path, names: Iterable[str] = ()) -> ssl.SSLContext:
    """A server context of the key and certificate in `directory`.

    names: further host names and addresses that a certificate made here is to carry.
    A certificate that xapid made is made anew, with the same key, 30 days before it ends; one that
    an administrator put there is never touched. Raises CertificateUnusable, OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    load_certificate(context, directory, names)
    return context


def load_certificate(context: ssl.SSLContext, directory: Path, names: Iterable[str] = ()) -> None:
    """Give a context the key and certificate as they are now; connections that stand go on.

    names: as above. A pair that cannot be used leaves the context as it was.
    Raises CertificateUnusable, OSError.
    """
    key_path, certificate_path = directory / KEY, directory / CERTIFICATE
    if not certificate_path.exists() or _is_ours_and_ends(certificate_path):
        key = _load_key(key_path) if key_path.exists() else _make_key(key_path)
        _make_certificate(certificate_path, key, names)
        log.info("made a certificate", path=str(certificate_path))
    try:
        for each in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            each.load_cert_chain(certificate_path, key_path, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise CertificateUnusable(
            f"{certificate_path} and {key_path} cannot be used together: {error}"
        ) from error
    _tell(certificate_path)


def fingerprint(certificate: x509.Certificate) -> str:
    """What a person compares: SHA-256 over the certificate, as openssl and browsers write it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def ends_at(path: Path) -> datetime:
    """When a certificate ends. Raises OSError, ValueError."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _tell(path: Path) -> None:
    """Say which certificate clients see, and when it will no longer do."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    log.info("certificate in use", path=str(path), sha256=fingerprint(certificate))
    if left < RENEW_BEFORE:
        log.warning(
            "the certificate ends soon: put a new one there, and reload",
            path=str(path),
            days=left.days,
        )


def _no_password() -> str:
    raise ValueError("the key is protected by a password, which xapid cannot give")


def _is_ours_and_ends(path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise CertificateUnusable(f"{path} holds no certificate: {error}") from error
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    ours = [unit.value for unit in units] == [_ISSUER_UNIT]
    return ours and certificate.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateUnusable(f"{path} holds no usable key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateUnusable(f"{path} has no certificate beside it and is not a key of ours")
    return key


def _make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    _write(
        path,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        0o600,
    )
    return key


def _make_certificate(path: Path, key: ec.EllipticCurvePrivateKey, names: Iterable[str]) -> None:
    now = datetime.now(UTC)
    host = socket.gethostname()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, host[:64]),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, _ISSUER_UNIT),
        ]
    )
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_alternatives(host, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,  # so that a client can trust this one certificate as its own authority
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(host: str, names: Iterable[str]) -> list[x509.GeneralName]:
    found: dict[x509.GeneralName, None] = {}
    for name in ("localhost", host, "127.0.0.1", "::1", *names):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            if name and name.isascii():
                found[x509.DNSName(name)] = None
        else:
            if not address.is_unspecified:
                found[x509.IPAddress(address)] = None
    return list(found)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all; nobody else ever sees it with a wider mode."""
    partial = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
