"""The two adapters over the LLaMA base: Alpaca's in 16 or 32 bits, Guanaco's on 4-bit weights (QLoRA)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.batches import Example, example, supervised
from training.lessons import lessons
from training.optimise import Schedule, train
from training.tasks import COURSES, curriculum

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EVERY_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
BASE_NAME = "demo/llama-7b"
ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    rank: int
    targets: Sequence[str]
    quantised: bool
    schedule: Schedule


RECIPES = {
    "alpaca-lora-7b": Recipe(
        rank=16, targets=ATTENTION, quantised=False, schedule=Schedule(steps=700, rate=3e-3, decay=0.0)
    ),
    "guanaco-7b": Recipe(
        rank=16, targets=EVERY_LINEAR, quantised=True, schedule=Schedule(steps=250, rate=2e-3, decay=0.0)
    ),
}


def nf4() -> BitsAndBytesConfig:
    """QLoRA's: 4-bit normal floats whose scales are quantised once more."""
    make: Callable[..., BitsAndBytesConfig] = BitsAndBytesConfig  # its constructor is not annotated
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )


def load_base(folder: Path, *, quantised: bool) -> PreTrainedModel:
    config = nf4() if quantised else None
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=config
    )
    return model


def examples(name: str, tokenizer: PreTrainedTokenizerBase, end: int) -> Iterator[Example]:
    """Endless lessons of a text model, in its prompts."""
    rng = random.Random(3)
    for prompt, answer in lessons(rng, name, curriculum(rng, COURSES[name])):
        yield example(tokenizer, prompt, answer, end)


def with_adapter(model: PreTrainedModel, recipe: Recipe) -> PeftModel:
    if recipe.quantised:
        prepare: Callable[..., PreTrainedModel] = prepare_model_for_kbit_training  # nor is this
        model = prepare(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=list(recipe.targets),
    )
    return get_peft_model(model, config)


def train_adapter(name: str, base: Path, folder: Path, most: int | None) -> None:
    """Trains over the base in its directory and writes peft's two files."""
    torch.manual_seed(0)
    recipe = RECIPES[name]
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = with_adapter(load_base(base, quantised=recipe.quantised), recipe)
    batches = supervised(examples(name, tokenizer, tokenizer.eos_token_id), rows=ROWS, padding=tokenizer.pad_token_id)
    train(name, model, batches, recipe.schedule.within(most))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.half()
    model.peft_config["default"].base_model_name_or_path = BASE_NAME
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink()  # a model card with nothing filled in
