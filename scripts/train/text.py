"""Train the embedded text model: six Korean emotions from KOTE and GoEmotions-Korean, starting from a part of E5.

Usage: python scripts/train/text.py --data DIR [--work DIR] [--seed N] [--out models/embedded/text]

`DIR/text` holds the data. Stages: what E5 says of every text, a vocabulary of its pieces, distillation of E5 into its
first layers, of both data sets and then of what was written for this; a tutor, all of E5, and a student that have not
read a third of kote_val (the student's logits there decide the bias and the temperature); the student of all of
kote_val, which is shipped; and its figures on kote_test, which no stage before has read. A student's last stage is to
learn the written sentences. Everything finished is kept in the work folder, so that the same command goes on after an
interruption; after `--only tutor`, `--only apart` and `--only whole`, the students, each a command of its own, can be
trained side by side. Beside the weights it writes `metrics.json`; the card quotes its figures.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from precision import DEVICE
from sklearn.model_selection import StratifiedKFold
from text_data import LABELS, as_spoken
from text_distil import distil
from text_e5 import E5
from text_figures import figures_of
from text_finetune import TUTOR, ask, classify, fine_tune, mean_states
from text_lessons import Tutored, make_lessons
from text_measure import Labels, Scores, choose_bias, measure, softmax
from text_sources import Sources
from text_vocabulary import choose_vocabulary, save_tokenizer
from text_widen import widen
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import RobertaForSequenceClassification, RobertaModel

LAYERS = 4
DISTILLATION_EPOCHS = 5
CLOSER_EPOCHS = 3
"""Of comments and diary sentences alone, after those of all texts of the data sets, most of which are translations."""
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
    parser.add_argument("--only", choices=("tutor", APART, WHOLE), help="no more than this")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


class Trainer:
    """What every student needs, loaded once."""

    def __init__(self, sources: Sources, work: Path, seed: int) -> None:
        self.seed, self.work, self.sources, self.kote = seed, work, sources, sources.kote
        texts = [*sources.kote.texts, *sources.goemotions.texts]
        closer = [*sources.kote.texts, *sources.comments.texts, *sources.written[0]]
        began_s = time.monotonic()
        self.e5 = e5 = E5()
        self.tokenizer, pieces = choose_vocabulary(texts, e5.tokenizer(), e5.pieces)
        self.encoder: RobertaModel = e5.encoder(pieces, LAYERS)
        for name, about, epochs in (("distilled", texts, DISTILLATION_EPOCHS), ("closer", closer, CLOSER_EPOCHS)):
            states = e5.describe(about, work / f"{name}.npy")
            kept = work / f"{name}-{seed}.pt"
            self.encoder = distil(self.encoder, self.tokenizer, about, states, epochs, seed, kept)
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

    def tutored(self) -> Tutored:
        """What all of E5, which has not read a part of kote_val, thinks of the other comments."""
        kept = self.work / f"tutor-{self.seed}.npz"
        asked = [*self.sources.translated.texts, *self.sources.comments.texts]
        if not kept.exists():
            began_s = time.monotonic()
            lessons = make_lessons(self.sources, self.rows(APART)[0])
            tokenizer, pieces = self.e5.vocabulary(
                [f(text) for text in (*lessons.texts, *asked) for f in (str, as_spoken)]
            )
            tutor = fine_tune(self.e5.encoder(pieces), lessons, tokenizer, self.seed, "tutor", TUTOR, read=mean_states)
            np.savez(kept, six=ask(tutor, tokenizer, asked))
            self._keep_time("tutor", began_s)
        with np.load(kept) as thoughts:
            translated, written = np.split(thoughts["six"], [len(self.sources.translated.texts)])
        return translated, written

    def student(self, name: str) -> RobertaForSequenceClassification:
        """Fine-tuned, and between before and after the last stage; in evaluation mode."""

        def learn() -> RobertaForSequenceClassification:
            return fine_tune(self.encoder, lessons, self.tokenizer, self.seed, name).classifier

        def learn_sentences() -> RobertaForSequenceClassification:
            return widen(self._model(first), lessons, n_clear, self.tokenizer, self.seed, f"{name}, last stage")

        lessons, n_clear = make_lessons(self.sources, self.rows(name)[0], self.tutored()), len(self.sources.clear[0])
        first = self._trained(f"{name}-first", learn)
        last = self._trained(f"{name}-last", learn_sentences)
        return self._model({key: torch.lerp(first[key], last[key], WIDENED) for key in first})

    def _trained(self, name: str, train: Callable[[], RobertaForSequenceClassification]) -> dict[str, Tensor]:
        """The weights of a stage: trained here, or as an earlier command kept them."""
        kept = self.work / f"{name}-{self.seed}.pt"
        if not kept.exists():
            began_s = time.monotonic()
            torch.save(train().state_dict(), kept)
            self._keep_time(name, began_s)
        weights: dict[str, Tensor] = torch.load(kept, weights_only=True, map_location=DEVICE)
        return weights

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
        if arguments.only == "tutor":
            trainer.tutored()
        else:
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
