"""Who a client is, by what TLS says of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence


def is_secure(transport: asyncio.Transport | None) -> bool:
    """Tell whether there is TLS."""
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def auth_context(transport: asyncio.Transport | None) -> Mapping[str, Sequence[bytes]]:
    """Return the common names in the client's verified certificate, under gRPC's name."""
    if transport is None:
        return {}
    certificate = transport.get_extra_info("peercert") or {}
    names = [
        value.encode()
        for part in certificate.get("subject", ())
        for name, value in part
        if name == "commonName"
    ]
    return {"x509_common_name": names}
