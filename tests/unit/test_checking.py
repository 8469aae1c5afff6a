"""What a check plans, calls and tells, without a Space: configurations of real Gradios, results, tables."""

from __future__ import annotations

import io
import json
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from PIL import Image

from spaces_runner.checking import Call, Failure, Order, Result, Verdict, ask, media, plan, pool, room, table
from spaces_runner.checking import gradio_http as client
from spaces_runner.checking.endpoints import Endpoint, Media, endpoints
from spaces_runner.errors import BadOption
from spaces_runner.settings import Settings

STARTED = Result(space="a/b", verdict=Verdict.STARTED, seconds=12.3, sdk="gradio", sdk_version="6.31.0", how="joint")
FAILED = Result(
    space="c/d",
    verdict=Verdict.FAILED,
    seconds=4.0,
    failure=Failure(
        error="app_exited", stage="RUNTIME_ERROR", step="launch", cause="missing-module", message="The app | ended."
    ),
)
MUTE = replace(
    STARTED,
    space="e/f",
    verdict=Verdict.CALL_FAILED,
    call=Call(endpoint="/run", answered=False, note="it answered 422"),
)


def config(*inputs: dict[str, Any], api_name: Any = "predict", **more: Any) -> dict[str, Any]:
    """Of an app with one function of these inputs."""
    components = [{"id": number, **part} for number, part in enumerate(inputs)]
    trigger = {"inputs": [part["id"] for part in components], "outputs": [99], "api_name": api_name, **more}
    return {"version": "5.0.0", "components": [*components, {"id": 99, "type": "label"}], "dependencies": [trigger]}


def component(kind: str, **props: Any) -> dict[str, Any]:
    return {"type": kind, "props": props}


