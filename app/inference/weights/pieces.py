"""LLaMA's tokenizer.model -> the same tokenizer in the form of a tokenizer.json. Reads what Google's package reads.

transformers can do it where protobuf is installed, and then splits spaces as it does today; the demos of 2023 split
them as sentencepiece does, and so does this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

_SPACE = "▁"


def read(path: Path) -> Tokenizer:
    """Raises OSError or RuntimeError for what is no such file."""
    model = SentencePieceProcessor(model_file=str(path))
    vocab = {model.id_to_piece(number): number for number in range(model.get_piece_size())}
    ranks = {piece: -model.get_score(number) for piece, number in vocab.items()}
    unknown = model.id_to_piece(model.unk_id())
    bpe = models.BPE(vocab=vocab, merges=list(_merges(ranks)), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    specials = [piece for piece, number in vocab.items() if model.is_control(number) or model.is_unknown(number)]
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, special=True) for piece in specials])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def _merges(ranks: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Which pairs become one piece, the best-scored piece first. Sentencepiece keeps the pieces alone."""
    for piece in sorted(ranks, key=ranks.__getitem__):
        pairs = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        whole = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
        yield from sorted(whole, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
