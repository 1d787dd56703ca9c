"""Text emotion: a sequence classifier over a batch of sentences from any number of requests."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from maeum.engines.text_bf16 import pack
from maeum.engines.text_int8 import int8_logits
from maeum.engines.text_weights import load_classifier
from maeum.errors import InvalidConfiguration, ModelInvalid
from maeum.labels import read_text_labels
from maeum.process.cores import has_bf16
from maeum.settings import TextPrecision
from maeum.stages import Failure, Probabilities

MAX_TOKENS = 256
# One forward pass holds at most this many padded tokens, which bounds memory whatever the batch. On a CPU small passes
# are the fastest too: the activations stay in the cache.
_TOKENS_PER_FORWARD = {"cpu": 1024, "cuda": 16384}
# A pass costs what this many tokens cost, whatever is in it: less than that of padding is not worth another pass.
_TOKENS_WORTH_A_FORWARD = {"cpu": 60, "cuda": 1024}


class TextEngine:
    """Holds the classifier and its tokenizer.

    Args:
        folder: a model in `AutoModelForSequenceClassification`'s layout with a fast tokenizer; gzip may have made its
            weights smaller.
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
            model, report = load_classifier(folder)
        except pickle.UnpicklingError as error:
            raise ModelInvalid("pytorch_model.bin is no readable state dict") from error
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
            raise ModelInvalid(f"the text model does not load: {str(error).partition(chr(10))[0]}") from error
        if report["missing_keys"]:
            # transformers only warns, and fills the gap with random numbers.
            raise ModelInvalid(f"the text model's weights lack {', '.join(sorted(report['missing_keys'])[:3])}")
        if model.config.num_labels != len(self.labels):
            raise ModelInvalid(
                f"the text model has {model.config.num_labels} logits but {len(self.labels)} labels: "
                + ", ".join(self.labels)
            )
        model = model.eval()
        self._tokens_per_forward = _TOKENS_PER_FORWARD[self._device.type]
        self._tokens_worth_a_forward = _TOKENS_WORTH_A_FORWARD[self._device.type]
        if precision == "int8":
            self._tokens_worth_a_forward = self._tokens_per_forward  # CTranslate2 leaves padding out itself
            self._logits = int8_logits(folder, model, self._tokenizer, threads)
        else:
            self._model = model.to(self._device, torch.bfloat16 if precision == "bf16" else torch.float32)
            self._logits = self._torch_logits
            if precision == "bf16" and device == "cpu":
                pack(self._model)

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
        lengths = [len(encoded[index]) for index in by_length]
        for part in _split(lengths, self._tokens_per_forward, self._tokens_worth_a_forward):
            batch = by_length[part]
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
        """Answer once, so that the first request does not pay for the first use.

        Raises:
            ModelInvalid: the answer is not finite.
        """
        if self.classify(["오늘은 어땠나요"]) == [_NOT_FINITE]:
            raise ModelInvalid("the text model gives no finite numbers: its weights are damaged")


def _check_precision(precision: TextPrecision, device: str) -> None:
    if precision == "int8" and device != "cpu":
        raise InvalidConfiguration("MAEUM_TEXT_PRECISION=int8 is for CPUs; take bf16 on a GPU")
    if precision == "bf16" and device == "cpu" and not has_bf16():
        raise InvalidConfiguration("MAEUM_TEXT_PRECISION=bf16: this CPU has no bfloat16; take int8")


_NOT_FINITE = Failure("text_failed", "the text model gave no finite numbers for a sentence")


def _split(lengths: Sequence[int], max_tokens: int, forward_tokens: int) -> list[slice]:
    """Split sentences into forward passes so that all of them together take the least time.

    Args:
        lengths: tokens in each sentence, ascending.
        max_tokens: of a pass, padded; only a sentence alone may have more.
        forward_tokens: what a pass costs beside its padded tokens, in tokens.

    Returns:
        The passes, in order: which sentences each has.
    """
    # cost[n] is the least that the first n sentences can cost, begins[n] where their last pass begins.
    cost, begins = np.zeros(len(lengths) + 1), np.zeros(len(lengths) + 1, dtype=np.int64)
    for end, longest in enumerate(lengths, start=1):
        first = max(end - max(max_tokens // longest, 1), 0)
        costs = cost[first:end] + forward_tokens + longest * np.arange(end - first, 0, -1)
        begins[end] = first + costs.argmin()
        cost[end] = costs.min()
    passes, end = [], len(lengths)
    while end:
        passes.append(slice(int(begins[end]), end))
        end = int(begins[end])
    return passes[::-1]
