"""What a suite is, and what it is given to run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks import shapes
from benchmarks.clips import Clips
from benchmarks.measure import Figure
from benchmarks.original import Original
from maeum.models import resolve
from maeum.settings import PROJECT_DIR, Settings

Profile = Literal["embedded", "production-shapes"]
Device = Literal["cpu", "cuda"]

WORK_DIR = PROJECT_DIR / "build" / "benchmarks"
"""Recordings, models of production sizes and servers' logs; never committed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one suite: on which models, where, and how often.

    Attributes:
        profile: which models.
        device: where they run.
        rounds: rounds that count.
        clips: gives recordings that nobody has heard before.
        quick: use a quarter of them.
    """

    profile: Profile
    device: Device
    rounds: int
    clips: Clips
    quick: bool = False

    def scaled(self, count: int) -> int:
        """How many recordings to use where a full run uses `count`."""
        return max(1, count // 4) if self.quick else count

    def settings(self, *, speech_size: str = "tiny", **changes: Any) -> Settings:
        """Settings that name the profile's models, without a summary; the rest comes from the environment.

        Args:
            speech_size: `tiny`, `base` or `small`, among production shapes.
            changes: further settings.
        """
        models: dict[str, str] = {}
        if self.profile == "production-shapes":
            folder = WORK_DIR / "models"
            models = {
                "speech_model": str(shapes.speech_model(folder, speech_size)),
                "text_model": str(shapes.text_model(folder)),
                "voice_model": str(shapes.voice_model(folder)),
            }
        return Settings(**{"device": self.device, "summary": "off", **models, **changes})

    def environment(self) -> dict[str, str]:
        """The same settings for a server: this process's environment with the profile's variables, and no key.

        Servers may keep compiled modules, as on any user's machine.
        """
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith("OPENAI_") and k != "PYTHONDONTWRITEBYTECODE"
        }
        for name, value in self.settings().model_dump(exclude_unset=True).items():
            if name in ("device", "summary", "speech_model", "text_model", "voice_model"):
                environment[f"MAEUM_{name.upper()}"] = str(value)
        return environment

    def original(self, **changes: Any) -> Original:
        """The sequential original over the same models."""
        return original_of(self.settings(**changes), self.device)

    def say(self, line: str) -> None:
        """Tell the user how far the run is."""
        print(line, flush=True)


def original_of(settings: Settings, device: str) -> Original:
    """The sequential original over the models that settings name."""
    speech, text, voice = (resolve(kind, settings).path for kind in ("speech", "text", "voice"))
    return Original(speech, text, voice, device)


@dataclass(frozen=True, slots=True)
class Suite:
    """A named benchmark.

    Attributes:
        name: on the command line and of the results file.
        a: what is judged.
        b: what it is compared with.
        run: measures and returns the lines of the table.
        rounds: by default.
        profiles: by default.
    """

    name: str
    a: str
    b: str
    run: Callable[[Run], list[Figure]]
    rounds: int
    profiles: tuple[Profile, ...] = ("embedded",)
