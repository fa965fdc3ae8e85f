"""Tests of dm2.core.randomness."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2.core.randomness import generator_state, restore_generator, stream

NAMES = st.lists(st.one_of(st.text(max_size=8), st.integers(-(2**70), 2**70)), max_size=4)


def first_numbers(seed: int, *names: str | int) -> list[int]:
    return stream(seed, *names).integers(0, 2**63, size=4).tolist()


def test_same_seed_and_names_give_same_numbers_in_another_process() -> None:
    code = "from dm2.core.randomness import stream; print(stream(7, 'policy', 3).integers(0, 2**63, size=4).tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == first_numbers(7, "policy", 3)


def test_numbers_are_pinned() -> None:
    """A change here changes every result ever made: it needs a new format version."""
    assert stream(112358, "policy", 0).integers(0, 1000, size=5).tolist() == [106, 930, 568, 851, 100]


def test_drawing_from_one_stream_leaves_the_others_alone() -> None:
    untouched = first_numbers(1, "env")
    stream(1, "policy").normal(size=1000)
    np.random.default_rng(0).normal(size=10)
    assert first_numbers(1, "env") == untouched


@given(st.integers(), NAMES, st.integers(), NAMES)
def test_different_names_give_different_numbers(seed: int, names: list, other_seed: int, other_names: list) -> None:
    same = [seed, *names] == [other_seed, *other_names] and list(map(type, names)) == list(map(type, other_names))
    assert (first_numbers(seed, *names) == first_numbers(other_seed, *other_names)) == same


def test_a_number_and_its_text_are_different_names_and_joins_do_not_collide() -> None:
    assert first_numbers(1, 1) != first_numbers(1, "1")
    assert first_numbers(1, "a", "b") != first_numbers(1, "a,b") != first_numbers(1, "ab")


def test_numpy_integers_are_integers() -> None:
    assert first_numbers(np.int64(5), np.int32(2)) == first_numbers(5, 2)


@pytest.mark.parametrize("name", [1.5, None, b"policy"])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(TypeError):
        stream(1, name)  # type: ignore[arg-type]


def test_streams_are_uniform_and_uncorrelated() -> None:
    draws = np.stack([stream(3, "episode", n).random(2000) for n in range(20)])
    assert abs(draws.mean() - 0.5) < 0.01
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 0.12  # 5.4 standard deviations of 1 / sqrt(2000)


@given(st.integers(0, 9), st.integers(0, 3))
def test_state_survives_json(float64_draws: int, uint32_draws: int) -> None:
    generator = stream(11, "minibatch")
    generator.random(float64_draws)
    generator.integers(0, 10, size=uint32_draws, dtype=np.uint32)  # leaves half a word behind
    text = json.dumps(generator_state(generator))
    expected = generator.integers(0, 10, size=5, dtype=np.uint32).tolist() + generator.random(5).tolist()
    other = stream(0, "something else")
    restore_generator(other, json.loads(text))
    assert other.integers(0, 10, size=5, dtype=np.uint32).tolist() + other.random(5).tolist() == expected


def test_foreign_states_are_refused() -> None:
    with pytest.raises(TypeError, match="found a PCG64"):
        generator_state(np.random.default_rng(0))
    with pytest.raises(ValueError, match="found the state of 'MT19937'"):
        restore_generator(stream(0), {"bit_generator": "MT19937"})
    state = generator_state(stream(0))
    with pytest.raises(ValueError, match="'key' is"):
        restore_generator(stream(0), {**state, "key": [1]})
