"""The demo checkpoints that come with the project, loaded as the core loads them, against transformers and peft."""

from __future__ import annotations

import dataclasses
from itertools import groupby

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
)

from app.inference import catalog, prompts, weights
from app.inference.catalog import Preset
from app.inference.loaded import LoadedModel
from app.inference.types import Family, Message, ModelCard, Precision, Role
from tests.support import inference_checkpoints as checkpoints

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CARDS = catalog.read(Preset.DEMO)
BASES = [tuple(group) for _, group in groupby(CARDS, key=lambda card: card.base)]
CHAT = [
    Message(role=Role.USER, text="What is the capital of France?"),
    Message(role=Role.ASSISTANT, text="The capital of France is Paris."),
    Message(role=Role.USER, text="¿Y cuánto es 3 + 4?"),
]


def names(value: object) -> str:
    return "+".join(card.name for card in value) if isinstance(value, tuple) else str(value)


def load(cards: tuple[ModelCard, ...], precision: Precision = Precision.FP32) -> LoadedModel:
    held = [dataclasses.replace(card, precision=precision) for card in cards]
    return weights.load(held, CPU, lambda what, fraction: None)


def plain(card: ModelCard) -> PreTrainedModel:
    kind = LlavaForConditionalGeneration if card.family is Family.LLAVA else AutoModelForCausalLM
    model = kind.from_pretrained(card.weights, dtype=torch.float32)
    assert isinstance(model, PreTrainedModel)
    model.train(False)
    return model


@pytest.mark.parametrize("cards", BASES, ids=names)
def test_logits_are_those_of_plain_transformers(cards: tuple[ModelCard, ...]) -> None:
    loaded = load(cards)
    ids = torch.tensor([loaded.tokenizer.encode(prompts.render(cards[0].prompt, CHAT).text)])
    with torch.inference_mode():
        assert torch.equal(loaded.model(input_ids=ids).logits, plain(cards[0])(input_ids=ids).logits)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_prompts_split_as_the_checkpoints_own_tokenizer_splits_them(card: ModelCard) -> None:
    ours, theirs = load((card,)).tokenizer, AutoTokenizer.from_pretrained(card.weights)
    text = prompts.render(card.prompt, CHAT).text
    ids = theirs.encode(text)
    assert ours.encode(text) == ids
    assert ours.decode(ids) == theirs.decode(ids)
    begins = ours.encode(text, add_special_tokens=False) != ids
    assert begins == (card.family is not Family.MPT and ours.bos_token is not None)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
@pytest.mark.parametrize("card", [card for card in CARDS if card.adapter], ids=lambda card: card.name)
def test_adapters_are_those_of_peft(card: ModelCard) -> None:
    adapter = load((card,)).adapters[card.name]
    base = plain(card)
    PeftModel.from_pretrained(base, str(card.adapter))  # changes it in place
    layers = {path: module for path, module in base.named_modules() if isinstance(module, Linear)}
    assert set(adapter.layers) == set(layers)
    for path, module in layers.items():
        ours, halves = adapter.layers[path], dict(module.named_parameters())
        assert torch.equal(ours.a, halves["lora_A.default.weight"])
        assert torch.equal(ours.b, halves["lora_B.default.weight"])
        assert ours.scaling == module.scaling["default"]


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("cards", BASES, ids=names)
def test_every_precision_loads_in_the_bytes_that_were_estimated(
    cards: tuple[ModelCard, ...], precision: Precision
) -> None:
    loaded = load(cards, precision)
    assert loaded.nbytes == weights.estimate([dataclasses.replace(card, precision=precision) for card in cards], CPU)
    assert list(loaded.adapters) == [card.name for card in cards if card.adapter]


def test_pictures_become_what_the_checkpoints_own_processor_makes_of_them() -> None:
    card = next(card for card in CARDS if card.family is Family.LLAVA)
    ours, theirs = load((card,)).processor, LlavaProcessor.from_pretrained(card.weights)
    message = Message(role=Role.USER, text="What is shown?", images=(b"",))
    text = prompts.render(card.prompt, [message]).text
    picture = checkpoints.picture(size=64)
    assert ours is not None
    found, wanted = (one(text=text, images=[picture], return_tensors="pt") for one in (ours, theirs))
    assert torch.equal(found["input_ids"], wanted["input_ids"])
    assert torch.equal(found["pixel_values"], wanted["pixel_values"])


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_an_answer_ends_with_the_familys_own_token(card: ModelCard) -> None:
    loaded = load((card,))
    ends = {"mpt-chat": ["<|endoftext|>", "<|im_end|>"], "mpt-instruct": ["<|endoftext|>"]}
    ends["mpt-storywriter"] = ends["mpt-instruct"]
    wanted = {loaded.tokenizer.convert_tokens_to_ids(token) for token in ends.get(card.prompt, ["</s>"])}
    assert wanted <= loaded.eos_ids
