"""Speech to text: Whisper windows of any number of recordings in one CTranslate2 call.

`faster_whisper.WhisperModel.transcribe` decodes one recording, window after window. Here every recording is cut into
windows at its silences first, and each round decodes the current window position of all recordings together. For a
recording of one window the steps are exactly those of `transcribe`, so that the text is the same.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_suppressed_tokens
from faster_whisper.vad import SpeechTimestampsMap, VadOptions
from numpy.typing import NDArray

from maeum.engines.vad import speech_chunks, speech_probabilities, to_float
from maeum.errors import ModelInvalid
from maeum.evidence import AVG_LOGPROB, NO_SPEECH_PROB, is_invented, syllables_per_second
from maeum.resampling import SAMPLE_RATE_HZ
from maeum.speech_languages import supported_languages
from maeum.stages import Failure, Segment, SpeechItem, Transcript

BEAM_SIZE = 5
_WINDOW_S = 30
_HOP_LENGTH = 160
_WINDOW_FRAMES = _WINDOW_S * SAMPLE_RATE_HZ // _HOP_LENGTH
_MAX_INITIAL_TIMESTAMP_INDEX = 50  # 1.0 s in steps of 0.02 s
# Speech that ends closer to the end of a piece than this, in samples, may go on in the next one.
_EDGE = SAMPLE_RATE_HZ
# A model that keeps asking to decode the rest of a window again is stopped here; speech needs two or three passes.
_MAX_PASSES = 16


@dataclass(slots=True, eq=False)
class _Window:
    """A stretch of at most 30 s of speech, silence cut out, and how far it is decoded."""

    recording: NDArray[np.int16]
    chunks: list[dict[str, int]]  # where its speech lies in the recording, in samples
    language: str
    features: NDArray[np.float32] | None = None  # (n_mels, content_frames + 1) while it is decoded
    seek: int = 0
    passes: int = 0
    segments: list[Segment] = field(default_factory=list)
    language_probs: dict[str, float] = field(default_factory=dict)

    @property
    def content_frames(self) -> int:
        return sum(chunk["end"] - chunk["start"] for chunk in self.chunks) // _HOP_LENGTH

    @property
    def pcm16(self) -> NDArray[np.int16]:
        """Its speech alone."""
        return np.concatenate([self.recording[chunk["start"] : chunk["end"]] for chunk in self.chunks])

    @property
    def left(self) -> int:
        """Frames that are not decoded yet, at most."""
        return min(_WINDOW_FRAMES, self.content_frames - self.seek)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The windows of a recording or a piece, up to which sample they reach, and whether the next piece begins there."""

    windows: list[_Window]
    end: int
    more: bool = False