# What is called.


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (component("textbox"), "Hello"),
        (component("Textbox", value="Ada"), "Ada"),
        (component("number", minimum=3), 3),
        (component("slider", value=0.5, minimum=0), 0.5),
        (component("checkbox"), False),
        (component("dropdown", choices=[["Shown", "meant"], ["b", "b"]]), "meant"),
        (component("dropdown", choices=["a", "b"], multiselect=True), ["a"]),
        (component("radio", choices=["a", "b"], value=None), "a"),
        (component("checkboxgroup", choices=["a", "b"]), ["a"]),
        (component("state", value=3), None),
        (component("image"), Media.IMAGE),
        (component("audio"), Media.AUDIO),
        (component("chatbot"), []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_every_input_gets_the_simplest_value(part: dict[str, Any], value: object) -> None:
    [endpoint] = endpoints(config(part))
    assert endpoint.values == (value,)


@pytest.mark.parametrize("kind", ["file", "video", "model3d", "uploadbutton", "somebodysown", "dropdown"])
def test_an_endpoint_with_an_input_that_nobody_can_make_up_is_left_out(kind: str) -> None:
    assert endpoints(config(component("textbox"), component(kind))) == ()


@pytest.mark.parametrize(
    "more", [{"api_name": False}, {"backend_fn": False}, {"outputs": []}, {"api_visibility": "private"}]
)
def test_what_cannot_be_called_from_outside_is_left_out(more: dict[str, Any]) -> None:
    assert endpoints(config(component("textbox"), **more)) == ()


def test_the_authors_examples_come_first_and_lend_their_values() -> None:
    components = [
        {"id": 1, **component("textbox")},
        {"id": 2, **component("textbox")},
        {"id": 3, **component("dataset", samples=[["A cat"], ["A dog"]])},
    ]
    triggers = [
        {"inputs": [1], "outputs": [1], "api_name": "other"},
        {"inputs": [2], "outputs": [1], "api_name": "draw"},
        {"inputs": [3], "outputs": [2], "api_name": "load_example"},
        {"inputs": [], "outputs": [2], "api_name": "clear"},
        {"inputs": [1], "outputs": [2], "api_name": "_append_message_to_history"},
    ]
    found = endpoints({"components": components, "dependencies": triggers})
    assert [(one.name, one.values, one.examples) for one in found] == [
        ("draw", ("A cat",), True),
        ("other", ("Hello",), False),
    ]
    [only] = endpoints({"components": components, "dependencies": triggers[3:4]})
    assert only.name == "clear"


def test_gradio_2_has_one_endpoint() -> None:
    parts = [{"name": "textbox", "label": "name"}, {"name": "slider", "minimum": 2, "default": 5}]
    told = {"input_components": parts, "output_components": [], "examples": [["Ada", 3]]}
    assert endpoints(told) == (Endpoint(name="predict", index=0, values=("Ada", 3), examples=True),)
    assert endpoints({**told, "examples": None})[0].values == ("Hello", 5)
    assert endpoints({**told, "input_components": [{"name": "file"}]}) == ()


@pytest.mark.parametrize(
    "told", [{}, {"dependencies": 3, "components": [1, "x"]}, {"dependencies": [{}], "components": {}}]
)
def test_a_configuration_that_is_none_has_no_endpoints(told: dict[str, Any]) -> None:
    assert endpoints(told) == ()


def test_our_files_are_real_ones() -> None:
    with Image.open(io.BytesIO(media.content(Media.IMAGE))) as picture:
        assert (picture.size, picture.mode, picture.getpixel((5, 5))) == ((64, 64), "RGB", (128, 128, 128))
    with wave.open(io.BytesIO(media.content(Media.AUDIO))) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (1, 16000, 4000)
    assert media.data_url(Media.IMAGE).startswith("data:image/png;base64,iVBOR")


# How it is called: what each protocol says is written down from its servers; the real ones answer in the corpus.


def app(answers: dict[str, httpx.Response], version: str = "5.0.0", prefix: str = "") -> tuple[client.App, list[Any]]:
    """A Gradio app that answers so, by path, and what it was sent."""
    sent: list[Any] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append((request.url.path, request.read()))
        return answers.get(request.url.path, httpx.Response(404))

    web = httpx.Client(transport=httpx.MockTransport(handle))
    return client.App(web=web, address="http://app/", config={"version": version, "api_prefix": prefix}), sent


def events(*pairs: tuple[str, str]) -> httpx.Response:
    return httpx.Response(200, text="".join(f"event: {name}\ndata: {data}\n\n" for name, data in pairs))


LATER = 1e12
PREDICT = Endpoint(name="predict", index=2, values=("x", None), states=frozenset({1}))


def test_events_of_a_queue_are_read_to_the_answer() -> None:
    told = events(("heartbeat", "null"), ("generating", '["a"]'), ("complete", '["ab"]'))
    found, sent = app(
        {"/g/call/predict": httpx.Response(200, json={"event_id": "7"}), "/g/call/predict/7": told}, prefix="/g"
    )
    client.call(found, PREDICT, LATER)
    assert json.loads(sent[0][1]) == {"data": ["x"]}  # a state is the session's


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (events(("error", "null")), "the app's function failed; its log says why"),
        (events(("error", '{"error": "no prompt"}')), "no prompt"),
        (events(("heartbeat", "null")), "its events ended without an answer"),
        (httpx.Response(500, text="x"), "it answered 500"),
    ],
)
def test_a_call_that_fails_says_why(answer: httpx.Response, why: str) -> None:
    found, _ = app({"/call/predict": httpx.Response(200, json={"event_id": "7"}), "/call/predict/7": answer})
    with pytest.raises(client.CallFailed, match=why):
        client.call(found, PREDICT, LATER)


def test_an_older_app_is_asked_past_its_queue() -> None:
    found, sent = app({"/run/predict": httpx.Response(200, json={"data": ["ab"]})}, version="4.1.0")
    client.call(found, PREDICT, LATER)
    assert [path for path, _ in sent] == ["/call/predict", "/run/predict"]
    assert json.loads(sent[1][1])["data"] == ["x", None]
    found, sent = app({"/api/predict/": httpx.Response(200, json={"data": ["ab"]})}, version="3.0.20")
    client.call(found, PREDICT, LATER)
    assert [path for path, _ in sent] == ["/run/predict", "/api/predict/"]


def test_a_page_whose_calls_answer_422_does_not_pass() -> None:
    found, _ = app(
        {"/run/predict": httpx.Response(422, json={"detail": [{"msg": "Field required"}]})}, version="3.29.0"
    )
    with pytest.raises(client.CallFailed, match=r"it answered 422: .*Field required"):
        client.call(found, PREDICT, LATER)


