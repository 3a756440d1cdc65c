import os
import subprocess
import sys

import pytest

from alphacryo4d.core.errors import UsageError
from alphacryo4d.deepfeature.devices import limited_cores, make_strategy, parse_gpus

MIRRORED = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
from conftest import moving_blobs
from alphacryo4d.deepfeature.devices import make_strategy, start_tensorflow
from alphacryo4d.deepfeature.normalize import normalize_volume
from alphacryo4d.deepfeature.options import NetworkOptions, TrainOptions
from alphacryo4d.deepfeature.training import train_autoencoder
tf = start_tensorflow()
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
volumes = np.stack([normalize_volume(v) for v in moving_blobs(24, 8)])
results = [
    train_autoencoder(
        lambda rows: volumes[rows], 24, 8, network=NetworkOptions(),
        options=TrainOptions(epochs=2), seed=0, strategy=make_strategy(devices, 8),
    )
    for devices in (["/CPU:0"], ["/CPU:0", "/CPU:1"])
]
one, two = results
print(len(tf.config.list_logical_devices("CPU")), one.error, two.error)
np.testing.assert_allclose(two.history[:, 1:], one.history[:, 1:], rtol=2e-2)
"""


@pytest.mark.slow
def test_two_devices_train_like_one(tmp_path):
    """Mirrored training pools the batch statistics, so it follows that of a single device."""
    script = MIRRORED.format(folder=os.path.dirname(__file__))  # noqa: PTH120
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("2 ")


def test_gpu_ids_are_read():
    assert parse_gpus("0,1,2,3") == [0, 1, 2, 3]
    assert parse_gpus(None) == []


@pytest.mark.parametrize("text", ["a", "0,0", "-1"])
def test_wrong_gpu_ids_are_refused(text):
    with pytest.raises(UsageError, match="--gpu"):
        parse_gpus(text)


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(UsageError, match="--batch-size 7"):
        make_strategy(["/CPU:0", "/CPU:1"], 7)


def test_cores_are_limited_only_inside():
    before = os.sched_getaffinity(0)
    with limited_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
