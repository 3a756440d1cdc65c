"""Several batches on one landscape, through the real stages; the null model of all of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.assessment.hinge import hinge_conformers
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import write_simulation
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.star import read_tables
from alphacryo4d.landscape.options import LandscapeOptions, PathOptions, StatesOptions
from alphacryo4d.landscape.stage import run_landscape
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.open import open_table
from alphacryo4d.pipeline.landscape import landscape_like
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.stage import run_resample
from alphacryo4d.voting.null import NullFold
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

pytestmark = pytest.mark.slow
STATES = 3


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hinge protein in three states, two batches, states without features, votes and null."""
    folder = tmp_path_factory.mktemp("batches")
    options = SimulateOptions(
        particles_per_state=200, box=32, pixel_size=6.6, snr=0.5, snr_box=32, shift=4.4
    )
    write_simulation(hinge_conformers(STATES), folder, options=options, seed=1)
    run_resample(
        folder / "particles.star",
        folder / "resample",
        options=ResampleOptions(batch_size=300),
        classify=ClassifyOptions(
            classes="4",
            components=3,
            component_iterations=4,
            iterations=5,
            initial_resolution=22.0,
            final_resolution=0,
        ),
    )
    run_landscape(
        folder / "resample",
        None,
        folder / "landscape",
        options=LandscapeOptions(
            path=PathOptions(path=False), states=StatesOptions(states=str(STATES))
        ),
    )
    run_vote(
        folder / "resample",
        folder / "landscape",
        folder / "vote",
        options=VoteOptions(reconstruct=False, null=True),
        make_landscape=landscape_like(folder / "landscape"),
    )
    return folder


def report_of(folder: Path) -> dict:
    report: dict = json.loads((folder / "report.json").read_text())
    return report


def test_volumes_of_both_batches_are_in_every_state(project: Path) -> None:
    batch = read_tables(project / "resample" / "volumes.star")["volumes"]["ac4dBatch"].to_numpy()
    states = np.load(project / "landscape" / "volume_states.npy")
    assert len(np.load(project / "landscape" / "embedding.npy")) == len(batch) == len(states)
    assert len(states) > 2 * 4 * STATES
    for state in range(1, STATES + 1):
        assert set(batch[states == state]) == {1, 2}


def test_every_particle_is_voted_by_the_volumes_of_its_own_batch(project: Path) -> None:
    resample = project / "resample"
    batch = read_tables(resample / "volumes.star")["volumes"]["ac4dBatch"].to_numpy()
    assignments = np.load(resample / "assignments.npy")
    own = np.load(resample / "groups.npy")[:, 0]
    voted = assignments >= 0
    assert (batch[assignments] == own[:, None])[voted].all()
    states = np.load(project / "landscape" / "volume_states.npy")
    votes = np.load(project / "vote" / "votes.npy")
    for row in range(0, len(own), 7):
        mine = states[assignments[row][voted[row]]]
        expected = np.bincount(mine[mine > 0], minlength=STATES + 1)[1:]
        assert votes[row].tolist() == expected.tolist()
    assert votes.sum(axis=1).max() == 3


def test_states_of_both_batches_are_the_truth(project: Path) -> None:
    voted = open_table(project / "vote" / "particles.star").read(["rlnClassNumber"])
    states, truth = voted["rlnClassNumber"], np.load(project / "truth.npy")
    batch = np.load(project / "resample" / "groups.npy")[:, 0]
    for one in (1, 2):
        table = np.zeros((STATES, STATES + 1))
        np.add.at(table, (truth[batch == one] - 1, states[batch == one]), 1)
        assert table[:, 1:].max(axis=0).sum() > 0.9 * (batch == one).sum()


def test_batches_are_reported_and_have_no_bias(project: Path) -> None:
    report = report_of(project / "vote")["batches"]
    assert np.allclose(np.sum(report["shares"], axis=1), 1, atol=1e-5)
    assert len(report["shares"]) == len(report["particles"]) == 2
    assert report["cramer_v"] < 3 * report["cramer_v_by_chance"]
    text = (project / "vote" / "summary.txt").read_text()
    assert "batch 2" in text
    assert "BIAS" not in text


