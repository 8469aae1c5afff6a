"""Cards -> LoadedModel: weights, tokenizer and adapters of one base, in their original formats, without remote code.

    places       a directory, or a repository of the Hub, of which only the needed files are fetched
    files        which files hold the tensors, and whether they are whole
    configs      config.json as its authors wrote it -> the configuration of transformers' own class
    precisions   what the linear layers are held in, and what the rest
    base         the model itself
    tokenizers   its tokenizer and, for LLaVA, its processor
    pieces       LLaMA's tokenizer.model, where there is no tokenizer.json
    adapters     LoRA adapters over it
    sizes        bytes: of what is loaded, and of what would be
    quiet        what the libraries have to say about it, where it is known and harmless

Knows nothing of engines and of who asks.
"""

from __future__ import annotations

from app.inference.weights.load import estimate, load
from app.inference.weights.places import Hub

__all__ = ["Hub", "estimate", "load"]
