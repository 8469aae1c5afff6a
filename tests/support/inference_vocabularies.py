"""Tokenizers in the files of 2023, with a vocabulary of letters and bytes."""

from __future__ import annotations

from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests.support.inference_files import write_json
from tests.support.inference_references import IMAGE_TOKEN, VOCABULARY

WORDS = "the capital of France is Paris a llama lives in Andes and eats grass what where who when"


def write_llama_tokenizer(path: Path, added: str | None = None) -> None:
    """tokenizer.json with the joints of the converted LLaMA tokenizer of 2023: spaces as "▁", bytes to fall back on."""
    specials = ["<unk>", "<s>", "</s>"]
    pieces = ["▁", *"abcdefghijklmnopqrstuvwxyzAFPWCI.?:'", "▁l", "ll", "am"]
    vocab = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    bpe = models.BPE(
        vocab={piece: number for number, piece in enumerate(vocab)},
        merges=[("▁", "l"), ("l", "l"), ("a", "m")],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(bpe)
    tokenizer.add_special_tokens([AddedToken(special, normalized=False, special=True) for special in specials])
    if added:
        fill = [AddedToken(f"<fill{n}>", special=True) for n in range(len(vocab), IMAGE_TOKEN)]
        tokenizer.add_special_tokens([*fill, AddedToken(added, normalized=False, special=True)])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    token = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    write_json(
        path / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": {**token, "content": "<s>"},
            "eos_token": {**token, "content": "</s>"},
            "unk_token": {**token, "content": "<unk>"},
            "pad_token": None,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
            "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer",
        },
    )


def write_sentencepiece(path: Path) -> Path:
    """tokenizer.model alone, beside a tokenizer_config.json that names no special tokens: the first conversions."""
    (path / "tokenizer.json").unlink(missing_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 20),
        model_prefix=str(path / "tokenizer"),
        vocab_size=VOCABULARY - 10,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (path / "tokenizer.vocab").unlink()
    write_json(
        path / "tokenizer_config.json",
        {
            "bos_token": "",
            "eos_token": "",
            "unk_token": "",
            "model_max_length": 1000000000000000019884624838656,
            "tokenizer_class": "LLaMATokenizer",
        },
    )
    write_json(path / "special_tokens_map.json", {})
    return path / "tokenizer.model"


def write_neox_tokenizer(path: Path, *, chat: bool = False) -> None:
    """tokenizer.json as GPT-NeoX's: bytes as letters, end of text at 0; MPT-Chat has ChatML's marks besides."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = ["<|endoftext|>", "<|padding|>", *alphabet]
    tokenizer = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate(vocab)}, merges=[]))
    specials = [*vocab[:2], *(("<|im_start|>", "<|im_end|>") if chat else ())]
    tokenizer.add_special_tokens([AddedToken(special, normalized=False, special=True) for special in specials])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path / "tokenizer.json"))
    end = "<|endoftext|>"
    write_json(
        path / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": end,
            "clean_up_tokenization_spaces": True,
            "eos_token": end,
            "model_max_length": 2048,
            "tokenizer_class": "GPTNeoXTokenizer",
            "unk_token": end,
        },
    )
