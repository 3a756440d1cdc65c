"""cryoSPARC files: fields, identities, subsets, and conventions shown by reconstruction."""

import gc
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import add_passthrough, read_cs, write_cs, write_cs_rows, write_cs_states
from alphacryo4d.io.mrc import read_volume, write_stack
from alphacryo4d.maths.rotations import cryosparc_angles, cryosparc_vectors
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.tools.check import find_faults

BOX, PIXEL, COUNT = 32, 3.0, 400
BLOBS = np.array([[18.0, 0, 0], [0, 24, 0], [0, 0, 12], [-12, -15, 9], [6, -9, -21]])
WEIGHTS = np.array([1.0, 1.4, 0.8, 1.2, 1.0])
WIDTH = 5.0


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """Rotation matrix of RELION, written out (Euler_angles2matrix)."""
    a, b, g = np.deg2rad([rot, tilt, psi])
    ca, cb, cg, sa, sb, sg = np.cos(a), np.cos(b), np.cos(g), np.sin(a), np.sin(b), np.sin(g)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


ANGLE = st.floats(-180, 180)


@given(rot=ANGLE, tilt=st.one_of(st.floats(0, 180), st.sampled_from([0.0, 180.0])), psi=ANGLE)
@settings(max_examples=200, deadline=None)
def test_a_rotation_vector_turns_like_the_transpose_of_relions_matrix(
    rot: float, tilt: float, psi: float
) -> None:
    vector = cryosparc_vectors(np.array([[rot, tilt, psi]]))[0]
    theirs = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(theirs.T, relion_matrix(rot, tilt, psi), atol=1e-9)
    again = cryosparc_angles(vector[None])[0]
    # within 1e-7 of tilt 0 or 180 only the sum or difference of the other two is known
    np.testing.assert_allclose(relion_matrix(*again), theirs.T, atol=1e-6)


def ctf(df1: float, df2: float, angle: float, phase: float) -> np.ndarray:
    """CTF of positive contrast for 300 kV, 2.7 mm, 0.1, straight from the wave aberration."""
    wavelength = 12.2643 / np.sqrt(3e5 + 0.97845e-6 * 9e10)
    k = np.fft.fftfreq(BOX, PIXEL)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    square = kx**2 + ky**2
    azimuth = np.arctan2(ky, kx)
    defocus = (df1 + df2) / 2 + (df1 - df2) / 2 * np.cos(2 * (azimuth - angle))
    chi = np.pi * wavelength * defocus * square - np.pi / 2 * 2.7e7 * wavelength**3 * square**2
    return np.sin(chi + phase + np.arcsin(0.1))


def blobs_at(x: np.ndarray, y: np.ndarray, z: np.ndarray | None, places: np.ndarray) -> np.ndarray:
    """Sum of Gaussians on a grid, in 2D where z is None."""
    total = np.zeros(np.broadcast(x, y, 0 if z is None else z).shape)
    for (bx, by, bz), weight in zip(places, WEIGHTS, strict=True):
        square = (x - bx) ** 2 + (y - by) ** 2 + (0 if z is None else (z - bz) ** 2)
        total += weight * np.exp(-square / (2 * WIDTH**2))
    return total


def make_particles(folder: Path) -> np.ndarray:
    """Particles made by cryoSPARC's own conventions: rotation vectors, dark on light."""
    rng = np.random.default_rng(5)
    poses = Rotation.random(COUNT, rng).as_rotvec()
    shifts = rng.uniform(-3, 3, (COUNT, 2))
    grid = (np.arange(BOX) - BOX // 2) * PIXEL
    y, x = np.meshgrid(grid, grid, indexing="ij")
    particles = np.zeros(
        COUNT,
        [
            ("uid", "<u8"), ("blob/path", "S30"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)),
            ("blob/psize_A", "<f4"), ("blob/sign", "<f4"), ("ctf/type", "S9"),
            ("ctf/exp_group_id", "<u4"), ("ctf/accel_kv", "<f4"), ("ctf/cs_mm", "<f4"),
            ("ctf/amp_contrast", "<f4"), ("ctf/df1_A", "<f4"), ("ctf/df2_A", "<f4"),
            ("ctf/df_angle_rad", "<f4"), ("ctf/phase_shift_rad", "<f4"), ("ctf/scale", "<f4"),
            ("alignments3D/split", "<u4"), ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/pose", "<f4", (3,)), ("alignments3D/psize_A", "<f4"),
            ("alignments3D/class", "<u4"),
        ],
    )  # fmt: skip
    particles["uid"] = rng.integers(1, 1 << 63, COUNT)
    particles["blob/path"] = b"J1/extract/a.mrc"
    particles["blob/idx"] = np.arange(COUNT)
    particles["blob/shape"], particles["blob/psize_A"] = BOX, PIXEL
    particles["blob/sign"], particles["ctf/scale"] = -1, 1
    particles["ctf/exp_group_id"] = 4
    particles["ctf/accel_kv"], particles["ctf/cs_mm"] = 300, 2.7
    particles["ctf/amp_contrast"] = 0.1
    particles["ctf/df1_A"] = rng.uniform(12000, 25000, COUNT)
    particles["ctf/df2_A"] = particles["ctf/df1_A"] - rng.uniform(2000, 6000, COUNT)
    particles["ctf/df_angle_rad"] = rng.uniform(-1.5, 1.5, COUNT)
    particles["ctf/phase_shift_rad"] = rng.uniform(0, 1, COUNT)
    particles["alignments3D/split"] = np.arange(COUNT) % 2
    particles["alignments3D/pose"] = poses
    # shifts are stored at another pixel size than the images have
    particles["alignments3D/psize_A"] = PIXEL / 2
    particles["alignments3D/shift"] = shifts * 2
    (folder / "J1/extract").mkdir(parents=True)
    with write_stack(folder / "J1/extract/a.mrc", PIXEL) as stack:
        for p, shift in zip(particles, shifts, strict=True):
            turned = BLOBS @ Rotation.from_rotvec(p["alignments3D/pose"]).as_matrix()
            turned[:, :2] -= shift * PIXEL
            image = blobs_at(x, y, None, turned)
            contrast = ctf(*(p[f"ctf/{n}"] for n in ("df1_A", "df2_A", "df_angle_rad")),
                           p["ctf/phase_shift_rad"])  # fmt: skip
            image = np.fft.ifft2(np.fft.fft2(image) * contrast).real
            stack.append(-image)
    return particles


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    particles = make_particles(folder)
    write_cs(folder / "J1/particles.cs", particles)
    return folder


