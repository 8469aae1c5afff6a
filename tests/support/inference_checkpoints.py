"""Checkpoints in the formats in which the originals were published, tiny and with random weights.

Written from what is documented of those files, by the hands of the tests: nothing of the loader is used, nor what
transformers would write today.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, LlavaForConditionalGeneration, MptForCausalLM, PreTrainedModel

from tests.support.inference_files import LAYOUTS, write_json, write_tensors
from tests.support.inference_references import IMAGE_TOKEN, VOCABULARY, llama, llava, mpt, picture
from tests.support.inference_vocabularies import write_llama_tokenizer, write_neox_tokenizer, write_sentencepiece

__all__ = [
    "IMAGE_TOKEN",
    "LAYOUTS",
    "llama",
    "llava",
    "mpt",
    "picture",
    "write_alpaca",
    "write_guanaco",
    "write_json",
    "write_llama",
    "write_llama_tokenizer",
    "write_llava",
    "write_mpt",
    "write_neox_tokenizer",
    "write_sentencepiece",
]


def _directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _half(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The tensors as they were published, in half precision. The reference is rounded with them."""
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    return {name: tensor.half() for name, tensor in model.state_dict().items()}


# LLaMA, as converted in spring 2023


def write_llama(path: Path, model: LlamaForCausalLM, layout: str = "bin-sharded") -> Path:
    """With a rotary table per layer, pad_token_id -1, bos and eos 0, and the class's name in its first spelling."""
    tensors = _half(model)
    for layer in range(model.config.num_hidden_layers):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    write_tensors(_directory(path), tensors, layout)
    write_json(
        path / "config.json",
        {
            "architectures": ["LLaMAForCausalLM"],
            "bos_token_id": 0,
            "eos_token_id": 1,
            "hidden_act": "silu",
            "hidden_size": 64,
            "intermediate_size": 128,
            "initializer_range": 0.02,
            "max_sequence_length": 128,
            "model_type": "llama",
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "pad_token_id": -1,
            "rms_norm_eps": 1e-06,
            "torch_dtype": "float16",
            "transformers_version": "4.27.0.dev0",
            "use_cache": True,
            "vocab_size": VOCABULARY,
        },
    )
    write_json(path / "generation_config.json", {"_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1})
    write_llama_tokenizer(path)
    return path


# Adapters

ALPACA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
GUANACO_TARGETS = (*ALPACA_TARGETS, "gate_proj", "up_proj", "down_proj")


def write_alpaca(path: Path, kind: str = "bin", seed: int = 1, width: int = 64) -> dict[str, torch.Tensor]:
    """As tloen/alpaca-lora-7b: rank 16 on the attention, keys of an early peft in its configuration."""
    config = {
        "base_model_name_or_path": "decapoda-research/llama-7b-hf",
        "bias": "none",
        "enable_lora": None,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "merge_weights": False,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": 16,
        "target_modules": list(ALPACA_TARGETS),
        "task_type": "CAUSAL_LM",
    }
    return _write_adapter(path, config, kind, seed, width)


def write_guanaco(path: Path, kind: str = "bin", seed: int = 2) -> dict[str, torch.Tensor]:
    """As qlora.py writes it: rank 64 on all seven linear layers."""
    config = {
        "base_model_name_or_path": "huggyllama/llama-7b",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": 64,
        "target_modules": list(GUANACO_TARGETS),
        "task_type": "CAUSAL_LM",
    }
    return _write_adapter(path, config, kind, seed, 64)


def _write_adapter(path: Path, config: dict[str, Any], kind: str, seed: int, width: int) -> dict[str, torch.Tensor]:
    """Writes the adapter and returns its tensors by the names they have in the file."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"gate_proj": (width, 128), "up_proj": (width, 128), "down_proj": (128, width)}
    tensors = {}
    for layer in range(2):
        for target in config["target_modules"]:
            block = "mlp" if target in shapes else "self_attn"
            inputs, outputs = shapes.get(target, (width, width))
            stem = f"base_model.model.model.layers.{layer}.{block}.{target}"
            halves = {"A": (config["r"], inputs), "B": (outputs, config["r"])}
            for half, shape in halves.items():
                tensors[f"{stem}.lora_{half}.weight"] = torch.randn(shape, generator=generator) * 0.1
    write_json(_directory(path) / "adapter_config.json", config)
    write_tensors(path, tensors, kind, stem="adapter_model")
    return tensors


# MPT


def write_mpt(path: Path, model: MptForCausalLM, layout: str = "bin-sharded", **attention: Any) -> Path:
    """config.json as llm-foundry wrote it, code of its own included, which must never run."""
    write_tensors(_directory(path), {name: t for name, t in _half(model).items() if name != "lm_head.weight"}, layout)
    (path / "modeling_mpt.py").write_text("raise SystemExit('code of the repository ran')\n")
    (path / "configuration_mpt.py").write_text("raise SystemExit('code of the repository ran')\n")
    write_json(
        path / "config.json",
        {
            "architectures": ["MPTForCausalLM"],
            "attn_config": {
                "alibi": True,
                "alibi_bias_max": 8,
                "attn_impl": "torch",
                "attn_pdrop": 0,
                "attn_type": "multihead_attention",
                "attn_uses_sequence_id": False,
                "clip_qkv": None,
                "prefix_lm": False,
                "qk_ln": False,
                "softmax_scale": None,
                **attention,
            },
            "auto_map": {
                "AutoConfig": "configuration_mpt.MPTConfig",
                "AutoModelForCausalLM": "modeling_mpt.MPTForCausalLM",
            },
            "d_model": 64,
            "emb_pdrop": 0,
            "embedding_fraction": 1.0,
            "expansion_ratio": 4,
            "init_config": {"emb_init_std": None, "init_std": 0.02, "name": "kaiming_normal_", "verbose": 0},
            "init_device": "cpu",
            "learned_pos_emb": True,
            "logit_scale": None,
            "max_seq_len": 64,
            "model_type": "mpt",
            "n_heads": 4,
            "n_layers": 2,
            "no_bias": True,
            "norm_type": "low_precision_layernorm",
            "resid_pdrop": 0,
            "tokenizer_name": "EleutherAI/gpt-neox-20b",
            "torch_dtype": "bfloat16",
            "transformers_version": "4.28.1",
            "use_cache": False,
            "verbose": 0,
            "vocab_size": VOCABULARY,
        },
    )
    write_json(path / "generation_config.json", {"_from_model_config": True, "transformers_version": "4.28.1"})
    return path


# LLaVA, as llava-hf published it


LLAVA_CONFIG = {
    "architectures": ["LlavaForConditionalGeneration"],
    "ignore_index": -100,
    "image_token_index": IMAGE_TOKEN,
    "model_type": "llava",
    "pad_token_id": 0,
    "projector_hidden_act": "gelu",
    "text_config": {
        "_name_or_path": "lmsys/vicuna-7b-v1.5",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "max_position_embeddings": 128,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "rms_norm_eps": 1e-06,
        "torch_dtype": "float16",
        "vocab_size": VOCABULARY,
    },
    "torch_dtype": "float16",
    "transformers_version": "4.36.0.dev0",
    "vision_config": {
        "hidden_size": 32,
        "image_size": 28,
        "intermediate_size": 64,
        "model_type": "clip_vision_model",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "patch_size": 14,
        "projection_dim": 32,
        "vocab_size": 32000,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}
LLAVA_PREPROCESSOR = {
    "crop_size": {"height": 28, "width": 28},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "processor_class": "LlavaProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 28},
}


def write_llava(path: Path, model: LlavaForConditionalGeneration, layout: str = "safetensors-sharded") -> Path:
    """Tensors under the names of 2023; what the processor must know of patches stands in no file."""
    write_tensors(_directory(path), {_of_2023(name): tensor for name, tensor in _half(model).items()}, layout)
    write_json(path / "config.json", LLAVA_CONFIG)
    write_json(path / "generation_config.json", {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2})
    write_json(path / "preprocessor_config.json", LLAVA_PREPROCESSOR)
    write_llama_tokenizer(path, added="<image>")
    return path


def _of_2023(name: str) -> str:
    """The name a tensor of today's class had in the published files."""
    moved = {
        "model.language_model.": "language_model.model.",
        "model.vision_tower.": "vision_tower.vision_model.",
        "model.multi_modal_projector.": "multi_modal_projector.",
        "lm_head.": "language_model.lm_head.",
    }
    now, then = next((now, then) for now, then in moved.items() if name.startswith(now))
    return then + name.removeprefix(now).removeprefix("vision_model.")
