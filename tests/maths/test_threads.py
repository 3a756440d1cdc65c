"""Loops in threads: every index once, and what a thread raises is raised."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from alphacryo4d.maths.threads import in_ranges, in_tasks, thread_count


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("count", "parts"), [(10, 4), (3, 8), (0, 2)])
def test_ranges_cover_every_index_once(count: int, parts: int, workers: int) -> None:
    seen = np.zeros(count, int)

    def visit(begin: int, end: int, step: int) -> None:
        seen[begin:end] += step

    in_ranges(visit, count, parts, workers, 2)
    assert (seen == 2).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_a_task_is_raised_after_all_have_run(workers: int) -> None:
    done = []

    def work(task: int) -> None:
        done.append(task)
        if task == 1:
            raise ValueError("task 1")

    with pytest.raises(ValueError, match="task 1"):
        in_tasks(work, [0, 1], workers)
    assert sorted(done) == [0, 1]


def test_an_end_meanwhile_leaves_no_tasks_behind() -> None:
    begun = []

    def work(task: int) -> None:
        begun.append(task)
        time.sleep(0.2)
        if task == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, end)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_tasks(work, range(50), 2)
    finally:
        signal.signal(signal.SIGALRM, before)
    in_tasks(lambda task: None, range(2), 2)  # behind all that still waits
    assert len(begun) < 50


def test_threads_are_the_processors_that_the_process_may_use() -> None:
    assert thread_count(3) == 3
    assert thread_count(None) == len(os.sched_getaffinity(0))
