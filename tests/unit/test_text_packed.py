"""Matrices in four bits: what comes back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from maeum.engines.text_packed import GROUP, WEIGHTS, decode, encode, is_packed, load_packed, rounded, save_packed

NAME = "encoder.weight"


def matrix(seed: int, rows: int = 64, groups: int = 3, spread: float = 0.05) -> Tensor:
    return torch.randn(rows, groups * GROUP, generator=torch.Generator().manual_seed(seed)) * spread


@given(seed=st.integers(0, 10_000), spread=st.floats(2e-3, 5.0))
def test_numbers_come_back_nearly_as_they_were(seed: int, spread: float) -> None:
    exact = matrix(seed, spread=spread)
    steps = exact.unflatten(1, (-1, GROUP)).abs().amax(dim=2) / 7
    errors = (rounded(exact) - exact).unflatten(1, (-1, GROUP)).abs().amax(dim=2)
    assert (errors <= steps * 0.51).all()
    assert ((rounded(exact) - exact).std() / exact.std()).item() < 0.11


def test_numbers_on_a_grid_of_sixteen_steps_keep_what_they_have_learned_on_average() -> None:
    """Weights taken from a model of four bits lie on such a grid; learning moves most by less than half a step."""
    codes = torch.randint(-8, 8, (64, 3 * GROUP), generator=torch.Generator().manual_seed(0)).float()
    codes[:, ::GROUP] = -8.0
    learned = torch.randn(codes.shape, generator=torch.Generator().manual_seed(1)) * 0.2
    kept = rounded(codes + learned) - codes
    assert ((kept * learned).sum() / (learned**2).sum()).item() > 0.8


@given(seed=st.integers(0, 10_000))
def test_what_has_been_rounded_stays(seed: int) -> None:
    once = rounded(matrix(seed))
    assert torch.equal(rounded(once), once)


def test_codes_take_four_bits_and_scales_half_of_one() -> None:
    codes, scales = encode(matrix(0))
    assert (codes.dtype, codes.shape) == (torch.uint8, (64, 48))
    assert (scales.dtype, scales.shape) == (torch.float16, (64, 3))


def test_the_low_half_of_a_byte_is_the_earlier_number() -> None:
    codes = torch.zeros(1, GROUP // 2, dtype=torch.uint8)
    codes[0, 3] = 0x2F  # 15 - 8 at place 3, 2 - 8 at place 19
    found = decode(codes, torch.tensor([[1.0]]).half())
    assert found[0, 3] == 7.0
    assert found[0, 3 + GROUP // 2] == -6
    assert found[0, 0] == -8


def test_nothing_but_zeros() -> None:
    assert torch.equal(rounded(torch.zeros(64, GROUP)), torch.zeros(64, GROUP))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    state = {NAME: matrix(1), "encoder.bias": torch.randn(7), "head.weight": torch.randn(6, 96)}
    save_packed(state, tmp_path)
    found = load_packed(tmp_path)
    assert found.keys() == state.keys()
    assert torch.equal(found[NAME], rounded(state[NAME]))
    assert torch.equal(found["encoder.bias"], state["encoder.bias"])
    assert torch.equal(found["head.weight"], state["head.weight"])
    assert (tmp_path / WEIGHTS).stat().st_size < 64 * 96 * 4


@pytest.mark.parametrize(
    ("name", "tensor", "packed"),
    [
        (NAME, torch.zeros(64, GROUP), True),
        (NAME, torch.zeros(63, GROUP), False),
        (NAME, torch.zeros(64, GROUP + 1), False),
        (NAME, torch.zeros(64), False),
        ("encoder.bias", torch.zeros(64, GROUP), False),
        ("classifier.dense.weight", torch.zeros(64, GROUP), False),
    ],
)
def test_large_matrices_are_packed(name: str, tensor: Tensor, packed: bool) -> None:
    assert is_packed(name, tensor) is packed


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored.pop(NAME + ".scales"),
        lambda stored: stored.pop(NAME + ".codes"),
        lambda stored: stored.update({NAME + ".codes": torch.zeros(64, 40, dtype=torch.uint8)}),
        lambda stored: stored.update({NAME + ".codes": torch.zeros(32, 48, dtype=torch.uint8)}),
        lambda stored: stored.update({NAME + ".codes": torch.zeros(48, dtype=torch.uint8)}),
        lambda stored: stored.update({NAME + ".codes": torch.zeros(64, 48)}),
        lambda stored: stored.update({NAME + ".scales": torch.zeros(64, 3)}),
    ],
    ids=["no scales", "no codes", "cut group", "fewer rows", "no matrix", "codes are floats", "scales are floats"],
)
def test_codes_and_scales_that_do_not_fit(tmp_path: Path, damage: object) -> None:
    save_packed({NAME: matrix(2)}, tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    assert callable(damage)
    damage(stored)
    save_file(stored, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=rf"{WEIGHTS}: codes and scales of {NAME} do not fit"):
        load_packed(tmp_path)
