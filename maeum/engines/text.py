"""Text emotion: a sequence classifier over a batch of sentences from any number of requests."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from maeum.engines.text_int8 import int8_logits
from maeum.errors import InvalidConfiguration, ModelInvalid
from maeum.labels import read_text_labels
from maeum.settings import TextPrecision
from maeum.stages import Failure, Probabilities

MAX_TOKENS = 256
# One forward pass holds at most this many padded tokens, which bounds memory whatever the batch. On a CPU small passes
# are the fastest too: sentences of one length need no padding, and the activations stay in the cache.
_TOKENS_PER_FORWARD = {"cpu": 1024, "cuda": 16384}


class TextEngine:
    """Holds the classifier and its tokenizer.

    Args:
        folder: a model in `AutoModelForSequenceClassification`'s layout with a fast tokenizer.
        device: `cpu` or `cuda`.
        threads: CPU threads of this process for torch; 0 leaves torch's default.
        precision: `fp32`, or `bf16` or `int8`, which are faster and less exact.

    Raises:
        ModelMissing: there is no `config.json`.
        ModelInvalid: the files are unreadable, or labels and logits disagree in number.
        InvalidConfiguration: the precision is not for this device or model.
    """

    def __init__(
        self, folder: Path, *, device: str = "cpu", threads: int = 0, precision: TextPrecision = "fp32"
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        _check_precision(precision, device)
        self.labels = read_text_labels(folder)
        self._device = torch.device(device)
        # The bar would land in logs and in the command line's output.
        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, use_fast=True, local_files_only=True, trust_remote_code=False
            )
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
        except pickle.UnpicklingError as error:
            raise ModelInvalid("pytorch_model.bin is no readable state dict") from error
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
            raise ModelInvalid(f"the text model does not load: {str(error).splitlines()[0]}") from error
        if report["missing_keys"]:
            # transformers only warns, and fills the gap with random numbers.
            raise ModelInvalid(f"the text model's weights lack {', '.join(sorted(report['missing_keys'])[:3])}")
        if model.config.num_labels != len(self.labels):
            raise ModelInvalid(
                f"the text model has {model.config.num_labels} logits but {len(self.labels)} labels: "
                + ", ".join(self.labels)
            )
        model = model.eval()
        if precision == "int8":
            self._logits = int8_logits(folder, model, self._tokenizer, threads)
        else:
            self._model = model.to(self._device, torch.bfloat16 if precision == "bf16" else torch.float32)
            self._logits = self._torch_logits

    def classify(self, sentences: Sequence[str]) -> list[Probabilities | Failure]:
        """Classify sentences, longest together, a bounded number of padded tokens at a time.

        Args:
            sentences: any number; each is cut at 256 tokens.

        Returns:
            Probabilities in the order of `labels`, for each sentence in its place; a `Failure` where the logits are
            not finite.
        """
        if not sentences:
            return []
        encoded = self._tokenizer(list(sentences), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        # A tokenizer without [CLS] makes nothing at all of, say, a zero-width space.
        encoded = [tokens or [self._tokenizer.unk_token_id] for tokens in encoded]
        by_length = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        results: list[Probabilities | Failure] = [_NOT_FINITE] * len(encoded)
        for batch in _batches([(i, len(encoded[i])) for i in by_length], _TOKENS_PER_FORWARD[self._device.type]):
            with torch.inference_mode():
                rows = torch.softmax(self._logits([encoded[index] for index in batch]).double(), dim=1).cpu()
            for index, row, ok in zip(batch, rows.tolist(), rows.isfinite().all(dim=1).tolist(), strict=True):
                if ok:
                    results[index] = tuple(row)
        return results

    def _torch_logits(self, sentences: Sequence[list[int]]) -> Tensor:
        """Logits of token ids, one list per sentence: shape (n, n_labels)."""
        tokens = pad_sequence(
            [torch.tensor(ids) for ids in sentences],
            batch_first=True,
            padding_value=self._tokenizer.pad_token_id,
        ).to(self._device)
        lengths = torch.tensor([len(ids) for ids in sentences], device=self._device)
        mask = torch.arange(tokens.shape[1], device=self._device) < lengths[:, None]
        logits: Tensor = self._model(input_ids=tokens, attention_mask=mask.long()).logits
        return logits

    def warm_up(self) -> None:
        """Answer once, so that the first request does not pay for the first use."""
        self.classify(["오늘은 어땠나요"])


def _check_precision(precision: TextPrecision, device: str) -> None:
    if precision == "int8" and device != "cpu":
        raise InvalidConfiguration("MAEUM_TEXT_PRECISION=int8 is for CPUs; take bf16 on a GPU")
    if precision == "bf16" and device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise InvalidConfiguration("MAEUM_TEXT_PRECISION=bf16: this CPU has no bfloat16; take int8")


_NOT_FINITE = Failure("text_failed", "the text model gave no finite numbers for a sentence")


def _batches(lengths: Sequence[tuple[int, int]], max_tokens: int) -> list[list[int]]:
    """Group (index, n_tokens) pairs, sorted by n_tokens, so that no padded group of several exceeds `max_tokens`."""
    groups: list[list[int]] = []
    for index, n_tokens in lengths:
        if not groups or (len(groups[-1]) + 1) * n_tokens > max_tokens:
            groups.append([])
        groups[-1].append(index)
    return groups
