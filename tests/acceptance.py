"""Judge a running server as a stranger would: `python -m tests.acceptance [--url URL] [--robustness DIR]`.

Speaks sentences with espeak-ng on the spot and reports, as JSON lines: the character error rate, the sums of the
probabilities, answers under 64 clients, the mean batch of each runner under 16, the memory of the server's processes,
and what damaged and hostile files get. Needs `make serve` to run and espeak-ng to be installed.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jiwer
from prometheus_client.parser import text_string_to_metric_families

# Written for this script; in no training set and in no test clip.
SUBJECTS = ("언니가", "우리 반 친구가", "옆집 아저씨가", "회사 후배가", "막내 삼촌이", "선생님이", "아들이", "이모가")
EVENTS = (
    "갑자기 전화를 해서 깜짝 놀랐다.",
    "약속 시간에 한 시간이나 늦어서 짜증이 났다.",
    "직접 만든 과자를 나눠 줘서 기분이 좋았다.",
    "멀리 이사를 간다고 해서 마음이 허전하다.",
    "내 말을 끝까지 들어 줘서 고마웠다.",
    "자꾸 거짓말을 하니까 믿을 수가 없다.",
    "병원에 입원했다는 소식에 걱정이 많이 된다.",
    "모두 앞에서 내 실수를 이야기해서 창피했다.",
)
VOICES = ("ko", "ko+f1", "ko+f2", "ko+f3", "ko+m1", "ko+m2", "ko+m3", "ko+m5")


def speak(text: str, rng: random.Random) -> bytes:
    """A wav of espeak-ng speaking `text` in a random voice."""
    command = ["espeak-ng", "-v", rng.choice(VOICES), "-s", str(rng.randint(145, 175)), "-p", str(rng.randint(38, 60))]
    return subprocess.run([*command, "--stdout", text], check=True, capture_output=True).stdout


def without_punctuation(text: str) -> str:
    """The letters and single spaces of a text, which is what the error rate counts."""
    return " ".join("".join(character for character in text if character not in ".,?!").split())


def batches(url: str) -> dict[str, tuple[float, float]]:
    """Batches and items so far, per runner."""
    totals: dict[str, dict[str, float]] = collections.defaultdict(dict)
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        if family.name == "maeum_batch_size":
            for sample in family.samples:
                totals[sample.labels["runner"]][sample.name] = sample.value
    return {
        runner: (values["maeum_batch_size_count"], values["maeum_batch_size_sum"]) for runner, values in totals.items()
    }


def memory_mb(port: int) -> float:
    """Proportional set size of the server on `port` and all its children, in MB."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid,args"], check=True, capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()[1:]]
    family = {int(pid) for pid, _, args in rows if "bentoml" in args and f"--port {port}" in args}
    while more := {int(pid) for pid, parent, _ in rows if int(parent) in family} - family:
        family |= more
    total = 0
    for pid in family:
        rollup = Path(f"/proc/{pid}/smaps_rollup")
        if rollup.exists():
            total += sum(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Pss:"))
    return total / 1024


def load(url: str, clips: list[bytes], clients: int) -> list[tuple[int, float, Any]]:
    """Send every clip once from `clients` at a time; status, seconds and answer of each."""

    def send(data: bytes) -> tuple[int, float, Any]:
        start = time.perf_counter()
        response = httpx.post(f"{url}/v1/analyze", files={"file": ("a.wav", data)}, timeout=600)
        return response.status_code, time.perf_counter() - start, response.json()

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(send, clips))


def mutate(clip: bytes, rng: random.Random) -> bytes:
    """A copy with bytes changed, inserted, removed, or cut off; never empty."""
    data = bytearray(clip)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(min(len(data), rng.choice([48, 4096, len(data)])))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at : at + 4] = rng.randbytes(4)
            case 2:
                del data[max(at, 1) : at + rng.randint(1, 3000)]
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 300))
            case _:
                del data[max(at, 1) :]
    return bytes(data)


def main() -> None:
    """Run every check and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--robustness", type=Path, help="folder of faulty and hostile audio files")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    url, rng = arguments.url, random.Random(arguments.seed)

    def report(check: str, **figures: Any) -> None:
        print(json.dumps({"check": check, **figures}, ensure_ascii=False), flush=True)

    sentences = [f"{subject} {event}" for subject in SUBJECTS for event in EVENTS]
    spoken = [(text, speak(text, rng)) for text in sentences]
    answers = load(url, [data for _, data in spoken], 4)
    rates = [
        jiwer.cer(without_punctuation(text), without_punctuation(answer["transcript"]["text"]))
        for (text, _), (_, _, answer) in zip(spoken, answers, strict=True)
    ]
    off = max(abs(sum(answer["emotion"]["probabilities"]) - 1) for _, _, answer in answers)
    report("speech", clips=len(rates), mean_cer=round(statistics.mean(rates), 4), worst_sum_error=off)

    before = batches(url)
    load(url, [speak(rng.choice(sentences), rng) for _ in range(96)], 16)
    after = batches(url)
    means = {k: round((after[k][1] - before[k][1]) / (after[k][0] - before[k][0]), 2) for k in after}
    report("batches at 16 clients", **means)

    clips = [speak(f"{rng.choice(sentences)} {rng.choice(sentences)}", rng) for _ in range(300)]
    start = time.perf_counter()
    results = load(url, clips, 64)
    seconds = time.perf_counter() - start
    statuses = collections.Counter(status for status, _, _ in results)
    port = int(httpx.URL(url).port or 80)
    report("64 clients, 300 clips", statuses=statuses, per_s=round(300 / seconds, 2), memory_mb=round(memory_mb(port)))

    hostile = [mutate(rng.choice(clips), rng) for _ in range(500)]
    results = load(url, hostile, 2)
    statuses = collections.Counter(status for status, _, _ in results)
    report("500 mutated clips", statuses=statuses, slowest_s=round(max(s for _, s, _ in results), 2))

    if arguments.robustness:
        files = sorted(path for path in arguments.robustness.rglob("*") if path.is_file())
        results = load(url, [path.read_bytes() for path in files], 1)
        statuses = collections.Counter(status for status, _, _ in results)
        slow = [
            (path.name, round(seconds, 1), answer["transcript"]["duration_s"] if status == 200 else status)
            for path, (status, seconds, answer) in zip(files, results, strict=True)
            if seconds > 5
        ]
        report("hostile files", files=len(files), statuses=statuses, slower_than_5_s=slow)
    report("after all", status=load(url, clips[:1], 1)[0][0])


if __name__ == "__main__":
    main()
