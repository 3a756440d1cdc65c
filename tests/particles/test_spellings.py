"""Tables that differ in spelling, order, dialect or place of a value give the same arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.io.mrc_header import header_type
from alphacryo4d.particles.particle_set import ParticleSet, read_particles

COUNT, BOX, PIXEL = 12, 16, 1.5
VARIATIONS = 48

Rows = list[dict[str, str]]


def plain_rows() -> Rows:
    """Twelve particles of one optics group, as RELION 3.1 writes them."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(COUNT):
        x, y = np.round(rng.normal(scale=2, size=2), 3) * PIXEL
        rows.append({
            "rlnImageName": f"{i % 8 + 1:06d}@{'ab'[i // 8]}.mrcs",
            "rlnOpticsGroup": "1",
            "rlnAngleRot": f"{rng.uniform(-180, 180):.6f}",
            "rlnAngleTilt": f"{rng.uniform(0, 180):.6f}",
            "rlnAnglePsi": f"{rng.uniform(-180, 180):.6f}",
            "rlnOriginXAngst": f"{x:.6f}",
            "rlnOriginYAngst": f"{y:.6f}",
            "rlnDefocusU": f"{rng.uniform(1e4, 2e4):.2f}",
            "rlnDefocusV": f"{rng.uniform(1e4, 2e4):.2f}",
            "rlnDefocusAngle": f"{rng.uniform(0, 180):.2f}",
            "rlnRandomSubset": f"{i % 2 + 1}",
        })  # fmt: skip
    return rows


def plain_optics() -> Rows:
    return [{
        "rlnOpticsGroup": "1", "rlnOpticsGroupName": "opticsGroup1", "rlnVoltage": "300.000000",
        "rlnSphericalAberration": "2.700000", "rlnAmplitudeContrast": "0.100000",
        "rlnImagePixelSize": f"{PIXEL:.6f}", "rlnImageSize": str(BOX),
        "rlnImageDimensionality": "2", "rlnPhaseShift": "30.000000", "rlnCtfBfactor": "12.500000",
        "rlnCtfScalefactor": "0.900000", "rlnBeamTiltX": "0.250000", "rlnBeamTiltY": "-0.100000",
        "rlnOddZernike": "[0.1,-0.2,0.3,0,0,0.5]", "rlnEvenZernike": "[1,0,0,0.2,0,0,0.4,0,0]",
        "rlnMagMat00": "1.010000", "rlnMagMat01": "0.002000", "rlnMagMat10": "0.002000",
        "rlnMagMat11": "0.990000", "rlnCtfDataAreCtfPremultiplied": "0",
    }]  # fmt: skip


def write_images(
    path: Path, count: int, order: str = "<", extended: int = 0, mapped: bool = True, mode: int = 2
) -> None:
    """Whole-numbered images, which every mode of MRC holds."""
    pixels = np.random.default_rng(len(path.name) + ord(path.name[0])).integers(
        -100, 100, (count, BOX, BOX)
    )
    header = np.zeros((), header_type(order))
    header["size"] = header["sampling"] = (BOX, BOX, count)
    header["mode"], header["extended"] = mode, extended
    if mapped:
        header["axes"], header["map"] = (1, 2, 3), b"MAP "
    kind = order + {0: "i1", 1: "i2", 2: "f4", 12: "f2"}[mode]
    path.write_bytes(header.tobytes() + b"\xab" * extended + pixels.astype(kind).tobytes())


Edit = Callable[[np.random.Generator, Rows, Rows], None]


