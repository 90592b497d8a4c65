"""An authority that signs certificates for servers on loopback."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

DAY = timedelta(days=1)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Authority:
    """`folder`: where its files are written."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def file(self, name: str = "authority.pem", content: bytes | None = None) -> Path:
        path = self.folder / name
        path.write_bytes(self.pem if content is None else content)
        return path

    def server(self, *names: str, until: timedelta = DAY) -> ssl.SSLContext:
        """The context of a server whose certificate is for `names` and ends `until` from now."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(_named("server")).serial_number(2)
        made = made.issuer_name(_named("Acme root")).public_key(key.public_key())
        made = made.not_valid_before(now - 9 * DAY).not_valid_after(now + until)
        made = made.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
        )
        certificate = made.sign(self.key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self.file("server.pem", private + certificate.public_bytes(Encoding.PEM) + self.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def authority(folder: Path) -> Authority:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(_named("Acme root")).issuer_name(_named("Acme root"))
    made = made.public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - 9 * DAY).not_valid_after(now + 9 * DAY)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return Authority(folder, key, made.sign(key, hashes.SHA256()))
