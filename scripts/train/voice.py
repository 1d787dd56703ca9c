"""Train the embedded voice model on EmoDB: leave one speaker out to measure, then all speakers for the weights.

Usage: python scripts/train/voice.py --data DIR [--work DIR] [--seed N] [--out models/embedded/voice]

Two linear models that read statistics of a window (the teacher) learn the labels; the network learns to answer as the
teacher does, on many more windows than there are clips.

`DIR/emotion/emodb/*.flac` holds the clips. Everything finished is kept in the work folder, so that the same command
goes on after an interruption. Beside the weights it writes `metrics.json`; the card quotes its figures.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, recall_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from voice_data import GENDERS, LABELS, N_HEARD, TRAINED, Clip, Draw, Floats, baselines, draw_clips, fit, read_clips

from maeum.audio.features import N_FRAMES
from maeum.audio.mfcc import N_MFCC
from maeum.engines.voice_network import VoiceNetwork

GAIN_STEP = float(np.sqrt(128.0))
"""How far one decibel moves the first MFCC: the orthonormal DCT over 128 mel bands."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of the training run."""

    taught_rounds: int = 12
    rounds: int = 54
    spliced: float = 0.3
    warp: float = 0.12
    tempo: float = 0.2
    teacher_c: float = 0.002
    teacher_shrinkage: float = 0.3
    surprise: float = 0.01
    logit_loss: float = 0.3
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    ema_decay: float = 0.99


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the embedded voice model on EmoDB.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds emotion/emodb")
    parser.add_argument("--work", type=Path, default=Path("build/train/voice"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/embedded/voice"), help="for the finished model")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def normalised(frames: list[Floats], genders: list[str], stats: dict[str, tuple[Floats, Floats]]) -> Tensor:
    """Windows as the network reads them: (n, 13, 100)."""
    windows = torch.empty(len(frames), N_MFCC, N_FRAMES)
    for index, gender in enumerate(genders):
        mean, std = stats[gender]
        windows[index] = torch.from_numpy(((fit(frames[index], N_FRAMES) - mean) / (std + 1e-8)).T)
    return windows


def inference_windows(clips: list[Clip], stats: dict[str, tuple[Floats, Floats]], gain_db: float = 0.0) -> Tensor:
    """Windows exactly as inference makes them, or of the same clips played louder: (n_clips, 13, 100)."""
    louder = np.zeros(N_MFCC, dtype=np.float32)
    louder[0] = GAIN_STEP * gain_db
    return normalised([clip.mfccs + louder for clip in clips], [clip.gender for clip in clips], stats)


class Teacher:
    """Logistic regression and discriminant analysis: the mean of their scores, as widely spread as the former's."""

    def __init__(self, statistics: Floats, labels: list[int], recipe: Recipe) -> None:
        n_labels = len(set(labels))
        regression = LogisticRegression(C=recipe.teacher_c, class_weight="balanced", max_iter=1000)
        discriminant = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=recipe.teacher_shrinkage, priors=np.full(n_labels, 1 / n_labels)
        )
        self._models = [make_pipeline(StandardScaler(), m).fit(statistics, labels) for m in (regression, discriminant)]
        self.labels: list[int] = self._models[0].classes_.tolist()
        regression_spread, discriminant_spread = (float(_scores(m, statistics).std()) for m in self._models)
        self._scales = (0.5, 0.5 * regression_spread / discriminant_spread)

    def scores(self, statistics: Floats) -> Tensor:
        """Centred scores of `labels`: (n, n_statistics) to (n, n_labels)."""
        scaled = [scale * _scores(m, statistics) for scale, m in zip(self._scales, self._models, strict=True)]
        return torch.from_numpy(scaled[0] + scaled[1]).float()


def _scores(model: Pipeline, statistics: Floats) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = model.decision_function(statistics)
    scores -= scores.mean(axis=1, keepdims=True)
    return scores


def fit_teacher(clips: list[Clip], draws: list[Draw], recipe: Recipe) -> Teacher:
    """Fit what the network learns from, on the statistics of `draws`."""
    return Teacher(np.stack([draw.statistics for draw in draws]), [clips[draw.clip].label for draw in draws], recipe)


def train(
    clips: list[Clip],
    speakers: set[str],
    taught: list[Draw],
    draws: list[Draw],
    stats: dict[str, tuple[Floats, Floats]],
    recipe: Recipe,
    seed: int,
    bar: tqdm,
) -> VoiceNetwork:
    """Fit a teacher, then train one network from random weights to answer as it does.

    Args:
        clips: every clip, which the draws refer to.
        speakers: whose draws may be used.
        taught: draws that keep their clip's label, for the teacher.
        draws: draws for the network; only the teacher's answers to them are used.
        stats: baselines by gender.
        recipe: how.
        seed: of the weights and the order.
        bar: moves to 1 when the network is trained.

    Returns:
        The running average of the network's weights, in evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    teacher = fit_teacher(clips, [d for d in taught if clips[d.clip].speaker in speakers], recipe)
    draws = [d for d in draws if clips[d.clip].speaker in speakers]
    windows = normalised([d.frames for d in draws], [clips[d.clip].gender for d in draws], stats)
    answers = teacher.scores(np.stack([d.statistics for d in draws]))
    heard = torch.tensor(teacher.labels)
    targets = torch.full((len(draws), len(TRAINED)), recipe.surprise)
    targets[:, heard] = torch.softmax(answers, dim=1) * (1 - recipe.surprise)

    network = VoiceNetwork(len(TRAINED))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    n_steps = len(draws) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, n_steps)
    network.train()
    for chosen in rng.permutation(len(draws))[: n_steps * recipe.batch_size].reshape(n_steps, -1):
        logits = network(windows[chosen])
        spoken = logits[:, heard]
        loss = functional.cross_entropy(logits, targets[chosen])
        spoken = spoken - spoken.mean(dim=1, keepdim=True)
        loss = loss + recipe.logit_loss * functional.mse_loss(spoken, answers[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        bar.update(1 / n_steps)
    trained = VoiceNetwork(len(LABELS))
    weights = average.module.state_dict()
    for name in ("dense2.weight", "dense2.bias"):
        weights[name] = weights[name][: len(LABELS)]
    trained.load_state_dict(weights)
    return trained.eval()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Temperature, 0.3 to 3, under which the labels are likeliest."""
    grid = torch.linspace(0.3, 3.0, 136)
    losses = torch.stack([functional.cross_entropy(logits / t, labels) for t in grid])
    return float(grid[losses.argmin()])


def expected_calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean gap between confidence and accuracy, over 10 equal bins of confidence weighted by their size."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(correct[bins == b].mean() - confidence[bins == b].mean()) * np.mean(bins == b) for b in np.unique(bins)]
    return float(np.sum(gaps))


def uar(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean recall over the emotions that the labels hold."""
    return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro"))


def measure(folds: dict[str, dict[str, Tensor]]) -> dict[str, Any]:
    """Figures over all held-out speakers; each is scored under the temperature of the other speakers."""
    calibrated = []
    for speaker, fold in folds.items():
        rest = [other for name, other in folds.items() if name != speaker]
        temperature = fit_temperature(
            torch.cat([other["logits"] for other in rest]), torch.cat([other["labels"] for other in rest])
        )
        calibrated.append(fold["logits"] / temperature)
    probabilities = torch.softmax(torch.cat(calibrated), dim=1).double().numpy()
    labels = torch.cat([fold["labels"] for fold in folds.values()]).numpy()
    predicted = probabilities.argmax(axis=1)
    recalls = recall_score(labels, predicted, labels=range(N_HEARD), average=None)
    figures: dict[str, Any] = {
        "clips": len(labels),
        "uar": uar(labels, predicted),
        "accuracy": float(np.mean(labels == predicted)),
        "ece": expected_calibration_error(probabilities, labels),
        "recall": dict(zip(LABELS, map(float, recalls), strict=False)),
        "confusion_rows_true": confusion_matrix(labels, predicted, labels=range(len(LABELS))).tolist(),
        "surprise_probability_mean": float(probabilities[:, N_HEARD].mean()),
        "surprise_probability_max": float(probabilities[:, N_HEARD].max()),
        "uar_by_speaker": {
            name: uar(fold["labels"].numpy(), fold["logits"].argmax(1).numpy()) for name, fold in folds.items()
        },
    }
    for key in ("quieter", "louder", "other_gender"):
        moved = torch.cat([fold[key] for fold in folds.values()]).argmax(dim=1).numpy()
        figures[f"uar_{key}"] = uar(labels, moved)
    return figures


def hold_out(
    clips: list[Clip], speaker: str, taught: list[Draw], draws: list[Draw], recipe: Recipe, seed: int, bar: tqdm
) -> dict[str, Tensor]:
    """Train without one speaker, baselines and teacher included, and score that speaker's clips."""
    others = {clip.speaker for clip in clips} - {speaker}
    stats = baselines([clip for clip in clips if clip.speaker in others])
    network = train(clips, others, taught, draws, stats, recipe, seed, bar)
    unseen = [clip for clip in clips if clip.speaker == speaker and clip.label < N_HEARD]
    swapped = dict(zip(GENDERS, (stats["female"], stats["male"]), strict=True))
    with torch.inference_mode():
        return {
            "labels": torch.tensor([clip.label for clip in unseen]),
            "logits": network(inference_windows(unseen, stats)),
            "quieter": network(inference_windows(unseen, stats, gain_db=-6.0)),
            "louder": network(inference_windows(unseen, stats, gain_db=6.0)),
            "other_gender": network(inference_windows(unseen, swapped)),
        }


def main() -> None:
    """Measure, train on everybody, write the model."""
    arguments, recipe, began_s = parse_arguments(), Recipe(), time.monotonic()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the network is too small for more to pay
    clips = read_clips(arguments.data / "emotion" / "emodb")
    speakers = sorted({clip.speaker for clip in clips})
    sizes = (recipe.warp, recipe.tempo, N_FRAMES)
    taught = draw_clips(clips, recipe.taught_rounds, 0.0, *sizes, seed=2 * arguments.seed)
    draws = draw_clips(clips, recipe.rounds, recipe.spliced, *sizes, seed=2 * arguments.seed + 1)
    folds = {}
    with tqdm(total=len(speakers) + 1, desc="training", bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
        for speaker in speakers:
            kept = arguments.work / f"without-{speaker}-{arguments.seed}.pt"
            if kept.exists():
                bar.update()
            else:
                torch.save(hold_out(clips, speaker, taught, draws, recipe, arguments.seed, bar), kept)
            folds[speaker] = torch.load(kept, weights_only=True)
        stats = baselines(clips)
        network = train(clips, set(speakers), taught, draws, stats, recipe, arguments.seed, bar)
    temperature = fit_temperature(
        torch.cat([fold["logits"] for fold in folds.values()]),
        torch.cat([fold["labels"] for fold in folds.values()]),
    )
    with torch.no_grad():  # logits / temperature, without a number that inference would have to know
        network.dense2.weight.div_(temperature)
        network.dense2.bias.div_(temperature)
    figures = {"temperature": temperature, "leave_one_speaker_out": measure(folds)}
    figures["minutes"] = round((time.monotonic() - began_s) / 60, 1)

    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), arguments.out / "pytorch_model.pth")
    (arguments.out / "labels.json").write_text(json.dumps(LABELS) + "\n")
    for gender, (mean, std) in stats.items():
        np.save(arguments.out / f"baseline_mean_{gender}.npy", mean)
        np.save(arguments.out / f"baseline_std_{gender}.npy", std)
    (arguments.out / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
