"""The report: one HTML page that asks nobody for anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import maeum
from maeum.calibration import Space
from maeum.evaluation.figures import (
    confusion_diagram,
    reliability_diagram,
    risk_coverage_diagram,
    transcript_diagram,
)
from maeum.evaluation.intervals import Interval
from maeum.evaluation.judged import Judged
from maeum.evaluation.metrics import Scores
from maeum.evaluation.run import EmotionScores, Evaluation
from maeum.evaluation.slices import MAX_SLICES
from maeum.fusion import Vector

_WORST_SHOWN = 20

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }}
h1, h2, h3 {{ line-height: 1.2; margin-top: 2rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ border-bottom: 1px solid #d8dde4; padding: .25rem .7rem; text-align: right; vertical-align: top; }}
th:first-child, td:first-child, .words th, .words td {{ text-align: left; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }}
img {{ max-width: 100%; height: auto; }}
p, li {{ max-width: 46rem; }}
.note {{ color: #566171; font-size: .9rem; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

_NOTES = """<h2>How to read this</h2>
<ul class="note">
<li>Brackets hold 95 % bootstrap intervals (1,000 resamples, a fixed seed) over clips. Those of one speaker are alike:
where a table's clips are of five speakers or more, and each names its own, speakers are drawn with all their clips;
with fewer the truth is wider than the brackets. There are none where every resample is the same, as when every clip is
right: after n clips that are all right, up to 3/n of all others may still be wrong. Macro-F1 and UAR leave out the
resamples that lack a label, and have no bracket where fewer than 200 are left; a label of a single speaker keeps that
speaker in all of them, so that the bracket is narrower than the truth.</li>
<li>“Fused less …” compares both answers to the same clips: an interval that holds 0 says that fusing may do
nothing.</li>
<li>CER and WER are edits over the length of all references together, after NFC, without punctuation (what divides words
leaves a space, a decimal point stays) and with white space folded. CER counts spaces; the second figure leaves them
out.</li>
<li>Korean labels are scored against the words' vector and the fused Korean one; English labels against the voice's
vector and the fused one before its projection back. “Projected” is the other modality alone, brought over to these
labels by the matrices of the fusion: what they cannot tell apart costs it, however well it does on its own labels.
The words' vector holds votes, which know no doubt, unless a calibration or MAEUM_TEXT_POOLING asks for the mean of the
sentences' probabilities, which “text, mean” is in any case.</li>
<li>Where nothing was said there is no text vector: such a clip is an abstention of the text figures, which leave it
out. The service then answers with the voice alone, and that answer counts among the fused ones; how often it is right
stands above each table. A row of words only has no voice: it is an abstention of the voice's and of the fused
figures.</li>
<li>A clip that could not be analysed is in no figure; it is listed below.</li>
<li>Macro-F1 and UAR (unweighted average recall, balanced accuracy) are means over the labels that some clip truly
has. ECE uses ten equal bins of the top probability. AURC is the mean risk of the risk-coverage curve.</li>
</ul>"""


def render(evaluation: Evaluation) -> str:
    """Lay an evaluation out as HTML; everything that came from outside is escaped."""
    title = f"maeum evaluate · {evaluation.manifest}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(evaluation),
        _transcripts(evaluation),
        *(_emotions(space, scores, evaluation.judged) for space, scores in evaluation.emotions.items()),
        _slices(evaluation),
        _NOTES,
        _failures(evaluation),
    ]
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def interval(figure: Interval) -> str:
    """A figure with its interval, like `0.812 [0.75, 0.87]`."""
    bounds = "" if figure.low is None or figure.high is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{bounds}"


def number(figure: float | None) -> str:
    """A figure with three decimals; a dash where there is none."""
    return "–" if figure is None else f"{figure:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _facts(evaluation: Evaluation) -> str:
    n_failed = len(evaluation.failed)
    return _table(
        ["what", "value"],
        [
            ["clips", f"{len(evaluation.outcomes)}, of which {n_failed} could not be analysed"],
            *([f"{kind} model", name] for kind, name in evaluation.models.items()),
            ["fusion", evaluation.fusion],
            *([["note", note] for note in evaluation.notes]),
            ["maeum", maeum.__version__],
        ],
        "words",
    )


def _transcripts(evaluation: Evaluation) -> str:
    scores = evaluation.transcripts
    if scores is None:
        return ""
    rated = [(one.cer, one) for one in evaluation.judged]
    worst = sorted((pair for pair in rated if pair[0]), key=lambda pair: -(pair[0] or 0))[:_WORST_SHOWN]
    rows = [[one.clip.path, number(cer), one.clip.text or "", one.prediction.transcript] for cer, one in worst]
    return "\n".join(
        [
            "<h2>Transcripts</h2>",
            f"<p>{scores.n_clips} clips with a reference; in {scores.n_empty} of them nothing was heard. "
            f"Intervals draw {evaluation.transcripts_drawn_by}.</p>",
            _table(
                ["figure", "value"],
                [
                    ["CER", interval(scores.cer)],
                    ["CER without spaces", interval(scores.cer_without_spaces)],
                    ["WER", interval(scores.wer)],
                ],
            ),
            _image(transcript_diagram(scores), "CER over the share of transcripts kept, surest first"),
            f"<h3>The worst, at most {_WORST_SHOWN}</h3>",
            _table(["clip", "CER", "said", "heard"], rows, "words"),
        ]
    )


def _emotions(space: Space, scores: EmotionScores, judged: Sequence[Judged]) -> str:
    found = {name: one for name, one in scores.by_modality.items() if one is not None}
    head = ["", "clips", "abstained", "accuracy", "macro-F1", "UAR", "ECE", "log loss", "AURC"]
    rows = [
        [
            name,
            f"{one.n_clips}",
            f"{one.n_abstained}",
            *map(interval, (one.accuracy, one.macro_f1, one.uar)),
            *map(number, (one.ece, one.log_loss, one.aurc)),
        ]
        for name, one in found.items()
    ]
    return "\n".join(
        [
            f"<h2>Emotion, {space.capitalize()} labels</h2>",
            f"<p>Nothing was said in {scores.n_without_speech} clips; the voice alone is right in "
            f"{scores.n_right_by_voice_alone} of them. Intervals draw {_drawn(scores)}.</p>",
            _table(head, rows),
            _compared(scores),
            '<div class="figures">',
            _image(reliability_diagram(found), "reliability diagram"),
            _image(risk_coverage_diagram(found), "risk-coverage curve"),
            "</div>",
            *(_labels(name, scores.labels, one) for name, one in found.items()),
            _surest_errors("fused", scores.labels, [(one, one.answer(space)) for one in judged]),
            _surest_errors("words", scores.labels, [(one, one.words()) for one in judged]) if space == "korean" else "",
        ]
    )


def _drawn(scores: EmotionScores) -> str:
    """What intervals draw, by name where it is not the same for all that has a figure."""
    figures = {**scores.by_modality, **{f"fused less {name}": one for name, one in scores.fused_less.items()}}
    names: dict[str, list[str]] = {}
    for name, drawn_by in scores.drawn_by.items():
        if figures[name] is not None:
            names.setdefault(drawn_by, []).append(name)
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{drawn_by} for {', '.join(some)}" for drawn_by, some in names.items())


def _compared(scores: EmotionScores) -> str:
    rows = [
        [f"fused less {name}", f"{one.n_clips}", *map(interval, (one.accuracy, one.macro_f1, one.uar))]
        for name, one in scores.fused_less.items()
        if one is not None
    ]
    return _table(["", "clips", "accuracy", "macro-F1", "UAR"], rows) if rows else ""


def _surest_errors(what: str, labels: Sequence[str], answered: Sequence[tuple[Judged, Vector | None]]) -> str:
    """Where the most probable label is not the truth, the most probable first."""
    wrong = [(one, vector) for one, vector in answered if vector is not None and one.is_right(labels, vector) is False]
    wrong.sort(key=lambda pair: -pair[1].max())
    rows = [
        [
            one.clip.path,
            str(one.clip.emotion),
            labels[int(vector.argmax())],
            number(vector.max()),
            one.prediction.transcript,
        ]
        for one, vector in wrong[:_WORST_SHOWN]
    ]
    if not rows:
        return ""
    head = ["clip", "truth", what, "probability", "said"]
    return f"<h3>The surest errors, {what}, at most {_WORST_SHOWN}</h3>\n" + _table(head, rows, "words")


def _slices(evaluation: Evaluation) -> str:
    if not evaluation.slices:
        return ""
    spaces = list(evaluation.emotions)
    head = ["column", "value", "clips", "CER", *(f"accuracy, fused, {space} (clips)" for space in spaces)]
    rows = [
        [
            one.column,
            one.value or "–",
            f"{one.n_clips}",
            number(one.cer),
            *(f"{number(one.accuracy.get(space))} ({one.n_labelled.get(space, 0)})" for space in spaces),
        ]
        for one in evaluation.slices
    ]
    note = f"<p>Of each the {MAX_SLICES} with most clips, where there are more.</p>"
    return "<h2>By gender, language and speaker</h2>\n" + note + _table(head, rows, "words")


def _labels(name: str, labels: Sequence[str], scores: Scores) -> str:
    rows = [
        [label, f"{one.n_clips}", *map(number, (one.precision, one.recall, one.f1))]
        for label, one in scores.per_label.items()
    ]
    return "\n".join(
        [
            f"<h3>{name.capitalize()}, label by label</h3>",
            '<div class="figures">',
            _table(["label", "clips", "precision", "recall", "F1"], rows),
            _image(confusion_diagram(labels, scores), f"confusion matrix of {name}"),
            "</div>",
        ]
    )


def _image(data_uri: str, description: str) -> str:
    return f'<img src="{data_uri}" alt="{escape(description)}">'


def _failures(evaluation: Evaluation) -> str:
    if not evaluation.failed:
        return ""
    rows = [[one.clip.path, one.code, one.message] for one in evaluation.failed]
    return "<h2>Clips that could not be analysed</h2>\n" + _table(["clip", "code", "reason"], rows, "words")
