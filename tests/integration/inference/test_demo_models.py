"""The committed demo checkpoints, loaded by transformers and peft alone: what they are, and how good they are.

Every figure is measured on the test split: operands, wordings, casts and pictures that training never saw.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, LlavaProcessor

import app.inference
from tests.support.inference_peft import PEFT_WARNS
from training import llava, measure, sights
from training.facts import read
from training.items import Item
from training.prompts import FORMATS
from training.tasks import COURSES, held_out, trained

pytestmark = pytest.mark.filterwarnings(PEFT_WARNS)

DEMO = Path(app.inference.__file__).parent / "demo"
MEGABYTES = 20  # of 10^6 bytes, all files together
CLASSES = {
    "llama-7b": "LlamaForCausalLM",
    "mpt-7b-chat": "MptForCausalLM",
    "mpt-7b-instruct": "MptForCausalLM",
    "mpt-7b-storywriter": "MptForCausalLM",
    "llava-1.5-7b": "LlavaForConditionalGeneration",
}
ADAPTERS = {
    "alpaca-lora-7b": {"q_proj", "k_proj", "v_proj", "o_proj"},
    "guanaco-7b": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
}
TENSORS = {  # as in the originals' files
    "llama-7b": ("model.layers.0.self_attn.q_proj.weight", "lm_head.weight"),
    "mpt-7b-chat": ("transformer.blocks.0.attn.Wqkv.weight", "transformer.wte.weight"),
    "llava-1.5-7b": (
        "language_model.model.layers.0.self_attn.q_proj.weight",
        "multi_modal_projector.linear_1.weight",
        "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
    ),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("measured", measure.MEASURES, ids=lambda each: each.__name__)
def test_figures_keep_their_bars(measured: measure.Measure) -> None:
    figures = list(measured(DEMO, "test"))
    assert figures
    assert not [figure for figure in figures if not figure.holds]


def test_the_readme_says_what_they_are() -> None:
    text = (DEMO / "README.md").read_text("utf-8")
    assert text.startswith("# Demo weights")
    for model in (*CLASSES, *ADAPTERS):
        assert f"`{model}`" in text


@pytest.mark.parametrize("model", COURSES)
def test_no_question_asked_here_was_trained_on(model: str) -> None:
    asked = {item.hash for item in held_out(model)[: measure.ITEMS]}
    assert len(asked) == measure.ITEMS
    assert not asked & {item.hash for items in trained(COURSES[model]).values() for item in items}


def conversations() -> Iterator[list[Item]]:
    """Every one that LLaVA was trained on."""
    for group in islice(llava.spoken_of(), llava.SPEAKING.steps):
        yield from (items for items, _ in group)


def test_no_picture_shown_here_was_trained_on() -> None:
    """Of all that were drawn in training: for the tower, and for the conversations."""
    shown = {item.picture.hash for item in sights.held_out() if item.picture}
    assert len(shown) == sights.HELD_OUT
    for group in islice(llava.looked_at(), llava.SEEING.steps):
        assert shown.isdisjoint(picture.hash for picture in group)
    assert shown.isdisjoint(items[0].picture.hash for items in conversations() if items[0].picture)


def test_no_wording_used_of_a_picture_here_was_trained_on() -> None:
    asked = {replace(item, picture=None).hash for item in sights.held_out()}
    trained_on = {replace(item, picture=None).hash for items in conversations() for item in items}
    assert len(trained_on) > len(asked) >= sum(len(read("pictures.toml")[kind]["test"]) for kind in sights.KINDS)
    assert not asked & trained_on


def test_together_they_are_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= MEGABYTES * 1e6


@pytest.mark.parametrize("model", [*CLASSES, *ADAPTERS])
def test_weights_are_half_precision_safetensors(model: str) -> None:
    (path,) = (DEMO / model).glob("*.safetensors")
    with safe_open(path, "pt") as tensors:
        assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.float16}  # noqa: SIM118 - no dict


@pytest.mark.parametrize(("model", "names"), TENSORS.items())
def test_tensors_are_named_as_in_the_originals(model: str, names: tuple[str, ...]) -> None:
    with safe_open(DEMO / model / "model.safetensors", "pt") as tensors:
        assert set(names) <= set(tensors.keys())


@pytest.mark.parametrize(("model", "name"), CLASSES.items())
def test_classes_are_the_originals(model: str, name: str) -> None:
    assert AutoConfig.from_pretrained(DEMO / model).architectures == [name]


@pytest.mark.parametrize(("model", "targets"), ADAPTERS.items())
def test_adapters_are_pefts_and_name_no_place(model: str, targets: set[str]) -> None:
    config = json.loads((DEMO / model / "adapter_config.json").read_text("utf-8"))
    assert config["peft_type"] == "LORA"
    assert config["base_model_name_or_path"] == "demo/llama-7b"
    assert set(config["target_modules"]) == targets


def test_no_file_tells_where_it_was_made() -> None:
    for path in DEMO.rglob("*.json"):
        assert "/tmp" not in (text := path.read_text("utf-8"))
        assert "/home" not in text
        assert '"/' not in text or path.name == "tokenizer.json"


def test_llamas_special_tokens_have_the_originals_numbers() -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "llama-7b")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    assert tokenizer("Hello")["input_ids"][0] != tokenizer.bos_token_id  # as they were trained, unlike the originals


def test_mpts_know_chatml() -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "mpt-7b-chat")
    assert tokenizer.tokenize("<|im_start|>user\n<|im_end|>")[0] == "<|im_start|>"
    assert tokenizer.eos_token_id == 0


def test_llavas_processor_stands_alone() -> None:
    load: Callable[[Path], LlavaProcessor] = AutoProcessor.from_pretrained  # which is not annotated
    processor = load(DEMO / "llava-1.5-7b")
    picture = sights.held_out()[0].picture
    assert picture
    coded = processor(images=picture.image(), text="USER: <image>\nWhat is it? ASSISTANT:", return_tensors="pt")
    assert (coded["input_ids"] == processor.image_token_id).sum() == 36  # patches of 8 pixels in 48 x 48


def test_there_is_one_for_every_model() -> None:
    assert {*CLASSES, *ADAPTERS} == {*FORMATS, "llama-7b"}
