"""The text model's own WordPiece vocabulary, and texts as batches of its tokens."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE
from text_data import as_spoken
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""Their places are their ids, in RoBERTa as in E5."""
START, PAD, END, UNKNOWN = range(len(SPECIAL))
VOCABULARY_SIZE = 9_000
MAX_TOKENS = 256
TRAINING_TOKENS = 80
"""Longer comments are cut while training: 95 % are shorter, and the rest cost most of the time."""
SEEN = 3
"""Characters met less often in the training texts are unknown."""
REPEATED = (("ᄏ", "ᄏᄏ"), ("ᄒ", "ᄒᄒ"), ("[ᅲᅮ]", "ᅲᅲ"), ("[.]", ".."), ("!", "!!"), ("~", "~~"))
"""After NFKC, which turns ㅋ and ㅠ into these."""
_WORD_START, _INSIDE = "▁", "##"


def normalizer() -> normalizers.Normalizer:
    """NFKC, lower case, and endless ㅋㅋㅋㅋ and ㅠㅠㅠㅠ as two: they say no more."""
    repeats = [normalizers.Replace(Regex(pattern + "{3,}"), short) for pattern, short in REPEATED]
    return normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), *repeats])


def choose_vocabulary(texts: list[str], theirs: Tokenizer, pieces: list[str]) -> tuple[Tokenizer, NDArray[np.int64]]:
    """A WordPiece vocabulary of the pieces that another model's tokenizer uses most in some texts.

    Every character that the texts hold is in it, so that no word is unknown; the rest are the most frequent pieces.

    Args:
        texts: any; each is read as it is and as speech-to-text would write it.
        theirs: a SentencePiece tokenizer.
        pieces: its vocabulary.

    Returns:
        The tokenizer, and for each of its tokens the row in `pieces`, int64, shape (VOCABULARY_SIZE,).
    """
    rows = {piece: row for row, piece in enumerate(pieces)}
    clean = normalizer()
    read = [clean.normalize_str(text) for text in [*texts, *map(as_spoken, texts)]]
    used = Counter(row for encoding in theirs.encode_batch(read) for row in encoding.ids)
    characters = Counter(character for text in read for character in text if not character.isspace())
    vocabulary = {name: place for place, name in enumerate(SPECIAL)}
    origin = list(range(len(SPECIAL)))

    def add(name: str, row: int) -> None:
        if name not in vocabulary and len(vocabulary) < VOCABULARY_SIZE:
            vocabulary[name] = len(vocabulary)
            origin.append(row)

    for character, count in characters.most_common():
        if count >= SEEN and (row := rows.get(character, rows.get(_WORD_START + character))) is not None:
            add(character, rows.get(_WORD_START + character, row))
            add(_INSIDE + character, row)
    for row, _ in used.most_common():
        piece = pieces[row]
        if row >= len(SPECIAL) and piece != _WORD_START:
            add(piece.removeprefix(_WORD_START) if piece.startswith(_WORD_START) else _INSIDE + piece, row)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL[UNKNOWN], max_input_chars_per_word=100))
    tokenizer.normalizer = clean
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = with_ends()
    return tokenizer, np.array(origin)


def with_ends() -> processors.TemplateProcessing:
    """A text's tokens between its two ends."""
    return processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)])


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files from which `AutoTokenizer.from_pretrained(folder)` makes a fast tokenizer."""
    wrapped: Any = PreTrainedTokenizerFast
    wrapped(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder)


def encode(tokenizer: Tokenizer, texts: list[str], max_tokens: int = TRAINING_TOKENS) -> list[list[int]]:
    """Token ids of each text; of a longer one the first, and its end."""
    encodings = tokenizer.encode_batch(texts)
    return [e.ids if len(e.ids) <= max_tokens else [*e.ids[: max_tokens - 1], END] for e in encodings]


def heard(texts: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """The texts, a share of them as speech-to-text would write them."""
    return [as_spoken(text) if rng.random() < share else text for text in texts]


def batches(
    ids: list[list[int]], n_tokens: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Group texts of like length into batches of about `n_tokens`, in random order.

    Yields:
        Rows, shape (batch,), and their ids padded to the longest, int64, shape (batch, length), on `DEVICE`.
    """
    lengths = np.array([len(text) for text in ids])
    order = np.argsort(lengths + rng.uniform(-2, 2, len(ids)))
    groups, first = [], 0
    while first < len(order):
        size = max(8, n_tokens // int(lengths[order[first]] + 2))
        groups.append(order[first : first + size])
        first += size
    for group in rng.permutation(len(groups)):
        rows = groups[group]
        padded = np.full((len(rows), lengths[rows].max()), PAD, dtype=np.int64)
        for place, row in enumerate(rows):
            padded[place, : lengths[row]] = ids[row]
        yield rows, torch.from_numpy(padded).to(DEVICE)
