"""The HTTP edge's types: frozen pydantic models whose field order is the order of the JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from maeum.errors import MaeumError
from maeum.evidence import confidence
from maeum.pipeline import Analysis


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SegmentBody(_Frozen):
    """A stretch of the transcript, and what the decoder knew of the text that it belongs to."""

    start_s: float
    end_s: float
    text: str
    avg_logprob: float = Field(description="Mean log-probability of the tokens.")
    no_speech_prob: float = Field(description="Probability that nothing is said there.")
    compression_ratio: float = Field(description="Above 2.4 the text repeats itself.")


class TranscriptBody(_Frozen):
    """What was said."""

    text: str
    language: str
    duration_s: float = Field(description="Length of the recording in seconds.")
    confidence: float | None = Field(description="How sure the speech model is, 0 to 1; null when nothing was said.")
    segments: list[SegmentBody]


class EmotionBody(_Frozen):
    """The fused emotion."""

    labels: list[str]
    probabilities: list[float] = Field(description="In the order of labels; sum 1.")
    top: str


class SummaryBody(_Frozen):
    """The empathetic sentence, or why there is none."""

    status: Literal["ok", "skipped", "failed"]
    text: str | None
    reason: str | None


class ModelsBody(_Frozen):
    """Names of the models that made the answer."""

    speech: str
    text: str
    voice: str
    summary: str | None


class AnalysisBody(_Frozen):
    """Answer of `POST /v1/analyze`."""

    transcript: TranscriptBody
    emotion: EmotionBody
    text_emotion: dict[str, float] | None = Field(
        description="The sentences' votes or, under MAEUM_TEXT_POOLING=mean or a calibration, their mean "
        "probabilities; null when nothing was said."
    )
    voice_emotion: dict[str, float]
    summary: SummaryBody
    warnings: list[str] = Field(description="Any of no_speech, low_confidence, unexpected_language.")
    models: ModelsBody
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, analysis: Analysis) -> AnalysisBody:
        """Lay an analysis out for JSON."""
        transcript, summary = analysis.transcript, analysis.summary
        sure = confidence(transcript.segments)
        top = max(range(len(analysis.labels)), key=analysis.probabilities.__getitem__)
        return cls(
            transcript=TranscriptBody(
                text=transcript.text,
                language=analysis.language,
                duration_s=round(analysis.duration_s, 3),
                confidence=None if sure is None else round(sure, 4),
                segments=[
                    SegmentBody(
                        start_s=segment.start_s,
                        end_s=segment.end_s,
                        text=segment.text,
                        avg_logprob=round(segment.avg_logprob, 4),
                        no_speech_prob=round(segment.no_speech_prob, 4),
                        compression_ratio=round(segment.compression_ratio, 4),
                    )
                    for segment in transcript.segments
                ],
            ),
            emotion=EmotionBody(
                labels=list(analysis.labels),
                probabilities=list(analysis.probabilities),
                top=analysis.labels[top],
            ),
            text_emotion=analysis.text_emotion,
            voice_emotion=analysis.voice_emotion,
            summary=SummaryBody(status=summary.status, text=summary.text, reason=summary.reason),
            warnings=list(analysis.warnings),
            models=ModelsBody.model_validate(analysis.models),
            timings_ms=analysis.timings_ms,
        )


class ContractBody(_Frozen):
    """Answer of `POST /api/diary/analyze`: exactly the original's two keys."""

    summary: str
    emotion_analysis: list[float]

    @classmethod
    def of(cls, analysis: Analysis) -> ContractBody:
        """Reduce an analysis to the contract."""
        return cls(summary=analysis.summary.contract_text, emotion_analysis=list(analysis.probabilities))


class ErrorDetail(_Frozen):
    """A machine-readable code and a sentence for people."""

    code: str
    message: str


class ErrorBody(_Frozen):
    """Every error of `/v1`."""

    error: ErrorDetail

    @classmethod
    def of(cls, error: MaeumError) -> ErrorBody:
        """Lay an error out for JSON."""
        return cls(error=ErrorDetail(code=error.code, message=error.message))


class ContractErrorBody(_Frozen):
    """Every error of the original route."""

    error: str
