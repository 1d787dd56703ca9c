"""Measure a speech model folder through faster-whisper, with the options that the service uses."""

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from speech_diary import DIARY_TEST
from speech_noise import KINDS, coloured, sound
from speech_voice import LEFT_OUT_VARIANTS, SAMPLE_RATE_HZ, Espeak, character_times
from tqdm import tqdm

Wave = NDArray[np.float32]
WORD_TOLERANCE_S = 0.2
HUMAN_CLIP, HUMAN_TEXT = "leopard_test_ko.wav", "그는 이리저리 피하면서 길 한 옆으로 걸어갔다."


def distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def plain(text: str) -> str:
    """Text without punctuation and with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s]", "", text)).strip()


def cer(expected: str, heard: str) -> float:
    """Character error rate over letters and single spaces, without punctuation; can exceed 1."""
    return distance(plain(heard), plain(expected)) / len(plain(expected))


class Speaker:
    """Test clips: the plain settings of the espeak-ng program."""

    def __init__(self) -> None:
        """Load espeak-ng."""
        self._engine = Espeak()

    def say(self, text: str, variant: str = "") -> tuple[Wave, list[tuple[int, float]], float]:
        """Audio at 16 kHz in [-1, 1], (character, seconds) of the words that espeak-ng reported, and its end."""
        pcm, words = self._engine.say(text, variant)
        wave = soxr.resample(pcm.astype(np.float32) / 32768, self._engine.sample_rate_hz, SAMPLE_RATE_HZ)
        loud = np.flatnonzero(np.abs(wave) > 0.005)
        return wave.astype(np.float32), words, (int(loud[-1]) if len(loud) else 0) / SAMPLE_RATE_HZ

    def clip(self, texts: Sequence[str], variant: str, rng: random.Random) -> Wave:
        """Sentences one after the other with pauses of 0.2 to 0.8 s."""
        parts: list[Wave] = []
        for text in texts:
            parts += [self.say(text, variant)[0], np.zeros(int(rng.uniform(0.2, 0.8) * SAMPLE_RATE_HZ), np.float32)]
        return np.concatenate(parts)


def with_noise(wave: Wave, decibels: float, rng: np.random.Generator) -> Wave:
    """White or pink noise at a signal-to-noise ratio over the whole clip."""
    noise = coloured(rng, len(wave), float(rng.integers(0, 2)))
    scale = np.sqrt((wave**2).mean() / (noise**2).mean()) * 10 ** (-decibels / 20)
    return np.asarray(wave + noise * scale, np.float32)


def word_times(model: WhisperModel, speaker: Speaker, texts: Sequence[str]) -> tuple[float, int]:
    """Share of words whose start is within 0.2 s of the truth, over clips that are heard to the letter.

    Only words that espeak-ng reported itself are counted, so that no time is a guess.
    """
    right = counted = 0
    for text in texts:
        wave, reported, end_s = speaker.say(text)
        found, _ = model.transcribe(wave, word_timestamps=True, vad_filter=False, **OPTIONS)
        words = [word for segment in found for word in segment.words or []]
        if [plain(word.word) for word in words] != plain(text).split():
            continue
        starts = character_times(text, reported, end_s)
        index, known = 0, {position for position, _ in reported}
        for word, spelled in zip(words, text.split(), strict=True):
            if index in known:
                counted += 1
                right += abs(word.start - starts[index]) <= WORD_TOLERANCE_S
            index += len(spelled) + 1
    return right / max(1, counted), counted


OPTIONS = {"beam_size": 5, "temperature": 0, "condition_on_previous_text": False}


def evaluate(folder: Path, held_out: Sequence[str], data: Path | None, n_sentences: int, seed: int) -> dict[str, float]:
    """All figures of the model card.

    Args:
        folder: model to measure.
        held_out: sentences of the text sets that were not trained on.
        data: folder with ``speech/ko``, for the one transcribed human clip; None leaves it out.
        n_sentences: how many sentences the larger sets have.
        seed: of noise and pauses.
    """
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)
    speaker, rng, draw = Speaker(), random.Random(seed), np.random.default_rng(seed)

    def hear(wave: Wave) -> str:
        found, _ = model.transcribe(wave, vad_filter=True, **OPTIONS)
        return "".join(segment.text for segment in found).strip()

    def over(name: str, clips: Sequence[tuple[Sequence[str], str]], noise_db: float | None = None) -> None:
        rates = []
        for texts, variant in tqdm(clips, desc=name, leave=False, mininterval=5):
            wave = speaker.clip(texts, variant, rng)
            rates.append(cer(" ".join(texts), hear(wave if noise_db is None else with_noise(wave, noise_db, draw))))
        figures[f"{name}_cer"] = float(np.mean(rates))
        figures[f"{name}_cer_median"] = float(np.median(rates))

    figures: dict[str, float] = {}
    singles = list(held_out[:n_sentences])
    diary = list(DIARY_TEST)[: max(6, n_sentences)]
    over("diary", [([text], "") for text in diary])
    over("diary_three", [(diary[i : i + 3], "") for i in range(0, len(diary) - 2, 3)])
    over("held_out", [([text], "") for text in singles])
    over("noise_15db", [([text], "") for text in singles], 15.0)
    for variant in LEFT_OUT_VARIANTS:
        over(f"left_out_{variant}", [([text], variant) for text in singles[: max(6, n_sentences // 4)]])
    figures["left_out_cer"] = float(np.mean([figures[f"left_out_{name}_cer"] for name in LEFT_OUT_VARIANTS]))
    quiet = [np.zeros(10 * SAMPLE_RATE_HZ, np.float32)]
    quiet += [sound(kind, draw, 10 * SAMPLE_RATE_HZ) * np.float32(draw.uniform(0.02, 0.8)) for kind in KINDS * 3]
    figures["no_speech_clips"] = float(len(quiet))
    figures["no_speech_not_empty"] = float(sum(bool(hear(wave)) for wave in quiet))
    without_vad = [model.transcribe(wave, vad_filter=False, **OPTIONS)[0] for wave in quiet]
    figures["no_speech_not_empty_without_vad"] = float(sum(any(s.text.strip() for s in found) for found in without_vad))
    figures["words_within_0.2s"], words = word_times(model, speaker, diary + singles[: n_sentences // 2])
    figures["words_timed"] = float(words)
    if data is not None:
        wave, rate = soundfile.read(data / "speech" / "ko" / HUMAN_CLIP, dtype="float32")
        figures["human_cer"] = cer(HUMAN_TEXT, hear(soxr.resample(wave, rate, SAMPLE_RATE_HZ)))
    return figures