def test_a_batch_that_is_another_state_is_a_large_bias(project: Path, tmp_path: Path) -> None:
    """All volumes of batch 2 in one state: a made-up classification that saw the batch."""
    landscape = tmp_path / "landscape"
    shutil.copytree(project / "landscape", landscape)
    record = json.loads((landscape / "job.json").read_text())
    del record["contents"]  # what is written here is not what the stage wrote
    (landscape / "job.json").write_text(json.dumps(record))
    batch = read_tables(project / "resample" / "volumes.star")["volumes"]["ac4dBatch"].to_numpy()
    states = np.load(landscape / "volume_states.npy")
    np.save(landscape / "volume_states.npy", np.where(batch == 2, 3, states % 2 + 1).astype("i4"))
    options = VoteOptions(reconstruct=False, test=False)
    run_vote(project / "resample", landscape, tmp_path / "vote", options=options)
    report = report_of(tmp_path / "vote")["batches"]
    assert report["cramer_v"] > 0.9
    assert report["cramer_v"] > 10 * report["cramer_v_by_chance"]
    assert "BIAS" in (tmp_path / "vote" / "summary.txt").read_text()


def test_the_null_model_is_made_of_all_batches_and_voted_alike(project: Path) -> None:
    folder = project / "vote" / "null"
    volumes = read_tables(folder / "resample" / "volumes.star")["volumes"]
    assert set(volumes["ac4dBatch"]) == {1, 2}
    assignments = np.load(folder / "resample" / "assignments.npy")
    counts = np.bincount(assignments[assignments >= 0], minlength=len(volumes))
    assert counts.tolist() == volumes["ac4dParticleCount"].tolist()
    left_out = (assignments == -1).argmax(axis=1) + 1
    assert left_out.tolist() == np.load(project / "resample" / "groups.npy")[:, 1].tolist()
    assert len(np.load(folder / "landscape" / "centers.npy")) == STATES
    figures = report_of(project / "vote")["null"]
    data, null = figures["data"], figures["one_conformation"]
    assert set(data) == set(null)
    assert report_of(folder)["particles"] == report_of(project / "vote")["particles"]
    assert data["states_supported"]
    assert not null["states_supported"]
    assert null["fold_agreement"] < data["fold_agreement"] - 0.1
    assert null["heldout_agreement"] < data["heldout_agreement"] - 0.1
    for place, said in ((project / "vote", data), (folder, null)):
        counts = np.array([entry["particles"] for entry in report_of(place)["per_state"]])
        energies = -np.log(counts[counts > 0] / counts.sum())
        assert said["energy_spread_kt"] == pytest.approx(energies.std(), abs=1e-5)


def test_an_interrupted_null_model_goes_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alphacryo4d.voting import null_stage

    calls = []

    def stands_in(*arguments: object, **keywords: object) -> NullFold:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        left, box = np.asarray(arguments[1]), int(str(keywords["box"]))
        count = int((~left).sum())
        labels = (np.arange(count) % 2).astype(np.int32)
        volumes = np.random.default_rng(len(calls)).standard_normal((2, box, box, box))
        heldout = np.zeros(int(left.sum()), np.int32)
        return NullFold(labels, heldout, np.bincount(labels), volumes.astype("f4"), 20.0)

    monkeypatch.setattr(null_stage, "classify_null", stands_in)
    landscapes = project / "resample", project / "landscape"
    options = VoteOptions(reconstruct=False, test=False, null=True)

    def grouped(_: Path, output: Path, states: int) -> None:
        shutil.copytree(project / "landscape", output, ignore=shutil.ignore_patterns("job.json"))
        np.save(output / "embedding.npy", np.zeros((16, 2), np.float32))
        np.save(output / "volume_states.npy", np.arange(16) % states + 1)

    with pytest.raises(KeyboardInterrupt):
        run_vote(*landscapes, tmp_path, options=options, make_landscape=grouped)
    assert not (tmp_path / "report.json").exists()
    run_vote(
        *landscapes, tmp_path, options=options, make_landscape=grouped, flags=RunFlags(resume=True)
    )
    assert len(calls) == 2 + 1 + 6
    assert "one_conformation" in report_of(tmp_path)["null"]


def test_volumes_that_were_damaged_since_are_refused(project: Path, tmp_path: Path) -> None:
    path = project / "resample" / "volumes.npy"
    volumes = path.read_bytes()
    path.write_bytes(volumes[: len(volumes) // 2] + bytes(len(volumes) - len(volumes) // 2))
    try:
        with pytest.raises(InputError, match=r"volumes\.npy"):
            run_vote(
                project / "resample", project / "landscape", tmp_path / "vote",
                options=VoteOptions(reconstruct=False),
            )  # fmt: skip
    finally:
        path.write_bytes(volumes)


def test_the_null_model_needs_a_landscape(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--null"):
        run_vote(
            project / "resample", project / "landscape", tmp_path, options=VoteOptions(null=True)
        )
