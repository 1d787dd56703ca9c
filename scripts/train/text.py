"""Train the embedded text model: six Korean emotions from KOTE and GoEmotions-Korean, starting from a part of E5.

Usage: python scripts/train/text.py --data DIR [--work DIR] [--seed N] [--init FOLDER] [--out models/embedded/text]

`DIR/text` holds the data. Stages: what E5 says of every text, a vocabulary of its pieces, distillation of E5 into its
first layers; for each third of kote_val a tutor (all of E5, fine-tuned) and a student that have not read it (the
student's logits there decide the bias and the temperature); the student on all of kote_val that is shipped; and its
figures on kote_test, which no stage before has read. A student's last stage is to learn the written sentences;
`--init` does only that, to a finished model. Everything finished is kept in the work folder, so that the same
command goes on after an interruption; `--only start` and then `--only 0`, `1` and `2`, the thirds, each a command of
its own, do what can be done side by side on a GPU. Beside the weights it writes `metrics.json`; the card quotes its
figures.
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from precision import DEVICE
from sklearn.model_selection import StratifiedKFold
from text_data import LABELS, Floats, as_spoken
from text_distil import distil
from text_e5 import E5
from text_figures import figures_of
from text_finetune import Recipe, ask, classify, fine_tune, make_lessons, mean_states
from text_measure import Labels, Scores, choose_bias, measure, softmax
from text_sources import Sources
from text_teacher import answer, describe, teach
from text_vocabulary import choose_vocabulary, save_tokenizer
from tokenizers import Tokenizer
from torch import nn
from transformers import (
    RobertaForSequenceClassification,
    RobertaModel,
)

from maeum.engines.text_weights import load_classifier, save_compressed

LAYERS = 4
DISTILLATION_EPOCHS = 5
SELECTION_PARTS = 3
"""Of kote_val; each part's logits come from a student of the others."""
STORED = torch.float8_e4m3fn
"""What the matrices are rounded to in the file."""
TUTOR = Recipe(epochs=4, learning_rate=1e-4)
"""How all layers of E5 are fine-tuned."""

