"""A project folder of any size, written by hand: no classification and no network runs."""

import json
from pathlib import Path

import numpy as np
from small_particles import table_head

from alphacryo4d.core import files
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

FOLDS = ("234", "134", "124", "123")
COLUMNS = (
    "_rlnImageName _rlnMicrographName _rlnAngleRot _rlnAngleTilt _rlnAnglePsi _rlnOriginXAngst "
    "_rlnOriginYAngst _rlnDefocusU _rlnDefocusV _rlnDefocusAngle _rlnOpticsGroup"
)


def write_project(
    folder: Path,
    *,
    states: int = 3,
    per_state: int = 2,
    particles: int = 600,
    box: int = 16,
    name: str = "mic",
) -> Path:
    """Folder of a finished project whose states lie on a line; its votes are counted.

    Parameters
    ----------
    states, per_state : int
        States, and classes of each state in each of the four folds.
    particles : int
    box : int
        Edge of the volumes (voxels).
    name : str
        How the names of micrographs begin.
    """
    rng = np.random.default_rng(3)
    project = folder / "project"
    truth = rng.integers(0, states, particles)
    volume_states = np.tile(np.repeat(np.arange(states), per_state), 4)
    table = write_particles(folder / "particles.star", particles, rng, name)
    write_resample(project, table, truth, volume_states, box, rng)
    write_training(project, len(volume_states), box, rng)
    write_landscape(project, volume_states, states, rng)
    run_vote(
        project / "resample",
        project / "landscape",
        project / "vote",
        options=VoteOptions(test=False, reconstruct=False),
    )
    add_test(project / "vote", states)
    write_maps(project / "vote", states, box)
    return project


