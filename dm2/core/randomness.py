"""Named random streams: one seed, one independent generator per purpose.

A stream is a Philox counter generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") whose key of
128 bits is a hash of the seed and the stream's names. Two different names give unrelated streams; the same seed and
names give the same numbers in every process, on every platform and whatever other streams were drawn from before.
Nothing in this package draws from numpy's or torch's global state.
"""

import hashlib
import json
import operator
from typing import Any

import numpy as np

GeneratorState = dict[str, Any]

_ALGORITHM = "Philox"


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that a seed and a list of names stand for.

    Args:
        seed: the run's seed, any integer.
        names: what the stream is for, such as `"policy"`, or `"evaluation", env_steps`; `1` and `"1"` are two names.

    Returns:
        A generator at the start of its stream.

    Raises:
        TypeError: the seed is no integer, or a name is neither a text nor an integer.
    """
    parts: list[str | int] = [operator.index(seed)]
    parts += [name if isinstance(name, str) else operator.index(name) for name in names]
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def generator_state(generator: np.random.Generator) -> GeneratorState:
    """Return a Philox generator's state as plain numbers that JSON can hold.

    Raises:
        TypeError: the generator is not one of `stream`'s.
    """
    state = generator.bit_generator.state
    if state["bit_generator"] != _ALGORITHM:
        raise TypeError(f"generator_state: found a {state['bit_generator']} generator, expected one made by stream()")
    return {
        "bit_generator": _ALGORITHM,
        "counter": state["state"]["counter"].tolist(),
        "key": state["state"]["key"].tolist(),
        "buffer": state["buffer"].tolist(),
        "buffer_pos": int(state["buffer_pos"]),
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def restore_generator(generator: np.random.Generator, state: GeneratorState) -> None:
    """Put a generator back where `generator_state` found it.

    Args:
        generator: a generator made by `stream`; changed in place.
        state: what `generator_state` returned, as it was or after a trip through JSON.

    Raises:
        ValueError: the state is not one that `generator_state` wrote.
    """
    found = state.get("bit_generator")
    if found != _ALGORITHM:
        raise ValueError(f"restore_generator: found the state of {found!r}, expected {_ALGORITHM!r}; train afresh")
    sizes = {"counter": 4, "key": 2, "buffer": 4}
    for name, size in sizes.items():
        if len(state.get(name, ())) != size:
            found = state.get(name)
            raise ValueError(f"restore_generator: {name!r} is {found!r}, expected {size} numbers; train afresh")
    generator.bit_generator.state = {
        "bit_generator": _ALGORITHM,
        "state": {name: np.array(state[name], dtype=np.uint64) for name in ("counter", "key")},
        "buffer": np.array(state["buffer"], dtype=np.uint64),
        "buffer_pos": state["buffer_pos"],
        "has_uint32": state["has_uint32"],
        "uinteger": state["uinteger"],
    }
