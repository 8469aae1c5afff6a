"""The whole core, from a command line to the words of both protocols: its process, pool, engine and weights are real.

The weights are random and tiny, in the formats the originals were published in.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch

from tests.support import inference_checkpoints as checkpoints
from tests.support.inference_process import TOKEN, Core, running
from tests.support.inference_server import until

CONTEXT = 512
FORMATS = {
    "alpaca-lora-7b": ("llama", "alpaca"),
    "guanaco-7b": ("llama", "guanaco"),
    "mpt-7b-chat": ("mpt-chat", None),
    "mpt-7b-instruct": ("mpt", None),
    "mpt-7b-storywriter": ("mpt", None),
    "llava-1.5-7b": ("llava", None),
}
GREEDY: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}


@pytest.fixture(scope="module")
def core() -> Iterator[Core]:
    """A core over the six models, whose weights lie in directories."""
    home = Path(tempfile.mkdtemp(prefix="sr-core-"))
    own = _write(home / "weights")
    with running(home, "--preset", "demo", "--models", str(own)) as started:
        yield started
    shutil.rmtree(home)


def _write(weights: Path) -> Path:
    """The user's own file of models, and what it names."""
    weights.mkdir()
    checkpoints.write_llama(weights / "llama", checkpoints.llama())
    checkpoints.write_alpaca(weights / "alpaca")
    checkpoints.write_guanaco(weights / "guanaco")
    for name in ("mpt", "mpt-chat"):
        checkpoints.write_mpt(weights / name, checkpoints.mpt())
        checkpoints.write_neox_tokenizer(weights / name, chat=name == "mpt-chat")
    checkpoints.write_llava(weights / "llava", checkpoints.llava())
    own = weights / "own.toml"
    own.write_text("".join(_section(weights, name, *places) for name, places in FORMATS.items()))
    return own


def _section(weights: Path, name: str, base: str, adapter: str | None) -> str:
    adapted = f'adapter = "{weights / adapter}"\n' if adapter else ""
    return (
        f'[models."{name}".presets.demo]\nweights = "{weights / base}"\n{adapted}context = {CONTEXT}\ndemo = false\n\n'
    )


@pytest.fixture
def http(core: Core) -> Iterator[httpx.Client]:
    with core.client() as client:
        yield client


def ask(name: str, text: str = "Where does a llama live?", **more: Any) -> dict[str, Any]:
    content: object = text
    if name.startswith("llava"):
        shown = io.BytesIO()
        checkpoints.picture().save(shown, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(shown.getvalue()).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {"model": name, "messages": [{"role": "user", "content": content}], **GREEDY, **more}


def chat(http: httpx.Client, name: str, **more: Any) -> str:
    answer = http.post("/v1/chat/completions", json=ask(name, **more)).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])


def test_it_says_what_it_serves(core: Core) -> None:
    assert core.ready["models"] == list(FORMATS)
    assert core.ready["device"] == "cpu"
    assert TOKEN not in json.dumps(core.ready)


@pytest.mark.parametrize("name", FORMATS)
def test_every_model_chats_and_streams_the_same(core: Core, http: httpx.Client, name: str) -> None:
    whole = chat(http, name)
    with openai.OpenAI(base_url=f"{core.url}/v1", api_key=TOKEN) as client:
        asked = ask(name)
        extra = {"ignore_eos": asked.pop("ignore_eos")}
        chunks = list(client.chat.completions.create(**asked, stream=True, extra_body=extra))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("name", FORMATS)
def test_both_protocols_go_on_from_a_text_alike(http: httpx.Client, name: str) -> None:
    body = {"model": name, "prompt": "A llama lives", "max_tokens": 12, "temperature": 0}
    complete = http.post("/v1/completions", json=body).raise_for_status().json()
    parameters = {"max_new_tokens": 12, "details": True}
    inputs = {"inputs": "A llama lives", "parameters": parameters}
    [whole] = http.post(f"/tgi/{name}", json=inputs).raise_for_status().json()
    streamed = http.post(f"/tgi/{name}/generate_stream", json=inputs).raise_for_status().text
    events = [json.loads(line.removeprefix("data:")) for line in streamed.splitlines() if line.startswith("data:")]
    text = complete["choices"][0]["text"]
    assert whole["generated_text"] == events[-1]["generated_text"] == text
    assert "".join(event["token"]["text"] for event in events if not event["token"]["special"]) == text
    count = len(whole["details"]["tokens"])
    assert whole["details"]["generated_tokens"] == events[-1]["details"]["generated_tokens"] == count
    assert events[-1]["index"] == complete["usage"]["completion_tokens"] == count


