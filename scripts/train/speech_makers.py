"""Processes that make batches for `speech_cuda`: of speech, and of people who never sound the same twice."""

import itertools
import multiprocessing
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from speech_distil import HARDNESS_OF_PEOPLE
from speech_noise import NoiseBank
from speech_people import another_head
from speech_train import NO_SPEECH_SHARE, plan_step
from speech_voice import SAMPLE_RATE_HZ, Pool
from speech_windows import Builder, harden, log_mel, side_by_side
from tokenizers import Tokenizer
from torch import Tensor

BATCHES = 32  # of `plan_step` in one
PEOPLE = 64  # windows a step
JOINED_SHARE = 0.5  # of the people: parts of two, one after the other
LONGEST_S = 9.0
NEURAL_SHARE = 0.6  # of the utterances
LEFT_OUT = 96  # windows of people: to see whether what is learned holds for others
WAITING = 6  # batches made ahead, of each kind

Arrays = dict[str, Any]


class Makers:
    """Processes that make batches of windows; to be started before CUDA is."""

    def __init__(self, work: Path, seed: int, count: int) -> None:
        context = multiprocessing.get_context("fork")
        self._progress: Synchronized[float] = context.Value("d", 0.0)
        self._queues: tuple[Any, Any] = (context.Queue(WAITING), context.Queue(WAITING))
        bank = NoiseBank(seed)
        jobs = [(work, bank, f"{seed}-{rank}", *self._queues, self._progress) for rank in range(count)]
        self._processes = [context.Process(target=_make, args=job, daemon=True) for job in jobs]
        for process in self._processes:
            process.start()

    def batches(self, device: torch.device) -> tuple[Callable[[], dict[str, Tensor]], Callable[[], dict[str, Tensor]]]:
        """Where the next batch of spoken text comes from, and of people; both already on the device."""
        return _ahead(self._queues[0], device), _ahead(self._queues[1], device)

    def advance(self, progress: float) -> None:
        """Tell at what point of the training, 0 to 1, batches are for."""
        self._progress.value = progress

    def stop(self) -> None:
        """End them."""
        for process in self._processes:
            process.terminate()


def _ahead(source: Any, device: torch.device) -> Callable[[], dict[str, Tensor]]:
    ready: queue.Queue[dict[str, Tensor]] = queue.Queue(2)

    def move() -> None:
        while True:
            arrays = source.get()
            ready.put({name: torch.as_tensor(value).to(device) for name, value in arrays.items()})

    threading.Thread(target=move, daemon=True).start()
    return ready.get


def _make(work: Path, bank: NoiseBank, seed: str, spoken: Any, people: Any, progress: "Synchronized[float]") -> None:
    os.nice(3)  # what feeds the GPU goes first
    torch.set_num_threads(1)
    rng = random.Random(seed)
    draw = np.random.default_rng(rng.randrange(2**32))
    pool = Pool([work / "shards", work / "neural"], [1 - NEURAL_SHARE, NEURAL_SHARE])
    speakers = Pool([work / "people"])
    speakers.refresh()
    speakers.take_out(LEFT_OUT)
    builder = Builder(pool, bank, Tokenizer.from_file(str(work / "tokenizer.json")))
    while not (pool.refresh() and pool.ready):
        time.sleep(1)
    for step in itertools.count():
        if step % 20 == 0:
            pool.refresh()
        plan = plan_step(progress.value, rng)
        batch = builder.batch(replace(plan, batch=BATCHES * plan.batch), NO_SPEECH_SHARE, rng)
        spoken.put(
            {
                "mel": batch.mel.numpy().astype(np.float16),
                "inputs": batch.inputs.numpy(),
                "labels": batch.labels.numpy(),
                "times_s": batch.times_s.numpy(),
                "padding_stride": batch.padding_stride or 0,
            }
        )
        people.put(_people(speakers, bank, rng, draw, PEOPLE))


def _people(speakers: Pool, bank: NoiseBank, rng: random.Random, draw: np.random.Generator, count: int) -> Arrays:
    waves = (join(speakers, rng) for _ in range(count))
    return arrays_of([harden(wave, bank, HARDNESS_OF_PEOPLE, rng, draw) for wave in waves])


def arrays_of(waves: list[NDArray[np.float32]]) -> Arrays:
    """Windows as the teacher and the network hear them: features, float16, and lengths in seconds."""
    mel = side_by_side([log_mel(wave) for wave in waves])
    lengths_s = np.array([len(wave) / SAMPLE_RATE_HZ for wave in waves], np.float32)
    return {"mel": mel.numpy().astype(np.float16), "lengths_s": lengths_s}


def join(speakers: Pool, rng: random.Random) -> NDArray[np.float32]:
    """A window of a person, or parts of two with a pause between them, float32, at most `LONGEST_S` long."""
    pieces = [another_head(speakers.draw(rng), rng).pcm]
    if rng.random() < JOINED_SHARE:
        pieces.append(another_head(speakers.draw(rng), rng).pcm)
        pieces = [_part(one, rng) for one in pieces]
        pieces.insert(1, np.zeros(round(rng.uniform(0.0, 0.6) * SAMPLE_RATE_HZ), np.int16))
    together = np.concatenate(pieces)[: round(LONGEST_S * SAMPLE_RATE_HZ)]
    return np.float32(1 / 32768) * together.astype(np.float32)


def _part(pcm: NDArray[np.int16], rng: random.Random) -> NDArray[np.int16]:
    length = min(len(pcm), round(rng.uniform(1.2, 4.5) * SAMPLE_RATE_HZ))
    first = rng.randrange(len(pcm) - length + 1)
    return pcm[first : first + length]
