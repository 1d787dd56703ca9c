"""Was it said at all? What the decoder and the voice activity detection know about a piece of transcript.

Whisper invents text where nothing is said, in Korean often the end of a video or a news item that it read thousands of
times. Words alone prove nothing, people do thank each other for watching; so a segment is dropped on evidence only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from maeum.errors import ModelInvalid
from maeum.stages import Segment, Transcript

# Three of Whisper's own thresholds, from `faster_whisper.WhisperModel.transcribe`.
NO_SPEECH_PROB = 0.6
AVG_LOGPROB = -1.0
COMPRESSION_RATIO = 2.4
LOW_CONFIDENCE = math.exp(AVG_LOGPROB)
# Of every clip that is in another language, Whisper base gives that language this probability or more
# (`docs/whisper_base.json`).
LANGUAGE_PROB = 0.6
# Korean is spoken at 4 to 8 syllables a second; what clips reach is in `scripts/train/thresholds.py`'s figures.
MAX_SYLLABLES_PER_S = 10.0
# A decoder that is stuck writes some two hundred syllables, whatever it hears: of a sound of two seconds at most.
STUCK_SYLLABLES_PER_S = 100.0
# Of a known phrase less is needed: `scripts/train/thresholds.py` shows what speech has.
KNOWN_PHRASE_NO_SPEECH_PROB = 0.2

# Letters only, as `_letters` leaves them.
_KNOWN_PHRASE = re.compile(
    "(?:지금까지|오늘도|끝까지)?(?:영상을?|한글자막을?)?(?:시청|구독)해?주셔서(?:대단히)?감사합니다"
    "|(?:다음영상에서|다음에)(?:만나요|뵙겠습니다|봐요)"
    "|(?:구독과?좋아요|좋아요와?구독)(?:알림설정)?(?:까지)?(?:부탁드립니다|부탁드려요|눌러주세요)?"
    "|(?:mbc|kbs|sbs|ytn|jtbc)뉴스[가-힣]{0,8}(?:입니다|이었습니다)?"
    "|자막제공(?:및광고를포함하고있습니다)?|(?:한글)?자막by[a-z가-힣]{0,12}"
    "|이시각세계였습니다|날씨였습니다"
)
_LONGEST_PHRASE = 30


def syllables_per_second(segments: Sequence[Segment], speech_s: float) -> float:
    """How fast segments were spoken that share so many seconds of speech; Hangul only, a letter is a syllable."""
    n_syllables = sum(len(re.findall("[가-힣]", segment.text)) for segment in segments)
    return n_syllables / max(0.1, speech_s)


def is_invented(segment: Segment, syllables_per_s: float, low_confidence: float = LOW_CONFIDENCE) -> bool:
    """Whether the evidence speaks against a segment having been said.

    Whisper's own rule, no speech and unlikely words, is one case; what is unlikely was measured for some models. Text
    that repeats itself, more syllables than anybody could say in the speech that there was, and a single syllable,
    which many a noise resembles, count as unlikely too. One such doubt is enough for a phrase that Whisper is known to
    invent. Where text repeats itself ten times as fast as anybody speaks, the decoder is stuck, however sure it is.

    Args:
        segment: with the decoder's evidence.
        syllables_per_s: of the window that it belongs to, over all that the voice activity detection took for speech.
        low_confidence: `confidence` under which transcripts of this model are mostly wrong.
    """
    letters = _letters(segment.text)
    looping = segment.compression_ratio > COMPRESSION_RATIO
    if looping and syllables_per_s > STUCK_SYLLABLES_PER_S:
        return True
    unlikely = (
        math.exp(segment.avg_logprob) <= low_confidence
        or len(letters) <= 1
        or looping
        or syllables_per_s > MAX_SYLLABLES_PER_S
    )
    if _only_known_phrases(letters):
        return unlikely or segment.no_speech_prob > KNOWN_PHRASE_NO_SPEECH_PROB
    return unlikely and segment.no_speech_prob > NO_SPEECH_PROB


def confidence(segments: Sequence[Segment]) -> float | None:
    """How sure the decoder is of a transcript: e to the mean log-probability of its tokens, 0..1.

    Each segment counts by its length. None without segments.
    """
    weights = [len(segment.text) for segment in segments]
    if not sum(weights):
        return None
    return math.exp(sum(w * s.avg_logprob for w, s in zip(weights, segments, strict=True)) / sum(weights))


def read_low_confidence(folder: Path) -> float:
    """The confidence under which a speech model's transcripts are mostly wrong.

    `thresholds.json` in its folder holds what was measured for it, `{"low_confidence": 0.5}`; without that file it is
    whisper's own threshold.

    Raises:
        ModelInvalid: the file is not that.
    """
    path = folder / "thresholds.json"
    if not path.is_file():
        return LOW_CONFIDENCE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))["low_confidence"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelInvalid("thresholds.json of the speech model has no low_confidence") from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ModelInvalid("low_confidence in thresholds.json of the speech model must be a number from 0 to 1")
    return float(value)


def warnings(transcript: Transcript, language: str, low_confidence: float) -> tuple[str, ...]:
    """What a caller should know about a transcript that holds words.

    Args:
        transcript: with evidence.
        language: code that was asked for.
        low_confidence: `confidence` under which transcripts of this model are mostly wrong.

    Returns:
        Any of `low_confidence` (the words are doubtful, or repeat themselves) and `unexpected_language` (a multilingual
        model hears another language).
    """
    found = []
    sure = confidence(transcript.segments)
    looping = any(segment.compression_ratio > COMPRESSION_RATIO for segment in transcript.segments)
    if sure is not None and (sure < low_confidence or looping):
        found.append("low_confidence")
    heard = transcript.heard_language
    if heard is not None and heard[0] != language and heard[1] >= LANGUAGE_PROB:
        found.append("unexpected_language")
    return tuple(found)


def _only_known_phrases(letters: str) -> bool:
    """Whether a text is one known phrase after another.

    Place by place: a phrase can end in several, and a pattern of them all would try every combination, twice as many
    with each phrase of a loop.
    """
    reached = {0}
    for start in range(len(letters)):
        if start in reached:
            ends = range(start + 1, min(len(letters), start + _LONGEST_PHRASE) + 1)
            reached.update(end for end in ends if _KNOWN_PHRASE.fullmatch(letters, start, end))
    return bool(letters) and len(letters) in reached


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()
