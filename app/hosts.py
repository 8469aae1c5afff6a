"""The host names a server answers to, and the origin and cookie that belong to each. Knows no requests."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(slots=True)
class Hosts:
    """The host names this server answers to. `add` takes a name, `name:port` or a URL, which alone can say https.

    `addresses`: answer to any bare address, too, for a server that listens on all of them. A foreign page can point a
    name of its own at this machine, but not make the browser call it by its number.
    """

    addresses: bool = False
    _https: dict[str, bool] = field(default_factory=dict)

    def add(self, entry: str) -> None:
        parts = urlsplit(entry if "://" in entry else f"http://{entry}")
        if not parts.hostname:
            raise ValueError(f"{entry!r} is no host name")
        self._https[parts.netloc.lower()] = parts.scheme == "https"

    def remove(self, entry: str) -> None:
        self._https.pop(urlsplit(entry if "://" in entry else f"http://{entry}").netloc.lower(), None)

    def find(self, host: str) -> Host | None:
        """The host a request names, or None for one that nobody allowed. Loopback names are known at any port: a
        forwarded port (ssh -L) changes it, and no foreign page can carry such a name. One that was added is like any
        other name: to a container, who calls its published port comes from its engine, not from this machine."""
        name = _hostname(host)
        if name is None:
            return None
        if name in LOOPBACK:
            return Host(netloc=host, https=False, loopback=name not in self._https)
        https = self._https.get(host, self._https.get(name))
        if https is None and self.addresses and _is_address(name):
            https = False
        return None if https is None else Host(netloc=host, https=https, loopback=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    netloc: str
    https: bool
    loopback: bool

    @property
    def origin(self) -> str:
        return f"{'https' if self.https else 'http'}://{self.netloc}"

    @property
    def cookie(self) -> str:
        """`__Host-` binds a cookie to its host, but needs https. Over http the port tells two servers apart."""
        return "__Host-spaces-runner" if self.https else f"spaces-runner-{self.netloc.rpartition(':')[2]}"

    def cookie_header(self, name: str, value: str, days: int) -> str:
        """A cookie for this host alone that no script of a page can read."""
        secure = "; Secure" if self.https else ""
        return f"{name}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={days * 86400}{secure}"


def _hostname(host: str) -> str | None:
    """The name in a Host header, or None where it is not just a name and perhaps a port."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    plain = parts.netloc == host and parts.username is None and port != 0
    return parts.hostname if plain else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
