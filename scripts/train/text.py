"""Train the embedded text model: six Korean emotions from KOTE and GoEmotions-Korean, starting from a part of E5.

Usage: python scripts/train/text.py --data DIR [--work DIR] [--seed N] [--out models/embedded/text]

`DIR/text` holds the data. Stages: what E5 says of every text; a vocabulary of its pieces; a teacher, kernel ridge
regression; a student, E5's first layers over that vocabulary, that has not read a third of kote_val (its logits there
decide the bias and the temperature); the student of all of kote_val, which is shipped; and its figures on kote_test,
which no stage before has read. Everything finished is kept in the work folder, so that the same command goes on after
an interruption; after `--only states`, `--only apart` and `--only whole`, the students, each a command of its own, can
be trained side by side. The teacher takes 7 GB of memory. Beside the weights it writes `metrics.json`; the card quotes
its figures.
"""

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from precision import DEVICE
from sklearn.model_selection import StratifiedKFold
from text_data import LABELS
from text_e5 import E5
from text_figures import figures_of
from text_finetune import classify, fine_tune
from text_kernel import describe, sharpened, teach
from text_lessons import Opinions, States, make_lessons
from text_measure import Labels, Scores, choose_bias, measure, softmax
from text_sources import Sources
from text_vocabulary import choose_vocabulary, save_tokenizer
from tokenizers import Tokenizer
from torch import nn
from transformers import RobertaForSequenceClassification

from maeum.engines.text_packed import is_packed, rounded, save_packed

