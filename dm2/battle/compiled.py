"""How the simulator's functions are compiled: into the kernel of `step_battles`, or as an entry to it.

Only the entries are kept on disk: a function read back from there cannot be inlined into its callers, of which many
are in other modules. Without numba's reference counts (nothing here allocates) a step takes a third of the time.
"""

from __future__ import annotations

from typing import Any

from dm2.core.jit import njit

_FLAGS: dict[str, Any] = {"_nrt": False, "fastmath": {"nsz", "arcp", "contract", "afn"}, "error_model": "numpy"}

compiled = njit(**_FLAGS)
"""Part of the kernel; the compiler decides what is inlined."""
inline = njit(forceinline=True, **_FLAGS)
"""Part of the kernel that is inlined into every caller."""
entry = njit(cache=True, nogil=True, **_FLAGS)
"""Called from Python, while other threads go on."""
