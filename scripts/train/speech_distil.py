"""A smaller network learns to say what Whisper says: of the same sound, and of each token that may follow."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from precision import autocast
from speech_cut import cut_down
from speech_network import PADDING_STRIDE, WHISPER_INNER, Shape, Whisper, relative_error
from speech_noise import NoiseBank
from speech_people import another_head
from speech_text import TIMESTAMP_STEP_S, token_of
from speech_voice import Pool, Utterance
from speech_windows import harden, log_mel, side_by_side
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import trange

UTTERANCES, PEOPLE = 6, 3  # a step
PROMPT_STEPS, CUT_STEPS = 250, 350
HARDNESS, HARDNESS_OF_PEOPLE = 0.3, 0.7
WITHOUT_TIMES = 0.3  # share of the targets
ENCODER_RATE = 0.3
WARM_UP = 30  # steps
_PROMPT = ("<|startoftranscript|>", "<|ko|>", "<|transcribe|>")  # of Whisper; the smaller one has the first alone
SHORTER = len(_PROMPT) - 1


@dataclass(frozen=True, slots=True)
class Sound:
    """Where sound comes from.

    Attributes:
        pool: spoken sentences.
        people: people with what Whisper hears; see `speech_people`.
        bank: noise.
    """

    pool: Pool
    people: Pool
    bank: NoiseBank


def forget_prompt(weights: dict[str, Tensor], shape: Shape, tokenizer: Tokenizer, sound: Sound, seed: int) -> Whisper:
    """Teach Whisper's decoder to do with the first token of its prompt alone.

    Args:
        weights: of Whisper, by the names of `speech_network.Whisper`.
        shape: of the network that it will be cut to; only its width and vocabulary matter.
        tokenizer: of the network.
        sound: to learn with; people are not needed.
        seed: of what is drawn.
    """
    shape = replace(shape, encoder_inner=WHISPER_INNER, decoder_inner=WHISPER_INNER)
    whisper, short = Whisper(shape).requires_grad_(False), Whisper(shape)
    whisper.load_state_dict(weights)
    short.load_state_dict(weights)
    short.encoder.requires_grad_(False)
    with torch.no_grad():
        table = short.decoder.position_encodings.encodings
        table[1:-SHORTER] = whisper.decoder.position_encodings.encodings[1 + SHORTER :]
    Lesson(tokenizer, sound, random.Random(seed), len(_PROMPT)).learn(short, whisper, PROMPT_STEPS, 2e-4)
    return short.requires_grad_(False)


def make_smaller(model: Whisper, whole: Whisper, tokenizer: Tokenizer, sound: Sound, seed: int) -> None:
    """Give a network of fewer layers and units what the whole network knows.

    Layers and units are left out, and what remains learns to say what the whole said.

    Args:
        model: takes the weights.
        whole: from `forget_prompt`.
        tokenizer: of both.
        sound: to learn with.
        seed: of what is drawn.
    """
    cut_down(model, whole, tokenizer, sound.pool, sound.people)
    Lesson(tokenizer, sound, random.Random(seed + 1), 1).learn(model, whole, CUT_STEPS, 1e-4)


class Lesson:
    """Sentences and sound to follow a teacher on.

    Args:
        tokenizer: of teacher and student.
        sound: where sound comes from.
        rng: source of every choice.
        prompt: how many tokens of Whisper's prompt the teacher gets; the student gets the first.
    """

    def __init__(self, tokenizer: Tokenizer, sound: Sound, rng: random.Random, prompt: int) -> None:
        self._tokenizer, self._sound, self._rng = tokenizer, sound, rng
        self._draw = np.random.default_rng(rng.randrange(2**32))
        self._prompt = [token_of(tokenizer, name) for name in _PROMPT[:prompt]]
        self._no_times = token_of(tokenizer, "<|notimestamps|>")
        self._end = token_of(tokenizer, "<|endoftext|>")

    def learn(self, student: Whisper, teacher: Whisper, steps: int, rate: float) -> None:
        """Train what of the student can learn, at a peak learning rate for the decoder."""
        encoder = [one for one in student.encoder.parameters() if one.requires_grad]
        decoder = [one for one in student.decoder.parameters() if one.requires_grad]
        groups = [{"params": encoder, "share": ENCODER_RATE}, {"params": decoder, "share": 1.0}]
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        for step in (bar := trange(steps, desc="distillation", mininterval=20)):
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"] * min(1.0, (step + 1) / WARM_UP) * max(0.05, 1 - step / steps)
            said, heard = self.losses(student, teacher, listens=bool(encoder))
            optimizer.zero_grad()
            (said + heard).backward()
            torch.nn.utils.clip_grad_norm_([*chain(encoder, decoder)], 1.0)
            optimizer.step()
            bar.set_postfix_str(f"said {said.item():.3f} heard {heard.item():.3f}", refresh=False)

    def losses(self, student: Whisper, teacher: Whisper, *, listens: bool) -> tuple[Tensor, Tensor]:
        """How far the tokens' probabilities are from the teacher's, and the encoder's states."""
        spoken = [self._sound.pool.draw(self._rng) for _ in range(UTTERANCES)]
        said, heard = self.follow(student, teacher, spoken, HARDNESS)
        if not listens:
            return said, heard
        people = self.of_people(student, teacher, PEOPLE)
        return said + people[0], 2 * heard + 4 * people[1]

    def of_people(self, student: Whisper, teacher: Whisper, count: int) -> tuple[Tensor, Tensor]:
        """The same two for so many people."""
        people = [another_head(self._sound.people.draw(self._rng), self._rng) for _ in range(count)]
        return self.follow(student, teacher, people, HARDNESS_OF_PEOPLE)

    def follow(
        self, student: Whisper, teacher: Whisper, utterances: Sequence[Utterance], hardness: float
    ) -> tuple[Tensor, Tensor]:
        """The divergence of the tokens' probabilities, in nats a token, and the relative error of the encoder."""
        mel = self._mel(utterances, hardness)
        tokens, known = self._targets(utterances)
        first = torch.tensor(self._prompt).expand(len(utterances), -1)
        with autocast(), torch.no_grad():
            audio, _, bias = teacher.encoder(mel, 2 * PADDING_STRIDE)
            wanted = teacher.decoder(torch.cat([first, tokens], 1)[:, :-1], audio, bias)[0][:, len(self._prompt) - 1 :]
        with autocast():
            own = student.encoder(mel, 2 * PADDING_STRIDE)[0]
            given, _ = student.decoder(torch.cat([first[:, :1], tokens], 1)[:, :-1], own, bias)
        away = F.kl_div(
            given.float().log_softmax(-1), wanted.float().log_softmax(-1), log_target=True, reduction="none"
        )
        return (away.sum(-1) * known).sum() / known.sum(), relative_error(own, audio)

    def _mel(self, utterances: Sequence[Utterance], hardness: float) -> Tensor:
        waves = [np.float32(1 / 32768) * one.pcm.astype(np.float32) for one in utterances]
        return side_by_side(
            [log_mel(harden(wave, self._sound.bank, hardness, self._rng, self._draw)) for wave in waves]
        )

    def _targets(self, utterances: Sequence[Utterance]) -> tuple[Tensor, Tensor]:
        """Tokens after the prompt, int64 (utterances, length), and a float mask of the same shape."""
        rows = []
        for one in utterances:
            text = self._tokenizer.encode(" " + one.text).ids
            start = self._no_times + 1
            if self._rng.random() < WITHOUT_TIMES:
                rows.append([self._no_times, *text, self._end])
            else:
                rows.append([start, *text, start + round(one.duration_s / TIMESTAMP_STEP_S), self._end])
        length = max(map(len, rows))
        tokens = torch.tensor([row + [self._end] * (length - len(row)) for row in rows])
        known = torch.tensor([[1.0] * len(row) + [0.0] * (length - len(row)) for row in rows])
        return tokens, known
