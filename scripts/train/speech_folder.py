"""Model folders of faster-whisper (CTranslate2's file format), written from torch."""

import json
from pathlib import Path

from ctranslate2.specs.whisper_spec import WhisperConfig, WhisperSpec
from speech_network import ALIGNMENT_HEADS, HEAD_SIZE, N_MELS, Whisper
from tokenizers import Tokenizer


def _stored_name(name: str) -> str:
    """Name in CTranslate2's file of a torch parameter."""
    if "layer_norm" in name:
        name = name.replace("layer_norm.weight", "layer_norm.gamma").replace("layer_norm.bias", "layer_norm.beta")
    return name.replace(".", "/")


def write_folder(model: Whisper, tokenizer: Tokenizer, folder: Path, languages: list[str]) -> None:
    """Write the model as faster-whisper expects it, its matrices in int8 and the rest in float16.

    ``languages`` becomes a further key of ``config.json``: CTranslate2 ignores it, servers read it.
    """
    shape = model.shape
    heads = shape.width // HEAD_SIZE
    spec = WhisperSpec(len(shape.encoder_inner), heads, len(shape.decoder_inner), heads)
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
    spec.optimize(quantization="int8_float16")
    folder.mkdir(parents=True, exist_ok=True)
    # CTranslate2 refuses to write over a model, and the folder may hold a model card.
    for name in ("model.bin", "config.json", "vocabulary.json"):
        (folder / name).unlink(missing_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    # The same list that CTranslate2 wrote, in half the bytes.
    (folder / "vocabulary.json").write_text(
        json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**stored, "languages": languages}, indent=1) + "\n")
    extractor = {"feature_size": N_MELS, "sampling_rate": 16000, "n_fft": 400, "hop_length": 160, "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor, indent=1) + "\n", encoding="utf-8")
