"""Train the embedded voice model on EmoDB: leave one speaker out to measure, then all speakers for the weights.

Usage: python scripts/train/voice.py --data DIR [--work DIR] [--seed N] [--out models/embedded/voice]

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
from sklearn.metrics import confusion_matrix, recall_score
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from voice_data import GENDERS, LABELS, N_HEARD, TRAINED, Clip, Floats, baselines, fit, read_clips

from maeum.engines.voice_network import N_FRAMES, VoiceNetwork

GAIN_STEP = float(np.sqrt(128.0))
"""How far one decibel moves the first MFCC: the orthonormal DCT over 128 mel bands."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of the training run."""

    epochs: int = 12
    batch_size: int = 48
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    dropout: float = 0.2
    offset: float = 2.0
    ema_decay: float = 0.98


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the embedded voice model on EmoDB.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds emotion/emodb")
    parser.add_argument("--work", type=Path, default=Path("build/train/voice"), help="for checkpoints")
    parser.add_argument("--out", type=Path, default=Path("models/embedded/voice"), help="for the finished model")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def training_window(clip: Clip, baseline: tuple[Floats, Floats], recipe: Recipe, rng: np.random.Generator) -> Floats:
    """Draw one randomly changed window of a clip, as the network reads it.

    A constant is added to each coefficient of the whole clip, as another voice, microphone or loudness would. Shifted
    pitch and added noise made unseen speakers worse: they move the coefficients as emotions do.

    Args:
        clip: the recording.
        baseline: mean and standard deviation, each shape (13,).
        recipe: how strong the change is.
        rng: source of every random choice.

    Returns:
        float32, shape (13, 100).
    """
    mean, std = baseline
    offset = recipe.offset * std * rng.standard_normal(len(std)).astype(np.float32)
    window = (fit(clip.mfccs[rng.integers(0, 6) :] + offset, N_FRAMES) - mean) / (std + 1e-8)
    return np.ascontiguousarray(window.T, dtype=np.float32)


def inference_windows(clips: list[Clip], stats: dict[str, tuple[Floats, Floats]], gain_db: float = 0.0) -> Tensor:
    """Windows exactly as inference makes them, or of the same clips played louder: (n_clips, 13, 100)."""
    windows = []
    for clip in clips:
        mean, std = stats[clip.gender]
        frames = clip.mfccs.copy()
        frames[:, 0] += GAIN_STEP * gain_db
        windows.append(((fit(frames, N_FRAMES) - mean) / (std + 1e-8)).T)
    return torch.from_numpy(np.stack(windows).astype(np.float32))


def train(
    clips: list[Clip], stats: dict[str, tuple[Floats, Floats]], recipe: Recipe, seed: int, bar: tqdm
) -> VoiceNetwork:
    """Train one network from random weights.

    Args:
        clips: of every emotion and neutral.
        stats: baselines by gender.
        recipe: how.
        seed: of the weights, the order and the augmentation.
        bar: moves by one per epoch.

    Returns:
        The running average of the network's weights, in evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = VoiceNetwork(len(TRAINED))
    for layer in (network.bilstm, network.dense1, network.dense2):
        layer.register_forward_pre_hook(
            lambda module, inputs: (functional.dropout(inputs[0], recipe.dropout, module.training),)
        )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)
    labels = torch.tensor([clip.label for clip in clips])
    class_weights = len(clips) / (len(TRAINED) * torch.bincount(labels, minlength=len(TRAINED)).clamp(min=1))
    targets = functional.one_hot(labels, len(TRAINED)).float()
    targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / len(TRAINED)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    # Each clip is drawn four times an epoch, changed another way each time.
    n_steps = recipe.epochs * (4 * len(clips) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, n_steps)
    network.train()
    for _ in range(recipe.epochs):
        order = np.concatenate([rng.permutation(len(clips)) for _ in range(4)])
        for first in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
            chosen = order[first : first + recipe.batch_size]
            windows = np.stack([training_window(clips[i], stats[clips[i].gender], recipe, rng) for i in chosen])
            weighted = class_weights[labels[chosen]][:, None] * targets[chosen]
            loss = functional.cross_entropy(network(torch.from_numpy(windows)), weighted)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
        bar.update()
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


def hold_out(clips: list[Clip], speaker: str, recipe: Recipe, seed: int, bar: tqdm) -> dict[str, Tensor]:
    """Train without one speaker, baselines included, and score that speaker's clips."""
    stats = baselines([clip for clip in clips if clip.speaker != speaker])
    known = [clip for clip in clips if clip.speaker != speaker]
    network = train(known, stats, recipe, seed, bar)
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
    folds = {}
    with tqdm(total=recipe.epochs * (len(speakers) + 1), desc="training", unit="epoch") as bar:
        for speaker in speakers:
            kept = arguments.work / f"without-{speaker}-{arguments.seed}.pt"
            if kept.exists():
                bar.update(recipe.epochs)
            else:
                torch.save(hold_out(clips, speaker, recipe, arguments.seed, bar), kept)
            folds[speaker] = torch.load(kept, weights_only=True)
        stats = baselines(clips)
        network = train(clips, stats, recipe, arguments.seed, bar)
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
