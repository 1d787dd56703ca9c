"""Sentences in batches against one sentence a forward pass."""

from __future__ import annotations

import statistics
from typing import Any, get_args

from benchmarks.machine import gemm_gflops
from benchmarks.measure import Figure, alternate, ratio, seconds
from benchmarks.original import Original
from benchmarks.suite import Run, Suite
from maeum.assembly import load_text
from maeum.engines.text import TextEngine
from maeum.errors import InvalidConfiguration
from maeum.process.cores import has_bf16
from maeum.settings import TextPrecision

SENTENCES = 64


def run(run: Run) -> list[Figure]:
    """Measure the engine in each precision that it offers."""
    figures = []
    original = run.original()
    for precision in get_args(TextPrecision):
        if precision == "bf16" and run.device == "cpu" and not has_bf16():
            run.say("  bf16 left out: this CPU has no instructions for it")  # torch would emulate it
            continue
        try:
            engine = load_text(run.settings(text_precision=precision))
        except InvalidConfiguration as error:
            run.say(f"  {precision} left out: {error.message}")
            continue
        figures += _measure(run, engine, original, precision)
    return figures


def _measure(run: Run, engine: TextEngine, original: Original, precision: TextPrecision) -> list[Figure]:
    default = precision == "fp32"
    inputs = {number: run.clips.sentences(SENTENCES) for number in range(-1, run.rounds)}
    ours: list[tuple[float, ...]] = []
    theirs: list[tuple[float, ...]] = []

    def together(number: int) -> float:
        results: list[Any] = []
        duration_s = seconds(lambda: results.extend(engine.classify(inputs[number])))
        ours.extend(row for row in results if isinstance(row, tuple))
        return duration_s

    def one_by_one(number: int) -> float:
        results: list[Any] = []
        duration_s = seconds(lambda: results.extend(original.classify(sentence) for sentence in inputs[number]))
        theirs.extend(map(tuple, results))
        return duration_s

    a, b = alternate([together, one_by_one], run.rounds, report=run.say)
    off = [max(abs(x - y) for x, y in zip(one, other, strict=True)) for one, other in zip(ours, theirs, strict=True)]
    same = [one.index(max(one)) == other.index(max(other)) for one, other in zip(ours, theirs, strict=True)]
    tokenizer, model = original.classifier
    tokens = [len(tokens) for tokens in tokenizer(inputs[0])["input_ids"]]
    achieved = _flops_per_token(model) * sum(tokens) / statistics.median(a) / 1e9
    roofs = gemm_gflops(run.device)
    roof = precision if precision in roofs else "fp32"  # int8's is not measured
    name = f"{SENTENCES} sentences, {precision}"
    return [
        ratio(f"{name}: times as fast", a, b, "s", target=1.6 if default else 4.0, inverse=True),
        Figure(f"{name}: largest difference", max(off), "", target=1e-4 if default else 0.02, better="lower"),
        Figure(f"{name}: same label", statistics.mean(same), "", target=None if default else 0.995),
        Figure(f"{name}: tokens in a sentence", statistics.mean(tokens), "", min(tokens), max(tokens)),
        Figure(f"{name}: GFLOP/s over those of a GEMM in {roof}", achieved / roofs[roof], "x"),
    ]


def _flops_per_token(model: Any) -> float:
    """Two for each weight of the layers' matrices; attention's own products are small at this length."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and ".layer." in name]
    return 2.0 * sum(int(p.numel()) for p in matrices)


SUITE = Suite(
    "text",
    "the text engine on 64 sentences",
    "one sentence a forward pass, fp32",
    run,
    rounds=15,
    profiles=("embedded", "production-shapes"),
)