class SpeechEngine:
    """Holds a CTranslate2 Whisper.

    Args:
        folder: a model in faster-whisper's layout.
        device: `cpu` (int8) or `cuda` (float16).
        threads: CPU threads of each worker; 0 for CTranslate2's choice.
        workers: calls to CTranslate2 at the same time, which share the weights.
        max_windows: windows per call, which bounds memory; on a CPU never more than eight, or four for each worker.

    Raises:
        ModelInvalid: the files do not load.
    """

    def __init__(
        self, folder: Path, *, device: str = "cpu", threads: int = 0, workers: int = 1, max_windows: int = 16
    ) -> None:
        self.languages = supported_languages(folder)
        # On a CPU more take more memory and as long for each.
        self._max_windows = min(max_windows, 8 if workers == 1 else 4) if device == "cpu" else max_windows
        self._device, self._n_workers = device, workers
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="maeum-speech-worker")
        try:
            self._model = WhisperModel(
                str(folder),
                device=device,
                compute_type="float16" if device == "cuda" else "int8",
                cpu_threads=threads,
                num_workers=workers,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError, json.JSONDecodeError) as error:
            raise ModelInvalid(f"the speech model does not load: {error}") from error
        self._tokenizers: dict[str, Tokenizer] = {}
        self._suppressed = get_suppressed_tokens(self._tokenizer(next(iter(sorted(self.languages)))), [-1])

    def transcribe(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        """Transcribe recordings together.

        Args:
            items: 16 kHz mono PCM16 and a language code each.

        Returns:
            A transcript for each item in its place, or a `Failure` where the item is not usable.
        """
        plans = list(self._workers.map(self._plan, items))
        pending = [window for plan in plans if isinstance(plan, _Plan) for window in plan.windows]
        while pending:
            size = min(self._max_windows, -(-len(pending) // self._n_workers))
            list(self._workers.map(self._decode, [pending[at : at + size] for at in range(0, len(pending), size)]))
            pending = [window for window in pending if window.left > 0 and window.passes < _MAX_PASSES]
        return [plan if isinstance(plan, Failure) else _transcript(plan) for plan in plans]

    def warm_up(self) -> None:
        """Answer once, past the voice activity detection, which would drop silence."""
        silence = np.zeros(SAMPLE_RATE_HZ, np.int16)
        self._decode([_Window(silence, [{"start": 0, "end": len(silence)}], min(self.languages))])

    def _tokenizer(self, language: str) -> Tokenizer:
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]

    def _knows_token_of(self, language: str) -> bool:
        return not self._model.model.is_multilingual or self._tokenizer(language).language is not None

    def _plan(self, item: SpeechItem) -> _Plan | Failure:
        if item.language not in self.languages or not self._knows_token_of(item.language):
            return Failure("unsupported_language", f"the speech model does not transcribe {item.language!r}")
        if len(item.pcm16) % 2:
            return Failure("speech_failed", "PCM16 audio has an odd number of bytes")
        pcm16 = np.frombuffer(item.pcm16, dtype="<i2")
        if not len(pcm16):
            return _Plan([], 0)
        probabilities = speech_probabilities(pcm16)
        chunks = speech_chunks(probabilities, len(pcm16), VadOptions())
        if sum(chunk["end"] - chunk["start"] for chunk in chunks) > _WINDOW_S * SAMPLE_RATE_HZ:
            # Past one window, cut at pauses too short to count as silence, so that no word is torn.
            options = VadOptions(max_speech_duration_s=_WINDOW_S, min_silence_duration_ms=160)
            chunks = speech_chunks(probabilities, len(pcm16), options)
        groups = _pack(chunks)
        end = _keep_back(groups, len(pcm16)) if item.more else len(pcm16)
        return _Plan([_Window(pcm16, group, item.language) for group in groups], end, item.more)

    def _features(self, window: _Window) -> NDArray[np.float32]:
        """Log-mel features of what is left to decode of a window, filled up to 30 s: (n_mels, 3000)."""
        if window.features is None:
            window.features = self._model.feature_extractor(to_float(window.pcm16))
        padded: NDArray[np.float32] = pad_or_trim(window.features[:, window.seek : window.seek + window.left])
        return padded

    def _decode(self, windows: Sequence[_Window]) -> None:
        """Decode each window once from where it stands and move it on."""
        features = np.stack([self._features(window) for window in windows])
        prompts = [self._model.get_prompt(self._tokenizer(window.language), []) for window in windows]
        encoded = self._encode(features)
        if self._model.model.is_multilingual and any(not window.passes for window in windows):
            for window, languages in zip(windows, self._model.model.detect_language(encoded), strict=True):
                window.language_probs = window.language_probs or {token[2:-2]: prob for token, prob in languages}
        results = self._model.model.generate(
            encoded,
            prompts,
            beam_size=BEAM_SIZE,
            patience=1,
            length_penalty=1,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
            max_initial_timestamp_index=_MAX_INITIAL_TIMESTAMP_INDEX,
        )
        for window, result in zip(windows, results, strict=True):
            self._advance(window, result)
            if window.left <= 0:
                window.features = None

    def _encode(self, features: NDArray[np.float32]) -> StorageView:
        """Encoder output of windows, shape (n, 1500, width).

        On a CPU one window after the other: together they are no faster, and the attention of each takes tens of
        megabytes.
        """
        if self._device != "cpu" or len(features) == 1:
            return self._model.encode(features)
        return StorageView.from_array(np.concatenate([np.array(self._model.encode(one[None])) for one in features]))

    def _advance(self, window: _Window, result: Any) -> None:
        """Take over what was decoded, as `WhisperModel.generate_segments` does."""
        window.passes += 1
        size = window.left
        tokens = result.sequences_ids[0]
        # score is the mean over the tokens; whisper's average counts the end token too.
        avg_logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
        # whisper's defaults: a window is silent when <|nospeech|> is likely and the text is not.
        if result.no_speech_prob > NO_SPEECH_PROB and avg_logprob <= AVG_LOGPROB:
            window.seek += size
            return
        tokenizer = self._tokenizer(window.language)
        time_per_frame = self._model.feature_extractor.time_per_frame
        pieces, seek, _ = self._model._split_segments_by_timestamps(
            tokenizer=tokenizer,
            tokens=tokens,
            time_offset=window.seek * time_per_frame,
            segment_size=size,
            segment_duration=size * time_per_frame,
            seek=window.seek,
        )
        window.seek = seek if seek > window.seek else window.seek + size
        whole = tokenizer.decode(tokens).strip()
        evidence = (avg_logprob, result.no_speech_prob, get_compression_ratio(whole) if whole else 0.0)
        for piece in pieces:
            text = tokenizer.decode(piece["tokens"])
            if piece["start"] != piece["end"] and text.strip():
                window.segments.append(Segment(piece["start"], piece["end"], text, *evidence))


def _pack(chunks: Sequence[dict[str, int]]) -> list[list[dict[str, int]]]:
    """Group speech chunks, in order, into windows of at most 30 s of speech."""
    groups: list[list[dict[str, int]]] = []
    filled = 0
    for chunk in chunks:
        length = chunk["end"] - chunk["start"]
        if not groups or filled + length > _WINDOW_S * SAMPLE_RATE_HZ:
            groups.append([])
            filled = 0
        groups[-1].append(chunk)
        filled += length
    return groups


def _keep_back(groups: list[list[dict[str, int]]], n_samples: int) -> int:
    """Take out of a piece what is better decoded with the next one; returns the sample at which that begins.

    The last window is rarely full, and its last word may go on in the next piece. A piece with a single window keeps
    what ends before the piece does.
    """
    if len(groups) > 1:
        return groups.pop()[0]["start"]
    if groups and groups[0][-1]["end"] > n_samples - _EDGE and groups[0][-1]["start"] > 0:
        last = groups[0].pop()
        if not groups[0]:
            groups.pop()
        return last["start"]
    return n_samples


def _transcript(plan: _Plan) -> Transcript:
    """Put a recording's windows together again, with times in the recording, and leave out what was not said.

    A model may claim that a segment lasts longer than what it heard: times end where the next window's speech begins,
    or with the recording.
    """
    windows = plan.windows
    chunks = [chunk for window in windows for chunk in window.chunks]
    spans = tuple((chunk["start"] / SAMPLE_RATE_HZ, chunk["end"] / SAMPLE_RATE_HZ) for chunk in chunks)
    segments: list[Segment] = []
    ends = [*(window.chunks[0]["start"] for window in windows[1:]), plan.end]
    for window, end in zip(windows, ends, strict=False):
        times = SpeechTimestampsMap(window.chunks, SAMPLE_RATE_HZ)
        latest_s = end / SAMPLE_RATE_HZ
        speech_s = sum(chunk["end"] - chunk["start"] for chunk in window.chunks) / SAMPLE_RATE_HZ
        pace = syllables_per_second(window.segments, speech_s)
        for segment in window.segments:
            start_s = min(times.get_original_time(segment.start_s), latest_s)
            end_s = min(times.get_original_time(segment.end_s, is_end=True), latest_s)
            placed = replace(segment, start_s=start_s, end_s=max(start_s, end_s))
            if not is_invented(placed, pace):
                segments.append(placed)
    text = unicodedata.normalize("NFC", "".join(segment.text for segment in segments)).strip()
    return Transcript(
        text,
        tuple(replace(segment, text=unicodedata.normalize("NFC", segment.text).strip()) for segment in segments),
        spans,
        _heard_language(windows),
        plan.end if plan.more else None,
    )


def _heard_language(windows: Sequence[_Window]) -> tuple[str, float] | None:
    """The likeliest language over all windows that were asked, and its mean probability."""
    asked = [window.language_probs for window in windows if window.language_probs]
    if not asked:
        return None
    mean = {language: sum(probs.get(language, 0.0) for probs in asked) / len(asked) for language in asked[0]}
    return max(mean.items(), key=lambda item: item[1])
