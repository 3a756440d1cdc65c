"""Devices and threads of TensorFlow: deterministic, whatever ``--j``."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alphacryo4d.core.errors import UsageError

logger = logging.getLogger(__name__)

_MOST_THREADS = 16


def parse_gpus(text: str | None) -> list[int]:
    """GPU ids of ``--gpu``, such as ``0,1``; an empty list for none given."""
    if text is None or not text.strip():
        return []
    try:
        ids = [int(part) for part in text.replace(":", ",").split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--gpu {text}: give ids joined by commas, such as 0,1") from None
    if any(number < 0 for number in ids) or len(set(ids)) != len(ids):
        raise UsageError(f"--gpu {text}: ids must be distinct and not negative")
    return ids


@contextmanager
def limited_cores(threads: int | None) -> Iterator[None]:
    """Let this process use ``threads`` cores only.

    The number of TensorFlow's threads decides in which order it sums, so it stays fixed and the
    cores that they may run on follow ``--j`` instead.
    """
    if threads is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[: max(1, threads)])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what native code writes to stderr off the terminal; show it when there is a fault."""
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as aside:
        kept = os.dup(2)
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def start_tensorflow() -> Any:
    """Import TensorFlow with deterministic operations and a fixed number of threads."""
    if not logger.isEnabledFor(logging.DEBUG):
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
    tf.get_logger().setLevel("ERROR")
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            logger.warning("TensorFlow was started before: its threads stay as they are")
    tf.config.experimental.enable_op_determinism()
    return tf


def choose_devices(gpu: str | None) -> list[str]:
    """TensorFlow devices for ``--gpu``; the CPU, and a word about it, where there is no GPU."""
    tf = start_tensorflow()
    wanted = parse_gpus(gpu)
    with _quiet_stderr():
        present = [device.name for device in tf.config.list_logical_devices("GPU")]
    if not present:
        logger.info(
            "%susing the CPU", "no GPU that TensorFlow can use: " if wanted else "no --gpu given: "
        )
        return ["/CPU:0"]
    missing = [number for number in wanted if number >= len(present)]
    if missing:
        raise UsageError(f"--gpu {gpu}: there is no GPU {missing[0]}; there are {len(present)}")
    chosen = [f"/GPU:{number}" for number in wanted] or ["/GPU:0"]
    logger.info("training on %s", ", ".join(chosen))
    return chosen


def make_strategy(devices: list[str], batch_size: int) -> Any:
    """``MirroredStrategy`` over the devices, or the plain strategy for one."""
    import tensorflow as tf

    if batch_size % len(devices):
        raise UsageError(
            f"--batch-size {batch_size} does not divide over {len(devices)} devices; "
            f"take {len(devices) * max(1, round(batch_size / len(devices)))}"
        )
    if devices in (["/CPU:0"], ["/GPU:0"]):
        return tf.distribute.get_strategy()
    if len(devices) == 1:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.MirroredStrategy(devices)