def truth() -> np.ndarray:
    grid = (np.arange(BOX) - BOX // 2) * PIXEL
    z, y, x = np.meshgrid(grid, grid, grid, indexing="ij")
    return blobs_at(x, y, z, BLOBS)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.relion
def test_relion_reconstructs_the_object_from_the_converted_table(
    project: Path, tmp_path: Path
) -> None:
    from alphacryo4d.tools.convert import convert

    convert(project / "J1/particles.cs", tmp_path / "p.star")
    particles = read_particles(project / "J1/particles.cs")
    (tmp_path / "J1/extract").mkdir(parents=True)
    with write_stack(tmp_path / "J1/extract/a.mrc", PIXEL) as stack:
        stack.append(particles.images(range(COUNT)))
    command = ["relion_reconstruct", "--i", "p.star", "--o", "map.mrc", "--ctf"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    volume, voxel_size = read_volume(tmp_path / "map.mrc")
    assert voxel_size == pytest.approx(PIXEL)
    assert correlation(volume, truth()) > 0.98
    assert correlation(volume[::-1, ::-1, ::-1], truth()) < 0.8


def test_rows_of_cs_go_out_as_star_and_the_copy_is_removed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    whole = read_particles(project / "J1/particles.cs")
    rows = np.array([3, 50, 51, 399])
    out = whole.table.write_rows(tmp_path / "fold.star", rows)
    monkeypatch.chdir(project)
    fold = read_particles(out)
    assert (fold.angles == whole.angles[rows]).all()
    assert (fold.images(range(4)) == whole.images(rows)).all()
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    del whole
    gc.collect()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_images_come_with_positive_contrast(project: Path) -> None:
    particles = read_particles(project / "J1/particles.cs")
    raw = np.fromfile(project / "J1/extract/a.mrc", "<f4", offset=1024)
    assert (particles.images([3, 1])[0] == -raw.reshape(COUNT, BOX, BOX)[3]).all()


def test_particles_of_cs_in_our_words(project: Path) -> None:
    particles = read_particles(project / "J1/particles.cs")
    raw = read_cs(project / "J1/particles.cs")
    np.testing.assert_allclose(particles.shifts, raw["alignments3D/shift"] * PIXEL / 2, atol=1e-5)
    assert particles.pixel_size == PIXEL
    assert particles.box == BOX
    assert set(particles.random_subset.tolist()) == {1, 2}
    np.testing.assert_allclose(
        np.deg2rad(particles.defocus[:, 2]), raw["ctf/df_angle_rad"], atol=1e-6
    )
    assert find_faults(project / "J1/particles.cs", full=True) == []


def test_real_particles(shared_data: Path) -> None:
    path = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    particles = read_particles(path, need_images=False)
    raw = read_cs(path)
    assert len(particles) == len(raw) == 2019
    assert len(particles.stacks) == 50
    assert particles.pixel_size == pytest.approx(2.95)
    matrices = Rotation.from_rotvec(raw["alignments3D/pose"]).as_matrix()
    for row in (0, 17, 2018):
        np.testing.assert_allclose(
            relion_matrix(*particles.angles[row]), matrices[row].T, atol=1e-5
        )


def test_the_same_particles_from_cs_and_star(shared_data: Path) -> None:
    folder = shared_data / "formats"
    cs = read_particles(folder / "empiar_10076_7.cs", need_poses=False)
    star = read_particles(folder / "empiar_10076_7.star", need_poses=False)
    np.testing.assert_allclose(cs.defocus, star.defocus, rtol=1e-6)
    assert cs.pixel_size == pytest.approx(star.pixel_size, rel=1e-6)
    for name in ("voltage", "spherical_aberration", "amplitude_contrast"):
        np.testing.assert_allclose(getattr(cs.optics, name), getattr(star.optics, name), rtol=1e-6)
    assert (cs.images(range(7)) == -star.images(range(7))).all()


def test_subsets_keep_every_field(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    raw = np.load(path, allow_pickle=False)
    mask = np.random.default_rng(0).random(len(raw)) < 0.3
    out = write_cs_rows(path, tmp_path / "class001.cs", mask)
    again = np.load(out, allow_pickle=False)
    assert again.dtype == raw.dtype
    assert again.tobytes() == raw[mask].tobytes()
    out = write_cs_rows(path, tmp_path / "class002.cs", np.array([5, 2]))
    assert np.load(out)["uid"].tolist() == raw["uid"][[5, 2]].tolist()


def test_states_are_written_for_cryosparc(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    raw = np.load(path, allow_pickle=False)
    states = np.random.default_rng(0).integers(0, 4, len(raw))
    states[states == 2] = 3
    paths = write_cs_states(path, tmp_path, states)
    assert [p.name for p in paths] == ["particles.cs", "class001.cs", "class003.cs"]
    everything = np.load(paths[0])
    assert (everything["uid"] == raw["uid"]).all()
    assert (everything["alignments3D/class"] == states).all()
    assert np.load(paths[2]).tobytes() == raw[states == 3].tobytes()


def test_passthrough_fields_are_matched_by_uid(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    raw = np.load(path, allow_pickle=False)
    names = list(raw.dtype.names)
    poses = ["uid", *(name for name in names if name.startswith("alignments3D"))]
    rest = [name for name in names if not name.startswith("alignments3D")]

    def part(fields: list[str], rows: np.ndarray) -> np.ndarray:
        result = np.empty(len(rows), [(name, raw.dtype[name]) for name in fields])
        for name in fields:
            result[name] = raw[name][rows]
        return result

    rows = np.random.default_rng(0).permutation(len(raw))
    write_cs(tmp_path / "rest.cs", part(rest, rows))
    merged = add_passthrough(path, part(poses, np.arange(100)), [tmp_path / "rest.cs"])
    assert set(merged.dtype.names) == set(names)
    for name in names:
        assert (merged[name] == raw[name][:100]).all(), name
    write_cs(tmp_path / "few.cs", part(rest, rows[rows != 42]))
    with pytest.raises(InputError, match=f"lacks 1 of the 100.*uid {raw['uid'][42]} .row 43"):
        add_passthrough(path, part(poses, np.arange(100)), [tmp_path / "few.cs"])


def bad_cs(path: Path, raw: np.ndarray) -> dict[str, np.ndarray]:
    """Particles with one fault each."""
    result = {}
    for name, change in {
        "uid": lambda p: p["uid"].__setitem__(3, p["uid"][1]),
        "square": lambda p: p["blob/shape"].__setitem__((0, 0), 100),
    }.items():
        copy = raw.copy()
        change(copy)
        result[name] = copy
    return result


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("uid", "is there twice"),
        ("square", "row 1: images of .* not square"),
    ],
)
def test_what_cannot_be_used_is_refused(
    shared_data: Path, tmp_path: Path, fault: str, message: str
) -> None:
    raw = np.load(shared_data / "formats/empiar_10076_7.cs", allow_pickle=False)
    path = write_cs(tmp_path / "p.cs", bad_cs(tmp_path, raw)[fault])
    with pytest.raises(InputError, match=message):
        open_table(path)
    assert len(find_faults(path)) == 1


def test_missing_fields_are_named(shared_data: Path, tmp_path: Path) -> None:
    raw = np.load(shared_data / "formats/empiar_10076_7.cs", allow_pickle=False)
    path = write_cs(tmp_path / "p.cs", raw[["uid", "ctf/df1_A"]].copy())
    with pytest.raises(InputError, match="no field blob/path, blob/idx.*--passthrough"):
        open_table(path)
    alone = path.rename(tmp_path / "J3_passthrough_particles.cs")
    with pytest.raises(InputError, match="PARTICLES.cs --passthrough .*J3_passthrough"):
        open_table(alone)


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, ("hacked",)


def test_pickled_files_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("trap.npy", np.array([_Trap()], dtype=object))
    Path("trap.npy").rename("trap.cs")
    with pytest.raises(InputError, match="not a readable"):
        read_cs(Path("trap.cs"))
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    "content", [b"", b"data_\n\nloop_\n", b"\x93NUMPY\x01\x00v\x00{", b"PK\x03\x04"]
)
def test_what_is_no_cs_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.cs"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable"):
        read_cs(path)


def test_truncated_files_are_refused(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.cs"
    path.write_bytes((shared_data / "formats/empiar_10076_7.cs").read_bytes()[:-10])
    with pytest.raises(InputError, match="not a readable"):
        read_cs(path)
