"""All that the text model is trained on."""

from pathlib import Path

import numpy as np
from text_data import LABELS, read_goemotions, read_kote
from text_diary import diary_sentences
from text_finetune import GOEMOTIONS_PER_EPOCH, Recipe
from text_widen import widen
from text_written import written_sentences
from tokenizers import Tokenizer
from transformers import RobertaForSequenceClassification

DIARY_PER_LABEL = 250


class Sources:
    """All that is trained on.

    Attributes:
        kote: kote_val.
        goemotions: all of GoEmotions-Korean.
        translated: as much of it as is read while fine-tuning; teachers are asked about each.
        drawn: its rows in `goemotions`.
        diary: sentences from templates, and the index of each one's label.
        clear: these and the written ones.
    """

    def __init__(self, data: Path, seed: int) -> None:
        self.kote, self.goemotions = read_kote(data / "text" / "kote_val.tsv"), read_goemotions(data / "text")
        self.drawn = np.random.default_rng(seed).permutation(len(self.goemotions.texts))
        self.drawn = self.drawn[: Recipe().epochs * GOEMOTIONS_PER_EPOCH]
        self.translated = self.goemotions.take(self.drawn)
        self.diary = diary_sentences(LABELS, DIARY_PER_LABEL, seed)
        written = written_sentences("train")
        self.clear = (
            [*self.diary[0], *(sentence.text for sentence in written)],
            [*self.diary[1], *(LABELS.index(sentence.label) for sentence in written)],
        )

    def widen(
        self, model: RobertaForSequenceClassification, tokenizer: Tokenizer, seed: int, name: str
    ) -> RobertaForSequenceClassification:
        """Teach a finished model the written sentences."""
        return widen(model, tokenizer, self.kote, self.translated, self.clear, seed, name)
