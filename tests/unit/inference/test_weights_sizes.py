"""Bytes of the real models, by their configurations alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from app.inference.types import Family, ModelCard, Precision, SamplingParams
from app.inference.weights import base, configs, sizes
from app.inference.weights.base import Wanted
from tests.support import inference_checkpoints as checkpoints

CONFIGS: dict[Family, dict[str, Any]] = {
    Family.LLAMA: {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "pad_token_id": -1,
        "vocab_size": 32000,
    },
    Family.MPT: {
        "model_type": "mpt",
        "attn_config": {"alibi": True, "alibi_bias_max": 16, "attn_pdrop": 0.0, "clip_qkv": 6},
        "d_model": 4096,
        "max_seq_len": 65536,
        "n_heads": 32,
        "n_layers": 32,
        "no_bias": True,
        "vocab_size": 50432,
    },
    Family.LLAVA: {
        "model_type": "llava",
        "image_token_index": 32000,
        "pad_token_id": 32001,
        "projector_hidden_act": "gelu",
        "text_config": {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064},
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    },
}
GIGABYTES = {  # on a GPU, where what is not quantised is held in half precision
    (Family.LLAMA, Precision.BF16): 13.48,
    (Family.LLAMA, Precision.INT8): 7.01,
    (Family.LLAMA, Precision.NF4): 3.87,
    (Family.MPT, Precision.BF16): 13.30,
    (Family.MPT, Precision.INT8): 6.86,
    (Family.MPT, Precision.NF4): 3.74,
    (Family.LLAVA, Precision.BF16): 14.13,
    (Family.LLAVA, Precision.INT8): 7.66,
    (Family.LLAVA, Precision.NF4): 4.52,
}


@pytest.mark.parametrize(("family", "precision"), GIGABYTES)
def test_the_real_models_take_up_what_is_known_of_them(family: Family, precision: Precision, tmp_path: Path) -> None:
    checkpoints.write_json(tmp_path / "config.json", CONFIGS[family])
    card = ModelCard(
        name="real",
        title="",
        family=family,
        weights=str(tmp_path),
        precision=precision,
        prompt="alpaca",
        context=2048,
        defaults=SamplingParams(),
    )
    config = configs.read(tmp_path, card, 2048)
    outline = base.outline(Wanted(family=family, config=config, precision=precision, device=torch.device("cpu")))
    found = sizes.planned(outline, precision, torch.bfloat16) / 1e9
    assert found == pytest.approx(GIGABYTES[family, precision], abs=0.006)
