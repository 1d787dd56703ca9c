"""Training loop: kinds of windows, losses, schedule, checkpoints."""

import copy
import logging
import multiprocessing
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from precision import autocast
from speech_distil import Lesson, Sound
from speech_network import WHISPER_INNER, Shape, Whisper
from speech_noise import NoiseBank
from speech_text import TIMESTAMP_STEP_S
from speech_voice import Pool
from speech_windows import IGNORED, WINDOW_S, Batch, Builder, Plan
from tokenizers import Tokenizer
from torch import Tensor, distributed
from tqdm import tqdm

LOG = logging.getLogger("speech")
MIN_UTTERANCES = 3000
NEURAL_SHARE = 0.3  # of the utterances
NO_SPEECH_SHARE = 0.05
ATTENTION_SLACK_S = 0.2
# The encoder can listen already: it learns slowly, and is held to what it said of people before.
ENCODER_RATE = 0.5
ENCODER_WARM_UP = 300  # steps
PEOPLE = 2  # a step and process
SAID, HEARD = 1.5, 16.0  # what the whole network says of people and how it hears them, beside the cross-entropy
# From here on windows are longer, and labels are not smoothed: the 1,501 times would have a share of every choice, and
# where the model hesitates between syllables faster-whisper's rule, a time if all times outweigh the likeliest text,
# would end the sentence.
LATE = 0.57
AVERAGE_STEPS = 500  # over about so many the weights that are exported are averaged
HARDEST = 0.7  # noise down to 15 dB; more of it costs accuracy on clean speech


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        hours: planned time, from which hardness and learning rate follow.
        seed: of weights and windows.
        learning_rate: peak.
        checkpoint_s: seconds between checkpoints.
    """

    hours: float
    seed: int
    learning_rate: float = 3e-4
    checkpoint_s: float = 300.0


def plan_step(progress: float, rng: random.Random) -> Plan:
    """The kind of windows at a point of the training, 0 to 1."""
    hardness = min(HARDEST, 0.3 + 0.84 * progress)
    kind = rng.random()
    late = progress >= LATE
    timestamps = 0.85 if late else 0.7  # as in faster-whisper's default decoding
    if kind < 0.07:  # the whole padding, as at inference
        return Plan(rng.uniform(3.0, 14.0), 1, 1, hardness, timestamps)
    stride = rng.choice((8, 12, 16, 24))
    if kind < (0.34 if late else 0.46):
        return Plan(5.5, 3, stride, hardness, timestamps)
    if kind < (0.64 if late else 0.72):
        return Plan(rng.uniform(7.0, 12.0), 2, stride, hardness, timestamps)
    if kind < 0.9:
        return Plan(rng.uniform(12.0, 20.0), 1, stride, hardness, timestamps)
    return Plan(rng.choice((WINDOW_S, rng.uniform(20.0, WINDOW_S))), 1, stride, hardness, timestamps)


def spoken_losses(
    logits: Tensor, attention: Tensor, positions: Tensor, labels: Tensor, times_s: Tensor, *, late: bool
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of spoken text, and how far the heads that are to follow the sound are from each token's time.

    Args:
        logits: (batch, length, vocabulary).
        attention: of these heads, (batch, heads, length, audio).
        positions: of the audio's states, in steps of 20 ms, (audio,).
        labels: int64, (batch, length), `IGNORED` where nothing is to be learned.
        times_s: when each label is spoken, (batch, length); negative where unknown.
        late: labels are not smoothed.
    """
    said = F.cross_entropy(
        logits.float().flatten(0, 1),
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=0.0 if late else 0.02,
    )
    distance = positions * TIMESTAMP_STEP_S - times_s[..., None]
    away = 1 - torch.exp(-(distance**2) / (2 * ATTENTION_SLACK_S**2))
    known = times_s >= 0
    guide = ((attention.float() * away[:, None]).sum(-1).mean(1) * known).sum() / known.sum().clamp(min=1)
    return said, guide


