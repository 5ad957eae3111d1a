"""TLS contexts for the client, metrics and peer ports, and self-signed certificates.

As in etcd, a CA or --client-cert-auth makes a client certificate mandatory; without both any client
may connect, but still over TLS. Certificates that the node makes for itself (--auto-tls,
--peer-auto-tls) encrypt and authenticate nobody.

Files are read once, when the node starts. A file that cannot be used is an OSError that names it;
no message contains any part of a key.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from squall.node.config.endpoints import endpoint
from squall.node.config.settings import Config

SELF_SIGNED_DAYS: Final = 365  # as etcd's --self-signed-cert-validity


class Files(msgspec.Struct, frozen=True):
    """Paths of a certificate, its key and the CA of the other side; "" for none.

    `revoked` is the path of a certificate revocation list (PEM).
    """

    cert: str
    key: str
    ca: str
    demands_certificate: bool
    revoked: str = ""


def for_clients(config: Config) -> ssl.SSLContext | None:
    """Return the client ports' context; None when none of them is https. Raises OSError."""
    if not any(endpoint(url).tls for url in config.listen_client_urls):
        return None
    context = _server_context(_client_files(config))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def for_metrics(config: Config) -> ssl.SSLContext | None:
    """Return the metrics ports' context; None when none of them is https. Raises OSError."""
    if not any(endpoint(url).tls for url in config.listen_metrics_urls):
        return None
    return _server_context(_client_files(config))


def for_peers(config: Config) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    """Return the contexts to listen and to dial with; None when no peer URL is https.

    Raises OSError.
    """
    urls = [*config.listen_peer_urls, *(url for m in config.members for url in m.peer_urls)]
    if not any(endpoint(url).tls for url in urls):
        return None
    files = _peer_files(config)
    if not files.cert:
        raise OSError("members with https URLs need --peer-cert-file and --peer-key-file")
    dialling = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=files.ca or None)
    dialling.load_cert_chain(files.cert, files.key)
    if config.peer_auto_tls and not config.peer_cert_file:
        dialling.check_hostname = False
        dialling.verify_mode = ssl.CERT_NONE
    return _server_context(files), dialling


def for_joining(config: Config) -> ssl.SSLContext | None:
    """Return the context to dial members with before there is a log. Raises OSError."""
    contexts = for_peers(config)
    return contexts[1] if contexts else None


def _client_files(config: Config) -> Files:
    demands = bool(config.trusted_ca_file) or config.client_cert_auth
    files = Files(
        config.cert_file, config.key_file, config.trusted_ca_file, demands, config.client_crl_file
    )
    if config.auto_tls and not config.cert_file:
        return _self_signed(config, "client", config.listen_client_urls, files)
    return files


def _peer_files(config: Config) -> Files:
    demands = bool(config.peer_trusted_ca_file) or config.peer_client_cert_auth
    files = Files(
        config.peer_cert_file,
        config.peer_key_file,
        config.peer_trusted_ca_file,
        demands,
        config.peer_crl_file,
    )
    if config.peer_auto_tls and not config.peer_cert_file:
        return _self_signed(config, "peer", config.listen_peer_urls, files)
    return files


def _server_context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    if files.demands_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, files.ca)
    if files.revoked:
        _trust(context, files.revoked)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    """Load CAs or a revocation list; raises OSError that names the file."""
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise OSError(f"cannot use {path}: {error}") from None


def _load(context: ssl.SSLContext, files: Files) -> None:
    try:
        context.load_cert_chain(files.cert, files.key)
    except OSError as error:  # ssl.SSLError is one
        raise OSError(f"cannot use {files.cert} with {files.key}: {error}") from None


def _self_signed(config: Config, side: str, urls: tuple[str, ...], files: Files) -> Files:
    """Return this node's self-signed certificate; makes it if there is none yet."""
    directory = Path(config.data_dir) / "fixtures" / side
    cert, key = directory / "cert.pem", directory / "key.pem"
    if not cert.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_pem, cert_pem = _make_certificate([endpoint(url).host for url in urls])
        key.touch(mode=0o600)
        key.write_bytes(key_pem)
        cert.write_bytes(cert_pem)  # last: its existence means that both are written
    return msgspec.structs.replace(files, cert=str(cert), key=str(key))


def _make_certificate(hosts: list[str]) -> tuple[bytes, bytes]:
    """Return a self-signed (key, certificate), both PEM, for these host names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "squall-node")])
    now = dt.datetime.now(dt.UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
