"""Speech to text: Whisper windows of any number of recordings in one CTranslate2 call.

`faster_whisper.WhisperModel.transcribe` decodes one recording, window after window. Here every recording is cut into
windows at its silences first, and each round decodes the current window position of all recordings together. For a
recording of one window, filled up to 30 s, the steps are exactly those of `transcribe`, so that the text is the same.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
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

from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.engines.speech_windows import WINDOW_S, Plan, Window, keep_back, pack
from maeum.engines.vad import speech_chunks, speech_probabilities, to_float
from maeum.errors import ModelInvalid
from maeum.evidence import AVG_LOGPROB, LOW_CONFIDENCE, NO_SPEECH_PROB, is_invented, syllables_per_second
from maeum.settings import SpeechWindow
from maeum.speech_languages import check_languages, supported_languages
from maeum.stages import Failure, Segment, SpeechItem, Transcript

BEAM_SIZE = 5
_MAX_INITIAL_TIMESTAMP_INDEX = 50  # 1.0 s in steps of 0.02 s
# A model that keeps asking to decode the rest of a window again is stopped here; speech needs two or three passes.
_MAX_PASSES = 16
# Tokens are bytes: this stands for a rare syllable that the decoder did not write to its end.
_HALF_A_CHARACTER = "\ufffd"


class SpeechEngine:
    """Holds a CTranslate2 Whisper.

    Args:
        folder: a model in faster-whisper's layout.
        device: `cpu` (int8) or `cuda` (float16).
        threads: CPU threads of each worker; 0 for CTranslate2's choice.
        workers: calls to CTranslate2 at the same time, which share the weights.
        max_windows: windows per call, which bounds memory; on a CPU never more than eight, or four for each worker.
        window: `padded`, or `audio` for windows little longer than what was recorded.
        low_confidence: under which words count as unlikely when the model also heard no speech.

    Raises:
        ModelInvalid: the files do not load.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        threads: int = 0,
        workers: int = 1,
        max_windows: int = 16,
        window: SpeechWindow = "padded",
        low_confidence: float = LOW_CONFIDENCE,
    ) -> None:
        self.languages = supported_languages(folder)
        # On a CPU more take more memory and as long for each.
        self._max_windows = min(max_windows, 8 if workers == 1 else 4) if device == "cpu" else max_windows
        self._device, self._n_workers, self._padded = device, workers, window == "padded"
        self._low_confidence = low_confidence
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
        if self._model.model.is_multilingual:
            check_languages(self.languages, self._model.hf_tokenizer)
        self._tokenizers: dict[str, Tokenizer] = {}
        self._suppressed = get_suppressed_tokens(self._tokenizer(next(iter(sorted(self.languages)))), [-1])

    def transcribe(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        """Transcribe recordings together. Calls from several threads share the workers.

        Args:
            items: 16 kHz mono PCM16 and a language code each.

        Returns:
            A transcript for each item in its place, or a `Failure` where the item is not usable.
        """
        plans = list(self._workers.map(self._plan, items))
        pending = [window for plan in plans if isinstance(plan, Plan) for window in plan.windows]
        while pending:
            list(self._workers.map(self._decode, self._split(pending)))
            pending = [window for window in pending if window.left > 0 and window.passes < _MAX_PASSES]
        return [plan if isinstance(plan, Failure) else _transcript(plan, self._low_confidence) for plan in plans]

    def _split(self, windows: list[Window]) -> list[list[Window]]:
        """Divide windows among the workers; those of a call have one length."""
        size = min(self._max_windows, -(-len(windows) // self._n_workers))
        length = attrgetter("encoded_frames")
        groups = groupby(sorted(windows, key=length), key=length)
        return [group[at : at + size] for _, [*group] in groups for at in range(0, len(group), size)]

    def warm_up(self) -> None:
        """Answer once."""
        self.transcribe([SpeechItem(bytes(2 * SAMPLE_RATE_HZ), min(self.languages), past_vad=True)])

    def _tokenizer(self, language: str) -> Tokenizer:
        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
            )
        return self._tokenizers[language]

    def _plan(self, item: SpeechItem) -> Plan | Failure:
        if item.language not in self.languages:
            return Failure("unsupported_language", f"the speech model does not transcribe {item.language!r}")
        if len(item.pcm16) % 2:
            return Failure("speech_failed", "PCM16 audio has an odd number of bytes")
        pcm16 = np.frombuffer(item.pcm16, dtype="<i2")
        if not len(pcm16):
            return Plan([], 0)
        if item.past_vad:
            everything = [{"start": 0, "end": len(pcm16)}]
            return Plan([Window(pcm16, everything, item.language, padded=self._padded)], len(pcm16))
        probabilities = speech_probabilities(pcm16)
        chunks = speech_chunks(probabilities, len(pcm16), VadOptions())
        if sum(chunk["end"] - chunk["start"] for chunk in chunks) > WINDOW_S * SAMPLE_RATE_HZ:
            # Past one window, cut at pauses too short to count as silence, so that no word is torn.
            options = VadOptions(max_speech_duration_s=WINDOW_S, min_silence_duration_ms=160)
            chunks = speech_chunks(probabilities, len(pcm16), options)
        groups = pack(chunks)
        end = keep_back(groups, len(pcm16)) if item.more else len(pcm16)
        windows = [Window(pcm16, group, item.language, padded=self._padded) for group in groups]
        return Plan(windows, end, item.more)

    def _features(self, window: Window) -> NDArray[np.float32]:
        """Log-mel features of what is left to decode of a window, filled up: (n_mels, encoded_frames)."""
        if window.features is None:
            window.features = self._model.feature_extractor(to_float(window.pcm16))
        left = window.features[:, window.seek : window.seek + window.left]
        filled: NDArray[np.float32] = pad_or_trim(left, window.encoded_frames)
        return filled

    def _decode(self, windows: Sequence[Window]) -> None:
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
        """Encoder output of windows of one length, shape (n, encoded_frames / 2, width).

        On a CPU one window after the other: together they are no faster, and the attention of each takes tens of
        megabytes.
        """
        if self._device != "cpu" or len(features) == 1:
            return self._model.encode(features)
        return StorageView.from_array(np.concatenate([np.array(self._model.encode(one[None])) for one in features]))

    def _advance(self, window: Window, result: Any) -> None:
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
            text = tokenizer.decode(piece["tokens"]).replace(_HALF_A_CHARACTER, "")
            if piece["start"] != piece["end"] and text.strip():
                window.segments.append(Segment(piece["start"], piece["end"], text, *evidence))


def _transcript(plan: Plan, low_confidence: float = LOW_CONFIDENCE) -> Transcript:
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
            if not is_invented(placed, pace, low_confidence):
                segments.append(placed)
    text = unicodedata.normalize("NFC", "".join(segment.text for segment in segments)).strip()
    return Transcript(
        text,
        tuple(replace(segment, text=unicodedata.normalize("NFC", segment.text).strip()) for segment in segments),
        spans,
        _heard_language(windows),
        plan.end if plan.more else None,
    )


def _heard_language(windows: Sequence[Window]) -> tuple[str, float] | None:
    """The likeliest language over all windows that were asked, and its mean probability."""
    asked = [window.language_probs for window in windows if window.language_probs]
    if not asked:
        return None
    mean = {language: sum(probs.get(language, 0.0) for probs in asked) / len(asked) for language in asked[0]}
    return max(mean.items(), key=lambda item: item[1])
