"""Links that a platform has by itself."""

from __future__ import annotations

import pytest

from app import platforms
from app.__main__ import _proxy_line
from app.listening import ServerOptions, known_hosts

NAME = "n1abc2def.clg07azjl.paperspacegradient.com"


def test_gradient_passes_one_port_on() -> None:
    found = platforms.proxy({"PAPERSPACE_FQDN": NAME})
    assert found == platforms.Proxy(platform="Gradient", port=6006, url=f"https://tensorboard-{NAME}")


@pytest.mark.parametrize("value", [None, "", "evil.example/x", "a b", "-a", "a@b"])
def test_elsewhere_there_is_none(value: str | None) -> None:
    assert platforms.proxy({} if value is None else {"PAPERSPACE_FQDN": value}) is None


def test_the_server_answers_to_its_name_by_https() -> None:
    hosts = known_hosts(ServerOptions(token="t", host="0.0.0.0", proxy=platforms.proxy({"PAPERSPACE_FQDN": NAME})))
    host = hosts.find(f"tensorboard-{NAME}")
    assert host is not None and host.https and host.cookie.startswith("__Host-")
    assert hosts.find(f"other-{NAME}") is None


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("0.0.0.0", 6006, f"Gradient's own link: https://tensorboard-{NAME}/?token=the-token"),
        ("0.0.0.0", 6007, "and this server has 0.0.0.0 port 6007"),
        ("127.0.0.1", 6006, "--host 0.0.0.0 --port 6006"),
    ],
)
def test_its_link_is_said_where_it_leads_here(host: str, port: int, words: str) -> None:
    proxy = platforms.Proxy(platform="Gradient", port=6006, url=f"https://tensorboard-{NAME}")
    line = _proxy_line(proxy, ServerOptions(token="the-token", host=host, proxy=proxy), port)
    assert words in line and ("the-token" in line) == (port == 6006 and host == "0.0.0.0")