def write_particles(path: Path, count: int, rng: np.random.Generator, name: str) -> Path:
    columns = [label.removeprefix("_") for label in COLUMNS.split()]
    rot, tilt = rng.uniform(0, 360, count), np.rad2deg(np.arccos(rng.uniform(-1, 1, count)))
    defocus = rng.uniform(10000, 20000, count)
    rows = [
        f"{i + 1:06d}@stack.mrcs {name}{i % 7}.mrc {rot[i]:.2f} {tilt[i]:.2f} 0 0 0 "
        f"{defocus[i]:.0f} {defocus[i]:.0f} 0 1"
        for i in range(count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    head = table_head(" ".join(columns), "300 2.7 0.1 3.0 16")
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def record(folder: Path, stage: str, inputs: list[Path], **more: object) -> None:
    """``job.json`` of a finished stage."""
    entry = {
        "stage": stage, "status": "done", "command": f"alphacryo4d {stage}", "version": "0.1.0",
        "options": {}, "seed": 0, "outputs": [], "steps": {}, "results": {}, "host": "here",
        "inputs": [{"path": str(p), "size": p.stat().st_size} for p in inputs], "programs": {},
        "started": "2026-01-01T00:00:00+0000", "seconds": 1.0, **more,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(entry))


def blob(place: float, box: int) -> np.ndarray:
    """A ball in the middle and a smaller one that moves with the state, from 0 to 1."""
    axis = np.arange(box) - box // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = box / 4
    arm = np.array([np.cos(np.pi * place), np.sin(np.pi * place)]) * radius
    ball = np.exp(-(x**2 + y**2 + z**2) / (radius * radius / 2))
    moved = (x - arm[0]) ** 2 + (y - arm[1]) ** 2 + z**2
    return (ball + np.exp(-moved / (radius**2 / 5))).astype(np.float32)


def write_resample(project, table, truth, volume_states, box, rng):
    folder, count = project / "resample", len(truth)
    folder.mkdir(parents=True)
    per_fold, states = len(volume_states) // 4, int(volume_states.max()) + 1
    per_state = per_fold // states
    group = np.arange(count) % 4
    rows = np.arange(4) * per_fold + truth[:, None] * per_state
    rows = rows + rng.integers(0, per_state, (count, 4))
    assignments = rows.astype(np.int32)
    heldout = assignments[np.arange(count), group].copy()
    assignments[np.arange(count), group] = files.LEFT_OUT
    files.save_array(folder / files.ASSIGNMENTS_NPY, assignments)
    files.save_array(folder / files.HELDOUT_NPY, heldout)
    groups = np.column_stack([np.ones(count), group + 1]).astype(np.int32)
    files.save_array(folder / files.GROUPS_NPY, groups)
    maps = np.stack([blob(k / max(states - 1, 1), box) for k in range(states)])
    with files.create_array(
        folder / files.VOLUMES_NPY, (len(volume_states), box, box, box), np.float32
    ) as volumes:
        for row, state in enumerate(volume_states):
            volumes[row] = maps[state] + rng.normal(scale=0.05, size=(box,) * 3)
    sizes = np.bincount(assignments[assignments >= 0], minlength=len(volume_states))
    fold, number = np.divmod(np.arange(len(volume_states)), per_fold)
    write_tables(
        folder / files.VOLUMES_STAR,
        {
            "volumes": {
                "ac4dVolumeName": [
                    f"u{FOLDS[f]}_b1_c{c + 1:03d}" for f, c in zip(fold, number, strict=True)
                ],
                "ac4dBatch": np.ones(len(fold), int),
                "ac4dFold": fold + 1,
                "rlnClassNumber": number + 1,
                "ac4dParticleCount": np.maximum(sizes, 1),
                "rlnEstimatedResolution": np.full(len(fold), 9.5),
                "rlnPixelSize": np.full(len(fold), 3.0),
                "rlnImageSize": np.full(len(fold), box),
            }
        },
    )
    record(folder, "resample", [table])


def write_training(project, count, box, rng):
    folder = project / "deepfeature"
    folder.mkdir()
    small = box // 4
    with files.create_array(
        folder / files.FEATURES_NPY, (count, small, small, small, 1), np.float32
    ) as features:
        features[:] = rng.normal(size=(1, small, small, small, 1))
    lines = ["epoch,error,held_out_error"] + [f"{i},{1 / i},{1.1 / i}" for i in range(1, 9)]
    (folder / files.HISTORY_CSV).write_text("\n".join(lines) + "\n")
    results = {"held_out_error": 0.1, "mean_volume_error": 0.5}
    record(folder, "deepfeature", [], results=results)


def write_landscape(project, volume_states, states, rng):
    folder, count = project / "landscape", len(volume_states)
    folder.mkdir()
    points = np.column_stack([volume_states * 4.0, np.sin(volume_states * 1.0)])
    points = (points + rng.normal(scale=0.3, size=(count, 2))).astype(np.float32)
    files.save_array(folder / files.EMBEDDING_NPY, points)
    space = np.column_stack([points, np.cos(volume_states * 1.0)]).astype(np.float32)
    files.save_array(folder / "embedding3d.npy", space)
    files.save_array(folder / files.ENERGY_NPY, rng.uniform(3, 5, count))
    files.save_array(folder / files.ENERGY_ERROR_NPY, rng.uniform(0.1, 0.2, count))
    files.save_array(folder / "volume_states.npy", (volume_states + 1).astype(np.int32))
    numbers = np.arange(states)
    write_tables(
        folder / files.STATES_STAR,
        {
            "states": {
                "ac4dState": numbers + 1,
                "ac4dCenterX": numbers * 4.0,
                "ac4dCenterY": np.sin(numbers * 1.0),
                "ac4dRadius": np.full(states, 1.8),
                "ac4dEnergy": np.full(states, np.log(states)),
                "ac4dEnergyError": np.full(states, 0.07),
            }
        },
    )
    x, y = np.meshgrid(np.linspace(-2, 4 * states - 2, 24), np.linspace(-2, 2, 16))
    grid = [f"{a},{b},{2 + np.cos(a * np.pi / 2)}" for a, b in zip(x.flat, y.flat, strict=True)]
    (folder / "landscape.csv").write_text("\n".join(["rc1,rc2,energy_kt", *grid]) + "\n")
    along = np.linspace(0, 4.0 * (states - 1), 60)
    path = [f"{a},{a},{np.sin(a / 4)},{2 - np.cos(a * np.pi / 2)},0.2" for a in along]
    (folder / "path.csv").write_text("\n".join(["length,rc1,rc2,energy_kt,error_kt", *path]) + "\n")
    low = np.where(numbers[:-1] % 2, 0.0, 0.6)
    rows = [f"{k + 1} forward,{4 * k + 2},{np.sin(k + 0.5)},1.9,{low[k]},3" for k in numbers[:-1]]
    head = "barrier,top_rc1,top_rc2,height_kt,low_kt,high_kt"
    (folder / "barriers.csv").write_text("\n".join([head, *rows]) + "\n")
    inputs = [
        project / "resample" / files.VOLUMES_STAR,
        project / "deepfeature" / files.FEATURES_NPY,
    ]
    record(folder, "landscape", inputs)


def add_test(folder: Path, states: int) -> None:
    """Figures of the held-out test in ``report.json``: merging costs more the farther apart."""
    path = folder / "report.json"
    report = json.loads(path.read_text())
    numbers = np.arange(states)
    losses = 0.4 * np.abs(numbers[:, None] - numbers)
    report["merging_loss"] = losses.tolist()
    report["merging_loss_error"] = (losses / 10).tolist()
    report["support"] = {"gain_per_particle": 1.2, "error": 0.01, "states_supported": True}
    for k, entry in enumerate(report["per_state"]):
        entry |= {"support_gain": 0.4, "support_error": 0.04, "supported": True}
        entry["merges_with"] = k + 2 if k + 1 < states else k
    path.write_text(json.dumps(report))


def write_maps(folder: Path, states: int, box: int) -> None:
    entries = []
    shells = box // 2 + 1
    for k in range(states):
        write_volume(folder / f"class{k + 1:03d}.mrc", blob(k / max(states - 1, 1), box), 3.0)
        rows = [
            f"{s},{box * 3.0 / s if s else box * 3.0},{1 - s / shells},{1 - s / shells},"
            f"{1 - s / shells}"
            for s in range(shells)
        ]
        head = "shell,resolution_angstrom,fsc_unmasked,fsc_masked,fsc_corrected"
        (folder / f"class{k + 1:03d}_fsc.csv").write_text("\n".join([head, *rows]) + "\n")
        entries.append({"state": k + 1, "resolution_masked": 8.1, "resolution_unmasked": 9.0})
    made = {"note": "These FSC curves are optimistic.", "states": entries}
    (folder / "reconstruction.json").write_text(json.dumps(made))
