"""Train the speech model further on a GPU: large batches, and people in texts that Whisper makes up anew each time.

`speech_train`, for two cores, holds the network to one text for each window of a person. There are three hours of
people, few enough for it to learn these texts by heart. Whisper's Korean of another language changes with every
change of the sound, and here it is asked again whenever a window is cut, joined, sped up or made noisy.

    python scripts/train/speech_cuda.py --work build/speech --minutes 8

The work folder is `speech.py`'s, with a checkpoint or what training starts from. Weights are written to
`checkpoint-cuda.pt` every minute; `speech.py --skip-training` exports them when they are renamed to `checkpoint.pt`.
"""

import argparse
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from precision import autocast
from speech_distil import WITHOUT_TIMES
from speech_makers import LEFT_OUT, PEOPLE, Makers, arrays_of
from speech_network import PADDING_STRIDE, WHISPER_INNER, Shape, Whisper, relative_error
from speech_text import N_TIMESTAMPS, TIMESTAMP_STEP_S, token_of
from speech_train import HEARD, LATE, SAID, spoken_losses
from speech_voice import Pool
from tokenizers import Tokenizer
from torch import Tensor

LOG = logging.getLogger("speech")
ENCODER_RATE = 0.5
WARM_UP = 200  # steps
MAX_TOKENS = 48  # a text that goes on is one that repeats itself
HOTTEST = 0.8  # temperature of what Whisper makes up

