"""The sequential original, written afresh from its description: one upload at a time, through temporary files.

One sentence a forward pass, one voice a forward pass, and word times that are computed and thrown away.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from transformers import AutoTokenizer

from maeum.engines.text_weights import load_classifier
from maeum.engines.voice_network import VoiceNetwork
from maeum.fusion import Fusion, Projection, vote
from maeum.labels import read_text_labels, read_voice_labels

_SAMPLE_RATE_HZ = 16_000
_N_MFCC = 13
_N_FRAMES = 100


class Original:
    """Three models, called one after the other for one recording.

    Args:
        speech: folder of a CTranslate2 Whisper.
        text: folder of a sequence classifier.
        voice: folder of the voice network's state dict, labels and baselines.
        device: `cpu` or `cuda`.
    """

    def __init__(self, speech: Path, text: Path, voice: Path, device: str = "cpu") -> None:
        self._speech, self._text, self._voice, self._device = speech, text, voice, device

    @cached_property
    def _whisper(self) -> WhisperModel:
        return WhisperModel(
            str(self._speech), device=self._device, compute_type="float16" if self._device == "cuda" else "int8"
        )

    @cached_property
    def classifier(self) -> tuple[Any, Any]:
        """Tokenizer and text model, float32."""
        model, _ = load_classifier(self._text)
        return AutoTokenizer.from_pretrained(self._text), model.to(self._device).eval()

    @cached_property
    def _network(self) -> VoiceNetwork:
        network = VoiceNetwork(len(read_voice_labels(self._voice)))
        network.load_state_dict(torch.load(self._voice / "pytorch_model.pth", weights_only=True))
        return network.to(self._device).eval()

    @cached_property
    def _fusion(self) -> Fusion:
        return Fusion(Projection.load(None), read_text_labels(self._text), read_voice_labels(self._voice))

    def load(self) -> None:
        """Load the models now rather than with the first recording."""
        _ = self._whisper, self.classifier, self._network, self._fusion

    def analyze(self, data: bytes, gender: str = "MALE", lang: str = "ko") -> list[float]:
        """Fused probabilities, in the order of the text model's labels, of one audio file."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.rewrite(data, Path(folder))
            transcript = self.transcribe(path, lang)
            votes = self.votes(transcript)
            voice = self.hear(path, gender)
        probabilities: list[float] = self._fusion.fuse(votes, np.asarray(voice)).tolist()
        return probabilities

    def rewrite(self, data: bytes, folder: Path) -> Path:
        """Save the upload and write it again as a mono 16 kHz float WAV; returns that file."""
        upload = folder / "upload"
        upload.write_bytes(data)
        samples, _ = librosa.load(upload, sr=_SAMPLE_RATE_HZ)
        path = folder / "mono.wav"
        soundfile.write(path, samples, _SAMPLE_RATE_HZ, subtype="FLOAT")
        return path

    def transcribe(self, audio: Path | NDArray[np.float32], lang: str = "ko", word_times: bool = True) -> str:
        """Text of a recording: a file, or float32 samples at 16 kHz with shape (n,).

        Word times change it now and then: faster-whisper goes on after the last word, not at the end of the window.
        """
        segments, _ = self._whisper.transcribe(
            str(audio) if isinstance(audio, Path) else audio,
            language=lang if self._whisper.model.is_multilingual else None,
            beam_size=5,
            vad_filter=True,
            temperature=0,
            condition_on_previous_text=False,
            word_timestamps=word_times,
        )
        return unicodedata.normalize("NFC", "".join(segment.text for segment in segments)).strip()

    def classify(self, sentence: str) -> list[float]:
        """Probabilities of one sentence."""
        tokenizer, model = self.classifier
        tokens = tokenizer(sentence, truncation=True, max_length=256, return_tensors="pt").to(self._device)
        with torch.no_grad():
            probabilities: list[float] = torch.softmax(model(**tokens).logits, dim=1)[0].tolist()
        return probabilities

    def votes(self, transcript: str) -> NDArray[np.float64] | None:
        """Share of the sentences' votes per label, None for a transcript without a sentence."""
        sentences = [piece for part in re.split(r"[.?!\n]", transcript) if (piece := part.strip())]
        if not sentences:
            return None
        return vote([self.classify(sentence) for sentence in sentences], len(self._fusion.text_labels))

    def hear(self, path: Path, gender: str = "MALE") -> list[float]:
        """Voice probabilities of a 16 kHz WAV file."""
        samples, _ = librosa.load(path, sr=_SAMPLE_RATE_HZ)
        frames = librosa.feature.mfcc(y=samples, sr=_SAMPLE_RATE_HZ, n_mfcc=_N_MFCC).T[:_N_FRAMES]
        window = np.zeros((_N_FRAMES, _N_MFCC), np.float32)
        window[: len(frames)] = frames
        mean, std = (
            np.load(self._voice / f"baseline_{kind}_{gender.lower()}.npy").reshape(-1) for kind in ("mean", "std")
        )
        delta = ((window - mean) / (std + 1e-8)).T[None].astype(np.float32)
        with torch.no_grad():
            logits = self._network(torch.from_numpy(delta).to(self._device))
        probabilities: list[float] = torch.softmax(logits, dim=1)[0].tolist()
        return probabilities
