"""No finite input, however odd, ends in a traceback: an answer, or an error with its exit code.

The examples are small and their number is fixed, so that the time is bounded.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphacryo4d.core.errors import AlphaCryo4DError, InputError
from alphacryo4d.io.cs import write_cs
from alphacryo4d.io.mrc_header import header_type
from alphacryo4d.particles.copies import half_sets
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.resample.subsets import assign_groups
from alphacryo4d.tools.check import examine

TABLES, STACKS, CS = 1300, 600, 200
BOUNDED = {"deadline": None, "suppress_health_check": list(HealthCheck)}

NUMBERS = [
    "0", "1", "2", "3", "-1", "0.5", "1e-300", "1e30", "-1e30", "1e300", "9" * 25, "300", "2.7",
    "15000", "1.5", "-0.0", "1.000000", "7", "00012", "+4", ".5", "5.", "0.1",
]  # fmt: skip
WORDS = [
    "nan",
    "inf",
    "-inf",
    "None",
    "<NA>",
    "x",
    "''",
    '"a b"',
    "1@",
    "@a.mrcs",
    "[0,1]",
    "#",
    "_",
]
IMAGES = [
    "1@a.mrcs", "2@a.mrcs", "000003@a.mrcs", "4@./a.mrcs", "1@a.mrcs:mrcs", "9@a.mrcs", "0@a.mrcs",
    "-1@a.mrcs", "1.5@a.mrcs", "1e300@a.mrcs", "a.mrcs", "@", "x@a.mrcs", "1@gone.mrcs", "1@.",
    "nan@a.mrcs", "1@a@b.mrcs", "''", "1@" + "y" * 300,
]  # fmt: skip
COLUMNS = [
    "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle",
    "rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginX", "rlnOriginY", "rlnPhaseShift",
    "rlnRandomSubset", "rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration", "rlnPixelSize",
    "rlnAmplitudeContrast", "rlnMagnification", "rlnDetectorPixelSize", "rlnCtfBfactor",
    "rlnCtfScalefactor", "rlnGroupName", "rlnBeamTiltX", "ac4dImageSign", "rlnClassNumber",
    "rlnMicrographName", "ac4dUid", "rlnCoordinateZ", "rlnOddZernike", "rlnMagMat00",
    "rlnCtfDataAreCtfPremultiplied",
]  # fmt: skip
NEEDED = set(COLUMNS[:13])
OPTICS = [
    "rlnOpticsGroup", "rlnOpticsGroupName", "rlnVoltage", "rlnSphericalAberration",
    "rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality",
    "rlnBeamTiltX", "rlnOddZernike", "rlnMagMat00", "rlnPhaseShift", "rlnEvenZernike",
    "rlnCtfBfactor", "rlnCtfDataArePhaseFlipped",
]  # fmt: skip
USUAL = {
    "rlnOpticsGroup": "1", "rlnVoltage": "300", "rlnSphericalAberration": "2.7",
    "rlnAmplitudeContrast": "0.1", "rlnImagePixelSize": "1.5", "rlnImageSize": "8",
    "rlnImageDimensionality": "2", "rlnMagnification": "10000", "rlnDetectorPixelSize": "1.5",
    "rlnPixelSize": "1.5", "rlnDefocusU": "15000", "rlnDefocusV": "14000", "rlnOddZernike": "[0]",
    "rlnEvenZernike": "[1,0]", "rlnCtfDataAreCtfPremultiplied": "0", "rlnCtfBfactor": "3",
    "rlnCtfDataArePhaseFlipped": "0",
    "rlnMagMat00": "1", "rlnCtfScalefactor": "1", "ac4dImageSign": "1", "rlnBeamTiltX": "0",
}  # fmt: skip
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def usual_stack(path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(4, 8, 8)).astype("<f4")
    header = np.zeros((), header_type("<"))
    header["size"], header["mode"], header["map"] = (8, 8, 4), 2, b"MAP "
    path.write_bytes(header.tobytes() + images.tobytes())


def value(rng: np.random.Generator, name: str, wild: float) -> str:
    """A value that is usual for its column, or anything at all."""
    draw = rng.random()
    if draw < wild / 8:
        return WORDS[rng.integers(len(WORDS))]
    if draw < wild:
        return NUMBERS[rng.integers(len(NUMBERS))]
    return USUAL.get(name, f"{rng.integers(1, 3)}" if name == "rlnRandomSubset" else f"{draw:.4f}")


def loop(rng: np.random.Generator, name: str, columns: list[str], rows: int, wild: float) -> str:
    lines = [f"data_{name}", "", "loop_", *(f"_{column}" for column in columns)]
    for row in range(rows):
        words = []
        for column in columns:
            if column == "rlnImageName":
                plain = f"{row % 4 + 1}@a.mrcs"
                words.append(IMAGES[rng.integers(len(IMAGES))] if rng.random() < wild else plain)
            else:
                words.append(value(rng, column, wild))
        if rng.random() < wild / 20:
            words.pop()
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n\n"


def random_table(seed: int) -> str:
    """A table of a few rows whose columns, values and layout are drawn at random."""
    rng = np.random.default_rng(seed)
    wild = float(rng.choice([0.0, 0.02, 0.1, 0.5]))
    left_out = rng.random() * 0.5
    columns = [c for c in COLUMNS if rng.random() > (left_out if c in NEEDED else 0.85)]
    columns = ["rlnImageName", *columns] if rng.random() < 0.95 else columns
    text = loop(rng, "particles", columns, int(rng.integers(1, 7)), wild)
    if rng.random() < 0.8:
        names = [c for c in OPTICS if rng.random() > left_out / 4]
        if names:
            text = loop(rng, "optics", names, int(rng.integers(1, 3)), wild) + text
    if rng.random() < wild:
        place = int(rng.integers(len(text)))
        text = (
            text[:place]
            + ["", "\n", "\r\n", "\x00", "data_x\n", "'"][rng.integers(6)]
            + text[place:]
        )
    return text


def swallow(path: Path) -> None:
    """Everything that reads a table before the work starts; only the program's errors may come."""
    report = examine(path, full=True)
    assert all(str(fault) and fault.way_out for fault in (*report.faults, *report.warnings))
    try:
        particles = read_particles(path, need_images=False, need_poses=False)
        for name in ("angles", "shifts", "defocus"):
            values = getattr(particles, name)
            assert np.isfinite(values).all() or np.isnan(particles.optics.pixel_size).any()
        particles = read_particles(path)
        half_sets(particles)
        assert np.isfinite(particles.images(range(len(particles)))).all()
    except AlphaCryo4DError as error:
        code = error.exit_code
    else:
        code = 3
    assert 2 <= code <= 7


