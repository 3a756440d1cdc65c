"""Point group, masks and noise groups of the resampling reach every command that reads images."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import simulated

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import Work, plain, start_work
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.reconstruction.options import ReconstructOptions
from alphacryo4d.reconstruction.stage import run_reconstruct
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.engines_stage import make_engine
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.plan_stage import ResamplePlan
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.recorded_stage import (
    BatchImages,
    Recorded,
    read_recorded,
    recorded_of,
    resample_of,
)
from alphacryo4d.voting.stage import run_vote

COUNT = 300


def half_turn(volume):
    """The volume turned by 180 degrees about z, without the planes that have no partner."""
    return volume[:, :0:-1, :0:-1]


def asymmetry(path):
    """Root mean square of what a half turn changes, over that of the map.

    A few percent remain in any map: an even box has a plane of voxels without a partner.
    """
    volume, _ = read_volume(path)
    inner = volume[:, 1:, 1:]
    return (half_turn(volume) - inner).std() / inner.std()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Particles without symmetry, resampled with C2, in one state; names of micrographs."""
    folder = tmp_path_factory.mktemp("recorded")
    rng = np.random.default_rng(3)
    table, _ = simulated.simulate(folder, np.ones(COUNT, int), 1.0, rng)
    simulated.write_project(
        folder, table, np.ones(COUNT, int), rng, relion={"symmetry": "C2", "mask": None}
    )
    return folder


def test_a_diameter_beside_a_mask_is_said_to_be_of_no_use(caplog):
    recorded = Recorded(classify=ClassifyOptions(mask_diameter=90.0))
    assert recorded.mask_diameter(None) == 90.0
    assert recorded.mask_diameter(70.0) == 70.0
    assert not caplog.records
    dataclasses.replace(recorded, mask=Path("solvent.mrc")).mask_diameter(70.0)
    assert "--mask-diameter 70 is not used: the mask of the resampling, solvent.mrc" in caplog.text


@pytest.mark.parametrize("engine", ["native", "relion"])
def test_what_a_resampling_records_is_read_back(tmp_path, engine):
    plan = ResamplePlan(
        ResampleOptions(engine=engine, minimum_class_size=7),
        ClassifyOptions(
            noise_groups="micrograph", focus_mask=Path("focus.mrc"), final_resolution=8.0
        ),
        RelionOptions(symmetry="D7", mask=Path("/masks/solvent.mrc")),
        seed=0,
    )
    record = {"options": plain(plan.recorded()), "image_root": "/data"}
    (tmp_path / "job.json").write_text(json.dumps(record))
    recorded = read_recorded(tmp_path)
    assert (recorded.engine, recorded.symmetry, recorded.minimum_class_size) == (engine, "D7", 7)
    assert recorded.mask == Path("/masks/solvent.mrc")
    wanted = dataclasses.replace(plan.classify, focus_mask=Path("/data/focus.mrc"))
    assert recorded.classify == wanted
    assert recorded.resolution == (8.0 if engine == "native" else 15.0)


def test_point_group_changes_the_record_and_the_default_does_not():
    plan = ResamplePlan(ResampleOptions(), ClassifyOptions(), RelionOptions(), seed=0)
    other = dataclasses.replace(plan, relion=RelionOptions(symmetry="C3"))
    assert "relion" not in plan.recorded()
    assert other.recorded()["relion"] == {"symmetry": "C3"}


def test_a_folder_without_a_record_has_the_defaults(tmp_path):
    assert resample_of(tmp_path) is None
    assert recorded_of(tmp_path).symmetry == "C1"


def test_maps_have_the_point_group_of_the_resampling(project):
    run_reconstruct(project / "vote", project / "maps")
    for name in ("class001.mrc", "class001_half1_unfil.mrc"):
        assert asymmetry(project / "maps" / name) < 0.05
    report = json.loads((project / "maps" / "reconstruction.json").read_text())
    assert report["symmetry"] == "C2"
    job = json.loads((project / "maps" / "job.json").read_text())
    assert job["options"]["reconstruct"]["symmetry"] == "C2"


def test_another_point_group_can_be_asked_for(project):
    options = ReconstructOptions(symmetry="C1")
    run_reconstruct(project / "vote", project / "plain", options=options)
    assert asymmetry(project / "plain" / "class001.mrc") > 0.5
    with pytest.raises(UsageError, match="D0"):
        run_reconstruct(
            project / "vote", project / "none", options=ReconstructOptions(symmetry="D0")
        )


