"""The benchmarks' pure parts; what they measure is judged by `make bench`."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest

from benchmarks import load, results
from benchmarks.clips import as_m4a, sentence, wav
from benchmarks.load import Load, closed_loop, even_arrivals, ideal_latencies, random_arrivals
from benchmarks.measure import Figure, alternate, difference, percentile, ratio
from benchmarks.server import Server, cpu_seconds
from benchmarks.suites import SUITES
from maeum.audio.decoding import decode, decode_here
from maeum.settings import PROJECT_DIR


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
        Figure("only an explanation", 1.0, "s"),
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
    assert plain[-2].endswith("MISSED")
    assert plain[-1].split() == ["only", "an", "explanation", "1", "s"]


def test_a_table_says_which_suites_were_measured_on_which_commit(tmp_path: Path) -> None:
    for suite, commit in (("text", "abc"), ("speech", "def"), ("long", "abc")):
        results.write(tmp_path, {**HEAD, "suite": suite, "commit": commit}, [Figure("case", 1.0, "s", target=1.0)])
    suites = ["text", "speech", "long"]

    assert "commits abc (text long), def (speech)." in results.markdown_table(results.read(tmp_path, suites))
    (only, *_) = results.read(tmp_path, suites)
    assert "2 cores of Some CPU, commit abc." in results.markdown_table([only])


def test_what_leads_a_suite_is_shown_without_a_target_too(tmp_path: Path) -> None:
    figures = [Figure("clips a second", 5.0, "/s"), Figure("failures", 0, "", target=0, better="lower")]
    results.write(tmp_path, HEAD, figures)

    markdown = results.markdown_table(results.read(tmp_path)).splitlines()

    assert markdown[-2:] == [
        "| **text** | clips a second |  |  | 5 /s |  |  |  |",
        "|  | failures |  |  | 0 |  | ≤ 0 | ✓ |",
    ]


def test_a_suite_without_targets_gets_a_table_with_a_line_for_each_thing(tmp_path: Path) -> None:
    figures = [
        ratio("SIZE=1: clips a second", [2.0], [4.0], "/s"),
        ratio("SIZE=1: p99", [900.0], [450.0], "ms"),
        ratio("SIZE=8: clips a second", [4.0], [4.0], "/s"),
        Figure("SIZE=8: requests without status 200", 3, ""),
    ]
    results.write(tmp_path, HEAD, [Figure("case", 1.0, "s", target=1.0)])
    results.write(tmp_path, {**HEAD, "suite": "batching"}, figures)

    markdown = results.markdown_table(results.read(tmp_path, ["batching", "text"])).splitlines()

    assert markdown[0].startswith("`python -m benchmarks batching text ")
    assert markdown[-7:] == [
        "| **text** | case |  |  | 1 s |  | ≥ 1 s | ✓ |",
        "",
        "| **batching**: this | clips a second | p99 | requests without status 200 |",
        "|---|--:|--:|--:|",
        "| that | 4 /s | 450 ms |  |",
        "| `SIZE=1` | 2 /s, 0.5 × | 900 ms, 2 × |  |",
        "| `SIZE=8` | 4 /s, 1 × |  | 3 |",
    ]


def test_figures_of_several_kinds_each_keep_their_own_other_side(
    tmp_path: Path,
) -> None:
    figures = [ratio("a collection", [0.001], [200.0], "ms"), Figure("p50", 170.0, "ms")]
    results.write(tmp_path, {**HEAD, "suite": "pauses"}, figures)

    lines = results.markdown_table(results.read(tmp_path, ["pauses"])).splitlines()

    assert lines[-2:] == [
        "| **pauses** | a collection | 0.001 ms | 200 ms | 5e-6 × | 5e-6 – 5e-6 |  |  |",
        "|  | p50 |  |  | 170 ms |  |  |  |",
    ]


def test_the_readme_says_what_every_suite_compares() -> None:
    text = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
    _, *rows = text.partition("\n| suite | A | B |\n")[2].partition("\n\n")[0].splitlines()

    assert rows == [f"| `{name}` | {suite.a} | {suite.b} |" for name, suite in SUITES.items()]


def test_a_request_without_an_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sent = closed_loop(f"http://127.0.0.1:{silent.getsockname()[1]}", [b"one", b"two"], 1)

    assert (sent.failures, sent.latencies_s) == (2, [])


def test_a_perfect_queue_serves_who_comes_first_on_every_core() -> None:
    assert ideal_latencies([0.0, 0.0, 0.0, 0.5, 9.0], servers=2, service_s=1.0) == [1.0, 1.0, 2.0, 1.5, 1.0]


def test_even_arrivals_are_equally_far_apart() -> None:
    assert even_arrivals(4.0, 3) == [0.0, 0.25, 0.5]


def test_random_arrivals_come_in_order_and_as_often_as_asked() -> None:
    arrivals_s = random_arrivals(4.0, 4_000, seed=0)

    assert arrivals_s == sorted(arrivals_s) == random_arrivals(4.0, 4_000, seed=0)
    assert arrivals_s[-1] == pytest.approx(1_000, rel=0.05)


def test_what_limits_a_suite_stands_beside_its_targets(tmp_path: Path) -> None:
    figures = [Figure("fast", 2.0, "x", target=3.0), Figure("at best", 2.5, "x", limit=True), Figure("else", 1.0, "s")]
    results.write(tmp_path, HEAD, figures)

    lines = results.markdown_table(results.read(tmp_path, ["text"])).splitlines()

    assert [line.split("|")[2].strip() for line in lines[-2:]] == ["fast", "at best"]


def test_enough_clips_last_at_twice_the_rate() -> None:
    assert Load(latencies_s=[1.0] * 6, duration_s=4.0).enough(10) == 30


def test_a_clip_as_m4a_needs_ffmpeg_and_still_sounds_the_same() -> None:
    time_s = np.arange(22_050 * 2) / 22_050
    clip = wav((0.3 * np.sin(2 * np.pi * (200 + 100 * time_s) * time_s)).astype(np.float32), 22_050)
    compressed = as_m4a(clip)
    assert len(compressed) < len(clip) / 2
    assert decode_here(compressed, 600.0) is None
    original, heard = decode(clip).samples, decode(compressed).samples
    shift = int(np.argmax(np.correlate(heard[:20_000], original[:16_000], mode="valid")))
    assert np.corrcoef(heard[shift : shift + 16_000], original[:16_000])[0, 1] > 0.99


def test_sentences_differ_and_repeat_themselves_for_the_same_number() -> None:
    found = [sentence(number) for number in range(500)]

    assert len(set(found)) == 500
    assert found[7] == sentence(7)
    assert max(map(len, found)) > 3 * min(map(len, found))


_CHILD = """
import subprocess, sys, time
def burn(seconds):
    while time.process_time() < seconds:
        pass
burn(0.3)
if sys.argv[1] == "first":
    subprocess.run([sys.executable, sys.argv[0], "second"])
    print("done", flush=True)
    sys.stdin.read()
"""


def test_cpu_seconds_count_children_that_have_ended(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(_CHILD)
    with subprocess.Popen([sys.executable, script, "first"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()

        used = cpu_seconds(process.pid)

        process.stdin.close()
    assert used >= 0.55  # twice 0.3, less what the kernel's clock ticks cut off


def test_a_suspended_server_rests_with_its_children_until_it_is_resumed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    wait = "import sys; print(1, flush=True); sys.stdin.read()"
    script.write_text(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {wait!r}])")
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        server = Server("", process.pid, 0.0)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]

        server.suspend()
        while not all(member.status() == psutil.STATUS_STOPPED for member in family):
            time.sleep(0.01)
        server.resume()
        process.stdin.close()
    assert len(family) == 2
    assert process.returncode == 0


def test_there_are_no_cpu_seconds_of_a_process_that_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        with pytest.raises(psutil.NoSuchProcess):
            cpu_seconds(process.pid)
