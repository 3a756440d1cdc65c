"""Memory that a process may take: of the machine, a container, a job, or its ulimit."""

import resource
from pathlib import Path

import pytest

from alphacryo4d.core import memory
from alphacryo4d.core.memory import cgroup_limits, usable_memory


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
