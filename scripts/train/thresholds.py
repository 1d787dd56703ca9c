"""Measure where a speech model's confidence stops meaning anything, and what the evidence of real speech looks like.

    python scripts/train/thresholds.py SET... [--model models/embedded/speech] [--out FOLDER]

Each SET is a list of clips that `sets.py` made, or the folder of one. A clip whose text is not given counts as
misheard, whatever is heard in it. Writes `thresholds.json`, which the service reads when it lies beside the model, and
`confidence.svg`. Of a multilingual model it also says in how many clips it hears another language than Korean.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve
from tqdm import tqdm

from maeum.audio.decoding import decode
from maeum.engines.speech import SpeechEngine
from maeum.evaluation.transcripts import character_error_rate
from maeum.evidence import confidence, syllables_per_second
from maeum.process.cores import available_cores
from maeum.process.memory import keep_freed_memory
from maeum.stages import Failure, SpeechItem

LANGUAGE = "ko"
LANGUAGE_PROBS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MISHEARD_CER = 0.3
BATCH = 16


@dataclass(frozen=True, slots=True)
class Heard:
    """One transcript: how sure, how wrong, and the evidence of its segments."""

    set: str
    confidence: float
    cer: float
    no_speech_probs: tuple[float, ...]
    syllables_per_s: float
    language: tuple[str, float] | None


def hear(engine: SpeechEngine, path: Path, at_most: int | None) -> list[Heard]:
    """Transcribe a set; clips in which nothing is heard give nothing."""
    path = path / "clips.csv" if path.is_dir() else path
    name = path.parent.name if path.name == "clips.csv" else path.stem
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows = rows[:: max(1, len(rows) // at_most)] if at_most else rows  # over the whole set, which may be sorted
    found = []
    for start in tqdm(range(0, len(rows), BATCH), desc=name, leave=False, mininterval=5):
        part = rows[start : start + BATCH]
        items = [SpeechItem(decode((path.parent / row["path"]).read_bytes()).to_pcm16(), LANGUAGE) for row in part]
        for row, transcript in zip(part, engine.transcribe(items), strict=True):
            if isinstance(transcript, Failure):
                raise RuntimeError(transcript.message)
            sure = confidence(transcript.segments)
            if sure is None:
                continue
            cer = character_error_rate(row["text"], transcript.text) if row.get("text") else 1.0
            found.append(
                Heard(
                    name,
                    sure,
                    1.0 if cer is None else cer,
                    tuple(segment.no_speech_prob for segment in transcript.segments),
                    syllables_per_second(
                        transcript.segments, sum(end - start for start, end in transcript.speech_spans)
                    ),
                    transcript.heard_language,
                )
            )
    return found


def choose(heard: list[Heard]) -> tuple[float, dict[str, float]]:
    """The confidence that tells misheard transcripts from others best: the largest sum of both shares caught."""
    sure, wrong = np.array([one.confidence for one in heard]), np.array([one.cer > MISHEARD_CER for one in heard])
    false_alarms, caught, thresholds = roc_curve(wrong, -sure)
    best = int(np.argmax(caught - false_alarms))
    threshold = round(float(-thresholds[best]), 2)
    warned = sure < threshold
    return threshold, {
        "transcripts": len(heard),
        "misheard": int(wrong.sum()),
        "roc_auc": float(roc_auc_score(wrong, -sure)),
        "misheard_with_warning": float(warned[wrong].mean()),
        "others_with_warning": float(warned[~wrong].mean()),
    }


def evidence(heard: list[Heard], name: str) -> dict[str, float]:
    """What the segments of a set's well understood transcripts reach."""
    understood = [one for one in heard if one.set == name and one.cer <= MISHEARD_CER]
    reached = {
        "no_speech_prob_max": max((prob for one in understood for prob in one.no_speech_probs), default=0.0),
        "syllables_per_s_max": max((one.syllables_per_s for one in understood), default=0.0),
    }
    return {"transcripts": len(understood)} | {key: round(value, 4) for key, value in reached.items()}


def languages(heard: list[Heard]) -> dict[str, object]:
    """Share of each set's clips in which another language than Korean is heard with at least each probability."""
    found: dict[str, object] = {}
    for name in dict.fromkeys(one.set for one in heard):
        asked = [one.language for one in heard if one.language and one.set == name]
        probs = np.array([prob if language != LANGUAGE else 0.0 for language, prob in asked])
        found[name] = {str(limit): round(float((probs >= limit).mean()), 4) for limit in LANGUAGE_PROBS}
    return found


def draw(heard: list[Heard], threshold: float, path: Path) -> None:
    """Every transcript as a point, and the error rate of those that get no warning over the threshold."""
    sure, cer = np.array([one.confidence for one in heard]), np.minimum(1.2, [one.cer for one in heard])
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "maeum"}):
        figure = Figure(figsize=(9, 3.6), layout="tight")
        left, right = figure.subplots(1, 2)
        for name in dict.fromkeys(one.set for one in heard):
            chosen = np.array([one.set == name for one in heard])
            left.scatter(sure[chosen], cer[chosen], s=6, alpha=0.5, label=name, rasterized=True)
        left.axvline(threshold, color="0.3", linestyle="--", linewidth=1)
        left.axhline(MISHEARD_CER, color="0.7", linestyle=":", linewidth=1)
        left.set(xlabel="confidence", ylabel="CER (1.2 and more: 1.2)")
        left.legend(fontsize=6)
        order: NDArray[np.int64] = np.argsort(-sure)
        kept = np.arange(1, len(order) + 1)
        right.plot(sure[order], np.cumsum(cer[order]) / kept, label="mean CER of transcripts without a warning")
        right.plot(sure[order], kept / len(order), label="share of them")
        right.axvline(threshold, color="0.3", linestyle="--", linewidth=1)
        right.set(xlabel="threshold", ylim=(0, 1.03))
        right.legend(fontsize=7)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description="Measure the thresholds of a speech model.")
    parser.add_argument("sets", type=Path, nargs="+", metavar="SET")
    parser.add_argument("--at-most", type=int, metavar="N", help="clips of each set, spread over it; default: all")
    parser.add_argument("--model", type=Path, default=Path("models/embedded/speech"))
    parser.add_argument("--out", type=Path, help="default: the model's folder")
    arguments = parser.parse_args()
    out = arguments.out or arguments.model
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    engine = SpeechEngine(arguments.model, threads=1, workers=available_cores())
    heard = [one for path in arguments.sets for one in hear(engine, path, arguments.at_most)]
    threshold, figures = choose(heard)
    measured: dict[str, object] = {"misheard_means_cer_above": MISHEARD_CER}
    measured |= {name: round(value, 4) for name, value in figures.items()}
    measured["understood"] = {name: evidence(heard, name) for name in dict.fromkeys(one.set for one in heard)}
    if any(one.language for one in heard):
        measured["another_language_heard"] = languages(heard)
    text = json.dumps({"low_confidence": threshold, "measured": measured}, indent=1)
    (out / "thresholds.json").write_text(text + "\n", encoding="utf-8")
    draw(heard, threshold, out / "confidence.svg")
    print(text)


if __name__ == "__main__":
    main()