def _respell(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    """The same number in other figures."""
    styles: list[Callable[[float], str]] = [
        lambda v: f"{v:.9f}", lambda v: f"{v:.12e}", lambda v: f"{v:+.7f}",
        lambda v: f"{v:.8f}".rstrip("0"), lambda v: f"{v:.10E}",
    ]  # fmt: skip
    for row in rows:
        for name, value in row.items():
            if name.startswith(("rlnAngle", "rlnOrigin", "rlnDefocus")):
                row[name] = styles[rng.integers(len(styles))](float(value))
    for row in optics:
        for name in ("rlnVoltage", "rlnAmplitudeContrast", "rlnImagePixelSize"):
            row[name] = styles[rng.integers(len(styles))](float(row[name]))


def _whole_as_decimals(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    for row in rows:
        row["rlnOpticsGroup"] = "1.000000"
        row["rlnRandomSubset"] += ".0"
    optics[0]["rlnOpticsGroup"] = "1.0"
    optics[0]["rlnImageSize"] = f"{BOX}.000000"
    optics[0]["rlnImageDimensionality"] = "2.000000"


def _rename_group(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    number = str(rng.integers(2, 900))
    for row in rows:
        row["rlnOpticsGroup"] = number
    optics[0] |= {"rlnOpticsGroup": number, "rlnOpticsGroupName": "'a group'"}


def _split_group(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    other = optics[0] | {"rlnOpticsGroup": "77", "rlnOpticsGroupName": "two"}
    optics.insert(int(rng.integers(2)), other)
    for row in rows:
        if rng.random() < 0.5:
            row["rlnOpticsGroup"] = "77"


def _image_numbers(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    width = rng.integers(1, 10)
    for row in rows:
        number, stack = row["rlnImageName"].split("@")
        row["rlnImageName"] = f"{int(number):0{width}d}@{stack}"


def _stack_names(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    start = ["./", "../" + Path.cwd().name + "/", f"{Path.cwd()}/"][rng.integers(3)]
    end = ["", ":mrcs"][rng.integers(2)]
    mark = ["", "'", '"'][rng.integers(3)]
    for row in rows:
        number, stack = row["rlnImageName"].split("@")
        row["rlnImageName"] = f"{mark}{number}@{start}{stack}{end}{mark}"


def _one_origin_in_pixels(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    for axis in ["X", "Y", "XY"][rng.integers(3)]:
        for row in rows:
            value = float(row.pop(f"rlnOrigin{axis}Angst"))
            row[f"rlnOrigin{axis}"] = f"{value / PIXEL:.9f}"


def _both_origins(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    for row in rows:
        for axis in "XY":
            if f"rlnOrigin{axis}Angst" in row:
                value = float(row[f"rlnOrigin{axis}Angst"])
                row[f"rlnOrigin{axis}"] = f"{value / PIXEL:.6f}"


IN_ROWS = [
    ("rlnPhaseShift",), ("rlnCtfBfactor", "rlnCtfScalefactor"), ("rlnVoltage",),
    ("rlnSphericalAberration", "rlnAmplitudeContrast"), ("rlnBeamTiltX", "rlnBeamTiltY"),
    ("rlnOddZernike",), ("rlnEvenZernike",), ("rlnCtfDataAreCtfPremultiplied",),
    ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11"),
]  # fmt: skip


def _in_rows(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    """Values in the rows, and in the optics table none, or others that must not be taken."""
    for place in rng.choice(len(IN_ROWS), 3, replace=False).tolist():
        draw = rng.integers(3)
        for name in IN_ROWS[place]:
            for row in rows:
                row[name] = optics[0][name]
            for group in optics:
                if draw == 0:
                    del group[name]
                elif draw == 1:
                    group[name] = "[9,9]" if "Zernike" in name else "0.75"


def _zernike_spelling(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    """Figures of the coefficients, and zeros after the last."""
    for row in [*rows, *optics]:
        for name in ("rlnOddZernike", "rlnEvenZernike"):
            if name in row:
                words = [f"{float(word):.8e}" for word in row[name].strip("[]").split(",")]
                row[name] = "[" + ",".join(words + ["0"] * int(rng.integers(3))) + "]"


def _old_matrix_names(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    """The other names of the magnification matrix."""
    for row in [*rows, *optics]:
        for place in ("00", "01", "10", "11"):
            if f"rlnMagMat{place}" in row:
                row[f"rlnMagMatrix_{place}"] = row.pop(f"rlnMagMat{place}")


def _more_columns(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    for i, row in enumerate(rows):
        row |= {
            "rlnMicrographName": "'a b.mrc'", "rlnGroupNumber": str(i), "unknown": '"x # y"',
            "rlnCtfFigureOfMerit": "nan", "rlnNormCorrection": "0.9", "rlnCoordinateX": "5.0",
        }  # fmt: skip
    for row in optics:
        row["rlnMtfFileName"] = "mtf.star"


GROUP_ONLY = (
    "rlnOpticsGroup", "rlnOpticsGroupName", "rlnImagePixelSize", "rlnImageSize",
    "rlnImageDimensionality", "rlnMtfFileName",
)  # fmt: skip


def _old_dialect(rng: np.random.Generator, rows: Rows, optics: Rows) -> None:
    """RELION 3.0: no optics table, origins in pixels, pixel size from the magnification."""
    scale = [
        {"rlnMagnification": "10000.0", "rlnDetectorPixelSize": f"{PIXEL}"},
        {"rlnMagnification": "40000", "rlnDetectorPixelSize": f"{4 * PIXEL}"},
        {"rlnPixelSize": f"{PIXEL}"},
    ][rng.integers(3)]
    for row in rows:
        del row["rlnOpticsGroup"]
        for axis in "XY":
            value = row.pop(f"rlnOrigin{axis}Angst", None)
            if value is not None:
                row[f"rlnOrigin{axis}"] = f"{float(value) / PIXEL:.9f}"
        row |= {"rlnVoltage": "300", "rlnSphericalAberration": "2.7", "rlnAmplitudeContrast": "0.1"}
        row |= {name: value for name, value in optics[0].items() if name not in (*row, *GROUP_ONLY)}
        row |= scale
    optics.clear()


EDITS: list[Edit] = [
    _respell, _whole_as_decimals, _rename_group, _split_group, _image_numbers, _stack_names,
    _one_origin_in_pixels, _both_origins, _in_rows, _zernike_spelling, _old_matrix_names,
    _more_columns,
]  # fmt: skip


def layout(rng: np.random.Generator, name: str, rows: Rows) -> str:
    """One table as text, in one of the layouts that STAR allows."""
    names = list(rows[0])
    if rng.random() < 0.5:
        names = [names[k] for k in rng.permutation(len(names))]
    numbered = rng.random() < 0.5
    labels = [f"_{n}" + (f" #{k}" if numbered else "") + " " * rng.integers(3)
              for k, n in enumerate(names, 1)]  # fmt: skip
    gap = [" ", "   ", "\t", " \t "][rng.integers(4)]
    start, end = ["", "  ", "\t"][rng.integers(3)], ["", " ", "  "][rng.integers(3)]
    lines = [start + gap.join(row[n] for n in names) + end for row in rows]
    head = ["", "# version 30001\n", "# a comment\n\n", "\n\n\n"][rng.integers(4)]
    return f"{head}\ndata_{name}\n\nloop_\n" + "\n".join([*labels, *lines]) + "\n\n"


def variation(seed: int, folder: Path) -> Path:
    """A table that means the same as the plain one, and its stacks, as a seed says."""
    rng = np.random.default_rng(seed)
    rows, optics = plain_rows(), plain_optics()
    for edit in EDITS:
        if rng.random() < 0.35 and not (edit is _both_origins and "rlnOriginX" in rows[0]):
            edit(rng, rows, optics)
    if rng.random() < 0.25 and len(optics) == 1:
        _old_dialect(rng, rows, optics)
    parts = [layout(rng, "particles" if optics else ["", "images"][rng.integers(2)], rows)]
    if optics:
        parts.insert(int(rng.integers(2)), layout(rng, "optics", optics))
    mark = b"\xef\xbb\xbf" if rng.random() < 0.2 else b""
    (folder / "variation.star").write_bytes(mark + "".join(parts).encode())
    for name, count in (("a.mrcs", 8), ("b.mrcs", 4)):
        write_images(
            folder / name, count, order="<>"[rng.integers(2)], extended=int(rng.integers(3)) * 80,
            mapped=bool(rng.random() < 0.8), mode=[2, 2, 0, 1, 12][rng.integers(5)],
        )  # fmt: skip
    return folder / "variation.star"


def padded(coefficients: list[tuple[float, ...]]) -> np.ndarray:
    """Zernike coefficients of every group, of one length."""
    values = np.zeros((len(coefficients), 20))
    for row, numbers in zip(values, coefficients, strict=True):
        row[: len(numbers)] = numbers
    return values


def meaning(particles: ParticleSet) -> dict[str, np.ndarray]:
    """What the science takes from a table, particle by particle."""
    optics, group = particles.optics, particles.optics_group
    subset = particles.random_subset
    assert subset is not None
    aberrations = optics.aberrations
    return {
        "bfactor": particles.bfactor, "scale": particles.ctf_scale,
        "odd": padded(aberrations.odd)[group], "even": padded(aberrations.even)[group],
        "tilt": aberrations.beam_tilt[group], "matrix": aberrations.magnification[group],
        "premultiplied": aberrations.premultiplied[group],
        "angles": particles.angles, "shifts": particles.shifts, "defocus": particles.defocus,
        "phase_shift": particles.phase_shift, "subset": subset,
        "voltage": optics.voltage[group], "cs": optics.spherical_aberration[group],
        "contrast": optics.amplitude_contrast[group], "pixel": optics.pixel_size[group],
        "box": optics.box[group], "images": particles.images(range(len(particles))),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plain(folder: Path, **values: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    (folder / "plain.star").write_text(
        layout(rng, "optics", [plain_optics()[0] | values]) + layout(rng, "particles", plain_rows())
    )
    for name, count in (("a.mrcs", 8), ("b.mrcs", 4)):
        write_images(folder / name, count)
    return meaning(read_particles(folder / "plain.star"))


@pytest.mark.parametrize("seed", range(VARIATIONS))
def test_a_variation_means_the_same(folder: Path, seed: int) -> None:
    expected = plain(folder)
    columns = meaning(read_particles(variation(seed, folder)))
    for name, values in expected.items():
        np.testing.assert_allclose(columns[name], values, rtol=1e-6, atol=2e-6, err_msg=name)


def test_a_table_through_cs_and_back_means_the_same(folder: Path) -> None:
    from alphacryo4d.tools.convert import convert

    # What a .cs file says in one way; a beam tilt comes back within the odd coefficients
    expected = plain(folder, rlnOddZernike="[0,0,3,0,0,5]", rlnEvenZernike="[0]")
    del expected["tilt"]
    convert(folder / "plain.star", folder / "p.cs")
    convert(folder / "p.cs", folder / "back.star")
    for path in (folder / "p.cs", folder / "back.star"):
        columns = meaning(read_particles(path))
        for name, values in expected.items():
            np.testing.assert_allclose(columns[name], values, rtol=1e-5, atol=2e-3, err_msg=name)


def test_the_variations_cover_every_edit() -> None:
    chosen = {edit.__name__: 0 for edit in EDITS}
    for seed in range(VARIATIONS):
        rng = np.random.default_rng(seed)
        rows, optics = plain_rows(), plain_optics()
        for edit in EDITS:
            if rng.random() < 0.35 and not (edit is _both_origins and "rlnOriginX" in rows[0]):
                edit(rng, rows, optics)
                chosen[edit.__name__] += 1
    assert min(chosen.values()) >= 5
