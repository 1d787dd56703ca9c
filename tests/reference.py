"""Steps 1 to 5 of the reference, written apart from maeum: soundfile, librosa, faster-whisper, transformers, torch.

Nothing here imports the code under test, so that the two can only agree by being right.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import librosa
import numpy as np
import soundfile
import torch
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

KO = ("기쁨", "당황", "분노", "불안", "상처", "슬픔")
EN = ("ANGRY", "SAD", "DISGUST", "HAPPY", "FEAR", "SURPRISE")
A = np.array(
    [
        [0, 0, 1.0, 0, 0.2, 0],
        [0, 0, 0, 0, 0.6, 1.0],
        [0, 0, 0, 0, 0.2, 0],
        [1.0, 0, 0, 0, 0, 0],
        [0, 0.3, 0, 0.8, 0, 0],
        [0, 0.7, 0, 0.2, 0, 0],
    ]
)
B = np.array(
    [
        [0, 0, 0, 1.0, 0, 0],
        [0, 0, 0, 0.2, 0.2, 0.7],
        [0.8, 0, 0.3, 0, 0, 0],
        [0, 0, 0, 0, 0.8, 0.3],
        [0.2, 0.2, 0.7, 0, 0, 0],
        [0, 0.8, 0, 0, 0, 0],
    ]
)


def load_audio(data: bytes) -> NDArray[np.float32]:
    """Step 1: mono float32 at 16 kHz."""
    samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return np.asarray(
        librosa.resample(librosa.to_mono(samples.T), orig_sr=rate_hz, target_sr=16_000, res_type="soxr_hq")
    )


def through_pcm16(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is left of samples that travelled as 16-bit integers."""
    return np.asarray(np.clip(np.rint(samples * 32768), -32768, 32767) / 32768, np.float32)


def character_error_rate(said: str, heard: str) -> float:
    """Edits per character of `said`, spaces aside."""
    said, heard = said.replace(" ", ""), heard.replace(" ", "")
    row = list(range(len(heard) + 1))
    for i, expected in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, character in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != character))
    return row[-1] / max(1, len(said))


class Network(nn.Module):
    """The voice network from the reference's prose."""

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(13, 64, 5, padding=2)
        self.bn1 = nn.BatchNorm1d(64)
        self.conv2 = nn.Conv1d(64, 128, 3, padding=1)
        self.bn2 = nn.BatchNorm1d(128)
        self.bilstm = nn.LSTM(128, 64, batch_first=True, bidirectional=True)
        self.dense1 = nn.Linear(128, 128)
        self.dense2 = nn.Linear(128, n_labels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool1d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = torch.max_pool1d(torch.relu(self.bn2(self.conv2(x))), 2)
        states, _ = self.bilstm(x.permute(0, 2, 1))
        last = torch.cat([states[:, -1, :64], states[:, 0, 64:]], dim=1)
        logits: torch.Tensor = self.dense2(torch.relu(self.dense1(last)))
        return logits


@dataclass(frozen=True)
class Expected:
    """What the reference gives for one recording."""

    transcript: str
    text_emotion: dict[str, float] | None
    voice_emotion: dict[str, float]
    fused: dict[str, float]


class Reference:
    """The three models of the given folders, called one recording and one sentence at a time."""

    def __init__(self, speech: Path, text: Path, voice: Path) -> None:
        self.speech_folder, self.text_folder, self.voice_folder = speech, text, voice

    @cached_property
    def whisper(self) -> WhisperModel:
        return WhisperModel(str(self.speech_folder), device="cpu", compute_type="int8")

    @cached_property
    def classifier(self) -> tuple[Any, Any]:
        with TemporaryDirectory() as name:
            folder = Path(shutil.copytree(self.text_folder, name, dirs_exist_ok=True))
            for compressed in folder.glob("*.gz"):
                compressed.with_suffix("").write_bytes(gzip.decompress(compressed.read_bytes()))
            model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        return AutoTokenizer.from_pretrained(self.text_folder), model.eval()

    @cached_property
    def network(self) -> tuple[Network, list[str]]:
        labels = json.loads((self.voice_folder / "labels.json").read_text(encoding="utf-8"))
        network = Network(len(labels))
        network.load_state_dict(torch.load(self.voice_folder / "pytorch_model.pth", weights_only=True))
        return network.eval(), labels

    def transcribe(self, samples: NDArray[np.float32], *, vad: bool = True) -> str:
        """Step 2, of a model that CTranslate2 takes for English-only."""
        segments, _ = self.whisper.transcribe(
            samples, beam_size=5, vad_filter=vad, temperature=0, condition_on_previous_text=False
        )
        return unicodedata.normalize("NFC", "".join(segment.text for segment in segments)).strip()

    def classify(self, sentence: str) -> dict[str, float]:
        """Step 3 for one sentence."""
        tokenizer, model = self.classifier
        with torch.no_grad():
            logits = model(**tokenizer(sentence, truncation=True, max_length=256, return_tensors="pt")).logits[0]
        labels = model.config.id2label
        return {labels[index]: value for index, value in enumerate(torch.softmax(logits, 0).tolist())}

    def votes(self, transcript: str) -> dict[str, float] | None:
        """Step 3."""
        sentences = [piece.strip() for piece in re.split(r"[.?!\n\r]", transcript) if piece.strip()]
        if not re.search(r"\w", "".join(sentences)):
            return None
        winners = [max(scores, key=scores.__getitem__) for scores in map(self.classify, sentences)]
        return {label: round(winners.count(label) / len(winners) * 100, 2) / 100 for label in KO}

    def hear(self, samples: NDArray[np.float32], gender: str) -> dict[str, float]:
        """Step 4."""
        mean, std = (
            np.load(self.voice_folder / f"baseline_{kind}_{gender.lower()}.npy").reshape(-1) for kind in ("mean", "std")
        )
        frames = librosa.feature.mfcc(y=samples, sr=16_000, n_mfcc=13).T[:100]
        window = np.concatenate([frames, np.zeros((100 - len(frames), 13))])
        delta = ((window - mean) / (std + 1e-8)).T[None].astype(np.float32)
        network, labels = self.network
        with torch.no_grad():
            scores = torch.softmax(network(torch.from_numpy(delta))[0], 0).tolist()
        return dict(zip(labels, scores, strict=True))

    @staticmethod
    def fuse(text: dict[str, float] | None, voice: dict[str, float]) -> dict[str, float]:
        """Step 5."""

        def n(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            vector = np.clip(vector, 1e-12, 1)
            return np.asarray(vector / vector.sum())

        fused = n(np.array([voice[label] for label in EN]))
        if text is not None:
            fused = n(0.7 * n(A @ n(np.array([text[label] for label in KO]))) + 0.3 * fused)
        return dict(zip(KO, n(B @ fused).tolist(), strict=True))

    def analyze(self, data: bytes, gender: str) -> Expected:
        """Steps 1 to 5."""
        samples = load_audio(data)
        transcript = self.transcribe(through_pcm16(samples))
        text, voice = self.votes(transcript), self.hear(samples, gender)
        return Expected(transcript, text, voice, self.fuse(text, voice))
