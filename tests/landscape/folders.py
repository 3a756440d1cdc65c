"""A small resample folder with known states, made without classification."""

import json

import numpy as np

from alphacryo4d.io.star import write_tables

FOLDS = ("234", "134", "124", "123")


def known_states(rng, *, states=3, particles=2400, classes=6, box=8, confusion=0.1, repeated=0.0):
    """Volumes, assignments, left-out volumes, true state of particles and of volumes.

    Every fold cuts every state into ``classes / states`` classes at random; a share of the
    particles goes to a class of a random state. A share ``repeated`` of the particles takes the
    same one of a state's classes in every fold: by its noise, which all folds see.
    """
    maps = rng.normal(size=(states, box, box, box))
    truth = rng.integers(0, states, particles)
    group = rng.permutation(np.arange(particles) % 4)
    assignments = np.full((particles, 4), -1, np.int32)
    heldout = np.full(particles, -1, np.int32)
    per_state = classes // states
    own = rng.integers(0, per_state, particles)
    volume_truth = np.tile(np.repeat(np.arange(states), per_state), 4)
    for fold in range(4):
        seen = np.where(
            rng.random(particles) < confusion, rng.integers(0, states, particles), truth
        )
        piece = rng.integers(0, per_state, particles)
        piece = np.where(rng.random(particles) < repeated, own, piece)
        rows = fold * classes + seen * per_state + piece
        inside = group != fold
        assignments[inside, fold] = rows[inside]
        heldout[~inside] = rows[~inside]
    counts = np.bincount(assignments[assignments >= 0], minlength=4 * classes)
    noise = (
        rng.normal(size=(4 * classes, box, box, box)) * 12 / np.sqrt(counts)[:, None, None, None]
    )
    volumes = (maps[volume_truth] + noise).astype(np.float32)
    return volumes, assignments, heldout, truth, volume_truth


def write_resample(folder, volumes, assignments, heldout=None, *, table=None):
    """Write the files that the landscape stage reads."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(volumes)
    counts = np.bincount(assignments[assignments >= 0], minlength=count)
    classes = count // 4
    fold = np.arange(count) // classes
    number = np.arange(count) % classes + 1
    write_tables(
        folder / "volumes.star",
        {
            "volumes": {
                "ac4dVolumeName": [
                    f"u{FOLDS[f]}_b1_c{c:03d}" for f, c in zip(fold, number, strict=True)
                ],
                "rlnReferenceImage": [f"{row}.mrc" for row in range(count)],
                "ac4dBatch": np.ones(count, int),
                "ac4dFold": fold + 1,
                "rlnClassNumber": number,
                "ac4dParentClass": np.ones(count, int),
                "ac4dParticleCount": counts,
                "rlnEstimatedResolution": np.full(count, 15.0),
                "rlnPixelSize": np.full(count, 5.0),
                "rlnImageSize": np.full(count, volumes.shape[-1]),
            }
        },
    )
    np.save(folder / "volumes.npy", volumes)
    np.save(folder / "assignments.npy", assignments)
    if heldout is not None:
        np.save(folder / "heldout.npy", heldout)
    record = {"inputs": [] if table is None else [{"path": str(table)}], "status": "done"}
    (folder / "job.json").write_text(json.dumps(record))
    return folder
