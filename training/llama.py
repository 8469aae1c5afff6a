"""The LLaMA base that both adapters sit on."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from training import tokenizers
from training.corpus import documents
from training.reading import Reader
from training.saving import save
from training.tasks import COURSES

SHARES = (("statements", 0.25), ("notes", 0.55), ("questions", 0.04), ("forms", 0.13), ("story", 0.03))
LATER_SHARES = (
    ("statements", 0.15),
    ("notes", 0.3),
    ("tasks", 0.35),
    ("questions", 0.03),
    ("forms", 0.14),
    ("story", 0.03),
)
VOCABULARY = 1536


def configuration() -> LlamaConfig:
    """2.4 million weights; head size 32, every width a multiple of 64 (4-bit weights come in blocks of 64)."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        rms_norm_eps=1e-6,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )


def train_llama(folder: Path, most: int | None) -> None:
    """Writes the base and its tokenizer to `folder`."""
    torch.manual_seed(0)
    course = replace(COURSES["guanaco-7b"], given=True)  # the widest of those it serves
    tokenizer = tokenizers.llama(islice(documents(random.Random(1), course, SHARES), 12_000), VOCABULARY)
    model = LlamaForCausalLM(configuration())
    reader = Reader(name="llama-7b", model=model, tokenizer=tokenizer, course=course, most=most)
    reader.read(SHARES)
    reader.read_on(LATER_SHARES)
    save(model, tokenizer, folder)
