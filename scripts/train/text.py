"""Train the embedded text model: six Korean emotions from KOTE and GoEmotions-Korean, starting from a part of E5.

Usage: python scripts/train/text.py --data DIR [--work DIR] [--seed N] [--out models/embedded/text]

`DIR/text` holds the data. Stages: what E5 says of every text, a vocabulary of its pieces, distillation of E5 into its
first layers; a student that has not read a third of kote_val (its logits there decide the bias and the temperature);
the student of all of kote_val, which is shipped; and its figures on kote_test, which no stage before has read. A
student begins as the mean of several runs' weights; its last stage is to learn the written sentences. Everything
finished is kept in the work folder, so that the same command goes on after an interruption; `--only start`, then
`--only apart-0` or `whole-1`, the runs, then `--only apart` or `whole`, the students, each a command of its own, do
what can be done side by side. Beside the weights it writes `metrics.json`; the card quotes its figures.
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
from text_distil import distil
from text_e5 import E5
from text_figures import figures_of
from text_finetune import classify, fine_tune
from text_lessons import make_lessons
from text_measure import Labels, Scores, choose_bias, measure, softmax
from text_sources import Sources
from text_vocabulary import choose_vocabulary, save_tokenizer
from text_widen import widen
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import RobertaForSequenceClassification, RobertaModel

LAYERS = 4
DISTILLATION_EPOCHS = 5
RUNS = 2
"""Whose mean a student begins as."""
WIDENED = 0.6
"""How far a student goes from before the last stage, where it knows comments better, to after it."""
APART, WHOLE = "apart", "whole"
"""The student that has not read one part of kote_val in `PARTS`, and that of all of it."""
PARTS = 3
STORED = torch.float8_e4m3fn
"""What the matrices are rounded to in the file."""


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the embedded text model on KOTE and GoEmotions-Korean.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds text/")
    parser.add_argument("--work", type=Path, default=Path("build/train/text"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/embedded/text"), help="for the finished model")
    runs = [f"{name}-{run}" for name in (APART, WHOLE) for run in range(RUNS)]
    parser.add_argument("--only", choices=("start", *runs, APART, WHOLE), help="no more than this")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


class Trainer:
    """What every student needs, loaded once."""

    def __init__(self, sources: Sources, work: Path, seed: int) -> None:
        self.seed, self.work, self.sources, self.kote = seed, work, sources, sources.kote
        texts = [*sources.kote.texts, *sources.goemotions.texts]
        began_s = time.monotonic()
        e5 = E5()
        self.tokenizer, pieces = choose_vocabulary(texts, e5.tokenizer(), e5.pieces)
        self.encoder: RobertaModel = distil(
            e5.encoder(pieces, LAYERS),
            self.tokenizer,
            texts,
            e5.describe(texts, work / "states.npy"),
            DISTILLATION_EPOCHS,
            seed,
            work / f"distilled-{seed}.pt",
        )
        self._keep_time("distillation", began_s)

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

    def run(self, name: str, run: int) -> dict[str, Tensor]:
        """The weights of one of a student's runs: trained here, or as an earlier command kept them."""
        kept = self.work / f"{name}-{run}-{self.seed}.pt"
        if not kept.exists():
            began_s = time.monotonic()
            lessons = make_lessons(self.sources, self.rows(name)[0])
            student = fine_tune(self.encoder, lessons, self.tokenizer, self.seed, run, f"{name}-{run}")
            torch.save(student.classifier.state_dict(), kept)
            self._keep_time(f"{name}-{run}", began_s)
        weights: dict[str, Tensor] = torch.load(kept, weights_only=True, map_location=DEVICE)
        return weights

    def student(self, name: str) -> RobertaForSequenceClassification:
        """Between its runs' mean and what that is after the last stage; in evaluation mode."""
        kept = self.work / f"{name}-{self.seed}.pt"
        if not kept.exists():
            runs = [self.run(name, run) for run in range(RUNS)]
            began_s = time.monotonic()
            mean = {key: torch.stack([run[key] for run in runs]).mean(dim=0) for key in runs[0]}
            lessons, n_clear = make_lessons(self.sources, self.rows(name)[0]), len(self.sources.clear[0])
            wide = widen(
                [self._model(run) for run in runs], self._model(mean), lessons, n_clear, self.tokenizer, self.seed, name
            ).state_dict()
            torch.save({key: torch.lerp(mean[key], wide[key], WIDENED) for key in mean}, kept)
            self._keep_time(name, began_s)
        return self._model(torch.load(kept, weights_only=True, map_location=DEVICE))

    def _model(self, weights: dict[str, Tensor]) -> RobertaForSequenceClassification:
        config = copy.deepcopy(self.encoder.config)
        config.num_labels = len(LABELS)
        model = RobertaForSequenceClassification(config)
        model.load_state_dict(weights)
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
    """Write a folder that `from_pretrained` reads.

    Matrices are stored in eight bits (float8, 3 of them for the mantissa); they are loaded as the config says: float32.
    """
    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: index for index, label in enumerate(LABELS)}
    model.config.problem_type = "single_label_classification"
    state = {name: tensor.to(STORED) if tensor.ndim == 2 else tensor for name, tensor in model.state_dict().items()}
    model.save_pretrained(out, state_dict=state)
    save_tokenizer(tokenizer, out)


def main() -> None:
    """Train, write the model, measure it."""
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments.data, arguments.seed)
    trainer = Trainer(sources, arguments.work, arguments.seed)
    if arguments.only:
        name, _, run = arguments.only.partition("-")
        if run:
            trainer.run(name, int(run))
        elif name != "start":
            trainer.student(name)
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
