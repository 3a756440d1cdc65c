"""Memory that a process may take: of the machine, a container, a job, or its ulimit."""

import resource
import sys
from pathlib import Path

import pytest

from alphacryo4d.core import memory
from alphacryo4d.core.errors import ResourceError
from alphacryo4d.core.memory import (
    address_space_left,
    cgroup_limits,
    is_want_of_memory,
    require_address_space,
    usable_memory,
)
from alphacryo4d.deepfeature.devices import require_room_for_training


def test_control_groups_of_both_versions_and_those_above_count(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/job/step\n1:cpu:/other\n0::/user/session\n")
    for name, text in (
        ("memory/memory.limit_in_bytes", "9223372036854771712"),
        ("memory/job/memory.limit_in_bytes", "4000"),
        ("memory/job/step/memory.limit_in_bytes", "5000"),
        ("user/memory.max", "3000"),
        ("user/session/memory.max", "max"),
        ("cpu/other/memory.limit_in_bytes", "1"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert sorted(cgroup_limits(own, tmp_path)) == [3000, 4000, 5000, 9223372036854771712]


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path / "none", tmp_path) == []


def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = usable_memory()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    assert usable_memory() == min(before, 100 << 20)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (50 << 20, resource.RLIM_INFINITY))
    assert usable_memory() == 50 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_what_ulimit_leaves_is_named_where_it_is_too_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_address_space(1e15, "everything")  # no limit
    mapped = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
    limit = (mapped + (1 << 30), resource.RLIM_INFINITY)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: limit)
    assert 0.9e9 < address_space_left() < 1.2e9
    require_address_space(0.5e9, "a little")
    with pytest.raises(
        ResourceError, match=r"TensorFlow needs about 3\.2 GB .* 1\.\d\d GB are left"
    ):
        require_address_space(3.2e9, "TensorFlow")


def test_a_training_without_address_space_is_refused_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "address_space_left", lambda: 1e9)
    with pytest.raises(ResourceError, match="give a larger `ulimit -v`"):
        require_room_for_training()


def test_threads_that_cannot_start_are_want_of_memory() -> None:
    assert is_want_of_memory(RuntimeError("Resource temporarily unavailable"))
    assert not is_want_of_memory(RuntimeError("a bug"))
