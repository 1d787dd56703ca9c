"""Masked-language pre-training: E5 gets to know how people write here by guessing words that are left out."""

import math
from pathlib import Path

import numpy as np
import torch
from precision import DEVICE, autocast_on_device
from text_vocabulary import PAD, SPECIAL, UNKNOWN, batches, encode, heard
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import RobertaModel

EPOCHS = 8
LEARNING_RATE = 2e-4
BATCH_TOKENS = 6_000
SHARE = 0.2
"""Of the pieces, that are to be guessed: eight in ten are hidden, one is replaced by another, one stays."""


class Guesser(nn.Module):
    """An encoder and what guesses pieces from its states, by their embeddings."""

    def __init__(self, encoder: RobertaModel) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.encoder = encoder
        self.turn = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))

    def forward(self, ids: Tensor, asked: Tensor) -> Tensor:
        """Logits of the pieces where `asked` is true, shape (n_asked, vocabulary)."""
        states = self.encoder(ids, attention_mask=(ids != PAD).long()).last_hidden_state[asked]
        table = self.encoder.embeddings.word_embeddings.weight
        return functional.linear(self.turn(states), table, self.bias)


def guess_words(encoder: RobertaModel, tokenizer: Tokenizer, texts: list[str], seed: int, kept: Path) -> RobertaModel:
    """Train an encoder to guess pieces that are left out; the result is kept in a file.

    Args:
        encoder: is changed.
        tokenizer: of its vocabulary.
        texts: any.
        seed: of what is left out.
        kept: file of the finished weights.

    Returns:
        The encoder, on the CPU.
    """
    if kept.exists():
        encoder.load_state_dict(torch.load(kept, weights_only=True))
        return encoder
    torch.manual_seed(seed)
    guesser = Guesser(encoder).to(DEVICE)
    optimizer = torch.optim.AdamW(guesser.parameters(), LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    guesser.train()
    for epoch in range(EPOCHS):
        rng = np.random.default_rng([seed, epoch])
        plan = list(batches(encode(tokenizer, heard(texts, 0.3, rng)), BATCH_TOKENS, rng))
        bar = tqdm(plan, desc=f"guessing {epoch + 1}/{EPOCHS}", unit="batch", mininterval=5)
        total = torch.zeros((), device=DEVICE)
        for step, (_, ids) in enumerate(bar):
            progress = (epoch + step / len(plan)) / EPOCHS
            falling = 0.51 + 0.49 * math.cos(math.pi * progress)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(progress * EPOCHS * 4, falling)
            given, asked = leave_out(ids, tokenizer.get_vocab_size())
            with autocast_on_device():
                logits = guesser(given, asked)
            loss = functional.cross_entropy(logits.float(), ids[asked])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(guesser.parameters(), 1.0)
            optimizer.step()
            total += loss.detach()
        bar.write(f"guessing {epoch + 1}/{EPOCHS}: {float(total) / len(plan):.3f} nats a piece")
    encoder.cpu().train(mode=False)
    torch.save(encoder.state_dict(), kept.with_suffix(".tmp"))
    kept.with_suffix(".tmp").replace(kept)
    return encoder


def leave_out(ids: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """The ids with a share of them hidden or replaced, and where, as bool of the same shape."""
    draw = torch.rand(ids.shape, device=ids.device)
    asked = (draw < SHARE) & (ids >= len(SPECIAL))
    given = torch.where(asked & (draw < 0.8 * SHARE), UNKNOWN, ids)
    others = torch.randint(len(SPECIAL), vocabulary, ids.shape, device=ids.device)
    return torch.where(asked & (draw >= 0.9 * SHARE), others, given), asked
