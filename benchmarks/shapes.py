"""Models of production sizes with seeded random weights: right for measuring time, without any meaning.

They are called `shape-…`, in the layouts that the engines load. The text model is RoBERTa base (110 M), the voice model
the reference network, the speech models Whisper's tiny, base and small, which always decode `DECODED_TOKENS` tokens.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, pre_tokenizers
from torch import Tensor
from transformers import RobertaConfig, RobertaForSequenceClassification
from transformers.utils.logging import disable_progress_bar

from maeum.engines.voice_network import VoiceNetwork
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.settings import PROJECT_DIR

# The embedded speech model's trainer writes CTranslate2's format; its modules import each other by bare name.
sys.path.append(str(PROJECT_DIR / "scripts" / "train"))
from speech_folder import write_folder
from speech_network import Shape, Whisper

DECODED_TOKENS = 48
"""About what ten seconds of Korean take in Whisper's own vocabulary."""

# One less than the multilingual vocabulary: from 51,865 on, CTranslate2 wants language tokens.
_VOCABULARY = 51_864
_SPEECH_SHAPES = {
    "tiny": Shape(_VOCABULARY, 384, (1536,) * 4, (1536,) * 4),
    "base": Shape(_VOCABULARY, 512, (2048,) * 6, (2048,) * 6),
    "small": Shape(_VOCABULARY, 768, (3072,) * 12, (3072,) * 12),
}
_EMBEDDED = PROJECT_DIR / "models" / "embedded"


def speech_model(folder: Path, size: str = "tiny") -> Path:
    """Folder of `shape-whisper-<size>` under `folder`; made when it is not there."""
    return _made(folder / f"shape-whisper-{size}", lambda path: _write_speech(path, _SPEECH_SHAPES[size]))


def text_model(folder: Path) -> Path:
    """Folder of `shape-roberta-base` under `folder`; made when it is not there."""
    return _made(folder / "shape-roberta-base", _write_text)


def voice_model(folder: Path) -> Path:
    """Folder of `shape-voice-network` under `folder`; made when it is not there."""
    return _made(folder / "shape-voice-network", _write_voice)


def _made(folder: Path, write: Callable[[Path], None]) -> Path:
    if not folder.is_dir():
        draft = folder.with_name(f".{folder.name}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        torch.manual_seed(7)
        write(draft)
        draft.replace(folder)
    return folder


def _write_text(folder: Path) -> None:
    """Sizes of `klue/roberta-base`; the tokenizer is the embedded model's, so some vectors are never looked up."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(_EMBEDDED / "text" / name, folder)
    config = RobertaConfig(
        vocab_size=32_000,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        id2label=dict(enumerate(KO_LABELS)),
    )
    disable_progress_bar()  # type: ignore[no-untyped-call]
    model = RobertaForSequenceClassification(config)
    model.classifier.out_proj.weight.data *= 20  # else all sentences get nearly the same probabilities
    model.save_pretrained(folder)


def _write_voice(folder: Path) -> None:
    torch.save(VoiceNetwork(len(EN_LABELS)).state_dict(), folder / "pytorch_model.pth")
    (folder / "labels.json").write_text(json.dumps(list(EN_LABELS)), encoding="utf-8")
    for gender in ("male", "female"):
        np.save(folder / f"baseline_mean_{gender}.npy", np.linspace(-200, 20, 13, dtype=np.float32))
        np.save(folder / f"baseline_std_{gender}.npy", np.linspace(90, 8, 13, dtype=np.float32))


def _write_speech(folder: Path, shape: Shape) -> None:
    tokenizer = _whisper_sized(Tokenizer.from_file(str(_EMBEDDED / "speech" / "tokenizer.json")))
    model = Whisper(shape)
    with torch.no_grad():
        _fix_length(model, tokenizer)
    write_folder(model, tokenizer, folder, ["ko"])


def _whisper_sized(tokenizer: Tokenizer) -> Tokenizer:
    """The embedded tokenizer with made-up words, some of which end a sentence, up to Whisper's vocabulary."""
    rng = random.Random(7)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    stored: dict[str, Any] = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = stored["model"]["vocab"]
    missing = _VOCABULARY - tokenizer.get_vocab_size()
    words: dict[str, None] = {}  # a set that keeps its order
    while len(words) < missing:
        syllables = "".join(chr(rng.randint(ord("가"), ord("힣"))) for _ in range(2))
        words[" " + syllables + ("." if rng.random() < 0.1 else "")] = None
    first = len(vocabulary)
    for index, word in enumerate(words):
        vocabulary[as_bytes.pre_tokenize_str(word)[0][0]] = first + index
    for token in stored["added_tokens"]:
        token["id"] += missing
    return Tokenizer.from_str(json.dumps(stored))


def _fix_length(model: Whisper, tokenizer: Tokenizer) -> None:
    """Weights under which decoding ends after exactly `DECODED_TOKENS` tokens, two times among them.

    Positions carry three directions into the last hidden state. Along `closing` only the last time looks, and along
    `ending` only the end token: each is positive where that token must come and negative elsewhere. All other special
    tokens look against `plain`, which is positive everywhere. Words look along none of them; random weights decide
    among them.
    """
    decoder = model.decoder
    for name, parameter in decoder.named_parameters():
        # What layers add stays smaller than the positions, else one word is repeated for ever.
        if name.endswith(("self_attention.linear_1.weight", "attention.linear_2.weight", "ffn.linear_1.weight")):
            parameter.mul_(0.3)
    directions = torch.randn(model.shape.width, 3)
    directions -= directions.mean(0)  # layer norm takes the mean away
    ending, closing, plain = torch.linalg.qr(directions)[0].T
    positions = decoder.position_encodings.encodings
    at = torch.arange(len(positions))
    positions.copy_(
        3 * torch.randn(positions.shape)
        + 40 * torch.outer(_sign(at >= DECODED_TOKENS), ending)
        + 40 * torch.outer(_sign(at == DECODED_TOKENS - 1), closing)
        + 40 * plain
    )
    rows = 0.25 * torch.randn(decoder.embeddings.weight.shape)
    for direction in (ending, closing, plain):
        rows -= torch.outer(rows @ direction, direction)
    end, first_time, last_time = (tokenizer.encode(token).ids[0] for token in ("<|endoftext|>", "<|0.00|>", "<|5.00|>"))
    rows[end + 1 :] -= 8 * plain
    rows[first_time] += plain  # a window must start with a time: this one
    rows[end] = 8 * ending
    rows[last_time] = 8 * closing
    decoder.embeddings.weight.copy_(rows)


def _sign(condition: Tensor) -> Tensor:
    return torch.where(condition, 1.0, -1.0)