@given(seed=SEEDS)
@settings(max_examples=TABLES, derandomize=True, **BOUNDED)
def test_no_table_ends_in_a_traceback(folder: Path, seed: int) -> None:
    if not (folder / "a.mrcs").is_file() or seed == 0:
        usual_stack(folder / "a.mrcs")
    path = folder / "p.star"
    path.write_bytes(random_table(seed).encode())
    swallow(path)


def random_stack(seed: int) -> bytes:
    """A stack with an odd header, odd pixels, or other bytes altogether."""
    rng = np.random.default_rng(seed)
    order, mode = "<>"[rng.integers(2)], [0, 1, 2, 2, 2, 6, 12][rng.integers(7)]
    box, count = int(rng.integers(1, 10)), int(rng.integers(1, 6))
    header = np.zeros((), header_type(order))
    header["size"], header["mode"], header["map"] = (box, box, count), mode, b"MAP "
    header["sampling"], header["cell"] = header["size"], header["size"] * 1.5
    scale = float(rng.choice([0, 1e-38, 1e-3, 1, 100, 1e30, 3e38]))
    kind = np.dtype(order + MODES[mode])
    if kind.kind == "f":
        low, high = float(np.finfo(kind).min), float(np.finfo(kind).max)
    else:
        low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    pixels = np.clip(rng.normal(size=(count, box, box)) * scale, low, high).astype(kind)
    draw = rng.random()
    if draw < 0.3:
        field = ["size", "mode", "axes", "extended", "cell", "sampling", "map"][rng.integers(7)]
        raw = header[field]
        header[field] = (
            b"\xff\x00MA" if field == "map"
            else rng.choice([-1, 0, 1, 3, 7, 2**20, 2**31 - 1], np.shape(raw)).astype(raw.dtype)
        )  # fmt: skip
    content = header.tobytes() + pixels.tobytes()
    if draw > 0.9:
        content = content[: int(rng.integers(len(content)))]
    elif draw > 0.85:
        content = rng.bytes(int(rng.integers(3000)))
    return content


