"""dm2.training.memory."""

import ctypes
import platform
from types import SimpleNamespace

import pytest

from dm2.training.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told")
def test_glibc_is_told_and_takes_both_options(monkeypatch: pytest.MonkeyPatch) -> None:
    mallopt, answers = ctypes.CDLL(None).mallopt, {}

    def noted(option: int, value: int) -> None:
        answers[option, value] = mallopt(option, value)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=noted))
    keep_freed_memory()
    # -3 and -1 are M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h; 1 is success
    assert answers == {(-3, 32 * 2**20): 1, (-1, 2**31 - 1): 1}


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()
