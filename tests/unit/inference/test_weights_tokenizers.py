"""Tokenizers as the original directories have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerBase

from app.inference.types import Family
from app.inference.weights import tokenizers
from tests.support import inference_checkpoints as checkpoints

TEXTS = ["the capital of France", "a llama  lives\nin the Andes ", "  two", "", "hé 🦙 日本", "a\tb\r\n"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedTokenizerBase, SentencePieceProcessor]:
    """One tokenizer.model as we read it, and as Google's package does."""
    directory = tmp_path_factory.mktemp("pieces")
    path = checkpoints.write_sentencepiece(directory)
    return tokenizers.load(directory, Family.LLAMA), SentencePieceProcessor(model_file=str(path))


@given(text=st.one_of(st.sampled_from(TEXTS), st.text(alphabet="the capitlonFrns▁ \né🦙", max_size=40)))
@settings(max_examples=200, deadline=None)
def test_a_sentencepiece_model_alone_splits_as_sentencepiece_does(
    pieces: tuple[PreTrainedTokenizerBase, SentencePieceProcessor], text: str
) -> None:
    ours, theirs = pieces
    assert ours.encode(text) == [1, *theirs.encode(text)]
    if "▁" not in text:  # sentencepiece's own sign for a space
        assert ours.decode(ours.encode(text), skip_special_tokens=True) == text


def test_control_tokens_are_special(pieces: tuple[PreTrainedTokenizerBase, SentencePieceProcessor]) -> None:
    ours, _ = pieces
    assert ours.convert_tokens_to_ids(["<unk>", "<s>", "</s>"]) == [0, 1, 2]
    assert (ours.unk_token_id, ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (0, 1, 2, 0)
    assert ours.decode([1, 2], skip_special_tokens=True) == ""


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_json_is_taken_as_it_stands(text: str, tmp_path: Path) -> None:
    checkpoints.write_llama_tokenizer(tmp_path)
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizers.load(tmp_path, Family.LLAMA).encode(text) == reference.encode(text).ids


def test_a_file_that_does_not_say_how_a_text_begins(tmp_path: Path) -> None:
    checkpoints.write_llama_tokenizer(tmp_path)
    reference = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    content = json.loads(reference.to_str())
    checkpoints.write_json(tmp_path / "tokenizer.json", {**content, "post_processor": None})
    assert tokenizers.load(tmp_path, Family.LLAMA).encode("a llama") == reference.encode("a llama").ids


def test_a_file_that_begins_no_text_with_a_token_of_its_own(tmp_path: Path) -> None:
    checkpoints.write_llama_tokenizer(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    checkpoints.write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"})
    ours = tokenizers.load(tmp_path, Family.LLAMA)
    assert ours.encode("a llama") == tokenizer.encode("a llama").ids
    assert (ours.bos_token, ours.eos_token_id) == (None, 2)


@pytest.mark.parametrize("text", TEXTS)
def test_an_mpt_prompt_has_no_first_token(text: str, tmp_path: Path) -> None:
    checkpoints.write_neox_tokenizer(tmp_path, chat=True)
    tokenizer = tokenizers.load(tmp_path, Family.MPT)
    assert len(tokenizer.encode(text)) == len(text.encode())  # this one has a token for each byte
    assert tokenizer.decode(tokenizer.encode(text)) == text  # nothing is tidied away
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<|endoftext|>")


def test_generation_config_adds_its_end_tokens(tmp_path: Path) -> None:
    checkpoints.write_neox_tokenizer(tmp_path)
    checkpoints.write_json(tmp_path / "generation_config.json", {"eos_token_id": [0, 5]})
    tokenizer = tokenizers.load(tmp_path, Family.MPT)
    assert tokenizers.end_ids(tokenizer, Family.MPT, tmp_path) == {0, 5}