Opinions = tuple[Floats, Floats]
"""What a teacher thinks of KOTE's training rows and of the GoEmotions comments, shape (n, labels) each."""


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the embedded text model on KOTE and GoEmotions-Korean.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds text/")
    parser.add_argument("--work", type=Path, default=Path("build/train/text"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/embedded/text"), help="for the finished model")
    parser.add_argument("--init", type=Path, help="a finished model that is to learn the written sentences, no more")
    parser.add_argument("--only", choices=("start", *map(str, range(SELECTION_PARTS))), help="do this part, and stop")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


class Trainer:
    """What every student needs, loaded once."""

    def __init__(self, sources: Sources, work: Path, seed: int) -> None:
        self.seed, self.work, self.recipe, self.sources = seed, work, Recipe(), sources
        self.kote, self.goemotions, self.translated = sources.kote, sources.goemotions, sources.translated
        self.texts = texts = [*self.kote.texts, *self.goemotions.texts]
        began_s = time.monotonic()
        self.e5 = e5 = E5()
        states = e5.describe(texts, work / "states.npy")
        self.tokenizer, pieces = choose_vocabulary(texts, e5.tokenizer(), e5.pieces)
        self.encoder: RobertaModel = distil(
            e5.encoder(pieces, LAYERS),
            self.tokenizer,
            texts,
            states,
            DISTILLATION_EPOCHS,
            seed,
            work / f"distilled-{seed}.pt",
        )
        self._keep_time(f"distillation-{seed}", began_s)
        known, foreign = np.split(states, [len(self.kote.texts)])
        self.described = describe(self.kote.texts, self.translated.texts, (known, foreign[sources.drawn]))

    def _keep_time(self, name: str, began_s: float) -> None:
        """Note how long a stage took, unless an earlier run did it."""
        kept = self.work / f"{name}.json"
        if not kept.exists():
            kept.write_text(json.dumps(time.monotonic() - began_s))

    def teach(self, rows: Labels, name: str) -> tuple[Opinions, Opinions]:
        """What kernel ridge regression on some rows of kote_val thinks: of KOTE's 44 labels, and of the six."""
        kept = self.work / f"{name}-{self.seed}.npz"
        if not kept.exists():
            kote = self.kote.take(rows)
            opinions = teach(self.described[0].take(rows), kote.targets, self.described[1], self.seed)
            answers = answer(opinions, kote.six, self.seed)
            np.savez(kept, own=opinions[0], other=opinions[1], own_six=answers[0], other_six=answers[1])
        with np.load(kept) as thoughts:
            return (thoughts["own"], thoughts["other"]), (thoughts["own_six"], thoughts["other_six"])

    def tutor(self, rows: Labels, taught: tuple[Opinions, Opinions], name: str) -> tuple[Floats, Floats]:
        """What all layers of E5, fine-tuned on some rows of kote_val, think of all its texts and of GoEmotions'.

        Returns:
            Probabilities of KOTE's labels, shape (n, 44), and of the six, shape (n, 6).
        """
        kept = self.work / f"{name}-{self.seed}.npz"
        if not kept.exists():
            began_s = time.monotonic()
            lessons = make_lessons(self.kote.take(rows), self.translated, self.sources.diary, *taught, TUTOR)
            tokenizer, pieces = self.e5.vocabulary([f(text) for text in self.texts for f in (str, as_spoken)])
            model = fine_tune(self.e5.encoder(pieces), lessons, tokenizer, TUTOR, self.seed, name, read=mean_states)
            kote, six = ask(model, tokenizer, [*self.kote.texts, *self.translated.texts])
            np.savez(kept, kote=kote, six=six)
            self._keep_time(kept.stem, began_s)
        with np.load(kept) as thoughts:
            return thoughts["kote"], thoughts["six"]

    def student(self, rows: Labels, taught: tuple[Opinions, Opinions], name: str) -> RobertaForSequenceClassification:
        """Fine-tune the model that is shipped on some rows of kote_val, or load what an earlier run kept."""
        kept = self.work / f"{name}-{self.seed}.pt"
        if kept.exists():
            config = copy.deepcopy(self.encoder.config)
            config.num_labels = len(LABELS)
            model = RobertaForSequenceClassification(config)
            model.load_state_dict(torch.load(kept, weights_only=True, map_location=DEVICE))
            nn.Module.to(model, DEVICE)
            model.train(mode=False)
            return model
        began_s = time.monotonic()
        lessons = make_lessons(self.kote.take(rows), self.translated, self.sources.diary, *taught, self.recipe)
        model = fine_tune(self.encoder, lessons, self.tokenizer, self.recipe, self.seed, name).classifier
        model = self.sources.widen(model, self.tokenizer, self.seed, f"{name}, written sentences")
        torch.save(model.state_dict(), kept)
        self._keep_time(kept.stem, began_s)
        return model

    def train(self) -> tuple[RobertaForSequenceClassification, Scores, Labels]:
        """Train everything.

        Of GoEmotions, students hear both teachers; of KOTE, the tutor only where it had not read the labels.

        Returns:
            The model that is shipped; logits and labels of kote_val's rows with one label, each from a student that
            was not trained on it.
        """
        n_kote = len(self.kote.texts)
        several = self.kote.six.max(axis=1) < 1.0
        logits = np.zeros((n_kote, len(LABELS)))
        fair: list[Floats] = [np.zeros_like(self.kote.targets), np.zeros_like(self.kote.six)]
        elsewhere: list[list[Floats]] = [[], []]
        for part in range(SELECTION_PARTS):
            unseen, model, thoughts = self.train_part(part)
            for place, thought in enumerate(thoughts):
                fair[place][unseen] = thought[unseen]
                elsewhere[place].append(thought[n_kote:])
            logits[unseen] = classify(model, self.tokenizer, [self.kote.texts[row] for row in unseen])
        everything = np.arange(n_kote)
        both = [
            (mean([own, fair[place]]), mean([other, mean(elsewhere[place])]))
            for place, (own, other) in enumerate(self.teach(everything, "taught-all"))
        ]
        model = self.student(everything, (both[0], both[1]), "all")
        return model, logits[~several], self.kote.six[~several].argmax(axis=1)

    def train_part(self, part: int) -> tuple[Labels, RobertaForSequenceClassification, tuple[Floats, Floats]]:
        """All that has not read one part of kote_val.

        Returns:
            The rows of the part, the student, and what the tutor thinks of all texts.
        """
        several = self.kote.six.max(axis=1) < 1.0
        strata = np.where(several, len(LABELS), self.kote.six.argmax(axis=1))
        parts = StratifiedKFold(SELECTION_PARTS, shuffle=True, random_state=self.seed).split(strata, strata)
        known, unseen = list(parts)[part]
        taught = self.teach(known, f"taught-without-{part}")
        thoughts = self.tutor(known, taught, f"tutor-without-{part}")
        here = len(self.kote.texts)
        both = [(own, mean([other, t[here:]])) for (own, other), t in zip(taught, thoughts, strict=True)]
        return unseen, self.student(known, (both[0], both[1]), f"without-{part}"), thoughts

    def minutes(self) -> dict[str, float]:
        """Minutes that each stage took, over all runs that shared this work folder."""
        spent = {path.stem: json.loads(path.read_text()) for path in sorted(self.work.glob(f"*-{self.seed}.json"))}
        return {stage.removesuffix(f"-{self.seed}"): round(seconds / 60, 1) for stage, seconds in spent.items()}


def mean(opinions: Sequence[Floats]) -> Floats:
    """Of several teachers."""
    together: Floats = np.mean(opinions, axis=0, dtype=np.float32)
    return together


def save(model: RobertaForSequenceClassification, tokenizer: Tokenizer, out: Path) -> None:
    """Write a folder that `from_pretrained` reads.

    Matrices are stored in eight bits (float8, 3 of them for the mantissa); they are loaded as the config says: float32.
    gzip makes the file a fifth smaller.
    """
    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: index for index, label in enumerate(LABELS)}
    model.config.problem_type = "single_label_classification"
    state = {name: tensor.to(STORED) if tensor.ndim == 2 else tensor for name, tensor in model.state_dict().items()}
    model.save_pretrained(out, state_dict=state)
    save_compressed(out / "model.safetensors")
    save_tokenizer(tokenizer, out)


def main() -> None:
    """Train, write the model, measure it."""
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments.data, arguments.seed)
    figures: dict[str, Any] = {}
    if arguments.init is None:
        trainer = Trainer(sources, arguments.work, arguments.seed)
        if arguments.only == "start":
            return
        if arguments.only:
            trainer.train_part(int(arguments.only))
            return
        model, logits, labels = trainer.train()
        model.cpu()
        bias, temperature = choose_bias(logits, labels)
        head = model.classifier.out_proj
        with torch.no_grad():  # folded into the last layer, so that inference needs to know of neither
            head.bias.add_(torch.from_numpy(bias).float()).div_(temperature)
            head.weight.div_(temperature)
        figures = {
            "temperature": temperature,
            "bias": bias.tolist(),
            "kote_val": measure(softmax((logits + bias) / temperature), labels, arguments.seed),
            "minutes": trainer.minutes(),
        }
        tokenizer = trainer.tokenizer
    else:
        model, _ = load_classifier(arguments.init)
        tokenizer = Tokenizer.from_file(str(arguments.init / "tokenizer.json"))
        model = sources.widen(model.eval(), tokenizer, arguments.seed, "written sentences")
    save(model, tokenizer, arguments.out)
    figures |= figures_of(arguments.out, sources, arguments.data, arguments.seed)
    (arguments.out / "metrics.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(figures, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
