"""The gate, as the ASGI application it is: who is let through, and with what."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from app.access import Gate
from app.hosts import Hosts
from app.limiter import Limiter

TOKEN = "the-right-token-123"
LOCAL = "http://127.0.0.1:7860"
SHARE = "https://0123456789abcdef01.gradio.live"
OTHER_SHARE = "https://ffffffffffffffff01.gradio.live"
PAGE = {"accept": "text/html"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that says who it was called by, and with which headers."""
    forwarded = dict(scope["headers"]).get(b"x-forwarded-proto", b"-").decode()
    hosted = dict(scope["headers"]).get(b"x-forwarded-host", b"-").decode()
    body = f"{scope['state']['role']} {scope['scheme']} {forwarded} {hosted} {scope['state'].get('user')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def gate() -> Gate:
    hosts = Hosts()
    hosts.add(SHARE)
    hosts.add("gpu.lan")
    return Gate(app=echo, token=TOKEN, hosts=hosts, private=True)


def ask(
    gate: Gate,
    path: str,
    *,
    base: str = LOCAL,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    client: tuple[str, int] = ("127.0.0.1", 50000),
    **more: Any,
) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app=gate, client=client)
        async with httpx.AsyncClient(transport=transport, base_url=base) as http:
            return await http.request(method, path, headers=dict(headers or {}), **more)

    return asyncio.run(request())


def cookie_of(gate: Gate, base: str = LOCAL) -> dict[str, str]:
    """The header of a browser that has signed in at `base`."""
    answer = ask(gate, f"/?token={TOKEN}", base=base)
    assert answer.status_code == 303
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/run/predict", "/gradio_api/queue/join", "/metrics", "/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("base", [LOCAL, SHARE])
def test_nobody_gets_nothing(gate: Gate, path: str, method: str, base: str) -> None:
    assert ask(gate, path, method=method, base=base).status_code == 401


def test_a_person_is_asked_and_a_program_is_told(gate: Gate) -> None:
    person, program = ask(gate, "/", headers=PAGE), ask(gate, "/")
    assert (person.status_code, program.status_code) == (401, 401)
    assert 'name="token"' in person.text
    assert "Bearer" in program.json()["hint"]
    assert TOKEN not in person.text + program.text


def test_health_is_for_everybody(gate: Gate) -> None:
    assert ask(gate, "/healthz").text.startswith("nobody")


def test_the_link_is_exchanged_for_a_cookie(gate: Gate) -> None:
    answer = ask(gate, f"/?token={TOKEN}&space=abc")
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/?space=abc")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("spaces-runner-7860=")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
    assert TOKEN not in cookie
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert ask(gate, "/config", headers=cookie_of(gate)).text.startswith("owner http")


def test_a_cookie_of_a_public_link_is_bound_to_it(gate: Gate) -> None:
    answer = ask(gate, f"/?token={TOKEN}", base=SHARE)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-spaces-runner=") and "Secure" in cookie and "Path=/" in cookie
    assert ask(gate, "/config", base=SHARE, headers=cookie_of(gate, SHARE)).text == "owner https https - owner"


def test_a_cookie_of_one_host_is_worth_nothing_on_another(gate: Gate) -> None:
    """A Space at 127.0.0.1:41000 is sent the cookies of 127.0.0.1:7860: it must not be able to use them elsewhere."""
    value = cookie_of(gate)["cookie"].partition("=")[2]
    stolen = {"cookie": f"__Host-spaces-runner={value}"}
    assert ask(gate, "/config", base=SHARE, headers=stolen).status_code == 401


def test_loopback_names_are_for_callers_on_this_machine(gate: Gate) -> None:
    headers = cookie_of(gate)
    assert ask(gate, "/config", headers=headers, client=("10.0.0.7", 50000)).status_code == 421


def test_a_space_is_never_the_owner(gate: Gate) -> None:
    headers = cookie_of(gate)
    gate.is_space = lambda peer, _: peer[1] == 50123
    assert ask(gate, "/config", headers=headers, client=("127.0.0.1", 50123)).status_code == 403
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert ask(gate, "/config", headers=bearer, client=("127.0.0.1", 50123)).status_code == 403
    assert ask(gate, "/config", headers=headers, client=("127.0.0.1", 50124)).status_code == 200


def test_a_restart_keeps_a_browser_signed_in(gate: Gate) -> None:
    headers = cookie_of(gate)
    again = Gate(app=echo, token=TOKEN, hosts=gate.hosts, private=True)
    changed = Gate(app=echo, token="another-token-456", hosts=gate.hosts, private=True)
    assert ask(again, "/config", headers=headers).status_code == 200
    assert ask(changed, "/config", headers=headers).status_code == 401


