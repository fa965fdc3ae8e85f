"""dm2.training.memory."""

import platform
import resource

import pytest
import torch

from dm2.training.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told")
def test_memory_that_was_freed_is_taken_again_without_the_system():
    def cleared_pages(rounds: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(rounds):
            torch.ones(2**22)  # 16 MiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_freed_memory()
    cleared_pages(20)  # until the heap has a place for it
    assert cleared_pages(20) < 2**24 // resource.getpagesize()
