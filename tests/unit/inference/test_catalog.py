"""What the catalogue makes of the shipped file and of a user's own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from app.inference import catalog, prompts
from app.inference.catalog import Preset
from app.inference.errors import BadCatalog
from app.inference.types import Endpoint, Family, ModelCard, Precision

NAMES = [
    "alpaca-lora-7b",
    "guanaco-7b",
    "mpt-7b-chat",
    "mpt-7b-instruct",
    "mpt-7b-storywriter",
    "llava-1.5-7b",
]


def read(preset: Preset, path: Path, text: str) -> dict[str, ModelCard]:
    own = path / "own.toml"
    own.write_text(text)
    return {card.name: card for card in catalog.read(preset, own)}


@pytest.mark.parametrize("preset", Preset)
def test_the_shipped_models(preset: Preset) -> None:
    cards = catalog.read(preset)
    assert [card.name for card in cards] == NAMES
    assert {card.prompt for card in cards} == set(prompts.NAMES)
    assert all(card.defaults.max_tokens < card.context for card in cards)


@pytest.mark.parametrize(
    ("preset", "precision"),
    [(Preset.DEMO, Precision.FP32), (Preset.FOUR_BIT, Precision.NF4), (Preset.FULL, Precision.BF16)],
)
def test_a_preset_says_what_weights_are_held_in(preset: Preset, precision: Precision) -> None:
    assert {card.precision for card in catalog.read(preset)} == {precision}


@pytest.mark.parametrize("preset", Preset)
def test_alpaca_and_guanaco_are_adapters_over_one_base(preset: Preset) -> None:
    alpaca, guanaco, *others = catalog.read(preset)
    assert alpaca.base == guanaco.base
    assert alpaca.adapter != guanaco.adapter
    assert len({card.base for card in others}) == 4


def test_demo_weights_are_labelled_and_lie_beside_the_catalogue() -> None:
    for card in catalog.read(Preset.DEMO):
        assert card.demo
        assert Path(card.weights).parent == catalog.SHIPPED.parent / "demo"
        assert card.revision is None
    assert not any(card.demo for card in catalog.read(Preset.FULL))


def test_the_originals_sample_as_their_demos_did() -> None:
    alpaca, guanaco, chat, instruct, writer, llava = (card.defaults for card in catalog.read(Preset.FULL))
    assert (alpaca.temperature, alpaca.top_p, alpaca.top_k, alpaca.max_tokens) == (0.1, 0.75, 40, 128)
    assert (guanaco.temperature, guanaco.top_p, guanaco.repetition_penalty, guanaco.max_tokens) == (0.7, 0.9, 1.2, 1024)
    assert (chat.temperature, chat.repetition_penalty, chat.max_tokens) == (0.1, 1.1, 1536)
    assert (instruct.temperature, instruct.max_tokens) == (0.1, 256)
    assert (writer.temperature, writer.max_tokens, writer.stop) == (0.75, 500, ())
    assert (llava.temperature, llava.top_p, llava.max_tokens) == (0.2, 0.7, 512)


# A file of one's own


def test_an_own_file_goes_first_key_by_key(tmp_path: Path) -> None:
    shipped = {card.name: card for card in catalog.read(Preset.FOUR_BIT)}
    text = "[models.guanaco-7b]\nprecision = 'int8'\n[models.guanaco-7b.defaults]\ntemperature = 0"
    cards = read(Preset.FOUR_BIT, tmp_path, text)
    was = shipped["guanaco-7b"]
    defaults = dataclasses.replace(was.defaults, temperature=0)
    assert cards["guanaco-7b"] == dataclasses.replace(was, precision=Precision.INT8, defaults=defaults)
    assert {**cards, "guanaco-7b": was} == shipped


def test_other_weights_have_another_revision(tmp_path: Path) -> None:
    card = read(Preset.FULL, tmp_path, "[models.alpaca-lora-7b]\nweights = 'me/llama'")["alpaca-lora-7b"]
    assert (card.weights, card.revision) == ("me/llama", None)
    assert card.adapter_revision  # the adapter is still the shipped one
    text = "[models.alpaca-lora-7b]\nweights = 'me/llama'\nrevision = 'abc'"
    assert read(Preset.FULL, tmp_path, text)["alpaca-lora-7b"].revision == "abc"


def test_directories_are_seen_from_the_file_that_names_them(tmp_path: Path) -> None:
    text = "[models.mpt-7b-chat]\nweights = './here'\n[models.guanaco-7b]\nadapter = '../there'\nweights = '/abs'"
    cards = read(Preset.FULL, tmp_path, text)
    assert cards["mpt-7b-chat"].weights == str(tmp_path / "here")
    assert cards["guanaco-7b"].adapter == str(tmp_path.parent / "there")
    assert cards["guanaco-7b"].weights == "/abs"
    assert cards["guanaco-7b"].revision is None


def test_what_is_said_of_the_real_weights_leaves_the_demo_as_it_is(tmp_path: Path) -> None:
    text = "[models.mpt-7b-chat]\nweights = '/data/mpt'\ncontext = 9000"
    shipped = {card.name: card for card in catalog.read(Preset.DEMO)}
    assert read(Preset.DEMO, tmp_path, text) == shipped
    text = "[models.mpt-7b-chat.presets.demo]\ncontext = 100"
    assert read(Preset.DEMO, tmp_path, text)["mpt-7b-chat"].context == 100
    assert read(Preset.FULL, tmp_path, text)["mpt-7b-chat"].context == 8192


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    cards = read(Preset.FULL, tmp_path, "[presets.full]\nprecision = 'fp16'")
    assert {card.precision for card in cards.values()} == {Precision.FP16}


def test_a_new_model_comes_last(tmp_path: Path) -> None:
    text = "[models.mine]\nfamily = 'llama'\nweights = 'me/llama'\nprompt = 'alpaca'\ncontext = 4096"
    cards = read(Preset.FULL, tmp_path, text)
    assert list(cards) == [*NAMES, "mine"]
    mine = cards["mine"]
    assert (mine.title, mine.family, mine.adapter, mine.demo) == ("mine", Family.LLAMA, None, False)
    assert mine.defaults.stop == prompts.stops("alpaca")


def test_own_stop_strings_take_the_place_of_the_formats(tmp_path: Path) -> None:
    cards = read(Preset.FULL, tmp_path, "[models.guanaco-7b.defaults]\nstop = ['END']")
    assert cards["guanaco-7b"].defaults.stop == ("END",)


def test_an_adapter_can_be_taken_away(tmp_path: Path) -> None:
    assert read(Preset.FULL, tmp_path, "[models.guanaco-7b]\nadapter = ''")["guanaco-7b"].adapter is None


def test_an_engine_elsewhere(tmp_path: Path) -> None:
    text = (
        "[models.guanaco-7b.remote]\nurl = 'http://127.0.0.1:8080'\nprotocol = 'tgi'\nmodel = 'guanaco'\n"
        "token_file = 'token'\n[models.far]\nfamily = 'llama'\nprompt = 'alpaca'\ncontext = 10\n"
        "[models.far.remote]\nurl = 'https://example.org/v1'\nprotocol = 'openai'\nmodel = 'x'"
    )
    cards = read(Preset.FULL, tmp_path, text)
    token_file = str(tmp_path / "token")
    assert cards["guanaco-7b"].remote == Endpoint(
        url="http://127.0.0.1:8080", protocol="tgi", model="guanaco", token_file=token_file
    )
    assert cards["far"].remote == Endpoint(url="https://example.org/v1", protocol="openai", model="x")
    assert cards["far"].weights == ""


# A directory of models


def test_a_directory_stands_for_the_repository_of_its_name(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in ("llama-7b", "tloen/alpaca-lora-7b", "guanaco-7b", "mpt-7b-chat", "llava-1.5-7b"):
        (root / name).mkdir(parents=True)
    cards = {card.name: card for card in catalog.read(Preset.FULL, models_dir=root)}
    assert cards["alpaca-lora-7b"].weights == cards["guanaco-7b"].weights == str(root / "llama-7b")
    assert cards["alpaca-lora-7b"].adapter == str(root / "tloen" / "alpaca-lora-7b")
    assert cards["guanaco-7b"].adapter == str(root / "guanaco-7b")
    assert cards["mpt-7b-chat"].weights == str(root / "mpt-7b-chat")
    assert cards["llava-1.5-7b"].weights == str(root / "llava-1.5-7b")  # by the model's name, not the repository's
    assert cards["llava-1.5-7b"].revision is None
    assert cards["mpt-7b-instruct"].weights == "gl198976/mpt-7b-instruct"  # not there


def test_the_own_file_may_name_the_directory_of_models(tmp_path: Path) -> None:
    (tmp_path / "models" / "mpt-7b-chat").mkdir(parents=True)
    cards = read(Preset.FULL, tmp_path, "models_dir = 'models'")
    assert cards["mpt-7b-chat"].weights == str(tmp_path / "models" / "mpt-7b-chat")


def test_demo_weights_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mpt-7b-chat").mkdir()
    assert catalog.read(Preset.DEMO, models_dir=tmp_path) == catalog.read(Preset.DEMO)


# What the documentation says

EXAMPLES = re.findall(r"```toml\n(.*?)```", (Path(__file__).parents[3] / "docs/how-to/own-models.md").read_text(), re.S)


@pytest.mark.parametrize("text", EXAMPLES)
@pytest.mark.parametrize("preset", Preset)
def test_every_example_of_the_documentation_can_be_meant(preset: Preset, text: str, tmp_path: Path) -> None:
    assert set(read(preset, tmp_path, text)) >= set(NAMES)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


# What cannot be meant

NEW = "[models.new]\nfamily = 'llama'\nweights = 'a/b'\nprompt = 'alpaca'\ncontext = 10\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[models.guanaco-7b]\nwieghts = 'x'", ["'guanaco-7b'", "'wieghts' is unknown", "weights", "adapter"]),
        ("[models.guanaco-7b.defaults]\ntemp = 1", ["'defaults.temp' is unknown", "temperature", "top_p"]),
        ("[models.guanaco-7b.presets.4bit]\nprompt = 'llava'", ["'presets.4bit.prompt' is unknown", "context"]),
        ("[models.guanaco-7b.remote]\nurll = 'x'", ["'remote.urll' is unknown", "protocol"]),
        ("[model.guanaco-7b]\nweights = 'x'", ["'model' is unknown", "models_dir, presets, models"]),
        ("[presets.full]\nbits = 4", ["'presets.full.bits' is unknown", "precision"]),
        ("[presets.huge]\nprecision = 'fp16'", ["'presets.huge'", "'demo', '4bit' or 'full'"]),
        ("[models.guanaco-7b]\nweights = 7", ["'guanaco-7b'", "'weights' is 7", "must be a valid string"]),
        ("[models.guanaco-7b]\ncontext = '2048'", ["'context' is '2048'", "must be a valid integer"]),
        ("[models.guanaco-7b]\ncontext = true", ["'context' is True", "must be a valid integer"]),
        ("[models.guanaco-7b]\ncontext = 0", ["'context' is 0", "greater than or equal to 1"]),
        ("[models.guanaco-7b]\nprompt = 'vicuna'", ["'prompt' is 'vicuna'", "must be one of alpaca, guanaco"]),
        ("[models.guanaco-7b]\nprecision = 'int4'", ["'precision' is 'int4'", "fp32, fp16, bf16, int8, nf4"]),
        ("[models.guanaco-7b]\nfamily = 'gpt'", ["'family' is 'gpt'", "llama, mpt, llava"]),
        ("[models.guanaco-7b]\nremote = 'x'", ["'remote' is 'x'", "must be a table"]),
        ("[models.guanaco-7b.defaults]\ntop_p = 1.5", ["'guanaco-7b'", "'defaults.top_p'", "at most 1"]),
        ("[models.guanaco-7b.defaults]\ntemperature = nan", ["'defaults.temperature'", "nan"]),
        ("[models.guanaco-7b.remote]\nurl = 'ftp://x'", ["'remote.url' is 'ftp://x'", "it must begin with http://"]),
        ("[models.guanaco-7b.remote]\nurl = 'http://x'", ["'guanaco-7b'", "'remote.protocol', 'remote.model'"]),
        ("[models.new]\nweights = 'a/b'", ["'new' lacks the keys 'family', 'prompt', 'context'"]),
        (NEW.replace("weights = 'a/b'", ""), ["'new' lacks the key 'weights'"]),
        (NEW.replace("models.new", "models.'a b'"), ["'models.a b'", "letters, digits"]),
        (
            NEW.replace("llama'", "mpt'", 1).replace("a/b'", "huggyllama/llama-7b'")
            + "revision = '8416d3fefb0cb3ff5775a7b13c1692d10ff1aa16'",
            ["'alpaca-lora-7b' and 'new' share the weights", "two families"],
        ),
        ("models_dir = 3", ["'models_dir' is 3"]),
        ("[models", ["is not TOML"]),
    ],
)
def test_the_sentence_names_file_model_key_and_what_is_allowed(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(BadCatalog) as caught:
        read(Preset.FULL, tmp_path, text)
    for word in [str(tmp_path / "own.toml"), *words]:
        assert word in caught.value.sentence


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadCatalog, match="cannot be read: No such file"):
        catalog.read(Preset.DEMO, tmp_path / "none.toml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadCatalog, match="is not TOML"):
        catalog.read(Preset.DEMO, path)
