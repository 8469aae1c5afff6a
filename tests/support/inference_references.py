"""Tiny models with random weights of the three architectures: written as checkpoints, and compared with them."""

from __future__ import annotations

from typing import TypeVar

import torch
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
)

Model = TypeVar("Model", bound=PreTrainedModel)

VOCABULARY = 320
IMAGE_TOKEN = 319


def llama(seed: int = 0) -> LlamaForCausalLM:
    """Two layers, 64 wide."""
    return _random(LlamaForCausalLM(_llama_config()), seed)


def mpt(seed: int = 0, *, clip_qkv: float | None = None) -> MptForCausalLM:
    config = MptConfig(
        d_model=64,
        n_heads=4,
        n_layers=2,
        vocab_size=VOCABULARY,
        max_seq_len=64,
        attn_config={"clip_qkv": clip_qkv},
        use_cache=True,
    )
    return _random(MptForCausalLM(config), seed)


def llava(seed: int = 0) -> LlavaForConditionalGeneration:
    """28 pixels in patches of 14: four image tokens."""
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=14
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_llama_config(),
        image_token_index=IMAGE_TOKEN,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return _random(LlavaForConditionalGeneration(config), seed)


def picture(seed: int = 0, size: int = 28) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size, size, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def _llama_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
    )


def _random(model: Model, seed: int) -> Model:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.normal_(0, 0.12, generator=generator)
        weight.requires_grad_(False)
    model.train(False)
    return model
