"""Korean word meanings to start from: morphemes and their likeness, from the language model inside kiwipiepy.

Kiwi (LGPL-3.0) reads a text as morphemes, and its language model, which has read far more Korean than there is here,
says how alike two of them are. It is asked while training only: `pip install -r scripts/train/requirements.txt`.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kiwipiepy import Kiwi
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh
from text_data import Floats
from tokenizers import Tokenizer
from tqdm import tqdm

VECTOR_SIZE = 256
"""The rank of the model's own table: further eigenvalues are 0."""
SEEN = 3
"""Morphemes met less often in the training texts get no vector."""
CONTENT = frozenset("NVMIX")
"""Tags that carry meaning begin so: nouns, verbs and adjectives, adverbs, interjections, affixes."""

Morpheme = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Piece:
    """One morpheme of a text: its form and tag, and the characters it comes from."""

    morpheme: Morpheme
    start: int
    end: int


class Meanings:
    """Vectors of the morphemes in some texts.

    Attributes:
        index: row of each known morpheme.
        vectors: float32, shape (n, 256), unit length, without the direction that all share.
        rarity: float32, shape (n,): inverse document frequency.
    """

    def __init__(self, texts: list[str], kept: Path) -> None:
        """Collect the morphemes of the texts and compare each with each; the result is kept in a file."""
        self._kiwi = Kiwi(model_type="cong-global", num_workers=1)
        pieces = self.read(texts)
        found = Counter(morpheme for text in pieces for morpheme in {piece.morpheme for piece in text})
        known = [m for m, count in found.most_common() if count >= SEEN and m[1][0] in CONTENT and self._has(m)]
        self.index = {morpheme: row for row, morpheme in enumerate(known)}
        self.rarity = np.array([np.log(len(texts) / (1 + found[m])) for m in known], np.float32)
        if kept.exists():
            vectors: Floats = np.load(kept)
        else:
            vectors = self._compare(known)
            np.save(kept, vectors)
        vectors = vectors - vectors.mean(axis=0)
        self.vectors: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def read(self, texts: list[str]) -> list[list[Piece]]:
        """The morphemes of each text, in order."""
        return [
            [Piece((token.form, token.tag), token.start, token.start + token.len) for token in tokens]
            for tokens in self._kiwi.tokenize(texts)
        ]

    def _has(self, morpheme: Morpheme) -> bool:
        try:
            self._kiwi.morpheme_similarity(morpheme, morpheme)
        except ValueError:  # not in its dictionary
            return False
        return True

    def _compare(self, known: list[Morpheme]) -> Floats:
        """Vectors whose products are the likeness of every two morphemes, float32, shape (n, 256)."""
        likeness = np.eye(len(known), dtype=np.float32)
        for row in tqdm(range(len(known)), desc="morphemes", mininterval=5):
            likeness[row, row + 1 :] = [self._kiwi.morpheme_similarity(known[row], other) for other in known[row + 1 :]]
        likeness += np.triu(likeness, 1).T
        values, vectors = eigsh(likeness.astype(np.float64), k=VECTOR_SIZE)
        return np.asarray(vectors * np.sqrt(values.clip(0)), np.float32)

    def describe(self, pieces: list[list[Piece]]) -> Floats:
        """The mean vector of each text, rare morphemes counting more; float32, shape (n, 256), unit length or 0."""
        rows, columns, values = [], [], []
        for row, text in enumerate(pieces):
            for morpheme, count in Counter(piece.morpheme for piece in text).items():
                if (column := self.index.get(morpheme)) is not None:
                    rows.append(row)
                    columns.append(column)
                    values.append((1 + np.log(count)) * self.rarity[column])
        bags = csr_array((values, (rows, columns)), shape=(len(pieces), len(self.index)))
        return _unit(np.asarray(bags @ self.vectors, np.float32))

    def spread(self, tokenizer: Tokenizer, texts: list[str], size: int) -> Floats:
        """The meanings of a vocabulary's tokens: of the morphemes that they were seen in, by the characters shared.

        Args:
            tokenizer: whose offsets are those of the text.
            texts: any.
            size: of the vocabulary.

        Returns:
            float32, shape (size, 256), unit length, or 0 where a token has no meaning.
        """
        sums: Counter[tuple[int, int]] = Counter()
        for text, pieces in zip(texts, self.read(texts), strict=True):
            owners: list[list[int]] = [[] for _ in range(len(text) + 1)]
            for piece in pieces:
                if (row := self.index.get(piece.morpheme)) is not None:
                    for place in range(piece.start, piece.end):
                        owners[place].append(row)
            encoding = tokenizer.encode(text)
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                for place in range(start, min(end, len(text))):
                    for row in owners[place]:
                        sums[token, row] += 1
        places = np.array(list(sums), np.int64)
        counts = np.array(list(sums.values()), np.float32) * self.rarity[places[:, 1]]
        shared = csr_array((counts, (places[:, 0], places[:, 1])), shape=(size, len(self.index)))
        return _unit(np.asarray(shared @ self.vectors, np.float32))


def _unit(vectors: Floats) -> Floats:
    """Rows of length 1; rows of zeros stay."""
    scaled: Floats = vectors / np.maximum(1e-6, np.linalg.norm(vectors, axis=1, keepdims=True))
    return scaled
