"""The benchmarks' pure parts; what they measure is judged by `make bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import results
from benchmarks.clips import sentence
from benchmarks.measure import Figure, alternate, difference, percentile, ratio


def test_contestants_take_turns() -> None:
    calls: list[tuple[str, int]] = []

    def contestant(name: str) -> Any:
        def call(number: int) -> str:
            calls.append((name, number))
            return f"{name}{number}"

        return call

    a, b = alternate([contestant("A"), contestant("B")], 2, warm_up=1, report=lambda line: None)

    assert calls == [("A", -1), ("B", -1), ("A", 0), ("B", 0), ("A", 1), ("B", 1)]
    assert (a, b) == (["A0", "A1"], ["B0", "B1"])


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    figure = ratio("case", [2.0, 30.0, 4.0], [1.0, 10.0, 1.0], "s", target=2.5)

    assert (figure.value, figure.low, figure.high) == (3.0, 2.0, 4.0)
    assert (figure.a, figure.b, figure.ab_unit, figure.unit) == (4.0, 1.0, "s", "x")
    assert figure.met is True


def test_an_inverse_ratio_is_how_much_faster_a_is() -> None:
    assert ratio("case", [2.0], [6.0], "s", inverse=True).value == 3.0


def test_a_difference_is_judged_by_its_upper_bound() -> None:
    figure = difference("case", [12.0, 30.0], [2.0, 10.0], "ms", target=15.0)

    assert (figure.value, figure.low, figure.high) == (15.0, 10.0, 20.0)
    assert figure.met is True
    assert difference("case", [30.0], [10.0], "ms", target=15.0).met is False


def test_a_figure_without_target_is_not_judged() -> None:
    assert Figure("case", 1.0, "s").met is None
    assert "met" not in Figure("case", 1.0, "s").as_json()


@pytest.mark.parametrize("percent", [0, 25, 50, 90, 99, 100])
def test_percentiles_are_numpys(percent: float) -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]

    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


HEAD = {
    "suite": "text",
    "profile": "embedded",
    "device": "cpu",
    "a": "this",
    "b": "that",
    "commit": "abc",
    "machine": {"cpu": "Some CPU", "cores": 2},
}


def test_results_come_back_in_the_suites_order(tmp_path: Path) -> None:
    for suite, device in (("speech", "cpu"), ("text", "cuda"), ("text", "cpu")):
        results.write(tmp_path, {**HEAD, "suite": suite, "device": device}, [Figure("case", 1.0, "s")])

    found = [(result["suite"], result["device"]) for result in results.read(tmp_path, ["text", "speech"])]

    assert found == [("text", "cpu"), ("speech", "cpu"), ("text", "cuda")]


def test_a_table_shows_values_targets_and_misses(tmp_path: Path) -> None:
    figures = [
        ratio("faster", [1.0, 1.0], [2.5, 3.5], "s", target=2.0, inverse=True),
        Figure("largest difference", 2e-4, "", target=1e-4, better="lower"),
    ]
    results.write(tmp_path, HEAD, figures)
    (result,) = results.read(tmp_path)

    markdown = results.markdown_table([result]).splitlines()

    assert markdown[0].startswith("`python -m benchmarks text --profile embedded --device cpu`")
    assert "Some CPU" in markdown[0]
    assert markdown[-2] == "| **text** | faster | 1 s | 3 s | 3 × | 2.5 – 3.5 | ≥ 2 × | ✓ |"
    assert markdown[-1] == "|  | largest difference |  |  | 2e-4 |  | ≤ 1e-4 | ✗ |"
    plain = results.plain_table(result).splitlines()
    assert plain[0] == "text · embedded · cpu"
    assert plain[-1].endswith("MISSED")


def test_sentences_differ_and_repeat_themselves_for_the_same_number() -> None:
    found = [sentence(number) for number in range(500)]

    assert len(set(found)) == 500
    assert found[7] == sentence(7)
    assert max(map(len, found)) > 3 * min(map(len, found))
