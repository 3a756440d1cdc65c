"""Large arrays use the memory that others have freed."""

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import numpy as np
from alphacryo4d.core.allocator import keep_large_arrays
if sys.argv[1] == "kept":
    keep_large_arrays()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **more: str) -> int:
    """Pages that the system had to clear for twenty arrays of 64 MB, one after the other."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    # small pages, whatever the system gives for large arrays
    environment |= {"NUMPY_MADVISE_HUGEPAGE": "0"} | more
    command = [sys.executable, "-c", COUNT, how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_pages_are_cleared_once() -> None:
    given_back = faults("given back")
    assert faults("kept") < given_back / 5
    assert faults("kept", MALLOC_ARENA_MAX="2") > given_back / 2  # the user's own choice holds