LAYERS = 8
KERNEL_COMMENTS = 25_000
"""Written comments that the kernel teacher learns from, at most; its memory grows with the square of the texts."""
KERNEL_LABELS = 0.5
"""The share of KOTE's labels in what it learns; the rest is what the language model reads."""
KERNEL_NOISE = 3.0
"""Of a written comment, as a multiple of that of one of KOTE's."""
APART, WHOLE = "apart", "whole"
"""The student that has not read one part of kote_val in `PARTS`, and that of all of it."""
PARTS = 3


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the embedded text model on KOTE and GoEmotions-Korean.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds text/")
    parser.add_argument("--work", type=Path, default=Path("build/train/text"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/embedded/text"), help="for the finished model")
    parser.add_argument("--only", choices=("states", APART, WHOLE), help="no more than this")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


class Trainer:
    """What every student needs, loaded once."""

    def __init__(self, sources: Sources, work: Path, seed: int) -> None:
        self.seed, self.work, self.sources, self.kote = seed, work, sources, sources.kote
        groups = (
            sources.kote.texts,
            sources.comments.texts,
            sources.translated.texts,
            sources.written[0],
        )
        texts = [text for group in groups for text in group]
        e5 = E5()
        began_s = time.monotonic()
        self.states = States(*np.split(e5.describe(texts, work / "states.npy"), np.cumsum([*map(len, groups[:-1])])))
        self._keep_time("states", began_s)
        self.tokenizer, pieces = choose_vocabulary(texts, e5.tokenizer(), e5.pieces)
        self.encoder = e5.encoder(pieces, LAYERS)

    def _keep_time(self, name: str, began_s: float) -> None:
        """Note how long a stage took, unless an earlier run did it."""
        kept = self.work / f"{name}-{self.seed}.json"
        if not kept.exists():
            kept.write_text(json.dumps(time.monotonic() - began_s))

    def rows(self, name: str) -> tuple[Labels, Labels]:
        """The rows of kote_val that a student reads, and those that it does not."""
        if name == WHOLE:
            return np.arange(len(self.kote.texts)), np.arange(0)
        strata = np.where(self.kote.six.max(axis=1) < 1.0, len(LABELS), self.kote.six.argmax(axis=1))
        known, unseen = next(StratifiedKFold(PARTS, shuffle=True, random_state=self.seed).split(strata, strata))
        return known, unseen

    def kernel(self, name: str) -> Opinions:
        """What kernel ridge regression thinks of what a student reads, of each text as if it had not been read."""
        kept = self.work / f"kernel-{name}-{self.seed}.npz"
        if not kept.exists():
            began_s = time.monotonic()
            np.savez(kept, **self._ask_kernel(self.rows(name)[0])._asdict())
            self._keep_time(f"kernel-{name}", began_s)
        with np.load(kept) as thoughts:
            return Opinions(**thoughts)

    def _ask_kernel(self, rows: Labels) -> Opinions:
        sources, kote, translated = self.sources, self.kote.take(rows), self.sources.translated
        comments = sources.in_the_manner_of(rows)
        learned = np.zeros(len(comments), bool)
        learned[np.random.default_rng(self.seed).permutation(len(comments))[:KERNEL_COMMENTS]] = True
        inside, outside = sources.comments.take(comments[learned]), sources.comments.take(comments[~learned])
        states = (
            np.concatenate([self.states.kote[rows], self.states.comments[comments[learned]]]),
            np.concatenate([self.states.comments[comments[~learned]], self.states.translated]),
        )
        known, unknown = describe([*kote.texts, *inside.texts], [*outside.texts, *translated.texts], states)
        annotators = sources.annotators(rows)
        read = annotators.answer(sources.kote_marks[rows])
        labelled = kote.six.sum(axis=1, keepdims=True) > 0
        targets = np.where(labelled, KERNEL_LABELS * kote.six + (1 - KERNEL_LABELS) * read, read).astype(np.float32)
        noise = np.repeat(np.array([1.0, KERNEL_NOISE], np.float32), [len(rows), len(inside.texts)])
        answers = teach(
            known,
            np.concatenate([targets, annotators.answer(inside.marks)]),
            noise,
            targets.mean(axis=0),
            unknown,
        )
        own, other = sharpened(answers, kote.single, kote.six[kote.single].argmax(axis=1))
        written = np.empty((len(comments), len(LABELS)), np.float32)
        written[learned], written[~learned] = own[len(rows) :], other[: len(outside.texts)]
        return Opinions(own[: len(rows)], other[len(outside.texts) :], written)

    def student(self, name: str) -> RobertaForSequenceClassification:
        """Fine-tuned, or as an earlier command kept it, its matrices as they are stored; in evaluation mode."""
        kept = self.work / f"{name}-{self.seed}.pt"
        if not kept.exists():
            began_s = time.monotonic()
            lessons = make_lessons(self.sources, self.rows(name)[0], self.kernel(name), self.states.scaled())
            running = self.work / f"{name}-{self.seed}-running.pt"
            trained = fine_tune(self.encoder, lessons, self.tokenizer, self.seed, running).classifier.state_dict()
            torch.save(
                {name: rounded(value) if is_packed(name, value) else value for name, value in trained.items()}, kept
            )
            self._keep_time(name, began_s)
        config = copy.deepcopy(self.encoder.config)
        config.num_labels = len(LABELS)
        model = RobertaForSequenceClassification(config)
        model.load_state_dict(torch.load(kept, weights_only=True, map_location=DEVICE))
        nn.Module.to(model, DEVICE)
        model.train(mode=False)
        return model

    def unseen_logits(self) -> tuple[Scores, Labels]:
        """Logits and labels of the rows with one label that the student apart has not read."""
        unseen = self.kote.take(self.rows(APART)[1])
        unseen = unseen.take(unseen.single)
        return classify(self.student(APART), self.tokenizer, unseen.texts), unseen.six.argmax(axis=1)

    def minutes(self) -> dict[str, float]:
        """Minutes that each stage took, over all runs that shared this work folder."""
        spent = {path.stem: json.loads(path.read_text()) for path in sorted(self.work.glob(f"*-{self.seed}.json"))}
        return {stage.removesuffix(f"-{self.seed}"): round(seconds / 60, 1) for stage, seconds in spent.items()}


def save(model: RobertaForSequenceClassification, tokenizer: Tokenizer, out: Path) -> None:
    """Write a folder that the text engine reads."""
    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: index for index, label in enumerate(LABELS)}
    model.config.problem_type = "single_label_classification"
    model.config.save_pretrained(out)
    save_packed(model.state_dict(), out)
    save_tokenizer(tokenizer, out)


def main() -> None:
    """Train, write the model, measure it."""
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments.data, arguments.seed)
    trainer = Trainer(sources, arguments.work, arguments.seed)
    if arguments.only:
        if arguments.only in (APART, WHOLE):
            trainer.student(arguments.only)
        return
    logits, labels = trainer.unseen_logits()
    bias, temperature = choose_bias(logits, labels)
    model = trainer.student(WHOLE).cpu()
    head = model.classifier.out_proj
    with torch.no_grad():  # folded into the last layer, so that inference needs to know of neither
        head.bias.add_(torch.from_numpy(bias).float()).div_(temperature)
        head.weight.div_(temperature)
    arguments.out.mkdir(parents=True, exist_ok=True)
    save(model, trainer.tokenizer, arguments.out)
    figures: dict[str, Any] = {
        "temperature": temperature,
        "bias": bias.tolist(),
        "kote_val": measure(softmax((logits + bias) / temperature), labels, arguments.seed),
        "minutes": trainer.minutes(),
        **figures_of(arguments.out, sources, arguments.data, arguments.seed),
    }
    (arguments.out / "metrics.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
