"""What TensorFlow and CUDA say by themselves is left out, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alphacryo4d.deepfeature import native_noise

SCRIPT = """
import logging, os, sys
from alphacryo4d.cli import _set_up_logging
from alphacryo4d.deepfeature.native_noise import without_noise
_set_up_logging(False)
with without_noise():
    for line in {noise}:
        os.write(2, line.encode() + b"\\n")
    os.write(2, b"F0000 00:00:17 check failed\\n")
    print("progress", file=sys.stderr)
    logging.getLogger("alphacryo4d.test").info("logged")
    {end}
print("afterwards", file=sys.stderr)
logging.getLogger("alphacryo4d.test").info("logged again")
"""
NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1764455 2021 gpu_device.cc:2020] Created device /job:localhost with 135042 MB",
    "W0000 00:00:1764455 2021 gpu_device.cc:2431] TensorFlow was not built with CUDA kernels",
    "E0000 00:00:1764455 2021 cuda_dnn.cc:8579] Unable to register cuDNN factory",
    "2026-11-29 23:01:18.12: I tensorflow/core/util/port.cc:153] oneDNN custom operations on",
    "2026-11-29 23:01:18.1: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
    "ptxas warning : Registers are spilled to local memory in function 'gemm_fusion', 8 bytes",
]


def said(end: str) -> tuple[int, list[str]]:
    script = SCRIPT.format(noise=NOISE, end=end)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr.splitlines()


def test_noise_is_left_out_and_all_else_comes_through() -> None:
    code, lines = said("pass")
    assert code == 0
    assert sorted(lines[:3]) == ["F0000 00:00:17 check failed", "logged", "progress"]
    assert lines[3:] == ["afterwards", "logged again"]


def test_last_words_of_a_library_that_ends_the_process_come_through() -> None:
    code, lines = said("os.abort()")
    assert code == -6
    assert "F0000 00:00:17 check failed" in lines
    assert "progress" in lines


@pytest.mark.slow
def test_a_training_says_nothing_of_tensorflow(tmp_path, resample_folder) -> None:
    """Whatever the environment asks TensorFlow to say."""
    words = ["train", "--i", str(resample_folder), "--o", str(tmp_path / "o"), "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "alphacryo4d", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
    )
    assert done.returncode == 0, done.stderr
    for word in ("oneDNN", "instructions", "ptxas", "absl", "cuda", "tensorflow/", "I0000"):
        assert word not in done.stderr


def test_without_room_for_a_process_nothing_is_filtered_and_nothing_left_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(native_noise.subprocess, "Popen", refused)
    before, ran = len(list(Path("/proc/self/fd").iterdir())), False
    with native_noise.without_noise():
        ran = True
    assert ran
    assert len(list(Path("/proc/self/fd").iterdir())) == before
