"""A RoBERTa encoder in 8 bits on the CPU, by CTranslate2."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import torch
from ctranslate2.converters import TransformersConverter
from torch import Tensor

from maeum.errors import InvalidConfiguration


class _PaddedTokenizer:
    """A tokenizer whose vocabulary is as long as the model's embeddings, which are often padded past it."""

    def __init__(self, tokenizer: Any, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size

    def get_vocab(self) -> dict[str, int]:
        vocabulary: dict[str, int] = dict(self._tokenizer.get_vocab())
        free = sorted(set(range(self._size)) - set(vocabulary.values()))
        return vocabulary | {f"<unused {index}>": index for index in free}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


class _Converter(TransformersConverter):  # type: ignore[misc]
    """Converts a model that is loaded already."""

    def __init__(self, folder: Path, encoder: Any, tokenizer: Any) -> None:
        super().__init__(str(folder))
        self._encoder, self._own_tokenizer = encoder, tokenizer

    def load_model(self, model_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
        # The converter asks for it, and transformers 5 has dropped it: all RoBERTas are so.
        self._encoder.config.position_embedding_type = "absolute"
        return self._encoder

    def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
        return _PaddedTokenizer(self._own_tokenizer, self._encoder.config.vocab_size)


def int8_logits(folder: Path, model: Any, tokenizer: Any, threads: int) -> Callable[[Sequence[list[int]]], Tensor]:
    """Quantise a classifier's encoder; its head stays in float32.

    Args:
        folder: where the model was loaded from.
        model: a `RobertaForSequenceClassification` in float32. Its encoder may be freed afterwards.
        tokenizer: its tokenizer.
        threads: CPU threads; 0 for CTranslate2's choice.

    Returns:
        A function from token ids, one list per sentence, to logits, float32, shape (n, n_labels).

    Raises:
        InvalidConfiguration: the model is no RoBERTa.
    """
    if model.config.model_type != "roberta":
        raise InvalidConfiguration(
            f"MAEUM_TEXT_PRECISION=int8 is for RoBERTa models, and this is a {model.config.model_type} model"
        )
    with tempfile.TemporaryDirectory() as folder_of_int8:
        _Converter(folder, model.roberta, tokenizer).convert(folder_of_int8, quantization="int8", force=True)
        encoder = ctranslate2.Encoder(folder_of_int8, compute_type="int8", intra_threads=threads)
    head = model.classifier

    def logits(sentences: Sequence[list[int]]) -> Tensor:
        hidden = np.array(encoder.forward_batch(list(sentences)).last_hidden_state)
        result: Tensor = head(torch.from_numpy(hidden))
        return result

    return logits