def test_a_program_uses_a_bearer_header(gate: Gate) -> None:
    assert ask(gate, "/config", headers={"authorization": f"Bearer {TOKEN}"}).text.startswith("owner")
    assert ask(gate, "/config", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert ask(gate, "/config", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401


def test_the_sign_in_form(gate: Gate) -> None:
    answer = ask(gate, "/login", method="POST", data={"token": TOKEN}, headers={**PAGE, "origin": LOCAL})
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/")
    assert answer.headers["set-cookie"].startswith("spaces-runner-7860=")
    wrong = ask(gate, "/login", method="POST", data={"token": "wrong"}, headers=PAGE)
    assert wrong.status_code == 401 and "not this server" in wrong.text and "set-cookie" not in wrong.headers
    long = ask(gate, "/login", method="POST", data={"token": TOKEN + "x" * 10_000}, headers=PAGE)
    assert long.status_code == 401
    # "no-referrer" would make the browser send `Origin: null` with the form.
    assert ask(gate, "/login", headers=PAGE).headers["referrer-policy"] == "same-origin"
    assert ask(gate, "/login", headers={**PAGE, **cookie_of(gate)}).headers["location"] == "/studio/"


@pytest.mark.parametrize("origin", [OTHER_SHARE, "http://127.0.0.1:41000", "https://evil.example", "null", SHARE + "0"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_page_cannot_ride_the_owners_cookie(gate: Gate, origin: str, method: str) -> None:
    headers = {**cookie_of(gate, SHARE), "origin": origin}
    assert ask(gate, "/gradio_api/queue/join", base=SHARE, method=method, headers=headers).status_code == 403


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_requests_without_an_origin_are_told_apart_by_fetch_metadata(gate: Gate, site: str) -> None:
    headers = {**cookie_of(gate, SHARE), "sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert ask(gate, "/gradio_api/heartbeat/x", base=SHARE, headers=headers).status_code == 403
    framed = {**headers, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert ask(gate, "/", base=SHARE, headers=framed).status_code == 403
    followed = {**headers, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert ask(gate, "/", base=SHARE, headers=followed).status_code == 200
    assert ask(gate, "/gradio_api/deep_link", base=SHARE, headers=followed).status_code == 403


def test_the_pages_own_requests_pass(gate: Gate) -> None:
    headers = {**cookie_of(gate, SHARE), "origin": SHARE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert ask(gate, "/gradio_api/queue/join", base=SHARE, method="POST", headers=headers).status_code == 200


def test_a_link_in_a_chat_signs_in(gate: Gate) -> None:
    arriving = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert ask(gate, f"/?token={TOKEN}", base=SHARE, headers=arriving).status_code == 303


@pytest.mark.parametrize(
    ("base", "status"),
    [
        ("http://localhost:7860", 401),
        ("http://localhost:9999", 401),  # a forwarded port
        ("http://[::1]:7860", 401),
        ("http://gpu.lan:7860", 401),
        ("http://gpu.lan", 401),
        (SHARE, 401),
        (OTHER_SHARE, 421),
        ("http://rebind.evil.example:7860", 421),
        ("http://127.0.0.1.evil.example:7860", 421),
        ("http://localhost.:7860", 421),
    ],
)
def test_only_known_hosts_are_answered(gate: Gate, base: str, status: int) -> None:
    assert ask(gate, "/", base=base).status_code == status


@pytest.mark.parametrize(("addresses", "status"), [(False, 421), (True, 401)])
def test_a_server_for_all_addresses_answers_to_numbers_only(gate: Gate, addresses: bool, status: int) -> None:
    gate.hosts = Hosts(addresses=addresses)
    for base in ("http://10.1.2.3:7860", "http://[2001:db8::1]:7860"):
        assert ask(gate, "/", base=base, client=("10.0.0.7", 5)).status_code == status
    assert ask(gate, "/", base="http://rebind.evil.example:7860").status_code == 421


@pytest.mark.parametrize("host", ["", "user@127.0.0.1:7860", "127.0.0.1:port", "127.0.0.1:7860/x", "[::1"])
def test_a_bad_host_header_is_refused(gate: Gate, host: str) -> None:
    assert ask(gate, "/", headers={"host": host}).status_code == 421


def test_two_host_headers_are_refused(gate: Gate) -> None:
    async def request() -> int:
        sent: list[Any] = []
        headers = [(b"host", b"127.0.0.1:7860"), (b"host", b"evil.example")]
        scope = {"type": "http", "method": "GET", "path": "/healthz", "query_string": b"", "headers": headers}

        async def collect(message: Any) -> None:
            sent.append(message)

        await gate(scope, None, collect)  # type: ignore[arg-type]  # the body is never asked for
        return int(sent[0]["status"])

    assert asyncio.run(request()) == 421


def test_a_share_host_is_known_only_while_it_lasts(gate: Gate) -> None:
    gate.hosts.add(OTHER_SHARE)
    assert ask(gate, "/", base=OTHER_SHARE).status_code == 401
    gate.hosts.remove(OTHER_SHARE)
    assert ask(gate, "/", base=OTHER_SHARE).status_code == 421


def test_headers_that_steer_gradio_are_dropped(gate: Gate) -> None:
    headers = {**cookie_of(gate), "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}
    assert ask(gate, "/", headers=headers).text == "owner http - - owner"


def test_wrong_tokens_are_slowed_down_and_one_host_does_not_lock_another() -> None:
    now = [0.0]
    hosts = Hosts()
    hosts.add(SHARE)
    gate = Gate(app=echo, token=TOKEN, hosts=hosts, limiter=Limiter(clock=lambda: now[0]))
    statuses = [ask(gate, f"/?token=wrong{i}", base=SHARE).status_code for i in range(6)]
    assert statuses == [401] * 5 + [429]
    waiting = ask(gate, f"/?token={TOKEN}", base=SHARE)
    assert waiting.status_code == 429 and int(waiting.headers["retry-after"]) == 60
    assert ask(gate, f"/?token={TOKEN}").status_code == 303
    now[0] = 61.0
    assert ask(gate, "/?token=wrong", base=SHARE).status_code == 401
    now[0] = 122.0
    assert ask(gate, f"/?token={TOKEN}", base=SHARE).status_code == 429  # the wait has doubled
    now[0] = 190.0
    assert ask(gate, f"/?token={TOKEN}", base=SHARE).status_code == 303
    assert ask(gate, "/?token=wrong", base=SHARE).status_code == 401  # forgiven: it counts from one again


def test_a_signed_in_browser_goes_on_while_tokens_are_refused(gate: Gate) -> None:
    headers = cookie_of(gate, SHARE)
    for attempt in range(7):
        ask(gate, f"/?token=wrong{attempt}", base=SHARE)
    assert ask(gate, "/config", base=SHARE, headers=headers).status_code == 200


def test_websockets_are_refused(gate: Gate) -> None:
    async def connect() -> list[Any]:
        sent: list[Any] = []

        async def collect(message: Any) -> None:
            sent.append(message)

        await gate({"type": "websocket", "path": "/", "headers": []}, None, collect)  # type: ignore[arg-type]  # unused
        return sent

    assert asyncio.run(connect()) == [{"type": "websocket.close", "code": 4403}]


@pytest.mark.parametrize("signed_in", [False, True])
def test_every_answer_is_protected(gate: Gate, signed_in: bool) -> None:
    headers = cookie_of(gate) if signed_in else {}
    answer = ask(gate, "/", headers=headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_token_is_not_in_the_gates_repr(gate: Gate) -> None:
    assert not re.search(TOKEN, repr(gate))


@pytest.fixture
def open_gate(gate: Gate) -> Gate:
    """One that lets guests in."""
    gate.private = False
    return gate


def guest_cookie(gate: Gate, base: str = LOCAL) -> dict[str, str]:
    return {"cookie": ask(gate, "/", base=base).headers["set-cookie"].partition(";")[0]}


@pytest.mark.parametrize("base", [LOCAL, SHARE])
def test_a_guest_gets_a_name_that_is_not_the_cookie(open_gate: Gate, base: str) -> None:
    first = ask(open_gate, "/", base=base)
    assert first.status_code == 200 and "HttpOnly" in first.headers["set-cookie"]
    cookie = guest_cookie(open_gate, base)
    name = ask(open_gate, "/config", base=base, headers=cookie).text.rpartition(" ")[2]
    assert re.fullmatch("guest-[0-9a-f]{32}", name)
    assert "set-cookie" not in ask(open_gate, "/", base=base, headers=cookie).headers
    again = ask(open_gate, "/config", base=base, headers={"cookie": cookie["cookie"].partition("=")[0] + f"={name}"})
    assert again.text.endswith(" None")


@pytest.mark.parametrize(
    "path", ["/studio", "/studio/", "/studio/config", "/metrics", "/v1/models", "/gradio_api/user"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_a_guest_is_no_owner(open_gate: Gate, path: str, method: str) -> None:
    assert ask(open_gate, path, method=method, headers=guest_cookie(open_gate)).status_code == 401


def test_a_foreign_page_cannot_act_as_a_guest(open_gate: Gate) -> None:
    headers = {**guest_cookie(open_gate, SHARE), "origin": OTHER_SHARE}
    assert ask(open_gate, "/gradio_api/queue/join", base=SHARE, method="POST", headers=headers).status_code == 403


def test_a_guests_uploads_are_counted(open_gate: Gate) -> None:
    cookie = guest_cookie(open_gate)
    statuses = [ask(open_gate, "/gradio_api/upload", method="POST", headers=cookie).status_code for _ in range(9)]
    assert statuses == [200] * 8 + [429]
    other = guest_cookie(open_gate)
    assert ask(open_gate, "/gradio_api/upload", method="POST", headers=other).status_code == 200


def test_the_owner_is_led_to_the_owners_page(open_gate: Gate) -> None:
    answer = ask(open_gate, "/?space=abc", headers={**PAGE, **cookie_of(open_gate)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/?space=abc")
