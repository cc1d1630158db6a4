"""How a connection to a server is secured, and what the standard library needs to know of it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from greenq.errors import ConfigError

__all__ = ["OPTIONS", "Tls", "context_of", "read", "reason"]

OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
"""What an address may say about it."""
OTHER_HOST = (62, 64)
"""OpenSSL's numbers for a certificate of another name, or another address."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is secured.

    Parameters:
        verify: ``required``, ``optional`` or ``none``.
        ca, certificate, key: paths of PEM files.
        hostname: whether the certificate must name the host.
    """

    verify: str = "required"
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    hostname: bool = True


def read(given: Mapping[str, str]) -> Tls:
    """Read the options of an address.

    Raises:
        ConfigError: one has a mistake.
    """
    text = given.get("ssl_cert_reqs", "required")
    verify = text.lower().removeprefix("cert_")
    if verify not in ("required", "optional", "none"):
        raise ConfigError(f"ssl_cert_reqs is {text!r}: choose required, optional or none")
    return Tls(
        verify,
        given.get("ssl_ca_certs"),
        given.get("ssl_certfile"),
        given.get("ssl_keyfile"),
        given.get("ssl_check_hostname", "true").lower() not in ("0", "false", "no"),
    )


def context_of(tls: Tls) -> ssl.SSLContext:
    """What the standard library needs to know of it.

    Raises:
        ConfigError: a file cannot be read.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise ConfigError(
            f"TLS: a certificate or key cannot be read ({error}): check the ssl_ options of the address"
        ) from error
    context.check_hostname = tls.hostname and tls.verify == "required"
    context.verify_mode = {
        "required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE,
    }[tls.verify]  # fmt: skip
    return context


def reason(error: BaseException) -> str:
    """Say in a few words what is wrong with a connection, secured or not."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OTHER_HOST:
            return f"{error.verify_message}: use the host's name as it is there, or ssl_check_hostname=false"
        return f"its certificate is not trusted ({error.verify_message}): give ssl_ca_certs"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