_HALF = {"cuda": torch.float16, "cpu": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        minutes: from which hardness and learning rate follow.
        seed: of the windows.
        learning_rate: peak of the decoder's.
    """

    minutes: float
    seed: int
    learning_rate: float


class Teacher:
    """Whisper, whole, and what it makes up."""

    def __init__(self, whole: Whisper, tokenizer: Tokenizer, generator: torch.Generator) -> None:
        self._whole, self._generator = whole, generator
        self._begin = token_of(tokenizer, "<|startoftranscript|>")
        self._no_times = token_of(tokenizer, "<|notimestamps|>")
        self._end = token_of(tokenizer, "<|endoftext|>")

    def hear(self, mel: Tensor) -> tuple[Tensor, Tensor | None]:
        """States of the sound, half precision, (batch, positions, width), and the bias of its padding."""
        audio, _, bias = self._whole.encoder(mel.to(_HALF[mel.device.type]), 2 * PADDING_STRIDE)
        return audio, bias

    def make_up(self, audio: Tensor, bias: Tensor | None, lengths_s: Tensor, hottest: float) -> tuple[Tensor, Tensor]:
        """Texts sampled at temperatures of 0 to `hottest`.

        Returns:
            Tokens from the first on, int64 (batch, length), and 1 where one is to be learned, (batch, length); texts
            without an end are not.
        """
        n, device = len(audio), audio.device
        heat = hottest * torch.rand(n, 1, generator=self._generator, device=device)
        timed = torch.rand(n, generator=self._generator, device=device) >= WITHOUT_TIMES
        tokens = torch.full((n, 2), self._begin, device=device)
        tokens[:, 1] = torch.where(timed, self._no_times + 1, self._no_times)
        over = torch.zeros(n, dtype=torch.bool, device=device)
        for step in range(MAX_TOKENS):
            scores = self._whole.decoder(tokens, audio, bias)[0][:, -1, : self._end + 1].float()
            noise = torch.rand(scores.shape, generator=self._generator, device=device).clamp(1e-9, 1 - 1e-7)
            following = (scores - heat * (-noise.log()).log()).argmax(-1)  # Gumbel's trick
            following[over] = self._end
            over |= following == self._end
            tokens = torch.cat([tokens, following[:, None]], 1)
            if step % 8 == 7 and bool(over.all()):
                break
        tokens = F.pad(tokens, (0, 2), value=self._end)
        ends = (tokens == self._end).int().argmax(1)
        closing = self._no_times + 1 + (lengths_s / TIMESTAMP_STEP_S).round().long().clamp(max=N_TIMESTAMPS - 1)
        rows = torch.arange(n, device=device)
        tokens[rows, ends] = torch.where(timed, closing, self._end)
        last = ends + timed.long()
        known = (torch.arange(1, tokens.shape[1], device=device) <= last[:, None]) & over[:, None]
        return tokens, known.float()

    def probabilities(self, tokens: Tensor, audio: Tensor, bias: Tensor | None) -> Tensor:
        """Log-probabilities of what follows each token but the last."""
        logits: Tensor = self._whole.decoder(tokens[:, :-1], audio, bias)[0]
        return logits.float().log_softmax(-1)


class Trainer:
    """The network on the GPU."""

    def __init__(self, work: Path, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
        shape = Shape(tokenizer.get_vocab_size())
        stored = torch.load(work / "start.pt", weights_only=True)
        self.model = Whisper(shape)
        checkpoint = work / "checkpoint.pt"
        self.model.load_state_dict(
            torch.load(checkpoint, weights_only=True)["model"] if checkpoint.exists() else stored["model"]
        )
        whole = Whisper(replace(shape, encoder_inner=WHISPER_INNER, decoder_inner=WHISPER_INNER)).requires_grad_(False)
        whole.load_state_dict(stored["whole"])
        self.model.to(device)
        self.device, self._recipe, self.step, self.progress = device, recipe, 0, 0.0
        generator = torch.Generator(device).manual_seed(recipe.seed)
        self.teacher = Teacher(whole.to(device, _HALF[device.type]), tokenizer, generator)
        groups = [
            {"params": [one for one in module.parameters() if one.requires_grad], "share": share}
            for module, share in ((self.model.encoder, ENCODER_RATE), (self.model.decoder, 1.0))
        ]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

    def spoken(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Cross-entropy of spoken text, and how far two heads are from each token's time."""
        with autocast(self.device):
            audio, positions, bias = self.model.encoder(batch["mel"].float(), int(batch["padding_stride"]) or None)
            logits, attention = self.model.decoder(batch["inputs"], audio, bias)
        late = self.progress >= LATE
        return spoken_losses(logits, attention, positions, batch["labels"], batch["times_s"], late=late)

    def people(self, batch: dict[str, Tensor], hottest: float) -> tuple[Tensor, Tensor]:
        """Divergence from Whisper in nats a token, and the relative error of the encoder."""
        mel = batch["mel"].float()
        with torch.no_grad():
            audio, bias = self.teacher.hear(mel)
            tokens, known = self.teacher.make_up(audio, bias, batch["lengths_s"], hottest)
            wanted = self.teacher.probabilities(tokens, audio, bias)
        with autocast(self.device):
            own = self.model.encoder(mel, 2 * PADDING_STRIDE)[0]
            given, _ = self.model.decoder(tokens[:, :-1], own, bias)
        away = F.kl_div(given.float().log_softmax(-1), wanted, log_target=True, reduction="none").sum(-1)
        return (away * known).sum() / known.sum().clamp(min=1), relative_error(own, audio)

    def update(self, batch: dict[str, Tensor], people: dict[str, Tensor]) -> Tensor:
        """One step; returns the four losses."""
        share = min(1.0, (self.step + 1) / WARM_UP, (1 - self.progress) / 0.8)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * group["share"] * share
        losses = torch.stack([*self.spoken(batch), *self.people(people, HOTTEST)])
        weights = losses.new_tensor([1.0, 0.4, SAID, HEARD])
        self._optimizer.zero_grad()
        (losses * weights).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self.step += 1
        return losses.detach()

    def save(self, path: Path) -> None:
        """Write the weights in half precision, which eight bits leave enough of."""
        state = {name: value.half().cpu() for name, value in self.model.state_dict().items()}
        torch.save({"model": state}, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)


def left_out(work: Path, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Windows of people that are not trained on, as they are, in batches."""
    pool = Pool([work / "people"])
    pool.refresh()
    waves = [np.float32(1 / 32768) * pcm.astype(np.float32) for pcm in (one.pcm for one in pool.take_out(LEFT_OUT))]
    for first in range(0, len(waves), PEOPLE):
        arrays = arrays_of(waves[first : first + PEOPLE])
        yield {name: torch.as_tensor(value).to(device) for name, value in arrays.items()}


def train(work: Path, recipe: Recipe, makers: Makers, device: torch.device) -> None:
    """Train until the time is over."""
    trainer = Trainer(work, recipe, device)
    unseen = list(left_out(work, device))
    spoken, people = makers.batches(device)
    batches = (spoken(), people())
    LOG.info("first batches are there")
    began_s = saved_s = time.monotonic()
    sums = torch.zeros(4, device=device)
    while True:
        elapsed_s = time.monotonic() - began_s
        trainer.progress = min(1.0, elapsed_s / 60 / recipe.minutes)
        makers.advance(trainer.progress)
        if trainer.progress >= 1.0:
            break
        sums += trainer.update(*batches) / 100
        batches = (spoken(), people())
        if trainer.step % 100 == 0:
            LOG.info("step %d %.0f s: spoken %.3f, times %.3f, people %.3f, heard %.4f", trainer.step, elapsed_s, *sums)
            sums.zero_()
        if time.monotonic() - saved_s > 60:
            trainer.save(work / "checkpoint-cuda.pt")
            report(trainer, unseen)
            saved_s = time.monotonic()
    trainer.save(work / "checkpoint-cuda.pt")
    report(trainer, unseen)


def report(trainer: Trainer, unseen: list[dict[str, Tensor]]) -> None:
    """Say how far the network is from Whisper with people whom it has not heard."""
    with torch.no_grad():
        losses = torch.stack([torch.stack(trainer.people(batch, 0.0)) for batch in unseen]).mean(0)
    LOG.info("step %d, people left out: %.3f nats, heard %.4f", trainer.step, *losses)


def main() -> None:
    """Read the arguments, start the makers, then CUDA."""
    parser = argparse.ArgumentParser(description="Train the embedded Korean speech model further on a GPU.")
    parser.add_argument("--work", type=Path, default=Path("build/speech"), help="as speech.py left it")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--makers", type=int, default=max(1, (os.cpu_count() or 1) - 2), help="processes making batches"
    )
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    recipe = Recipe(arguments.minutes, arguments.seed, arguments.learning_rate)
    makers = Makers(arguments.work, arguments.seed, arguments.makers)
    train(arguments.work, recipe, makers, torch.device(arguments.device))
    makers.stop()


if __name__ == "__main__":
    main()
