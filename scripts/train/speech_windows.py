"""Training windows: utterances laid end to end, made harder, and turned into features and targets."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import soxr
import torch
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from speech_noise import NoiseBank
from speech_text import N_TIMESTAMPS, TIMESTAMP_STEP_S, token_of
from speech_voice import SAMPLE_RATE_HZ, Pool, Utterance
from tokenizers import Tokenizer
from torch import Tensor

Wave = NDArray[np.float32]
WINDOW_S = 30.0
MAX_TOKENS = 440
STOPPED_SHARE = 0.15  # of the windows under 30 s: recordings that stop in mid-sentence
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Plan:
    """What the windows of a batch look like.

    Attributes:
        content_s: upper bound of a window's audio in seconds.
        batch: windows a step.
        padding_stride: see ``Encoder.forward``; None leaves windows unpadded.
        hardness: 0 (clean speech) to 1 (noise down to 5 dB, echo, narrow bands).
        timestamps: share of windows whose target carries timestamps.
    """

    content_s: float
    batch: int
    padding_stride: int | None
    hardness: float
    timestamps: float


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One training step's tensors.

    Attributes:
        mel: float32, shape (batch, 80, 2 * n + 4).
        inputs: int64, shape (batch, length), decoder input.
        labels: int64, shape (batch, length), ``IGNORED`` where nothing is to be learned.
        times_s: float32, shape (batch, length), when the label is spoken; negative where unknown.
        padding_stride: as in the plan.
    """

    mel: Tensor
    inputs: Tensor
    labels: Tensor
    times_s: Tensor
    padding_stride: int | None


@cache
def _mel_filters() -> Tensor:
    return torch.from_numpy(FeatureExtractor.get_mel_filters(SAMPLE_RATE_HZ, 400, 80).astype(np.float32))


