import csv
import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.cli import main
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.errors import InputError, TimeLimitReached
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.deepfeature.devices import start_tensorflow
from alphacryo4d.deepfeature.features import extract_features
from alphacryo4d.deepfeature.network import build_network
from alphacryo4d.deepfeature.options import DeepFeatureOptions, NetworkOptions, TrainOptions
from alphacryo4d.deepfeature.stage import run_deepfeature, run_extract
from alphacryo4d.deepfeature.volumes_stage import Volumes, prepare_volumes
from alphacryo4d.deepfeature.weights import read_weights

TRAIN = TrainOptions(epochs=14, batch_size=4)
OPTIONS = DeepFeatureOptions(NetworkOptions(), TRAIN)
RESULTS = (
    "features.npy",
    "history.csv",
    "loss.png",
    "weights.npz",
    "network.toml",
    "reconstructions.npy",
)


def run(source, output, *, options=OPTIONS, **more):
    return run_deepfeature(source, output, options=options, **more)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="module")
def trained(resample_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage") / "deepfeature"
    run(resample_folder, folder)
    return folder


def test_held_out_error_is_below_that_of_the_mean_volume(trained):
    results = json.loads((trained / "job.json").read_text())["results"]
    assert results["held_out_error"] < 0.8 * results["mean_volume_error"]


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="no list of mapped files here")
def test_the_volumes_are_let_go_after_training(trained, resample_folder):
    gc.collect()
    assert f"{resample_folder}/volumes.npy" not in Path("/proc/self/maps").read_text()


def test_features_are_a_quarter_of_the_box_for_every_volume(trained):
    features = np.load(trained / "features.npy")
    assert features.shape == (48, 4, 4, 4, 1)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_some_volumes_come_back_as_the_network_gives_them(trained, resample_folder):
    made = np.load(trained / "reconstructions.npy")
    some = Volumes(resample_folder).read(np.array([0, 23, 47]))
    error = np.mean((made - some) ** 2, axis=(1, 2, 3))
    results = json.loads((trained / "job.json").read_text())["results"]
    assert made.shape == some.shape
    assert (error < results["mean_volume_error"]).all()


def test_features_tell_the_volumes_apart(trained, resample_folder):
    features = np.load(trained / "features.npy").reshape(48, -1)
    volumes = np.load(resample_folder / "volumes.npy").reshape(48, -1)

    def distances(points):
        squares = (points**2).sum(1)
        return (squares[:, None] + squares - 2 * points @ points.T)[np.triu_indices(48, 1)]

    assert np.corrcoef(distances(features), distances(volumes))[0, 1] > 0.5


def test_the_best_epoch_is_kept(trained):
    with (trained / "history.csv").open() as stream:
        errors = [float(row["validation_error"]) for row in csv.DictReader(stream)]
    kept = json.loads((trained / "job.json").read_text())["results"]["held_out_error"]
    assert kept == pytest.approx(min(errors), rel=1e-6)


def test_no_checkpoint_is_left(trained):
    names = {path.name for path in trained.iterdir() if path.name != ".lock"}
    assert names == {*RESULTS, "job.json"}


@pytest.mark.slow
def test_one_thread_gives_the_same_files(trained, resample_folder, tmp_path):
    run(resample_folder, tmp_path / "again", flags=RunFlags(threads=1))
    assert contents(tmp_path / "again") == contents(trained)


def test_training_changes_the_features(trained, resample_folder):
    """The features are not those of the network before training."""
    start_tensorflow()
    volumes = Volumes(resample_folder)
    autoencoder, _ = build_network(16, NetworkOptions())
    parts = extract_features(
        volumes.read, 48, 16, read_weights(autoencoder), network=NetworkOptions()
    )
    untrained = np.concatenate([features for _, features in parts])
    assert np.abs(untrained - np.load(trained / "features.npy")).max() > 0.1


class EndsAtEpoch4(Deadline):
    """A time limit that is over after the fourth epoch."""

    def __init__(self, hours=None):
        super().__init__(hours)
        self.epochs = 0

    def check(self):
        self.epochs += 1
        if self.epochs == 4:
            raise TimeLimitReached("over")


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_files(trained, resample_folder, tmp_path):
    folder = tmp_path / "stopped"
    with pytest.raises(TimeLimitReached):
        run(resample_folder, folder, flags=RunFlags(deadline=EndsAtEpoch4()))
    newest = folder / "checkpoints" / "checkpoint1.npz"
    newest.write_bytes(newest.read_bytes()[:5000])
    run(resample_folder, folder, flags=RunFlags(resume=True))
    assert contents(folder) == contents(trained)


def test_extract_alone_gives_the_features_of_the_stage(trained, resample_folder, tmp_path):
    paths = run_extract(resample_folder, tmp_path / "extract", model=trained)
    assert [path.name for path in paths] == ["features.npy", "reconstructions.npy"]
    for path in paths:
        np.testing.assert_array_equal(np.load(path), np.load(trained / path.name))


def test_weights_of_another_box_are_refused(trained, tmp_path):
    np.save(tmp_path / "volumes.npy", np.random.default_rng(0).normal(size=(3, 12, 12, 12)))
    with pytest.raises(InputError, match="trained on boxes of 16 voxels"):
        run_extract(tmp_path, tmp_path / "extract", model=trained)
    assert not (tmp_path / "extract" / "features.npy").exists()


def test_prepared_volumes_are_normalised_each_by_itself(resample_folder, tmp_path):
    prepared = np.load(prepare_volumes(resample_folder, tmp_path / "data_dl.npy"))
    volumes = np.load(resample_folder / "volumes.npy")
    low, high = volumes.min((1, 2, 3), keepdims=True), volumes.max((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(prepared, (volumes - low) / (high - low), atol=1e-6)


def test_a_box_that_four_does_not_divide_is_resampled(tmp_path):
    np.save(tmp_path / "volumes.npy", np.random.default_rng(0).normal(size=(3, 18, 18, 18)))
    prepared = np.load(prepare_volumes(tmp_path, tmp_path / "data_dl.npy"))
    assert prepared.shape == (3, 20, 20, 20)


def test_a_voxel_that_is_not_finite_is_named(tmp_path):
    volumes = np.zeros((4, 8, 8, 8), np.float32)
    volumes[2, 1, 2, 3] = np.nan
    np.save(tmp_path / "volumes.npy", volumes)
    with pytest.raises(InputError, match="volume 3, voxel z=1 y=2 x=3 is not finite"):
        run(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("command", [["train"], ["deepfeature"], ["deepfeature", "extract"]])
def test_missing_options_are_a_usage_error(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    assert "--" in capsys.readouterr().err


def test_missing_volumes_are_an_input_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--i", str(tmp_path), "--o", str(tmp_path / "out")])
    assert stop.value.code == 3
    assert "volumes.npy: no such file" in capsys.readouterr().err


def test_commands_do_not_import_tensorflow_for_help():
    code = (
        "import sys, alphacryo4d.deepfeature.cli as c\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
