"""Vocabulary, first embeddings and masked-language pre-training of the text model."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from precision import autocast
from text_data import Comments, Floats, as_spoken
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""Their places are their ids: RoBERTa's own 0 to 3, then the mask."""
START, PAD, END, UNKNOWN, MASK = range(len(SPECIAL))
VOCABULARY_SIZE = 8_000
MAX_TOKENS = 256
REPEATED = (("ㅋ", "ㅋㅋ"), ("ㅎ", "ㅎㅎ"), ("[ㅠㅜ]", "ㅠㅠ"), ("[.]", ".."), ("!", "!!"), ("~", "~~"))
TRAINING_TOKENS = 80
"""Longer comments are cut while training: 95 % are shorter, and the rest cost most of the time."""


def train_tokenizer(texts: list[str], path: Path) -> Tokenizer:
    """Train a BPE vocabulary, or load the one an earlier run kept."""
    if path.exists():
        return Tokenizer.from_file(str(path))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    # Endless ㅋㅋㅋㅋ and ㅠㅠㅠㅠ say no more than two of them, and would cost a vocabulary entry for each length.
    repeats = [normalizers.Replace(Regex(pattern + "{3,}"), short) for pattern, short in REPEATED]
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), *repeats])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=list(SPECIAL), limit_alphabet=1_500, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)]
    )
    tokenizer.save(str(path))
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files from which `AutoTokenizer.from_pretrained(folder)` makes a fast tokenizer."""
    wrapped: Any = PreTrainedTokenizerFast
    wrapped(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(folder)


def encode(tokenizer: Tokenizer, texts: list[str], dropout: float | None = None) -> list[list[int]]:
    """Token ids of each text, cut for training.

    Args:
        tokenizer: as trained.
        texts: any.
        dropout: share of BPE merges left out at random, so that a word is met in several spellings.

    Returns:
        One list of at most `TRAINING_TOKENS` ids per text.
    """
    tokenizer.model.dropout = dropout
    encodings = tokenizer.encode_batch(texts)
    tokenizer.model.dropout = None
    return [e.ids if len(e.ids) <= TRAINING_TOKENS else [*e.ids[: TRAINING_TOKENS - 1], END] for e in encodings]


def heard(texts: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """The texts, a share of them as speech-to-text would write them."""
    return [as_spoken(text) if rng.random() < share else text for text in texts]


def batches(
    ids: list[list[int]], n_tokens: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Group texts of like length into batches of about `n_tokens`, in random order.

    Yields:
        Rows, shape (batch,), and their ids padded to the longest, int64, shape (batch, length).
    """
    lengths = np.array([len(text) for text in ids])
    order = np.argsort(lengths + rng.uniform(-2, 2, len(ids)))
    groups, first = [], 0
    while first < len(order):
        size = max(8, n_tokens // int(lengths[order[first]] + 2))
        groups.append(order[first : first + size])
        first += size
    for group in rng.permutation(len(groups)):
        rows = groups[group]
        padded = np.full((len(rows), lengths[rows].max()), PAD, dtype=np.int64)
        for place, row in enumerate(rows):
            padded[place, : lengths[row]] = ids[row]
        yield rows, torch.from_numpy(padded)


def mask(ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide 20 % of the tokens: of those, 80 % behind the mask, 10 % behind another token, 10 % not at all.

    Returns:
        The changed ids, and a bool tensor of the places to be guessed, both shape (batch, length).
    """
    hidden = (torch.rand(ids.shape, generator=generator) < 0.2) & (ids >= len(SPECIAL))
    fate = torch.rand(ids.shape, generator=generator)
    other = torch.randint(len(SPECIAL), VOCABULARY_SIZE, ids.shape, generator=generator)
    changed = torch.where(hidden & (fate < 0.8), torch.full_like(ids, MASK), ids)
    return torch.where(hidden & (fate >= 0.9), other, changed), hidden


class Pretrainer(nn.Module):
    """The encoder, its masked-language head (tied to the embeddings) and GoEmotions' 28 labels."""

    def __init__(self, config: RobertaConfig, n_targets: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.encoder = RobertaModel(config, add_pooling_layer=False)
        self.transform = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size), nn.GELU(), nn.LayerNorm(config.hidden_size)
        )
        self.bias = nn.Parameter(torch.zeros(VOCABULARY_SIZE))
        self.targets = nn.Linear(config.hidden_size, n_targets)

    def forward(self, ids: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Guess hidden tokens, shape (n_hidden, vocabulary), and labels, shape (batch, n_targets)."""
        states = self.encoder(ids, attention_mask=(ids != PAD).long()).last_hidden_state
        embeddings = self.encoder.embeddings.word_embeddings.weight
        return functional.linear(self.transform(states[hidden]), embeddings, self.bias), self.targets(states[:, 0])


def pretrain(
    kote: list[str],
    goemotions: Comments,
    tokenizer: Tokenizer,
    meanings: Floats,
    epochs: int,
    work: Path,
    seed: int,
) -> RobertaModel:
    """Teach the encoder Korean: guess hidden tokens, and GoEmotions' labels with part of the text hidden.

    KOTE's labels are left for later, so that cross-validation over KOTE may start from this encoder.

    Args:
        kote: KOTE's training texts; read twice an epoch, being the kind of text that counts.
        goemotions: texts and labels.
        tokenizer: as trained.
        meanings: of the vocabulary's tokens, to start the embeddings from; shape (VOCABULARY_SIZE, width), unit rows,
            or 0 where a token has none.
        epochs: passes over everything; a checkpoint is kept after each.
        work: folder of the checkpoints.
        seed: of weights, order and masks.

    Returns:
        The encoder.
    """
    torch.manual_seed(seed)
    texts, kept = [*goemotions.texts, *kote * 2], work / f"pretrained-{seed}.pt"
    n_tokens = sum(len(text) + 2 for text in encode(tokenizer, texts))
    network = Pretrainer(encoder_config(), goemotions.targets.shape[1])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    done, seconds = 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        done, seconds = state["epochs"], state["seconds"]
    else:
        _start_from(network.encoder.embeddings.word_embeddings, torch.from_numpy(meanings))
    labels = torch.from_numpy(goemotions.targets)
    n_steps = n_tokens // 3_000 + 1
    for epoch in range(done, epochs):
        began_s, total = time.monotonic(), 0.0
        rng, generator = np.random.default_rng([seed, epoch]), torch.Generator().manual_seed(1_000 * seed + epoch)
        spelled = encode(tokenizer, heard(texts, 0.3, rng), dropout=0.05)
        bar = tqdm(list(batches(spelled, 3_000, rng)), desc=f"pre-training {epoch + 1}/{epochs}", unit="batch")
        for step, (rows, batch) in enumerate(bar):
            progress = (epoch + step / max(n_steps, len(bar))) / epochs
            optimizer.param_groups[0]["lr"] = 1e-3 * min(
                progress * epochs * 4, 0.5 + 0.5 * math.cos(math.pi * progress)
            )
            masked, hidden = mask(batch, generator)
            with autocast():
                guesses, scores = network(masked, hidden)
            labelled = rows < len(goemotions.texts)
            loss = functional.cross_entropy(guesses.float(), batch[hidden])
            total += loss.item()
            if labelled.any():
                known = torch.from_numpy(labelled)
                loss = loss + 10 * functional.binary_cross_entropy_with_logits(
                    scores[known].float(), labels[rows[labelled]]
                )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            bar.set_postfix(loss=f"{total / (step + 1):.3f}", refresh=False)
        seconds += time.monotonic() - began_s
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epochs": epoch + 1}
        torch.save({**state, "seconds": seconds}, kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)
    return network.encoder


def _start_from(embeddings: nn.Embedding, meanings: Tensor) -> None:
    """Set the embeddings to the meanings, a little off, and at random where there is none; deviation 0.05."""
    known = meanings.norm(dim=1) > 0
    deviation, width = 0.05, meanings.shape[1]
    with torch.no_grad():
        embeddings.weight.normal_(0, deviation)
        embeddings.weight[known] = meanings[known] * deviation * math.sqrt(width) + 0.2 * embeddings.weight[known]


def encoder_config() -> RobertaConfig:
    """RoBERTa, three layers of 256: 4.2 million weights, half of them the vocabulary's."""
    return RobertaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=768,
        max_position_embeddings=MAX_TOKENS + 2,  # RoBERTa's positions begin at the padding id + 1
        type_vocab_size=1,
        bos_token_id=START,
        pad_token_id=PAD,
        eos_token_id=END,
        hidden_dropout_prob=0.0,  # random numbers cost a fifth of a step here; hidden tokens are noise enough
        attention_probs_dropout_prob=0.0,
    )