def test_what_is_written_is_what_transformers_writes(http: httpx.Client) -> None:
    """Greedy, token for token, from the model that the files were written from."""
    model = checkpoints.mpt()
    ids = http.post("/tokenize", json={"model": "mpt-7b-storywriter", "prompt": "A llama"}).json()["tokens"]
    with torch.inference_mode():
        wanted = model.generate(
            torch.tensor([ids]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0, use_cache=True
        )[0, len(ids) :].tolist()
    parameters = {"max_new_tokens": 20, "details": True}
    [said] = http.post("/tgi/mpt-7b-storywriter", json={"inputs": "A llama", "parameters": parameters}).json()
    got = [token["id"] for token in said["details"]["tokens"]]
    assert got == wanted[: len(got)]
    assert len(got) == 20 or said["details"]["finish_reason"] == "eos_token"


def test_many_at_once_are_answered_as_if_alone(core: Core, http: httpx.Client) -> None:
    """Both adapters of one base in one batch, and the other families beside them."""
    asked = [(name, f"Where does llama number {number} live?") for number in range(6) for name in FORMATS]
    alone = [chat(http, name, text=text) for name, text in asked]
    with core.client() as shared, ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(lambda one: chat(shared, one[0], text=one[1]), asked))
    assert together == alone
    assert len(set(alone)) > len(FORMATS)


def test_an_adapter_is_chosen_by_request(http: httpx.Client) -> None:
    def said(path: str, **parameters: Any) -> str:
        body = {"inputs": "A llama lives", "parameters": {"max_new_tokens": 12, **parameters}}
        return str(http.post(path, json=body).raise_for_status().json()[0]["generated_text"])

    alpaca, guanaco = said("/tgi/alpaca-lora-7b"), said("/tgi/guanaco-7b")
    assert alpaca != guanaco
    assert said("/tgi/guanaco-7b", adapter_id="alpaca-lora-7b") == alpaca


def test_a_seed_repeats_an_answer(http: httpx.Client) -> None:
    hot: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 40}
    first = http.post("/v1/chat/completions", json=ask("guanaco-7b", **hot)).json()
    again = http.post("/v1/chat/completions", json=ask("guanaco-7b", **hot, seed=first["seed"])).json()
    other = http.post("/v1/chat/completions", json=ask("guanaco-7b", **hot, seed=1)).json()
    assert again["choices"] == first["choices"]
    assert other["choices"] != first["choices"]


def test_a_second_turn_takes_up_the_first(http: httpx.Client) -> None:
    question = {"role": "user", "content": "Where does a llama live? " * 3}
    body = {"model": "mpt-7b-chat", "messages": [question], **GREEDY, "ignore_eos": False}
    first = http.post("/v1/chat/completions", json=body).json()
    turns = [question, first["choices"][0]["message"], {"role": "user", "content": "Who?"}]
    second = http.post("/v1/chat/completions", json={**body, "messages": turns}).json()
    reused = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert reused >= first["usage"]["prompt_tokens"]


def leave(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    """Ask, and go: from a stream at its first bytes, else while the whole answer is still being made."""
    if path.endswith("_stream"):
        with http.stream("POST", path, json=body) as answer:
            assert next(answer.iter_raw())
        return
    with pytest.raises(httpx.ReadTimeout):
        http.post(path, json=body, timeout=0.05)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tgi/guanaco-7b/generate_stream", "/tgi/guanaco-7b"])
def test_a_client_that_leaves_gives_its_place_back(core: Core, http: httpx.Client, path: str) -> None:
    def cancelled() -> float:
        lines = http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if 'outcome="cancelled"' in line and "_total" in line)

    http.post("/v1/models/guanaco-7b/load").raise_for_status()
    before = cancelled()
    wishes = {"max_new_tokens": 480}
    long = ask("guanaco-7b", max_tokens=300, ignore_eos=True) | {"inputs": "A llama", "parameters": wishes}
    leave(http, path, long)
    until(lambda: core.model("guanaco-7b")["running"] == 0, 5)
    assert cancelled() == before + 1


def test_bad_requests_leave_the_others_alone(http: httpx.Client) -> None:
    before = chat(http, "llava-1.5-7b")
    long = http.post("/v1/chat/completions", json=ask("guanaco-7b", text="llama " * 900))
    assert long.status_code == 422
    assert f"the model takes at most {CONTEXT - 1}" in long.json()["error"]["message"]
    cut = {"inputs": "llama " * 900, "parameters": {"truncate": 50, "max_new_tokens": 3}}
    assert http.post("/tgi/guanaco-7b", json=cut).headers["x-prompt-tokens"] == "50"
    assert http.post("/tgi/guanaco-7b", json={**cut, "parameters": {}}).status_code == 422
    broken = ask("llava-1.5-7b")
    broken["messages"][0]["content"][0]["image_url"]["url"] = "data:image/png;base64,iVBORw0KGgo="
    answer = http.post("/v1/chat/completions", json=broken)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_image")
    assert chat(http, "llava-1.5-7b") == before


def test_models_come_and_go(core: Core, http: httpx.Client) -> None:
    http.post("/v1/models/mpt-7b-instruct/load").raise_for_status()
    resident = core.model("mpt-7b-instruct")
    assert resident["residency"] == core.model("mpt-7b-storywriter")["residency"] == "resident"
    assert resident["weight_bytes"] > 0
    assert resident["kv_tokens"] > 0
    answer = http.post("/v1/models/mpt-7b-storywriter/unload").raise_for_status().json()
    assert (answer["residency"], answer["weight_bytes"], answer["kv_tokens"]) == ("absent", 0, 0)
    assert chat(http, "mpt-7b-instruct")
    assert core.model("mpt-7b-storywriter")["residency"] == "resident"
