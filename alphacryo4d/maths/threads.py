"""Loops over ranges and tasks in threads that stay."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any


def in_ranges(
    function: Callable[..., Any], count: int, parts: int, workers: int, *arguments: Any
) -> None:
    """Call ``function(begin, end, *arguments)`` for ``parts`` equal ranges in threads."""
    edges = [part * count // parts for part in range(parts + 1)]
    ranges = [(a, b) for a, b in itertools.pairwise(edges) if b > a]
    if workers <= 1 or len(ranges) <= 1:
        for a, b in ranges:
            function(a, b, *arguments)
        return
    _finish([_pool(workers).submit(function, a, b, *arguments) for a, b in ranges])


def in_tasks(function: Callable[[int], None], tasks: Iterable[int], workers: int) -> None:
    """Call ``function`` for every task in threads, in the order given."""
    if workers <= 1:
        for task in tasks:
            function(int(task))
        return
    _finish([_pool(workers).submit(function, int(task)) for task in tasks])


@functools.lru_cache(maxsize=4)
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that wait for work: to make them anew takes as long as a small loop."""
    return ThreadPoolExecutor(workers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _finish(futures: list[Future[Any]]) -> None:
    """Wait for all, then raise what one of them raised; an end meanwhile leaves no work behind."""
    try:
        wait(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    for future in futures:
        future.result()


def thread_count(threads: int | None) -> int:
    """Number of threads to use; by default the processors this process may run on."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, threads or available or 1)