def test_images_have_the_noise_groups_and_scales_of_the_resampling(project, tmp_path):
    names = np.array(["a.mrc", "b.mrc"])[np.arange(COUNT) % 2]
    table = tmp_path / "named.star"
    open_table(project / "particles.star").write_with_columns(table, {"rlnMicrographName": names})
    particles = read_particles(table)
    recorded = recorded_of(project / "vote")
    options = dataclasses.replace(recorded.classify, noise_groups="micrograph", normalise="mean")
    groups = np.load(project / "resample" / "groups.npy")
    read = particles.images
    brighter = np.where(names == "b.mrc", 2.0, 1.0).astype(np.float32)
    object.__setattr__(particles, "images", lambda rows: read(rows) * brighter[rows, None, None])
    images = BatchImages(particles, groups, dataclasses.replace(recorded, classify=options)).of(1)
    assert images.group.tolist() == [k % 2 for k in range(COUNT)]
    assert len(images.symmetry) == 2
    level = dataclasses.replace(recorded.classify, normalise="mean")
    recorded = dataclasses.replace(recorded, classify=level)
    plain_ctf = BatchImages(read_particles(table), groups, recorded).of(1).ctf
    scale = (images.ctf[:, 3] / plain_ctf[:, 3]).reshape(-1, 2)[0]
    assert np.isclose(scale[1] / scale[0], 2.0, rtol=0.1)


def test_the_held_out_test_reads_images_with_the_noise_groups(project):
    """The table names no micrographs: with groups by micrograph the test cannot be done."""
    resample, landscape = project / "resample", project / "landscape"
    landscape.mkdir()
    groups = np.load(resample / "groups.npy")
    assignments = np.tile(np.arange(4, dtype=np.int32), (COUNT, 1))
    assignments[np.arange(COUNT), groups[:, 1] - 1] = -1
    np.save(resample / "assignments.npy", assignments)
    np.save(landscape / "embedding.npy", np.ones((4, 2), np.float32))
    columns = ("ac4dCenterX", "ac4dCenterY", "ac4dRadius")
    table = {"ac4dState": np.array([1]), **dict.fromkeys(columns, np.ones(1))}
    write_tables(landscape / "states.star", {"states": table})
    np.save(resample / "volumes.npy", np.zeros((4, 8, 8, 8), np.float32))
    columns = {"ac4dBatch": [1] * 4, "ac4dFold": [1, 2, 3, 4], "ac4dParticleCount": [200] * 4}
    write_tables(resample / "volumes.star", {"volumes": columns})
    record = json.loads((resample / "job.json").read_text())
    record["options"]["classify"]["noise_groups"] = "micrograph"
    (resample / "job.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="rlnMicrographName"):
        run_vote(resample, landscape, project / "again", options=VoteOptions(reconstruct=False))


def test_noise_groups_are_refused_for_relion(project):
    particles = read_particles(project / "particles.star")
    plan = ResamplePlan(
        ResampleOptions(engine="relion"),
        ClassifyOptions(noise_groups="micrograph"),
        RelionOptions(),
        seed=0,
    )
    with pytest.raises(UsageError, match=r"--noise-groups micrograph.*RELION makes"):
        make_engine("relion", particles, plan, threads=1, gpu=None)


def test_a_copied_project_takes_the_mask_beside_it(tmp_path, monkeypatch):
    """Masks are named from the folder that the resampling was started in, or absolutely."""
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    box = np.ones((8, 8, 8), np.float32)
    (home / "p.star").write_text("data_\n")
    write_volume(home / "solvent.mrc", box, 3.0)
    write_volume(home / "focus.mrc", box, 3.0)
    monkeypatch.chdir(home)
    plan = ResamplePlan(
        ResampleOptions(),
        ClassifyOptions(focus_mask=home / "focus.mrc"),
        RelionOptions(mask=Path("solvent.mrc")),
        seed=0,
    )
    work = Work("resample", plan.recorded(), (Path("p.star"), *plan.masks), 0)
    with start_work(home / "project" / "resample", work):
        pass
    copied = tmp_path / "other" / "copied"
    shutil.copytree(home, copied)
    monkeypatch.chdir(tmp_path)
    for place in (home, copied):
        recorded = read_recorded(place / "project" / "resample")
        assert recorded.mask == place / "solvent.mrc"
        assert recorded.classify.focus_mask == place / "focus.mrc"
