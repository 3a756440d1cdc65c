"""Small simulated particles: projections of Gaussian blobs, known in closed form."""

import json

import numpy as np
from small_particles import table_head

from alphacryo4d.io.mrc import write_stack

BOX, PIXEL, WIDTH = 24, 5.0, 6.0
VOLTAGE, CS, AMPLITUDE = 300.0, 2.7, 0.1

BODY = np.array(
    [[0, 0, 0], [15, 0, 0], [-15, 5, 0], [0, 18, 5], [5, -18, -5], [0, 5, 18], [8, -6, -20]], float
)
ARMS = np.array([[30, 10, 0], [0, 32, 14], [-22, -22, 10], [10, -14, -32]], float)

HEADER = table_head(
    "rlnImageName rlnAngleRot rlnAngleTilt rlnAnglePsi rlnOriginXAngst "
    "rlnOriginYAngst rlnDefocusU rlnDefocusV rlnDefocusAngle "
    "rlnOpticsGroup rlnRandomSubset",
    f"{VOLTAGE} {CS} {AMPLITUDE} {PIXEL} {BOX}",
)


def rotation(angles):
    """RELION's matrices (n, 3, 3) from rot, tilt, psi in degrees, as products of axis rotations."""

    def about(axis, degrees):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        matrix = np.tile(np.eye(3), (len(degrees), 1, 1))
        i, j = (0, 1) if axis == "z" else (2, 0)
        matrix[:, i, i] = matrix[:, j, j] = c
        matrix[:, i, j], matrix[:, j, i] = s, -s
        return matrix

    rot, tilt, psi = np.asarray(angles).T
    return about("z", psi) @ about("y", tilt) @ about("z", rot)


def projections(blobs, angles, shifts, defocus):
    """Images (n, BOX, BOX) of blobs (n lists of positions), with CTF."""
    k = np.fft.fftfreq(BOX, PIXEL)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    square = kx**2 + ky**2
    wavelength = 12.2643247 / np.sqrt(VOLTAGE * 1e3 * (1 + VOLTAGE * 1e3 * 0.978466e-6))
    phase = np.pi * wavelength * defocus[:, None, None] * square
    phase = phase - 0.5 * np.pi * CS * 1e7 * wavelength**3 * square**2
    ctf = np.sin(phase + np.arctan(AMPLITUDE / np.sqrt(1 - AMPLITUDE**2)))
    images = np.empty((len(angles), BOX, BOX), np.float32)
    centre = BOX // 2 * PIXEL
    for i, matrix in enumerate(rotation(angles)):
        x, y, _ = matrix @ blobs[i].T
        x, y = x - shifts[i, 0] + centre, y - shifts[i, 1] + centre
        spectrum = np.exp(-2j * np.pi * (kx[..., None] * x + ky[..., None] * y)).sum(axis=2)
        spectrum *= np.exp(-2 * np.pi**2 * WIDTH**2 * square) * ctf[i]
        images[i] = np.fft.ifft2(spectrum).real
    return images


def simulate(folder, states, snr, rng, *, angle_error=0.0, shapes=None):
    """Particle table and stack of particles with states (0: body only, k: with arm k).

    ``shapes`` are the positions of the blobs of every state, where they are others.
    """
    shapes = shapes or [BODY, *(np.vstack([BODY, arm]) for arm in ARMS)]
    count = len(states)
    angles = np.column_stack(
        [
            rng.uniform(-180, 180, count),
            np.degrees(np.arccos(rng.uniform(-1, 1, count))),
            rng.uniform(-180, 180, count),
        ]
    )
    shifts = rng.uniform(-4, 4, (count, 2))
    defocus = rng.uniform(8000, 20000, count)
    blobs = [shapes[k] for k in states]
    images = projections(blobs, angles, shifts, defocus)
    noise = images.std() / np.sqrt(snr)
    images += rng.normal(0, noise, images.shape).astype(np.float32)
    with write_stack(folder / "stack.mrcs", PIXEL) as stack:
        stack.append(images)
    given = angles + rng.normal(0, angle_error, angles.shape)
    rows = [
        f"{i + 1:06d}@{folder}/stack.mrcs {' '.join(f'{a:.5f}' for a in given[i])} "
        f"{shifts[i, 0]:.5f} {shifts[i, 1]:.5f} {defocus[i]:.2f} {defocus[i]:.2f} 0.0 1 {i % 2 + 1}"
        for i in range(count)
    ]
    table = folder / "particles.star"
    table.write_text(HEADER + "\n".join(rows) + "\n\n")
    return table, angles


def write_project(folder, table, states, rng, folds=3, **recorded):
    """Folders ``resample`` and ``vote`` as the stages leave them, with given voted states.

    ``recorded`` are further options of the resampling.
    """
    from alphacryo4d.particles.open import open_table

    resample, vote = folder / "resample", folder / "vote"
    resample.mkdir()
    vote.mkdir()
    count = len(states)
    groups = np.column_stack([np.ones(count, int), rng.permutation(count) % (folds + 1) + 1])
    np.save(resample / "groups.npy", groups.astype(np.int32))
    entry = {"path": str(table), "size": table.stat().st_size}
    options = {"classify": {"initial_resolution": 25.0}, **recorded}
    record = {"status": "done", "inputs": [entry], "options": options}
    (resample / "job.json").write_text(json.dumps(record))
    record = {"status": "done", "inputs": [entry, {"path": str(resample / "groups.npy")}]}
    (vote / "job.json").write_text(json.dumps(record))
    open_table(table).write_with_columns(vote / "particles.star", {"rlnClassNumber": states})
    return groups
