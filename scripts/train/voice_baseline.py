"""What a speaker's own baseline changes: UAR of the embedded voice model over the actors of EmoDB.

Of each actor five neutral clips, drawn at random and five times anew, make a baseline, and all clips of the other
emotions are classified with it. The model has heard these actors: only the differences say something.

Usage: python scripts/train/voice_baseline.py --data DIR
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.metrics import recall_score
from voice_data import LABELS, N_HEARD, NEUTRAL, Clip, Floats, fit, read_clips

from maeum.assembly import load_voice
from maeum.audio.features import N_FRAMES, Baselines, Gender
from maeum.models import resolve
from maeum.settings import Settings
from maeum.stages import good

CLIPS, DRAWS = 5, 5


def windows(clips: list[Clip], mean: Floats, std: Floats) -> Floats:
    """The network's inputs, shape (n_clips, 100, 13)."""
    return np.stack([(fit(clip.mfccs, N_FRAMES) - mean) / std for clip in clips]).astype(np.float32)


def main() -> None:
    """Classify with each baseline, and print."""
    parser = argparse.ArgumentParser(description="What a speaker's own baseline changes, on EmoDB.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds emotion/emodb/")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = Settings()
    engine, genders = load_voice(settings), Baselines.load(resolve("voice", settings).path)
    clips = read_clips(arguments.data / "emotion" / "emodb")
    rng = np.random.default_rng(arguments.seed)
    true: dict[str, list[int]] = defaultdict(list)
    given: dict[str, list[int]] = defaultdict(list)
    for speaker in sorted({clip.speaker for clip in clips}):
        own = [clip for clip in clips if clip.speaker == speaker]
        calm = np.stack([clip.mfccs.mean(axis=0) for clip in own if clip.label == NEUTRAL])
        asked = [clip for clip in own if clip.label < N_HEARD]
        usual = genders.of(Gender.parse(own[0].gender))
        for _ in range(DRAWS):
            drawn = calm[rng.permutation(len(calm))[:CLIPS]]
            mean, std = drawn.mean(axis=0), drawn.std(axis=0)
            for name, baseline in (
                ("the gender's", (usual.mean, usual.std)),
                ("own, deviations at least the gender's", (mean, np.maximum(std, usual.std))),
                ("own, deviations as they are", (mean, std)),
            ):
                rows = [good(row) for row in engine.classify(windows(asked, *baseline))]
                given[name] += np.argmax(rows, axis=1).tolist()
                true[name] += [clip.label for clip in asked]
    for name in given:
        uar = recall_score(true[name], given[name], labels=range(N_HEARD), average="macro", zero_division=0)
        print(f"{name}: UAR {uar:.3f} over {len(true[name]) // DRAWS} clips, labels {', '.join(LABELS[:N_HEARD])}")


if __name__ == "__main__":
    main()
