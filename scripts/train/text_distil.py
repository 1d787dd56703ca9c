"""Distillation: a few layers of E5, over a small vocabulary, learn to say what all of its layers say."""

import math
from pathlib import Path

import numpy as np
import torch
from precision import DEVICE, autocast
from text_data import Floats
from text_finetune import first_states
from text_vocabulary import batches, encode, heard
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from tqdm import tqdm
from transformers import RobertaModel


def distil(
    encoder: RobertaModel, tokenizer: Tokenizer, texts: list[str], states: Floats, epochs: int, seed: int, kept: Path
) -> RobertaModel:
    """Teach the first layers of E5, in their new vocabulary, to say with their first token what all its layers say.

    Args:
        encoder: where to start from; is changed.
        tokenizer: of the new vocabulary.
        texts: any.
        states: what E5 says of each, shape (n, ...); learned as deviations from the mean in standard deviations.
        epochs: passes.
        seed: of the order.
        kept: file of the weights after the last whole epoch.

    Returns:
        The encoder.
    """
    flat = states.reshape(len(texts), -1)
    wanted = torch.from_numpy((flat - flat.mean(axis=0)) / flat.std(axis=0)).to(DEVICE)
    torch.manual_seed(seed)
    student = nn.ModuleDict({"encoder": encoder, "say": nn.Linear(encoder.config.hidden_size, wanted.shape[1])})
    student.to(DEVICE)
    optimizer = torch.optim.AdamW(student.parameters(), 3e-4, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    done = 0
    if kept.exists():
        state = torch.load(kept, weights_only=True, map_location=DEVICE)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["epochs"]
    for epoch in range(done, epochs):
        rng = np.random.default_rng([seed, epoch])
        plan = list(batches(encode(tokenizer, heard(texts, 0.3, rng)), 3_000, rng))
        bar, total = tqdm(plan, desc=f"distillation {epoch + 1}/{epochs}", unit="batch", mininterval=5), 0.0
        student.train()
        for step, (rows, batch) in enumerate(bar):
            progress = (epoch + step / len(plan)) / epochs
            optimizer.param_groups[0]["lr"] = 3e-4 * min(
                progress * epochs * 10, 0.5 + 0.5 * math.cos(math.pi * progress)
            )
            with autocast(DEVICE):
                said = student["say"](first_states(encoder, batch))
            loss = functional.mse_loss(said.float(), wanted[rows])
            total += loss.item()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            bar.set_postfix(loss=f"{total / (step + 1):.3f}", refresh=False)
        state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}
        torch.save(state, kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)
    return encoder