@given(seed=SEEDS)
@settings(max_examples=STACKS, derandomize=True, **BOUNDED)
def test_no_stack_ends_in_a_traceback(folder: Path, seed: int) -> None:
    content = random_stack(seed)
    (folder / "s.mrcs").write_bytes(content)
    rng = np.random.default_rng(seed)
    columns = ["rlnImageName", *COLUMNS[:8], "rlnRandomSubset", "rlnOpticsGroup"]
    text = loop(rng, "optics", [c for c in OPTICS[:8] if c != "rlnImageSize"], 1, 0.0)
    text += loop(rng, "particles", columns, int(rng.integers(1, 5)), 0.0)
    (folder / "s.star").write_text(text.replace("@a.mrcs", "@s.mrcs"))
    swallow(folder / "s.star")


@given(seed=SEEDS)
@settings(max_examples=CS, derandomize=True, **BOUNDED)
def test_no_cs_file_ends_in_a_traceback(folder: Path, seed: int) -> None:
    usual_stack(folder / "a.mrcs")
    rng = np.random.default_rng(seed)
    fields: list[tuple[object, ...]] = [
        ("uid", "<u8"), ("blob/path", "S30"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)),
        ("blob/psize_A", "<f4"), ("blob/sign", "<f4"), ("alignments3D/shift", "<f4", (2,)),
        ("alignments3D/pose", "<f4", (3,)), ("alignments3D/psize_A", "<f4"),
        ("alignments3D/split", "<u4"), ("ctf/tilt_A", "<f4", (2,)),
        *((f"ctf/{n}", "<f4") for n in ("accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A",
                                        "df_angle_rad", "phase_shift_rad")),
    ]  # fmt: skip
    kept = [field for field in fields if field[0] == "uid" or rng.random() > 0.03]
    count = int(rng.integers(1, 6))
    array = np.zeros(count, kept)
    for name in array.dtype.names or ():
        shape = array[name].shape
        usual = {"ctf/accel_kv": 300.0, "ctf/df1_A": 15000.0, "ctf/df2_A": 14000.0}.get(name, 1.0)
        wild = rng.choice([0.0, 1.0, -1.0, 1e-30, 1e30, 300.0], shape)
        if array.dtype[name].kind == "f" or array.dtype[name].base.kind == "f":
            array[name] = np.where(rng.random(shape) < 0.1, wild, usual)
    array["uid"] = np.arange(count) if rng.random() < 0.9 else 7
    if "blob/path" in (array.dtype.names or ()):
        array["blob/path"] = rng.choice([b">a.mrcs", b"a.mrcs", b"", b"gone.mrc", b"\xff"], count)
    if "blob/shape" in (array.dtype.names or ()):
        array["blob/shape"] = rng.choice([8, 8, 8, 0, 9], (count, 2))
    write_cs(folder / "p.cs", array)
    swallow(folder / "p.cs")


@given(seed=SEEDS)
@settings(max_examples=100, derandomize=True, **BOUNDED)
def test_no_count_ends_in_a_traceback(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, size = int(rng.integers(0, 40)), int(rng.integers(1, 50))
    ids = rng.integers(0, max(count, 1), count)
    ids = np.unique(ids, return_inverse=True)[1]
    for images in (None, ids):
        try:
            groups = assign_groups(count, batch_size=size, folds=3, rng=rng, images=images)
            assert count == 0 or groups.min() >= 1
        except InputError:
            continue
