"""Tiny but real models in the production models' file layouts, built in a second or less."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

from maeum.engines.voice_network import VoiceNetwork
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.settings import PROJECT_DIR

SENTENCES = (
    "오늘은 친구를 만나서 정말 즐거웠어요",
    "회사에서 갑자기 발표를 하게 되어 당황했어요",
    "약속을 또 어겨서 너무 화가 났어요",
    "내일 시험이 걱정되어 잠이 오지 않아요",
    "그 말이 마음에 오래 남아 아팠어요",
    "할머니가 보고 싶어서 눈물이 났어요",
)


def build_text_model(
    folder: Path,
    labels: Sequence[str] = KO_LABELS,
    *,
    labels_in: Literal["config.json", "label_map.json", "nowhere"] = "config.json",
    safe: bool = True,
) -> Path:
    """Write a two-layer RoBERTa with its tokenizer.

    Args:
        folder: where to.
        labels: one per logit. Models with the same labels in another order are the same model but for that order.
        labels_in: which file names the labels; where it is not `config.json`, transformers' placeholders stand there.
        safe: weights as `model.safetensors`, else as `pytorch_model.bin`.
    """
    # Written down rather than trained: the trainer breaks ties at random, and two models must not differ by that.
    letters = sorted(set("".join(SENTENCES).replace(" ", "")))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)

    id2label = dict(enumerate(labels))
    names: dict[str, Any] = {"id2label": id2label} if labels_in == "config.json" else {"num_labels": len(labels)}
    torch.manual_seed(7)
    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=260,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
            **names,
        )
    )
    _reorder(model.classifier.out_proj, labels, KO_LABELS)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    if labels_in == "label_map.json":
        content = json.dumps({"id2label": id2label}, ensure_ascii=False)
        (folder / "label_map.json").write_text(content, encoding="utf-8")
    return folder


def build_voice_model(folder: Path, labels: Sequence[str] = EN_LABELS) -> Path:
    """Write the voice network's state dict with its labels, baselines, and a `model.py` that must never run.

    Args:
        folder: where to.
        labels: one per logit. Models with the same labels in another order are the same model but for that order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    network = VoiceNetwork(len(labels))
    _reorder(network.dense2, labels, EN_LABELS)
    torch.save(network.state_dict(), folder / "pytorch_model.pth")
    (folder / "labels.json").write_text(json.dumps(list(labels)), encoding="utf-8")
    for gender in ("male", "female"):
        np.save(folder / f"baseline_mean_{gender}.npy", np.linspace(-200, 20, 13, dtype=np.float32))
        np.save(folder / f"baseline_std_{gender}.npy", np.linspace(90, 8, 13, dtype=np.float32)[None])
    (folder / "model.py").write_text("raise SystemExit('model.py was executed')\n", encoding="utf-8")
    return folder


def build_speech_layout(folder: Path) -> Path:
    """Copy the embedded speech model, or write files that have only its names."""
    embedded = PROJECT_DIR / "models" / "embedded" / "speech"
    if (embedded / "model.bin").is_file():
        shutil.copytree(embedded, folder)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(bytes(range(256)) * 16)
    for name in ("config.json", "tokenizer.json", "preprocessor_config.json", "vocabulary.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


def _reorder(head: torch.nn.Linear, labels: Sequence[str], original: Sequence[str]) -> None:
    if sorted(labels) == sorted(original):
        rows = [original.index(label) for label in labels]
        head.weight.data = head.weight.data[rows]
        head.bias.data = head.bias.data[rows]


def files_of(folder: Path) -> dict[str, bytes]:
    """Contents of a model folder by name, as `HubServer.publish` takes them."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