def log_mel(wave: Wave) -> Tensor:
    """faster-whisper's features of a whole clip, shape (80, samples // 160), float32."""
    padded = torch.nn.functional.pad(torch.from_numpy(wave), (0, 160))
    spectrum = torch.stft(padded, 400, 160, window=torch.hann_window(400), return_complex=True)
    power = _mel_filters() @ spectrum[:, :-1].abs().square()
    log = power.clamp(min=1e-10).log10()
    # faster-whisper drops the frame of the 160 zeros it appended.
    return ((torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0)[:, : len(wave) // 160]


def side_by_side(features: Sequence[Tensor]) -> Tensor:
    """Features of several clips, (batch, 80, 2 * n + 4): padded to the longest and by four frames."""
    n = -(-max(one.shape[1] for one in features) // 2) * 2
    return torch.stack([torch.nn.functional.pad(one, (0, n + 4 - one.shape[1])) for one in features])


def room(rng: np.random.Generator) -> Wave:
    """A synthetic room: decaying noise after a direct sound, reverberation time 0.1 to 0.6 s."""
    decay_s = rng.uniform(0.1, 0.6)
    times = np.arange(int(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(times)) * np.exp(-6.9 * times / decay_s)
    tail *= rng.uniform(0.1, 0.8) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    return tail.astype(np.float32)


def harden(wave: Wave, bank: NoiseBank, hardness: float, rng: random.Random, draw: np.random.Generator) -> Wave:
    """Echo, noise, a narrow band and gain, each now and then; same length."""
    length = len(wave)
    if rng.random() < 0.2 * hardness:
        wave = fftconvolve(wave, room(draw))[:length].astype(np.float32)
    if rng.random() < 0.65 * hardness:
        noise = bank.draw(length, rng)
        decibels = rng.uniform(40 - 35 * hardness, 40)
        loud = wave[np.abs(wave) > 0.01]
        level = float(np.sqrt((loud**2).mean())) if len(loud) else 0.1
        power = float(np.sqrt((noise**2).mean())) + 1e-9
        wave = wave + noise * (level / power * 10 ** (-decibels / 20))
    if rng.random() < 0.15 * hardness:
        rate = rng.choice((8000, 8000, 11025, 12000))
        narrow = soxr.resample(wave, SAMPLE_RATE_HZ, rate, quality="LQ")
        wave = np.resize(soxr.resample(narrow, rate, SAMPLE_RATE_HZ, quality="LQ"), length)
    peak = float(np.abs(wave).max()) + 1e-9
    gain = 10 ** rng.uniform(-1.3, 0.0) if rng.random() < 0.7 else 0.9
    return (wave * np.float32(gain / peak)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Utterances with gaps between them.

    Attributes:
        wave: float32, shape (n_samples,).
        placed: the utterances with their starts in seconds.
        cut_s: the start of one more that the end of a window of 30 s cuts; it belongs to the next window.
        stopped: the recording ends within the last utterance.
    """

    wave: Wave
    placed: list[tuple[float, Utterance]]
    cut_s: float | None
    stopped: bool


def lay_out(pool: Pool, content_s: float, rng: random.Random) -> Layout:
    """Draw utterances and lay them end to end until ``content_s`` seconds are full."""
    position = rng.choice((0.0, rng.uniform(0.0, 0.45), rng.uniform(0.0, 0.95)))
    placed: list[tuple[float, Utterance]] = []
    cut: Utterance | None = None
    while True:
        utterance = pool.draw(rng)
        if position + utterance.duration_s > content_s:
            if placed:
                if content_s >= WINDOW_S and rng.random() < 0.4:
                    cut = utterance
                break
            position = min(position, max(0.0, content_s - utterance.duration_s))
        placed.append((position, utterance))
        position += utterance.duration_s
        gap = rng.choice((rng.uniform(0.03, 0.3), rng.uniform(0.2, 0.7), rng.uniform(0.5, 1.3)))
        if position + gap >= content_s:
            break
        position += gap
    stopped = content_s < WINDOW_S and rng.random() < STOPPED_SHARE
    if stopped:
        start, item = placed[-1]
        placed[-1] = (start, item.until(rng.uniform(0.3, 1.0) * item.duration_s))
    end_s = max(start + item.duration_s for start, item in placed)
    cut_s = position if cut is not None and end_s < position < WINDOW_S - 0.3 else None
    tail_s = 0.0 if stopped else rng.choice((0.0, rng.uniform(0.0, 0.5), rng.uniform(0.0, 1.5)))
    total_s = WINDOW_S if cut_s is not None else min(WINDOW_S, end_s + tail_s)
    wave = np.zeros(round(total_s * SAMPLE_RATE_HZ), np.float32)
    for start, item in [*placed, *([(cut_s, cut)] if cut is not None and cut_s is not None else [])]:
        first = round(start * SAMPLE_RATE_HZ)
        piece = item.pcm[: len(wave) - first].astype(np.float32) / 32768
        wave[first : first + len(piece)] += piece * np.float32(rng.uniform(0.6, 1.0))
    return Layout(wave, placed, cut_s, stopped)


def pieces_of(tokenizer: Tokenizer, text: str) -> list[tuple[int, int, int]]:
    """Each token of a text: its id, its first character that is not a space before a word, and the end of its last."""
    spelled = tokenizer.encode(text)
    return [
        (index, first + (text[first] == " " and last > first + 1), last)
        for index, (first, last) in zip(spelled.ids, spelled.offsets, strict=True)
    ]


class Builder:
    """Makes batches; deterministic for a generator's state and a pool's content."""

    def __init__(self, pool: Pool, bank: NoiseBank, tokenizer: Tokenizer) -> None:
        """Keep the sources and look the special tokens up."""
        self._pool, self._bank = pool, bank
        self._end = token_of(tokenizer, "<|endoftext|>")
        self._start = token_of(tokenizer, "<|startoftranscript|>")
        self._no_speech = token_of(tokenizer, "<|nospeech|>")
        self._no_times = token_of(tokenizer, "<|notimestamps|>")
        self._spell = lru_cache(maxsize=200_000)(lambda text: pieces_of(tokenizer, text))

    def _time_token(self, time_s: float) -> int:
        return self._no_times + 1 + min(N_TIMESTAMPS - 1, round(time_s / TIMESTAMP_STEP_S))

    def _target(self, layout: Layout, timestamps: bool) -> tuple[list[int], list[float]]:
        """Token ids from <|startoftranscript|> to <|endoftext|>, and when each is spoken."""
        ids, times = [self._start], [-1.0]
        if not timestamps:
            ids.append(self._no_times)
            times.append(-1.0)
        for start, item in layout.placed:
            end = start + item.duration_s
            if timestamps:
                ids.append(self._time_token(start))
                times.append(start)
            text, starts = " " + item.text, [0.0, *item.starts_s]
            for piece, head, tail in self._spell(text):
                # The pause of a comma belongs to no letter.
                middle = starts[head] if text[head] in " ,.?!" else (starts[head] + starts[tail]) / 2
                ids.append(piece)
                times.append(start + middle)
            if timestamps:
                ids.append(self._time_token(end))
                times.append(end)
        if timestamps and layout.cut_s is not None:
            # A last start without an end makes faster-whisper go on from the end of the sentence before.
            ids.append(self._time_token(layout.cut_s))
            times.append(layout.cut_s)
        start, last = layout.placed[-1]
        return [*ids, self._end], [*times, start + last.duration_s]

    def _speech(
        self, plan: Plan, rng: random.Random, draw: np.random.Generator
    ) -> tuple[Tensor, list[int], list[int], list[float]]:
        layout = lay_out(self._pool, plan.content_s, rng)
        mel = log_mel(harden(layout.wave, self._bank, plan.hardness, rng, draw))
        # Without times a stopped recording would teach that a text may end in mid-sentence with no time after it,
        # which faster-whisper reads as a sentence that the next window has.
        timestamps = layout.stopped or layout.cut_s is not None or rng.random() < plan.timestamps
        ids, times = self._target(layout, timestamps)
        inputs, labels = ids[:-1], ids[1:]
        # Wrong history now and then, so that the decoder listens instead of repeating itself.
        noise = rng.choice((0.0, 0.04, 0.1)) * plan.hardness
        inputs = [rng.randrange(self._end) if token < self._end and rng.random() < noise else token for token in inputs]
        return mel, inputs, labels, times[1:]

    def _no_speech_window(self, plan: Plan, rng: random.Random) -> tuple[Tensor, list[int], list[int], list[float]]:
        """A window without speech: <|nospeech|> first and, whatever follows by force, nothing after it."""
        length = round(rng.uniform(0.5, max(1.0, plan.content_s)) * SAMPLE_RATE_HZ)
        gain = 0.0 if rng.random() < 0.1 else 10 ** rng.uniform(-4, -0.1)
        mel = log_mel(self._bank.draw(length, rng) * np.float32(gain))
        first = self._no_times if rng.random() < 0.3 else self._time_token(rng.choice((0.0, rng.uniform(0.0, 1.0))))
        return mel, [self._start, first], [self._no_speech, self._end], [-1.0, -1.0]

    def batch(self, plan: Plan, no_speech: float, rng: random.Random) -> Batch:
        """One step's windows.

        Args:
            plan: their kind.
            no_speech: share of windows without speech.
            rng: source of every choice.
        """
        draw = np.random.default_rng(rng.randrange(2**32))
        rows = []
        for _ in range(plan.batch):
            silent = rng.random() < no_speech
            row = self._no_speech_window(plan, rng) if silent else self._speech(plan, rng, draw)
            rows.append(row)
        n = min(1500, -(-max(row[0].shape[1] for row in rows) // 2))
        mel = torch.zeros(len(rows), 80, 2 * n + 4)
        length = min(MAX_TOKENS, max(len(row[1]) for row in rows))
        inputs = torch.full((len(rows), length), self._end)
        labels = torch.full((len(rows), length), IGNORED)
        times = torch.full((len(rows), length), -1.0)
        for index, (features, given, wanted, spoken) in enumerate(rows):
            features = self._mask(features, plan.hardness, rng)
            mel[index, :, : min(2 * n, features.shape[1])] = features[:, : 2 * n]
            for target, values in ((inputs, given), (labels, wanted), (times, spoken)):
                target[index, : min(length, len(values))] = torch.tensor(values[:length], dtype=target.dtype)
        return Batch(
            mel=mel,
            inputs=inputs,
            labels=labels,
            times_s=times,
            padding_stride=plan.padding_stride,
        )

    @staticmethod
    def _mask(features: Tensor, hardness: float, rng: random.Random) -> Tensor:
        """Blank out a band of frequencies now and then."""
        if rng.random() < 0.5 * hardness:
            height = rng.randint(1, 14)
            low = rng.randrange(80 - height)
            features = features.clone()
            features[low : low + height] = features.mean()
        return features