class Trainer:
    """The model with what training adds to it, begun from what `speech_distil` made of Whisper."""

    def __init__(self, shape: Shape, recipe: Recipe, start: Path) -> None:
        torch.manual_seed(recipe.seed)
        stored = torch.load(start, weights_only=True)
        self.model = Whisper(shape)
        self.model.load_state_dict(stored["model"])
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        # Whisper before it was cut, which says what people say.
        self.whole = Whisper(replace(shape, encoder_inner=WHISPER_INNER, decoder_inner=WHISPER_INNER))
        self.whole.requires_grad_(False)
        self.whole.load_state_dict(stored["whole"])
        self.recipe = recipe
        groups = [
            [parameter for parameter in module.parameters() if parameter.requires_grad]
            for module in (self.model.encoder, self.model.decoder)
        ]
        self.parameters = [parameter for group in groups for parameter in group]
        # One buffer for all gradients, so that the processes exchange them in one go.
        self.gradient = torch.zeros(sum(parameter.numel() for parameter in self.parameters))
        pieces = self.gradient.split([parameter.numel() for parameter in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=True,
        )
        self.step = 0
        self.elapsed_s = 0.0

    @property
    def progress(self) -> float:
        """Share of the planned time that is over."""
        return min(1.0, self.elapsed_s / 3600 / self.recipe.hours)

    def learning_rate(self) -> float:
        """Warm-up over 300 steps, flat to 30 % of the time, then linear to 2 %."""
        return self.recipe.learning_rate * min(1.0, (self.step + 1) / 300, max(0.02, (1 - self.progress) / 0.7))

    def losses(self, batch: Batch, lesson: Lesson) -> dict[str, Tensor]:
        """Cross-entropy and guided-attention losses of one batch, and how far the network is from Whisper with people.

        Args:
            batch: spoken text.
            lesson: draws people and compares.
        """
        with autocast():
            audio, positions, bias = self.model.encoder(batch.mel, batch.padding_stride)
            logits, attention = self.model.decoder(batch.inputs, audio, bias)
        cross_entropy, guide = spoken_losses(
            logits, attention, positions, batch.labels, batch.times_s, late=self.progress >= LATE
        )
        said, heard = lesson.of_people(self.model, self.whole, PEOPLE)
        return {"ce": cross_entropy, "guide": guide, "said": said, "heard": heard}

    def update(self, batch: Batch, lesson: Lesson) -> dict[str, float]:
        """One optimiser step; returns the losses."""
        losses = self.losses(batch, lesson)
        guide = 1.0 if self.progress < 0.3 else 0.4
        loss = losses["ce"] + guide * losses["guide"] + SAID * losses["said"] + HEARD * losses["heard"]
        rate = self.learning_rate()
        slow = ENCODER_RATE * min(1.0, self.step / ENCODER_WARM_UP)
        for group, share in zip(self.optimizer.param_groups, (slow, 1.0), strict=True):
            group["lr"] = rate * share
        self.gradient.zero_()
        loss.backward()
        distributed.all_reduce(self.gradient)
        norm = self.gradient.norm()
        if torch.isfinite(norm):
            self.gradient.mul_(1.0 / max(float(norm), float(distributed.get_world_size())))
            self.optimizer.step()
        self.step += 1
        share = max(1 / AVERAGE_STEPS, 1 / self.step)
        with torch.no_grad():
            torch._foreach_lerp_([*self.average.parameters()], [*self.model.parameters()], share)
        return {name: float(value.detach()) for name, value in losses.items()}

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all; its `model` is the running average of the weights."""
        state = {
            "model": self.average.state_dict(),
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.average.load_state_dict(state["model"])
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]


def _follow(work: Path, recipe: Recipe, rank: int, n_ranks: int) -> None:
    """Run one of the further processes; it ends when the first one tells it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _run(work, recipe, rank, n_ranks)


def _run(work: Path, recipe: Recipe, rank: int, n_ranks: int) -> Trainer:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    distributed.init_process_group(
        "gloo", init_method=f"file://{(work / 'rendezvous').resolve()}", rank=rank, world_size=n_ranks
    )
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    trainer = Trainer(Shape(tokenizer.get_vocab_size()), recipe, work / "start.pt")
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    pool = Pool([work / "shards", work / "neural"], [1 - NEURAL_SHARE, NEURAL_SHARE])
    bank = NoiseBank(recipe.seed)
    builder = Builder(pool, bank, tokenizer)
    people = Pool([work / "people"])
    people.refresh()
    while pool.refresh() < MIN_UTTERANCES:
        time.sleep(2)
    plans = random.Random(recipe.seed + trainer.step)  # the same everywhere: no process waits for a longer window
    rng = random.Random(f"{recipe.seed}-{trainer.step}-{rank}")
    choices = random.Random(f"{recipe.seed}-people-{trainer.step}-{rank}")  # `rng` is drawn from in another thread
    lesson = Lesson(tokenizer, Sound(pool, people, bank), choices, 1)

    def build() -> Batch:
        return builder.batch(plan_step(trainer.progress, plans), NO_SPEECH_SHARE, rng)

    ahead = ThreadPoolExecutor(1)  # reading speech from disk overlaps with the step before
    coming = ahead.submit(build)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    if rank == 0:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    bar = tqdm(
        total=round(recipe.hours * 60, 1), initial=trainer.elapsed_s / 60, unit="min", mininterval=20, disable=rank > 0
    )
    sums: dict[str, float] = {}
    last_save = before = time.monotonic()
    while True:
        now = time.monotonic()
        clock = torch.tensor([trainer.elapsed_s + now - before, float(stopped)], dtype=torch.float64)
        before = now
        distributed.broadcast(clock, 0)
        trainer.elapsed_s = float(clock[0])
        if clock[1] or trainer.progress >= 1:
            break
        batch = coming.result()
        coming = ahead.submit(build)
        losses = trainer.update(batch, lesson)
        sums = {name: sums.get(name, 0.0) + value / 100 for name, value in losses.items()}
        if trainer.step % 100 == 0:
            figures = " ".join(f"{name} {value:.3f}" for name, value in sums.items())
            minutes, rate = trainer.elapsed_s / 60, trainer.learning_rate()
            LOG.info("step %d minutes %.1f lr %.1e %s pool %d", trainer.step, minutes, rate, figures, pool.refresh())
            bar.n = round(minutes, 1)
            bar.set_postfix_str(figures)
            sums = {}
        if rank == 0 and now - last_save > recipe.checkpoint_s:
            trainer.save(checkpoint)
            last_save = now
    bar.close()
    ahead.shutdown()
    if rank == 0:
        trainer.save(checkpoint)
    distributed.destroy_process_group()
    return trainer


def train(work: Path, recipe: Recipe, n_processes: int = 2) -> Trainer:
    """Train until the planned time is over or a SIGTERM comes; continues from ``work/checkpoint.pt``.

    Several processes of one thread get more done than one of several threads, above all on a busy machine, where
    every parallel section would wait for the slowest core.

    Args:
        work: folder with ``shards/``, ``neural/``, ``people/``, ``tokenizer.json`` and ``start.pt``.
        recipe: how.
        n_processes: how many processes share each step.

    Returns:
        The trainer in its last state, which is also saved.
    """
    (work / "rendezvous").unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_follow, args=(work, recipe, rank, n_processes), daemon=True)
        for rank in range(1, n_processes)
    ]
    for process in others:
        process.start()
    trainer = _run(work, recipe, 0, n_processes)
    for process in others:
        process.join(60)
    return trainer
