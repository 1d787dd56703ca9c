"""What the speech engine makes of a decoder's evidence: the real engine and model, but for a scripted decoder."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from maeum.assembly import load_speech
from maeum.audio.decoding import Waveform, decode
from maeum.engines.speech import SpeechEngine
from maeum.evidence import confidence, read_low_confidence, warnings
from maeum.settings import PROJECT_DIR, Settings
from maeum.stages import Failure, SpeechItem, Transcript
from tests.conftest import Clip

FOLDER = PROJECT_DIR / "models" / "embedded" / "speech"
RATE_HZ = 16_000
THANKS = "시청해주셔서 감사합니다."


class ScriptedDecoder:
    """CTranslate2's Whisper, but for what it decodes, how sure it is and which language it hears."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.is_multilingual = False
        self.tokens: list[int] = []
        self.score = -0.2
        self.no_speech_prob = 0.01
        self.languages: list[list[tuple[str, float]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def generate(self, encoded: Any, prompts: list[list[int]], **_: Any) -> list[Any]:
        result = SimpleNamespace(sequences_ids=[self.tokens], scores=[self.score], no_speech_prob=self.no_speech_prob)
        return [result for _ in prompts]

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        return [self.languages.pop(0) for _ in range(encoded.shape[0])]


class Script:
    """The engine, and what its decoder shall say next."""

    def __init__(self, engine: SpeechEngine, decoder: ScriptedDecoder) -> None:
        self.engine, self.decoder = engine, decoder

    def hear(
        self,
        samples: NDArray[np.float32],
        text: str | list[int],
        *,
        end_s: float = 2.0,
        logprob: float = -0.2,
        no_speech: float,
    ) -> Transcript:
        tokenizer = self.engine._tokenizer("ko")
        begin = tokenizer.timestamp_begin
        words = tokenizer.encode(text) if isinstance(text, str) else text
        self.decoder.tokens = [begin, *words, begin + round(end_s / 0.02)]
        n = len(self.decoder.tokens)
        self.decoder.score = logprob * (n + 1) / n
        self.decoder.no_speech_prob = no_speech
        (result,) = self.engine.transcribe([SpeechItem(Waveform(samples).to_pcm16(), "ko")])
        assert not isinstance(result, Failure)
        return result


def scripted(engine: SpeechEngine) -> Script:
    decoder = ScriptedDecoder(engine._model.model)
    engine._model.model = decoder
    return Script(engine, decoder)


@pytest.fixture
def script() -> Script:
    return scripted(SpeechEngine(FOLDER))


@pytest.fixture
def spoken(clips: list[Clip]) -> NDArray[np.float32]:
    return decode(clips[0].data).samples


@pytest.fixture
def click(spoken: NDArray[np.float32]) -> NDArray[np.float32]:
    """Five seconds of silence with a syllable in them, enough for the voice activity detection."""
    samples = np.zeros(5 * RATE_HZ, np.float32)
    loudest = int(np.abs(spoken).argmax())
    samples[2 * RATE_HZ : 2 * RATE_HZ + 3_200] = spoken[max(0, loudest - 1_600) :][:3_200]
    return samples


def test_words_with_good_evidence_stay(script: Script, spoken: NDArray[np.float32]) -> None:
    heard = script.hear(spoken, THANKS, no_speech=0.05)
    assert heard.text == THANKS
    assert [segment.text for segment in heard.segments] == [THANKS]
    (segment,) = heard.segments
    assert segment.avg_logprob == pytest.approx(-0.2)
    assert (segment.no_speech_prob, heard.heard_language) == (0.05, None)
    assert 0.5 < segment.compression_ratio < 1.5


def test_half_a_character_is_left_out(script: Script, spoken: NDArray[np.float32]) -> None:
    # A rare syllable is up to three tokens, one for each byte; a decoder that is unsure of it may stop in between.
    encode, rare = script.engine._tokenizer("ko").encode, "뷁"
    assert len(encode(rare)) > 1
    broken = [*encode("오늘은"), *encode(rare)[:-1], *encode(" 기뻤다.")]
    heard = script.hear(spoken, broken, no_speech=0.05)
    assert (heard.text, [segment.text for segment in heard.segments]) == ("오늘은 기뻤다.", ["오늘은 기뻤다."])
    assert script.hear(spoken, encode(rare)[:-1], no_speech=0.05).segments == ()


@pytest.mark.parametrize("text", [THANKS, "MBC 뉴스 이덕영입니다.", "구독과 좋아요 부탁드립니다."])
def test_a_known_invention_goes_when_the_decoder_doubts_the_speech(
    script: Script, spoken: NDArray[np.float32], text: str
) -> None:
    # The words are likely, as whisper's own rule would have it: -0.2 is far above its -1.
    heard = script.hear(spoken, text, no_speech=0.45)
    assert (heard.text, heard.segments) == ("", ())


def test_a_known_invention_goes_when_a_click_is_all_there_was(script: Script, click: NDArray[np.float32]) -> None:
    assert script.hear(click, THANKS, end_s=1.0, no_speech=0.1).text == ""
    assert script.hear(click, "네.", end_s=1.0, no_speech=0.1).text == "네."


def test_unknown_words_go_with_whispers_own_evidence(script: Script, spoken: NDArray[np.float32]) -> None:
    said = "오늘은 기뻤다."
    assert script.hear(spoken, said, no_speech=0.7).text == said
    assert script.hear(spoken, said, no_speech=0.7, logprob=-1.3).text == ""
    assert script.hear(spoken, said, no_speech=0.5, logprob=-1.3).text == said


def test_a_loop_goes_with_silence_and_is_doubtful_with_speech(script: Script, spoken: NDArray[np.float32]) -> None:
    loop = "정말 정말 " * 40
    assert script.hear(spoken, loop, no_speech=0.7).text == ""
    heard = script.hear(spoken, loop, no_speech=0.1)
    assert heard.segments[0].compression_ratio > 2.4
    assert warnings(heard, "ko", 0.3) == ("low_confidence",)


def test_a_loop_goes_when_a_click_is_all_there_was(script: Script, click: NDArray[np.float32]) -> None:
    assert script.hear(click, "정말 정말 " * 40, end_s=1.0, no_speech=0.01).text == ""


def test_what_is_dropped_does_not_count_for_the_confidence(script: Script, spoken: NDArray[np.float32]) -> None:
    assert confidence(script.hear(spoken, "좋았다.", no_speech=0.1, logprob=-0.5).segments) == pytest.approx(
        np.exp(-0.5)
    )
    assert confidence(script.hear(spoken, THANKS, no_speech=0.5).segments) is None


def test_a_multilingual_model_says_which_language_it_hears(script: Script, spoken: NDArray[np.float32]) -> None:
    script.engine._tokenizer("ko").language = "ko"
    script.decoder.is_multilingual = True
    script.decoder.languages = [[("<|en|>", 0.75), ("<|ko|>", 0.25)]]
    heard = script.hear(spoken, "오늘은 기뻤다.", no_speech=0.1)
    assert heard.heard_language == ("en", 0.75)
    assert warnings(heard, "ko", 0.3) == ("unexpected_language",)
    assert warnings(heard, "en", 0.3) == ()


def test_the_language_is_the_likeliest_over_all_windows(script: Script, clips: list[Clip]) -> None:
    script.engine._tokenizer("ko").language = "ko"
    script.decoder.is_multilingual = True
    long = np.tile(np.concatenate([decode(clip.data).samples for clip in clips[:8]]), 2)[: 50 * RATE_HZ]
    script.decoder.languages = [[("<|en|>", 0.6), ("<|ko|>", 0.4)]] + [[("<|ko|>", 0.9), ("<|en|>", 0.1)]] * 9
    heard = script.hear(long, "오늘은 기뻤다.", end_s=29.0, no_speech=0.1)
    assert heard.heard_language is not None
    assert heard.heard_language[0] == "ko"
    assert 0.6 < heard.heard_language[1] < 0.9


def test_a_measured_model_is_held_to_its_own_threshold(spoken: NDArray[np.float32]) -> None:
    doubt = {"logprob": math.log(read_low_confidence(FOLDER)) - 0.01, "no_speech": 0.9}
    measured, other = scripted(load_speech(Settings())), scripted(SpeechEngine(FOLDER))
    assert measured.hear(spoken, "아니,", **doubt).text == ""
    assert other.hear(spoken, "아니,", **doubt).text == "아니,"
