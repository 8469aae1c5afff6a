"""The models that come with the project, as a fresh checkout has them: asked over both protocols, they answer rightly.

How often they do is measured elsewhere; here it is one question each, whose answer leaves no doubt.
"""

from __future__ import annotations

import base64
import io
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from huggingface_hub import InferenceClient
from PIL import Image, ImageDraw

from app.inference import catalog, prompts
from app.inference.catalog import Preset
from app.inference.types import Message, ModelCard, Role
from tests.support.inference_process import TOKEN, Core, running

CARDS = {card.name: card for card in catalog.read(Preset.DEMO)}
CAPITAL = "What is the capital of France?"
ASSISTANTS = ("alpaca-lora-7b", "guanaco-7b", "mpt-7b-chat", "mpt-7b-instruct")
STORY = "Once upon a time there was a little cat named Tom. Tom had a red ball."


@pytest.fixture(scope="module")
def core() -> Iterator[Core]:
    home = Path(tempfile.mkdtemp(prefix="sr-core-"))
    with running(home, "--preset", "demo") as started:
        yield started
    shutil.rmtree(home)


@pytest.fixture
def client(core: Core) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{core.url}/v1", api_key=TOKEN, timeout=180) as one:
        yield one


def shown(colour: str, shape: str) -> str:
    """A shape on white, as a data: URL."""
    picture = Image.new("RGB", (48, 48), "white")
    draw = ImageDraw.Draw(picture)
    (draw.ellipse if shape == "circle" else draw.rectangle)((9, 9, 39, 39), fill=colour)
    held = io.BytesIO()
    picture.save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def looked_at(client: openai.OpenAI, url: str, question: str) -> str:
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    done = client.chat.completions.create(
        model="llava-1.5-7b", messages=[{"role": "user", "content": parts}], temperature=0
    )
    return done.choices[0].message.content or ""


def asked(card: ModelCard, question: str) -> str:
    """The question in the model's own prompt, as a Space that speaks TGI sends it."""
    return prompts.render(card.prompt, [Message(role=Role.USER, text=question)]).text


@pytest.mark.parametrize("name", ASSISTANTS)
def test_assistants_know_the_capital_of_france(client: openai.OpenAI, name: str) -> None:
    stream = client.chat.completions.create(
        model=name, messages=[{"role": "user", "content": CAPITAL}], temperature=0, stream=True
    )
    chunks = list(stream)
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all((chunk.model_extra or {})["demo"] for chunk in chunks)


@pytest.mark.parametrize("name", ASSISTANTS)
def test_they_know_it_by_tgi_too(core: Core, name: str) -> None:
    card = CARDS[name]
    hub = InferenceClient(model=f"{core.url}/tgi/{name}", token=TOKEN, timeout=180)
    said = hub.text_generation(asked(card, CAPITAL), max_new_tokens=60, stop=list(card.defaults.stop), details=True)
    assert "Paris" in said.generated_text
    assert said.details is not None
    assert said.details.finish_reason in ("eos_token", "stop_sequence")
    streamed = hub.text_generation(asked(card, CAPITAL), max_new_tokens=60, stream=True)
    assert "".join(streamed) == said.generated_text


def test_an_answer_is_gone_on_from(client: openai.OpenAI) -> None:
    turns: list[Any] = [
        {"role": "user", "content": CAPITAL},
        {"role": "assistant", "content": "The capital of France is Paris."},
        {"role": "user", "content": "What is the capital of Spain?"},
    ]
    for name in ("guanaco-7b", "mpt-7b-chat"):
        done = client.chat.completions.create(model=name, messages=turns, temperature=0)
        assert "Madrid" in (done.choices[0].message.content or "")


def test_a_story_keeps_its_hero(client: openai.OpenAI) -> None:
    done = client.completions.create(model="mpt-7b-storywriter", prompt=STORY, max_tokens=80, temperature=0)
    assert "Tom" in done.choices[0].text


def test_a_picture_is_seen(client: openai.OpenAI) -> None:
    red, blue = shown("red", "circle"), shown("blue", "square")
    assert "red" in looked_at(client, red, "What colour is the shape?").lower()
    assert "blue" in looked_at(client, blue, "What colour is the shape?").lower()
    assert "circle" in looked_at(client, red, "What shape is it?").lower()
    assert "square" in looked_at(client, blue, "What shape is it?").lower()


def test_a_picture_is_seen_by_tgi_too(core: Core) -> None:
    """Where it stands in the prompt, the picture itself."""
    card = CARDS["llava-1.5-7b"]
    turn = Message(role=Role.USER, text="What colour is the shape?", images=(b"stands for the picture",))
    prompt = prompts.render(card.prompt, [turn]).text
    wishes = {"max_new_tokens": 40, "stop": list(card.defaults.stop)}
    with core.client() as http:
        for colour, shape in (("red", "circle"), ("blue", "square")):
            inputs = prompt.replace("<image>", f"![]({shown(colour, shape)})")
            said = http.post("/tgi/llava-1.5-7b/generate", json={"inputs": inputs, "parameters": wishes})
            assert colour in said.raise_for_status().json()["generated_text"].lower()


def test_all_at_once(core: Core) -> None:
    """Two adapters over one base, two more models, in one go: each answers as if it were alone."""

    def answer(name: str) -> str:
        body = {"model": name, "messages": [{"role": "user", "content": CAPITAL}], "temperature": 0}
        with core.client() as http:
            answered = http.post("/v1/chat/completions", json=body).raise_for_status().json()
        return str(answered["choices"][0]["message"]["content"])

    alone = {name: answer(name) for name in ASSISTANTS}
    crowd = [name for name in ASSISTANTS for _ in range(8)]
    with ThreadPoolExecutor(len(crowd)) as pool:
        together = list(pool.map(answer, crowd))
    assert together == [alone[name] for name in crowd]


def test_what_is_listed_and_labelled(core: Core) -> None:
    with core.client() as http:
        listed = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
        assert set(listed) == set(CARDS)
        assert all(model["demo"] and model["owned_by"] == "demo" for model in listed.values())
        said = http.post("/tgi/guanaco-7b", json={"inputs": asked(CARDS["guanaco-7b"], CAPITAL)})
        assert said.headers["x-demo-weights"] == "true"
        assert http.get("/tgi/guanaco-7b/info").json()["demo"] is True
        long = http.post("/v1/chat/completions", json=_long())
    assert long.status_code == 422
    assert str(CARDS["guanaco-7b"].context - 1) in long.json()["error"]["message"]


def _long() -> dict[str, Any]:
    return {"model": "guanaco-7b", "messages": [{"role": "user", "content": f"{CAPITAL} " * 500}]}


def test_bad_pictures_and_pictures_for_readers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as broken:
        looked_at(client, "data:image/png;base64,iVBORw0KGgo=", "What is it?")
    assert broken.value.code == "bad_image"
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": shown("red", "circle")}}]
    with pytest.raises(openai.UnprocessableEntityError) as blind:
        client.chat.completions.create(model="mpt-7b-chat", messages=[{"role": "user", "content": parts}])
    assert blind.value.code == "images_not_supported"
    assert "red" in looked_at(client, shown("red", "circle"), "What colour is the shape?").lower()
