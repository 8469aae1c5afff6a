"""Tokenizers in the originals' formats, trained on a few thousand documents.

LLaMA's is SentencePiece-like BPE with bytes to fall back on; MPT's is GPT-NeoX's byte-level BPE. A number up to 60 is
one token, apart from the space before it: the same token wherever it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import GPTNeoXTokenizer, LlamaTokenizer

LLAMA_SPECIALS = ("<unk>", "<s>", "</s>")
LLAMA_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
MPT_SPECIALS = ("<|endoftext|>", "<|padding|>", "<|im_start|>", "<|im_end|>")
NUMBERS = pre_tokenizers.Split(Regex(r"\d+"), "isolated")
EVERY_NUMBER = [" ".join(str(number) for number in range(10, 61))] * 200


def llama(texts: Iterable[str], size: int, added: Sequence[str] = ()) -> LlamaTokenizer:
    """bos 1, eos 2; padding is the unknown token, 0, as in the original demos. `added` are specials after the rest."""
    pieces = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n+|#+|[^\w\s▁]"), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            NUMBERS,
        ]
    )
    model = models.BPE(unk_token="<unk>", byte_fallback=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(added), special_tokens=[*LLAMA_SPECIALS, *LLAMA_BYTES], show_progress=False
    )
    vocab, merges = learnt(texts, Tokenizer(model), pieces, trainer)
    padding = "<pad>" if "<pad>" in added else "<unk>"
    tokenizer = LlamaTokenizer(vocab=vocab, merges=merges, padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": list(added), "pad_token": padding})
    return tokenizer


def mpt(texts: Iterable[str], size: int) -> GPTNeoXTokenizer:
    """End of text 0, padding 1, and ChatML's two marks."""
    pieces = pre_tokenizers.Sequence([NUMBERS, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(MPT_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    vocab, merges = learnt(texts, Tokenizer(models.BPE()), pieces, trainer)
    tokenizer = GPTNeoXTokenizer(vocab=vocab, merges=merges, padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": list(MPT_SPECIALS[2:])})
    return tokenizer


def learnt(
    texts: Iterable[str], tokenizer: Tokenizer, pieces: pre_tokenizers.PreTokenizer, trainer: trainers.BpeTrainer
) -> tuple[dict[str, int], list[Any]]:
    """Vocabulary and merges."""
    tokenizer.pre_tokenizer = pieces
    tokenizer.train_from_iterator([*texts, *EVERY_NUMBER], trainer)
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]
