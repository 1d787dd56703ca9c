"""`maeum baseline`: a speaker's own neutral voice from some clips of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.progress import track

from maeum.audio.decoding import Waveform, decode
from maeum.audio.features import Baseline, Baselines, Gender
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.cli.outputs import check_replaceable, writing
from maeum.cli.terminal import printable
from maeum.errors import InvalidField, MaeumError
from maeum.files import private, replacing
from maeum.local import read_upload
from maeum.models import resolve
from maeum.settings import get_settings

_FEW_CLIPS = 5
_LEAST_SPEECH_S = 0.5
_MARGIN_FRAMES = 6  # of silence around speech that are kept: about 0.2 s, as between words


def baseline(arguments: argparse.Namespace) -> int:
    """Measure `arguments.clips` and write `arguments.out`.

    Returns:
        0, or 1 when a clip is not usable; then nothing is written.

    Raises:
        InvalidField: the clips give no baseline, or the output file cannot be written.
        StartError: the voice model, whose deviations are the least, is not there.
    """
    check_replaceable(arguments.out, "a baseline", ["mean", "std"])
    usual = Baselines.load(resolve("voice", get_settings()).path).of(Gender.parse(arguments.gender))
    waveforms = []
    for clip in track(arguments.clips, "measuring", transient=True, disable=not sys.stdout.isatty()):
        try:
            waveforms.append(_read(clip))
        except (MaeumError, OSError) as error:
            reason = error.message if isinstance(error, MaeumError) else error.strerror
            print(f"maeum: {printable(clip)}: {reason}; nothing was written", file=sys.stderr)
            return 1
    try:
        measured = Baseline.of_clips(waveforms, usual)
    except ValueError as error:
        raise InvalidField(f"no baseline: {error}", code="invalid_baseline") from None
    with writing(arguments.out):
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.out, private) as stream:
            stream.write(f"{measured.to_json()}\n".encode())
    print(f"{printable(str(arguments.out))}: the baseline of {len(waveforms)} clips")
    if len(waveforms) < _FEW_CLIPS:
        print(f"maeum: {len(waveforms)} clips say little about how a voice varies; give more", file=sys.stderr)
    return 0


def _read(clip: str) -> Waveform:
    """A clip's sound where somebody speaks: with its pauses the baseline would be that of a room.

    Raises:
        MaeumError: it cannot be used, or hardly anybody speaks.
        OSError: it cannot be read.
    """
    from maeum.engines.vad import FRAME, SPEECH, speech_probabilities  # takes a second to import

    settings = get_settings()
    waveform = decode(read_upload(Path(clip), settings.max_upload_bytes), settings.max_duration_s)
    speaking = speech_probabilities(np.frombuffer(waveform.to_pcm16(), np.int16)) > SPEECH
    if speaking.sum() * FRAME / SAMPLE_RATE_HZ < _LEAST_SPEECH_S:
        raise InvalidField(f"there is less than {_LEAST_SPEECH_S:g} s of speech in it", code="no_speech")
    near = np.convolve(speaking, np.ones(2 * _MARGIN_FRAMES + 1), "same") > 0
    return Waveform(waveform.samples[np.repeat(near, FRAME)[: len(waveform.samples)]])
