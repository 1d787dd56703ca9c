"""An analysis as a card for people to read in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from maeum.cli.terminal import printable
from maeum.summary import FAILURE_REASONS, SKIP_REASONS

if TYPE_CHECKING:
    from maeum.schemas import AnalysisBody, SummaryBody

_TOP_STYLE = "bold cyan"
_VOICE_LABELS_SHOWN = 3
_WARNINGS = {
    "no_speech": "no speech was found: the voice alone decides",
    "low_confidence": "the transcript is doubtful, and so are the emotions read from it",
    "unexpected_language": "the speech seems to be in another language",
}


def print_card(console: Console, file: str, analysis: AnalysisBody) -> None:
    """Print one recording's transcript, emotions and summary.

    Args:
        console: where to; its width decides the card's.
        file: the recording's name, as the title.
        analysis: what is known about the recording.
    """
    console.print(
        Panel(
            Group(_transcript(analysis), Text(), _bars(analysis), Text(), _notes(analysis)),
            title=_text(file, "bold"),
            title_align="left",
            subtitle=_text(f"{_clock(analysis.transcript.duration_s)} · {analysis.timings_ms['total'] / 1000:.1f} s"),
            subtitle_align="right",
            box=box.ROUNDED,
        )
    )


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _transcript(analysis: AnalysisBody) -> Text:
    said = analysis.transcript.text
    return _text(said) if said else Text("(nothing was said)", style="dim italic")


def _bars(analysis: AnalysisBody) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    emotion = analysis.emotion
    for label, probability in zip(emotion.labels, emotion.probabilities, strict=True):
        is_top = label == emotion.top
        style = _TOP_STYLE if is_top else ""
        bar = Bar(1, 0, probability, color="cyan" if is_top else "bright_black")
        table.add_row(Text("▸" if is_top else " ", style), _text(label, style), bar, Text(_percent(probability), style))
    return table


def _notes(analysis: AnalysisBody) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("voice", _voice(analysis.voice_emotion))
    table.add_row("summary", _summary(analysis.summary))
    for warning in analysis.warnings:
        table.add_row("warning", Text(_WARNINGS.get(warning, warning), style="yellow"))
    return table


def _voice(probabilities: dict[str, float]) -> Text:
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    return _text(" · ".join(f"{label} {_percent(value)}" for label, value in ordered[:_VOICE_LABELS_SHOWN]))


def _summary(summary: SummaryBody) -> RenderableType:
    if summary.text:
        return _text(summary.text)
    code = summary.reason or summary.status
    reason = (SKIP_REASONS | FAILURE_REASONS).get(code, "")
    return _text(f"none ({code}) {reason}".rstrip(), "dim" if summary.status == "skipped" else "yellow")


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:04.1f}"
