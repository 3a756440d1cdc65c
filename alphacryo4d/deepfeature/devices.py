"""Keras's backend, its devices and threads: deterministic, whatever ``--j``.

TensorFlow is the default; ``KERAS_BACKEND=jax`` takes JAX, where it is installed.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from alphacryo4d.core.errors import MissingProgramError, UsageError
from alphacryo4d.core.memory import require_address_space

logger = logging.getLogger(__name__)

_MOST_THREADS = 16
_TENSORFLOW, _TRAINING = 3.2e9, 1.8e9
"""Address space (bytes) that TensorFlow takes with a training, and with one once it is loaded: of
two threads, for a few volumes of 24 voxels (3.9 GB of a whole process). Below, it aborts."""


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


def start_keras() -> str:
    """Import Keras's backend and give its name, ``tensorflow`` or ``jax`` (``KERAS_BACKEND``)."""
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend == "tensorflow":
        start_tensorflow()
    elif backend == "jax":
        try:
            import jax  # noqa: F401
        except ImportError:
            raise MissingProgramError(
                "KERAS_BACKEND=jax: JAX is not installed; `pip install 'alphacryo4d[jax]'`, or "
                "unset the variable"
            ) from None
    else:
        raise UsageError(f"KERAS_BACKEND={backend}: take tensorflow (the default) or jax")
    return backend


def require_room_for_training() -> None:
    """Refuse a training for whose libraries ``ulimit -v`` leaves no room.

    Raises
    ------
    ResourceError
    """
    loaded = "tensorflow" in sys.modules
    require_address_space(_TRAINING if loaded else _TENSORFLOW, "TensorFlow")


def start_tensorflow() -> Any:
    """Import TensorFlow with deterministic operations and a fixed number of threads."""
    require_room_for_training()
    if not logger.isEnabledFor(logging.DEBUG):
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # Without it convolutions are eight times slower; TensorFlow leaves it off on older CPUs
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
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


def _gpus_and_cpus(backend: str) -> tuple[list[str], list[str]]:
    """Devices by the names that the backend gives them."""
    if backend == "jax":
        import jax

        devices = [f"{one.platform}:{one.id}" for one in jax.local_devices()]
        return (
            [name for name in devices if not name.startswith("cpu")],
            [name for name in devices if name.startswith("cpu")],
        )
    import tensorflow as tf

    count = len(tf.config.list_logical_devices("GPU"))
    return [f"/GPU:{number}" for number in range(count)], ["/CPU:0"]


def choose_devices(gpu: str | None) -> list[str]:
    """Devices for ``--gpu``; the CPU, and a word about it, where there is no GPU.

    JAX shows several devices of one CPU if ``XLA_FLAGS`` asks for them; then all are taken.
    """
    backend = start_keras()
    wanted = parse_gpus(gpu)
    with _quiet_stderr():
        present, cpus = _gpus_and_cpus(backend)
    if not present:
        named = {"tensorflow": "TensorFlow", "jax": "JAX"}[backend]
        logger.info(
            "%susing the CPU", f"no GPU that {named} can use: " if wanted else "no --gpu given: "
        )
        return cpus
    missing = [number for number in wanted if number >= len(present)]
    if missing:
        raise UsageError(f"--gpu {gpu}: there is no GPU {missing[0]}; there are {len(present)}")
    chosen = [present[number] for number in wanted] or present[:1]
    logger.info("training on %s", ", ".join(chosen))
    return chosen


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """One ``MirroredStrategy`` a process.

    Each new one would number its all-reduce operations from the start again, and TensorFlow keeps
    them by number: those of two strategies mix.
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices))


def _data_parallel(devices: list[str]) -> AbstractContextManager[Any]:
    import keras

    scope: AbstractContextManager[Any] = keras.distribution.DataParallel(devices=devices).scope()
    return scope  # noqa: RET504


def spread_over(devices: Sequence[str], batch_size: int) -> AbstractContextManager[Any]:
    """Context in which a network is built and trained on devices that share every batch.

    ``MirroredStrategy`` on TensorFlow, ``keras.distribution.DataParallel`` on JAX; nothing for the
    first device alone.

    Raises
    ------
    UsageError
        The batch does not divide over the devices.
    """
    if devices and batch_size % len(devices):
        raise UsageError(
            f"--batch-size {batch_size} does not divide over {len(devices)} devices; "
            f"take {len(devices) * max(1, round(batch_size / len(devices)))}"
        )
    if not devices or list(devices) in (["/CPU:0"], ["/GPU:0"], ["cpu:0"], ["gpu:0"]):
        return nullcontext()
    import keras

    if keras.backend.backend() == "jax":
        return _data_parallel(list(devices))
    import tensorflow as tf

    one = len(devices) == 1
    strategy = tf.distribute.OneDeviceStrategy(devices[0]) if one else _mirrored(tuple(devices))
    scope: AbstractContextManager[Any] = strategy.scope()
    return scope  # noqa: RET504


def replicas_to_pool() -> bool:
    """Whether moments and gradients must be added up over replicas of TensorFlow here.

    A replica by itself has nothing to pool, and TensorFlow never frees the graph of an all-reduce
    (some 30 MB a training). JAX computes one batch that is spread over the devices.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync) > 1