def test_files_go_up_first_or_in_the_call() -> None:
    wants = Endpoint(name="see", index=0, values=(Media.IMAGE,))
    ok = httpx.Response(200, json={"data": [1]})
    found, sent = app({"/upload": httpx.Response(200, json=["/tmp/check.png"]), "/run/predict": ok}, version="4.0.0")
    client.call(found, wants, LATER)
    assert b"PNG" in sent[0][1]
    assert json.loads(sent[-1][1])["data"][0]["path"] == "/tmp/check.png"
    found, sent = app({"/run/predict": ok}, version="3.50.0")
    client.call(found, wants, LATER)
    assert json.loads(sent[0][1])["data"][0].startswith("data:image/png")


def test_a_few_endpoints_are_tried() -> None:
    found, _ = app({"/run/predict": httpx.Response(500, json={"error": "no"})}, version="3.50.0")
    told = config(component("textbox"))
    found = replace(found, config={**told, "version": "3.50.0"})
    call = ask.one_call(found, LATER, Event())
    assert (call.endpoint, call.answered, call.note) == ("/predict", False, "it answered 500: no")
    assert ask.one_call(replace(found, config={}), LATER, Event()).note.startswith("no endpoint")


# The plan and the table.


def test_a_file_of_ids(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a/b\n# all of them\n\n  c/d  # old\n")
    assert plan.read_ids(tmp_path / "ids") == ("a/b", "c/d")
    with pytest.raises(BadOption):
        plan.read_ids(tmp_path / "none")


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert plan.read_results(path) == ()
    plan.write(path, plan.as_json([STARTED, MUTE, FAILED]))
    assert plan.read_results(path) == (STARTED, MUTE, FAILED)
    assert plan.left(("x/y", "a/b", "x/y"), plan.read_results(path)) == ("x/y",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]
    for other in ("{", '{"space": 1}', '["a"]', '[{"space": "a"}]'):
        path.write_text(other)
        with pytest.raises(BadOption):
            plan.read_results(path)
    with pytest.raises(BadOption):
        plan.write(tmp_path / "no" / "such.json", "")


def test_the_table_says_how_each_fared() -> None:
    lines = table.text([STARTED, MUTE, FAILED])
    assert [line.split()[0] for line in lines[:4]] == ["Space", "a/b", "e/f", "c/d"]
    assert "gradio 6.31.0" in lines[1]
    assert "it answered 422" in lines[2]
    assert "RUNTIME_ERROR/launch app_exited (missing-module)" in lines[3]
    assert lines[-1] == "2 of 3 started, 1 of them without an answer to the call; 1 failed."
    assert table.text([]) == ["0 of 0 started."]


def test_the_table_as_markdown_keeps_its_columns() -> None:
    lines = table.markdown([STARTED, FAILED])
    assert {line.replace("\\|", "").count("|") for line in lines[:4]} == {len(table.HEADS) + 1}
    assert lines[-1] == "| RUNTIME_ERROR/launch app_exited (missing-module) | 1 |"


# Several at a time.


@pytest.fixture
def no_spaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Spaces that are there at once, by the order in which they were started."""
    started: list[str] = []

    def check_one(space: str, order: Order, settings: Settings, stop: Event) -> Result | None:
        started.append(space)
        if space == "interrupt":
            stop.wait(20)
            return None
        if space == "defect":
            raise ZeroDivisionError
        return replace(STARTED, space=space)

    monkeypatch.setattr(pool, "check_one", check_one)
    yield started


def test_each_space_is_checked_once_and_told_as_it_comes(no_spaces: list[str], settings: Settings) -> None:
    told: list[Result] = []
    results = pool.check(["a", "b", "a", "c"], Order(jobs=2), settings, told.append)
    assert sorted(result.space for result in results) == ["a", "b", "c"] == sorted(no_spaces)
    assert tuple(told) == results
    assert pool.check([], Order(), settings) == ()


def test_a_defect_of_ours_is_no_result(no_spaces: list[str], settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.check(["defect", "a", "b"], Order(jobs=1), settings)


def test_an_interrupt_ends_what_is_at_work(no_spaces: list[str], settings: Settings) -> None:
    def interrupt(result: Result) -> None:
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.check(["interrupt", "a"], Order(jobs=2), settings, interrupt)
    assert time.monotonic() - begun < 10


def test_another_starts_beside_only_where_there_is_room(
    no_spaces: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.lacks(replace(settings, disk_floor_bytes=0)) == ""
    assert room.lacks(replace(settings, disk_floor_bytes=1 << 60)) == "disk"
    assert room.most(settings) >= 1
    results = pool.check(["a", "b"], Order(jobs=2), replace(settings, disk_floor_bytes=1 << 60))
    assert len(results) == 2  # one after the other
