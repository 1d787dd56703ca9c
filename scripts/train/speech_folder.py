"""Model folders of faster-whisper (CTranslate2's file format), written from and read back into torch."""

import json
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from ctranslate2.specs.whisper_spec import WhisperConfig, WhisperSpec
from numpy.typing import NDArray
from speech_network import ALIGNMENT_HEADS, HEAD_SIZE, N_MELS, Whisper
from tokenizers import Tokenizer


def _stored_name(name: str) -> str:
    """Name in CTranslate2's file of a torch parameter."""
    if "layer_norm" in name:
        name = name.replace("layer_norm.weight", "layer_norm.gamma").replace("layer_norm.bias", "layer_norm.beta")
    return name.replace(".", "/")


def write_folder(model: Whisper, tokenizer: Tokenizer, folder: Path, languages: list[str]) -> None:
    """Write the model as faster-whisper expects it, its matrices in int8.

    ``languages`` becomes a further key of ``config.json``: CTranslate2 ignores it, servers read it.
    """
    shape = model.shape
    heads = shape.width // HEAD_SIZE
    spec = WhisperSpec(shape.encoder_layers, heads, shape.decoder_layers, heads)
    for name, value in model.state_dict().items():
        target = spec
        *parents, leaf = _stored_name(name).split("/")
        for part in parents:
            stem, _, index = part.rpartition("_")
            target = getattr(target, part) if hasattr(target, part) else getattr(target, stem)[int(index)]
        setattr(target, leaf, value.detach().float().numpy())
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec._config = WhisperConfig([], [], [], [list(pair) for pair in ALIGNMENT_HEADS])
    vocabulary = [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    spec.register_vocabulary(vocabulary)
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    # CTranslate2 refuses to write over a model, and the folder may hold a model card.
    for name in ("model.bin", "config.json", "vocabulary.json"):
        (folder / name).unlink(missing_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**stored, "languages": languages}, indent=1) + "\n")
    extractor = {"feature_size": N_MELS, "sampling_rate": 16000, "n_fft": 400, "hop_length": 160, "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor, indent=1) + "\n", encoding="utf-8")


def _read_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<H", file.read(2))
    return file.read(length)[:-1].decode()


def read_variables(path: Path) -> dict[str, NDArray[np.float32]]:
    """Variables of a CTranslate2 ``model.bin``, int8 ones dequantised; scalars are left out.

    Raises:
        ValueError: the file is not of version 6.
    """
    types = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
    raw: dict[str, NDArray[np.float32]] = {}
    with path.open("rb") as file:
        (version,) = struct.unpack("<I", file.read(4))
        if version != 6:
            raise ValueError(f"{path}: CTranslate2 file version {version}, expected 6")
        _read_string(file)
        _, count = struct.unpack("<II", file.read(8))
        for _ in range(count):
            name = _read_string(file)
            (rank,) = struct.unpack("<B", file.read(1))
            shape = struct.unpack(f"<{rank}I", file.read(4 * rank))
            kind, n_bytes = struct.unpack("<BI", file.read(5))
            data = file.read(n_bytes)
            if rank:
                raw[name] = np.frombuffer(data, types[kind]).reshape(shape).astype(np.float32)
    for name in [name for name in raw if name.endswith("_scale")]:
        scale = raw.pop(name)
        value = raw[name.removesuffix("_scale")]
        raw[name.removesuffix("_scale")] = value / scale.reshape(-1, *[1] * (value.ndim - 1))
    return raw


def read_folder(model: Whisper, tokenizer: Tokenizer, folder: Path) -> int:
    """Start ``model`` from a CTranslate2 folder of the same shape; rows of the vocabulary are matched by token.

    Returns:
        How many tokens the folder did not know; their rows keep their random start.
    """
    stored = read_variables(folder / "model.bin")
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    ids = [(row, index) for row, token in enumerate(vocabulary) if (index := tokenizer.token_to_id(token)) is not None]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = torch.from_numpy(stored[_stored_name(name)].copy())
            if name == "decoder.embeddings.weight":
                rows, targets = zip(*ids, strict=True)
                parameter[list(targets)] = value[list(rows)]
            else:
                parameter.copy_(value)
    return model.shape.vocabulary - len(ids)
