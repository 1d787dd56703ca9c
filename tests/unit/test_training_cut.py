"""Cutting Whisper tiny down: what the units left out said, those kept say."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_cut import narrow
from speech_network import Shape, Whisper
from speech_voice import SAMPLE_RATE_HZ, Pool, Utterance, trim, write_shard

N_FRAMES, N_UNITS, WIDTH = 400, 24, 6


def test_units_that_repeat_others_are_left_out_without_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(N_FRAMES, N_UNITS // 2, generator=generator)
    inputs = torch.cat([own, 0.01 * own], 1)
    weight = torch.rand(WIDTH, N_UNITS, generator=generator)

    kept, fitted, bias = narrow(inputs, weight, N_UNITS // 2)

    assert kept.tolist() == list(range(N_UNITS // 2))
    assert fitted.shape == (WIDTH, N_UNITS // 2)
    assert torch.allclose(inputs[:, kept] @ fitted.T + bias, inputs @ weight.T, atol=0.02)


def test_a_unit_that_always_says_the_same_becomes_a_bias() -> None:
    inputs = torch.rand(N_FRAMES, N_UNITS, generator=torch.Generator().manual_seed(1))
    inputs[:, 3] = 0.7
    weight = torch.ones(1, N_UNITS)

    kept, fitted, bias = narrow(inputs, weight, N_UNITS - 1)

    assert 3 not in kept.tolist()
    assert torch.allclose(inputs[:, kept] @ fitted.T + bias, inputs @ weight.T, atol=0.05)


def test_the_network_takes_the_sizes_of_its_shape() -> None:
    model = Whisper(Shape(50, width=192, encoder_inner=(48,), decoder_inner=(16, 24, 32)))
    with torch.no_grad():
        audio, positions, bias = model.encoder(torch.zeros(1, 80, 104), 8)
        logits, attention = model.decoder(torch.zeros(1, 5, dtype=torch.long), audio, bias)
    assert model.encoder.get_submodule("layer_0.ffn.linear_0").weight.shape == (48, 192)
    assert model.decoder.get_submodule("layer_2.ffn.linear_1").weight.shape == (192, 32)
    assert audio.shape == (1, len(positions), 192)
    assert logits.shape == (1, 5, 50)
    assert attention.shape == (1, 2, 5, len(positions))


@pytest.mark.parametrize("scale", [1.0, 20000.0])
def test_speech_keeps_ten_milliseconds_of_silence(scale: float) -> None:
    silence, speech = np.zeros(8000, np.float32), np.full(4000, scale, np.float32)
    found = trim(np.concatenate([silence, speech, silence]), 0.01, scale / 2)
    assert found is not None
    pcm, first = found
    assert first == 8000 - SAMPLE_RATE_HZ // 100
    assert len(pcm) == 160 + 4000 + 319
    assert pcm.max() == 24000


def test_what_is_too_quiet_or_too_long_is_left_out() -> None:
    assert trim(np.full(1000, 0.01, np.float32), 0.01, 0.02) is None
    assert trim(np.ones(12 * SAMPLE_RATE_HZ + 1, np.float32), 0.01, 0.02) is None
    assert trim(np.full(1000, np.nan, np.float32), 0.01, 0.02) is None


def test_each_folder_is_drawn_from_by_its_share(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        spoken = [Utterance(name, np.full(10, len(name), np.int16), [0.0, 0.1])] * 3
        write_shard(tmp_path / name / "00000", spoken)
    pool = Pool([tmp_path / "one", tmp_path / "other"], [0.9, 0.1])
    assert pool.refresh() == 6
    assert pool.refresh() == 6

    rng = random.Random(0)
    drawn = [pool.draw(rng) for _ in range(500)]

    assert 400 < sum(one.text == "one" for one in drawn) < 490
    assert all(one.pcm.tolist() == [len(one.text)] * 10 for one in drawn)


def test_a_shard_is_seen_only_when_it_is_complete(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000", [Utterance("가", np.ones(4, np.int16), [0.0, 0.1])])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.json", "00000.pcm"]
    assert json.loads((tmp_path / "00000.json").read_text(encoding="utf-8")) == [["가", 4, [0.0, 0.1]]]
