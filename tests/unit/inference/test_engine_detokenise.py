"""Text comes out whole: characters of many tokens, spaces of words, bytes that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference.engine.detokenise import UNFINISHED, Decode, TextStream
from tests.support.inference_models import byte_tokenizer, spaced_tokenizer

BYTES: Any = byte_tokenizer()
SPACED: Any = spaced_tokenizer(["▁the", "▁Paris", "is", "▁", "s"])
BYTE_OF = {byte: SPACED.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in range(256)}

# GPT-NeoX's alphabet: printable bytes are their own letters, the others follow from 256 on, in order.
LETTER_OF = {byte: chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))}
LETTER_OF |= {byte: chr(256 + number) for number, byte in enumerate(b for b in range(256) if b not in LETTER_OF)}
BYTE_ID = {byte: BYTES.convert_tokens_to_ids(letter) for byte, letter in LETTER_OF.items()}


def decoder(tokenizer: Any) -> Decode:
    return lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def byte_ids(text: str) -> list[int]:
    return [int(number) for number in BYTES(text, add_special_tokens=False)["input_ids"]]


def fallback_ids(text: str) -> list[int]:
    return [BYTE_OF[byte] for byte in text.encode()]


def streamed(decode: Decode, prompt: list[int], ids: list[int]) -> list[str]:
    stream = TextStream(decode, prompt)
    return [*(stream.push(token) for token in ids), stream.flush()]


@given(st.text(max_size=30), st.text(max_size=12))
def test_bytes_of_any_text_come_out_as_that_text(text: str, before: str) -> None:
    assert "".join(streamed(decoder(BYTES), byte_ids(before), byte_ids(text))) == text


@given(st.text(alphabet=st.characters(exclude_characters=UNFINISHED, exclude_categories=["Cs"]), max_size=30))
def test_no_piece_ends_within_a_character(text: str) -> None:
    for decode, ids in ((decoder(BYTES), byte_ids(text)), (decoder(SPACED), fallback_ids(text))):
        assert not [piece for piece in streamed(decode, [1], ids) if UNFINISHED in piece]


@given(st.text(alphabet=st.characters(exclude_characters=UNFINISHED, exclude_categories=["Cs"]), max_size=30))
def test_byte_fallback_of_any_text_comes_out_as_that_text(text: str) -> None:
    prompt = [SPACED.convert_tokens_to_ids("▁the")]
    assert "".join(streamed(decoder(SPACED), prompt, fallback_ids(text))) == text


@pytest.mark.parametrize("decode, ids", [(decoder(BYTES), byte_ids("a🙂b")), (decoder(SPACED), fallback_ids("a🙂b"))])
def test_an_emoji_of_four_tokens_comes_at_its_fourth(decode: Decode, ids: list[int]) -> None:
    assert streamed(decode, [1], ids) == ["a", "", "", "", "🙂", "b", ""]


def test_the_space_of_a_first_word_is_kept() -> None:
    the, paris = (SPACED.convert_tokens_to_ids(word) for word in ("▁the", "▁Paris"))
    assert streamed(decoder(SPACED), [1, the], [paris, the]) == [" Paris", " the", ""]


def test_special_tokens_add_nothing_and_take_no_space_away() -> None:
    the, paris = (SPACED.convert_tokens_to_ids(word) for word in ("▁the", "▁Paris"))
    assert streamed(decoder(SPACED), [1, the], [2, paris]) == ["", " Paris", ""]


def test_a_prompt_that_ends_in_an_emoji_does_not_spoil_the_next_one() -> None:
    prompt = [SPACED.convert_tokens_to_ids("▁the"), *fallback_ids("🙂🙂")]
    assert "".join(streamed(decoder(SPACED), prompt, fallback_ids("🙂"))) == "🙂"


@given(st.binary(max_size=40))
def test_bytes_that_are_no_text_come_out_as_what_could_be_read_of_them(raw: bytes) -> None:
    found = "".join(streamed(decoder(BYTES), [], [BYTE_ID[byte] for byte in raw]))
    assert found.replace(UNFINISHED, "") == raw.decode(errors="ignore")
    assert (UNFINISHED in found) == (UNFINISHED in raw.decode(errors="replace"))


def test_endless_broken_bytes_are_not_held_back_for_ever() -> None:
    broken = [BYTE_OF[0x80]] * 40
    pieces = streamed(decoder(SPACED), [1], broken)
    assert "".join(pieces[:20])
    assert "".join(pieces) == UNFINISHED * 40
