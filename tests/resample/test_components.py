"""Principal components on disk, and the masks, groups and memory limit of the native engine."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from alphacryo4d.cli import root
from alphacryo4d.core.errors import InputError, TimeLimitReached
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.samples import micrograph_groups
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.components_stage import run_components
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.steps_stage import run_classify

QUICK = ClassifyOptions(components=3, component_iterations=4, final_component_iterations=2)
CLASSES = ClassifyOptions(
    classes="4", components=4, component_iterations=5, final_component_iterations=2
)


@pytest.fixture(scope="module")
def components_folder(easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("components")
    words = ["resample", "components", "--i", str(easy_data / "particles.star"), "--o", str(output)]
    words += ["--components", "3", "--component-iterations", "4", "--finer-iterations", "2"]
    result = CliRunner().invoke(root, [*words, "--j", "2", "--overwrite"])
    assert result.exit_code == 0, result.output
    return output


def test_components_tell_the_states_apart(components_folder: Path, easy_data: Path) -> None:
    truth = np.load(easy_data / "truth.npy")
    coordinates = np.load(components_folder / "coordinates.npy")
    assert coordinates.shape == (800, 3)
    assert coordinates.dtype == np.float32
    means = np.array([coordinates[truth == state].mean(axis=0) for state in range(1, 5)])
    nearest = np.linalg.norm(coordinates[:, None] - means, axis=2).argmin(axis=1)
    assert np.mean(nearest + 1 == truth) > 0.95


def test_components_are_maps_in_order_of_their_variance(components_folder: Path) -> None:
    table = read_tables(components_folder / "components.star")["components"]
    shares = np.asarray(table["ac4dVarianceShare"], float)
    assert np.all(np.diff(shares) <= 1e-5)
    assert shares.sum() == pytest.approx(1, abs=1e-3)
    for image in [components_folder / "mean.mrc", *map(Path, table["rlnReferenceImage"])]:
        volume, voxel_size = read_volume(image)
        assert volume.shape == (32, 32, 32)
        assert voxel_size == pytest.approx(5.0)


class _Late:
    """A deadline that comes at the nth check."""

    def __init__(self, checks: int) -> None:
        self.left = checks

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TimeLimitReached("over")


def test_stopped_components_go_on_to_the_same_result(
    components_folder: Path, easy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alphacryo4d.resample import components_stage

    class Eager(components_stage.FoldCheckpoint):
        def __init__(self, path: Path) -> None:
            super().__init__(path, interval=0)

    monkeypatch.setattr(components_stage, "FoldCheckpoint", Eager)
    settings = {"classify": QUICK, "relion": RelionOptions()}
    table, output = easy_data / "particles.star", tmp_path / "components"
    with pytest.raises(TimeLimitReached):
        run_components(table, output, flags=RunFlags(threads=2, deadline=_Late(3)), **settings)
    assert (output / "checkpoint.npz").is_file()
    run_components(table, output, flags=RunFlags(resume=True, threads=2), **settings)
    assert not (output / "checkpoint.npz").exists()
    again, first = (np.load(folder / "coordinates.npy") for folder in (output, components_folder))
    assert np.array_equal(again, first)


def classes_of(easy_data: Path, output: Path, classify=CLASSES, relion=None, **options):
    run_classify(
        easy_data / "particles.star", output, options=ResampleOptions(), classify=classify,
        relion=relion or RelionOptions(), flags=RunFlags(threads=2), **options,
    )  # fmt: skip
    maps = sorted(output.glob("run_it025_class*.mrc"))
    return np.stack([read_volume(path)[0] for path in maps if "half" not in path.name])


@pytest.fixture(scope="module")
def plain(easy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    output = tmp_path_factory.mktemp("plain") / "classes"
    return output, classes_of(easy_data, output)


def test_little_memory_gives_the_same_classes_and_maps(
    plain: tuple[Path, np.ndarray], easy_data: Path, tmp_path: Path
) -> None:
    small = classes_of(easy_data, tmp_path / "small", memory=0.004)
    labels = [
        read_tables(folder / "run_it025_data.star")["particles"]["rlnClassNumber"]
        for folder in (plain[0], tmp_path / "small")
    ]
    assert list(labels[0]) == list(labels[1])
    assert np.allclose(small, plain[1], atol=1e-4 * np.abs(plain[1]).max())
    assert not (tmp_path / "small" / "scratch").exists()


def test_a_focus_mask_leaves_the_rest_to_the_consensus(easy_data: Path, tmp_path: Path) -> None:
    axis = (np.arange(32) - 16) * 5.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    focus = (np.sqrt((x - 30) ** 2 + y**2 + z**2) < 25).astype(np.float32)
    write_volume(tmp_path / "focus.mrc", focus, 5.0)
    output = tmp_path / "classes"
    classes_of(easy_data, output, replace(CLASSES, focus_mask=tmp_path / "focus.mrc"))
    volumes = np.load(output / "class_volumes.npy")
    small = volumes.shape[-1]
    mask = focus if small == 32 else focus[:: 32 // small, :: 32 // small, :: 32 // small]
    spread = volumes.std(axis=0)
    assert spread[mask > 0].mean() > 10 * spread[mask == 0].mean()


def test_a_mask_of_another_box_is_refused(easy_data: Path, tmp_path: Path) -> None:
    write_volume(tmp_path / "mask.mrc", np.ones((16, 16, 16), np.float32), 5.0)
    with pytest.raises(InputError, match="box of 16 voxels"):
        classes_of(easy_data, tmp_path / "x", relion=RelionOptions(mask=tmp_path / "mask.mrc"))


def test_noise_groups_by_micrograph_need_its_column() -> None:
    names = np.array(["b.mrc", "a.mrc", "b.mrc"])
    table = SimpleNamespace(
        columns=["rlnMicrographName"],
        path=Path("t.star"),
        read=lambda _: {"rlnMicrographName": names},
    )
    particles = SimpleNamespace(table=table)
    assert micrograph_groups(particles, np.arange(3)).tolist() == [1, 0, 1]
    table.columns = ["rlnImageName"]
    with pytest.raises(InputError, match="rlnMicrographName"):
        micrograph_groups(particles, np.arange(3))
