"""Two homeservers that federate on the loopback interface, over TLS as everywhere, with an authority of their own.

Their names carry a port (`localhost:18123`): so each is found without DNS and `.well-known` (server-server API,
"Resolving server names", step 2), and its certificate is for `localhost`.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.cli.demo.homeserver import PrivateSynapse, free_port

HOST = "localhost"


class Authority:
    """Signs one certificate, which all servers of a test use; its files are `ca.pem`, `cert.pem` and `key.pem`."""

    def __init__(self, folder: Path) -> None:
        """Make the files in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
        ca = _certificate(ca_name, ca_name, ca_key, ca_key, x509.BasicConstraints(ca=True, path_length=0))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        alternative = x509.SubjectAlternativeName([x509.DNSName(HOST)])
        server = _certificate(name, ca_name, server_key, ca_key, alternative)
        self.certificate.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self.cert.write_bytes(server.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            server_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signing: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(extension, critical=False)
        .sign(signing, hashes.SHA256())
    )


def federating_synapse(folder: Path, authority: Authority, **more: Any) -> PrivateSynapse:
    """A homeserver that federates with whoever has a certificate of that authority; not started yet.

    A server that was away is asked again after a second, instead of ten minutes: Synapse's own patience is not what is
    tested. ``more`` replaces further top-level keys of ``homeserver.yaml``.
    """
    port, federation_port = free_port(), free_port()
    here = {"type": "http", "bind_addresses": ["127.0.0.1"], "compress": False}
    listeners = [
        {**here, "port": port, "tls": False, "resources": [{"names": ["client"]}]},
        {**here, "port": federation_port, "tls": True, "resources": [{"names": ["federation", "keys"]}]},
    ]
    settings = {
        "listeners": listeners,
        "tls_certificate_path": str(authority.cert),
        "tls_private_key_path": str(authority.key),
        "federation_custom_ca_list": [str(authority.certificate)],
        "federation_domain_whitelist": None,
        "ip_range_blacklist": [],
        "federation": {"destination_min_retry_interval": "1s", "destination_max_retry_interval": "1s"},
        **more,
    }
    return PrivateSynapse(folder, server_name=f"{HOST}:{federation_port}", port=port, extra=settings)
