"""A classifier read from its folder: as transformers reads it, or from weights that gzip has made smaller.

The embedded model's matrices are float8, which gzip makes a fifth smaller and which `gunzip` gives back to the bit.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig, AutoModelForSequenceClassification

from maeum.errors import ModelInvalid

COMPRESSED = "model.safetensors.gz"
_MOST_BYTES = 2**30
"""As much may come out of a compressed file: a small one can hold more than there is memory for."""


def load_classifier(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The classifier of a folder in float32, and what transformers says of its loading.

    Code that lies in the folder is not run, and nothing is fetched. Compressed weights come first.

    Args:
        folder: a model in `AutoModelForSequenceClassification`'s layout, or one with `model.safetensors.gz`.

    Raises:
        ModelInvalid: the compressed weights are damaged, or too large.
        Exception: whatever transformers raises for the other files.
    """
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    loading: dict[str, Any] = {**options, "dtype": torch.float32, "output_loading_info": True}
    if (folder / COMPRESSED).is_file():
        config = AutoConfig.from_pretrained(folder, **options)
        kind: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
        model, report = kind.from_pretrained(None, config=config, state_dict=_unpacked(folder / COMPRESSED), **loading)
    else:
        model, report = AutoModelForSequenceClassification.from_pretrained(folder, **loading)
    return model, report


def save_compressed(weights: Path) -> Path:
    """Put `model.safetensors.gz` in the place of `model.safetensors`: the same bytes for the same weights.

    Args:
        weights: a file of safetensors, which is removed.
    """
    compressed = weights.with_name(COMPRESSED)
    compressed.write_bytes(gzip.compress(weights.read_bytes(), mtime=0))
    weights.unlink()
    return compressed


def _unpacked(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a compressed file, in float32."""
    try:
        with gzip.open(path) as file:
            stored = file.read(_MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ModelInvalid(f"{path.name} is damaged: {error}") from error
    if len(stored) > _MOST_BYTES:
        raise ModelInvalid(f"{path.name} holds more than {_MOST_BYTES >> 20} MiB")
    return {name: tensor.float() for name, tensor in safetensors.torch.load(stored).items()}
