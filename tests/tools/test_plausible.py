"""check: values and images that cannot be, or look like another unit, are named with it."""

from pathlib import Path

import numpy as np
import pytest
from small_tables import OPTICS, loop, modern_table, numbered, run_command

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc_header import header_type
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.tools.check import Report, examine, require_sound

COUNT, BOX = 24, 16


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pixels(particles())


def particles() -> np.ndarray:
    """Normalised images of a light particle on a dark background."""
    line = np.arange(BOX) - BOX // 2
    disk = np.hypot(*np.meshgrid(line, line)) < BOX / 4
    return np.random.default_rng(0).normal(size=(COUNT, BOX, BOX)) + disk


def write_pixels(images: np.ndarray, mode: int = 2, dtype: str = "<f4") -> None:
    """Write a stack of any mode."""
    header = np.zeros((), header_type("<"))
    header["size"] = header["sampling"] = (BOX, BOX, len(images))
    header["mode"], header["axes"], header["map"] = mode, (1, 2, 3), b"MAP "
    Path("a.mrcs").write_bytes(header.tobytes() + images.astype(dtype).tobytes())


def table(optics: dict[str, str] | None = None, factor: float = 1.0, **columns: str) -> Path:
    """Table of 24 particles with values as they are in life."""
    rng = np.random.default_rng(1)
    rows = []
    for i, name in enumerate(numbered("a.mrcs", COUNT)):
        angles = rng.uniform(-180, 180), rng.uniform(0, 180), rng.uniform(-180, 180)
        defocus = rng.uniform(8000, 25000)
        row = {"rlnImageName": name, "rlnOpticsGroup": "1", "rlnRandomSubset": f"{i % 2 + 1}"}
        for label, value in zip(("Rot", "Tilt", "Psi"), angles, strict=True):
            row[f"rlnAngle{label}"] = f"{factor * value:.6f}"
        row |= {"rlnDefocusU": f"{defocus:.2f}", "rlnDefocusV": f"{defocus - 200:.2f}"}
        row |= {"rlnDefocusAngle": "20", "rlnPhaseShift": "0"}
        row |= {"rlnOriginXAngst": f"{rng.normal():.3f}", "rlnOriginYAngst": f"{rng.normal():.3f}"}
        rows.append(row | columns)
    text = loop("optics", [OPTICS | (optics or {})]) + loop("particles", rows)
    Path("p.star").write_text(text)
    return Path("p.star")


def scaled(column: str, factor: float) -> Path:
    """The table with some columns times a factor."""
    lines = table().read_text().splitlines()
    labels = [line.split()[0][1:] for line in lines if line.startswith("_rln")][len(OPTICS) :]
    places = [place for place, label in enumerate(labels) if label.startswith(column)]
    out = []
    for line in lines:
        words = line.split()
        if "@a.mrcs" in line:
            for place in places:
                words[place] = f"{float(words[place]) * factor:.6f}"
        out.append(" ".join(words))
    Path("p.star").write_text("\n".join(out) + "\n")
    return Path("p.star")


def kinds_of(report: Report) -> list[tuple[str, str]]:
    return [(fault.kind, fault.level) for fault in (*report.faults, *report.warnings)]


def test_a_plain_table_has_neither_faults_nor_warnings() -> None:
    assert kinds_of(examine(table(), full=True)) == []


OPTICS_FAULTS = {
    "rlnVoltage": {"0": "0 kV", "300000": "300 kV if it is in V", "-300": "no microscope", "3": ""},
    "rlnSphericalAberration": {"2700": "2.7 mm if it is in um", "2.7e7": "if it is in A", "-1": ""},
    "rlnAmplitudeContrast": {"10": "0.1 if it is in percent", "-0.1": "fraction", "1.5": ""},
    "rlnImagePixelSize": {"0.15": "1.5 A if it is in nm", "0": "pixel size is 0", "-1": ""},
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OPTICS_FAULTS.items() for value in values]
)
def test_optics_that_cannot_be_are_faults(name: str, value: str) -> None:
    path = table({name: value}, rlnOriginXAngst="0", rlnOriginYAngst="0")
    report = examine(path)
    assert ("implausible-optics", "fault") in kinds_of(report)
    assert OPTICS_FAULTS[name][value] in str(report.faults[0])
    with pytest.raises(InputError, match="optics group opticsGroup1"):
        read_particles(path)


@pytest.mark.parametrize(("name", "value"), [("rlnVoltage", "100"), ("rlnVoltage", "1000"),
    ("rlnSphericalAberration", "0"), ("rlnSphericalAberration", "0.001"),
    ("rlnAmplitudeContrast", "0"), ("rlnAmplitudeContrast", "1"), ("rlnImagePixelSize", "0.3"),
])  # fmt: skip
def test_unusual_optics_are_none(name: str, value: str) -> None:
    report = examine(table({name: value}, rlnOriginXAngst="0", rlnOriginYAngst="0"))
    assert kinds_of(report) == []


VALUES = [
    ("rlnDefocusU rlnDefocusV", 1e-4, "implausible-defocus", "fault", "micrometres"),
    ("rlnDefocusU rlnDefocusV", 0.1, "implausible-defocus", "warning", "nanometres"),
    ("rlnDefocusU rlnDefocusV", -1, "implausible-defocus", "warning", "underfocus is positive"),
    ("rlnDefocusU rlnDefocusV", 0, "implausible-defocus", "warning", "defocus is 0"),
    ("rlnAngle", np.pi / 180, "implausible-angles", "fault", "radians"),
    ("rlnOrigin", 1000, "implausible-shifts", "fault", "half of the box"),
]


@pytest.mark.parametrize(("columns", "factor", "kind", "level", "message"), VALUES)
def test_values_in_another_unit(
    columns: str, factor: float, kind: str, level: str, message: str
) -> None:
    path = scaled(columns.split()[0].removesuffix("U"), factor)
    report = examine(path)
    assert (kind, level) in kinds_of(report)
    assert message in " ".join(map(str, (*report.faults, *report.warnings)))


def test_one_pose_or_one_defocus_for_all() -> None:
    report = examine(table(rlnAngleRot="10", rlnAngleTilt="20", rlnAnglePsi="30"))
    assert kinds_of(report) == [("one-pose", "warning")]
    report = examine(table(rlnDefocusU="15000", rlnDefocusV="14000"))
    assert kinds_of(report) == [("implausible-defocus", "warning")]
    report = examine(table(rlnPhaseShift="1.5708"))
    assert "radians" in str(report.warnings[0])


def test_one_shift_too_far_is_a_warning() -> None:
    path = table()
    text = path.read_text().replace(" 20 0 ", " 20 0 50.0 ", 1).split("\n")
    place = next(i for i, line in enumerate(text) if " 50.0 " in line)
    words = text[place].split()
    del words[words.index("50.0") + 1]
    text[place] = " ".join(words)
    path.write_text("\n".join(text))
    assert kinds_of(examine(path)) == [("implausible-shifts", "warning")]


IMAGES = {
    "background": (particles() + 20, "not-normalised", "warning", "background is 2"),
    "inverted": (-particles(), "inverted-contrast", "warning", "multiply_constant -1"),
    "one empty": (
        particles() * (np.arange(COUNT) != 3)[:, None, None],
        "empty-images", "warning", "4@a.mrcs (row 4)",
    ),
    "all empty": (np.zeros((COUNT, BOX, BOX)), "empty-images", "fault", "24 of 24"),
    "one bright": (
        particles() * np.where(np.arange(COUNT) == 5, 10.0, 1.0)[:, None, None],
        "contrast-outliers", "warning", "6@a.mrcs (row 6)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_images_that_are_unlikely(kind: str) -> None:
    images, name, level, message = IMAGES[kind]
    write_pixels(images)
    report = examine(table())
    assert kinds_of(report) == [(name, level)]
    assert message in str((*report.faults, *report.warnings)[0])


def test_an_inverted_table_that_says_so_is_not_inverted() -> None:
    write_pixels(-particles())
    assert kinds_of(examine(table(ac4dImageSign="-1"))) == []


@pytest.mark.parametrize(("mode", "wrong"), [(0, "<u1"), (1, "<u2")])
def test_signed_pixels_that_are_unsigned(mode: int, wrong: str) -> None:
    middle = 2 ** (8 * int(wrong[-1]) - 1)
    counts = middle + particles() * middle / 10
    write_pixels(counts, mode, wrong)
    report = examine(table())
    assert ("unsigned-pixels", "fault") in kinds_of(report)


@pytest.mark.parametrize(("mode", "kind"), [(0, "<i1"), (1, "<i2"), (6, "<u2"), (12, "<f2")])
def test_other_modes_are_looked_at(mode: int, kind: str) -> None:
    images = 10 * particles()
    images[2] = 0
    write_pixels(images + (100 if mode == 6 else 0), mode, kind)
    kinds = [kind for kind, _ in kinds_of(examine(table()))]
    assert kinds[0] == "empty-images"


def test_warnings_are_said_and_leave_the_exit_code(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = table(rlnRandomSubset="1")
    done = run_command(capsys, "check", "--i", str(path))
    assert done.returncode == 0
    assert "warning: p.star: rlnRandomSubset is 1 in every row" in done.stderr
    assert "no fault found" in done.stdout
    done = run_command(capsys, "check", "--i", str(path), "--json")
    assert '"kind": "one-half-set"' in done.stdout
    require_sound(path)
    assert "rlnRandomSubset is 1 in every row" in caplog.text


def test_two_stacks_of_one_name_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table().absolute()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    write_pixels(particles()[::-1])
    assert kinds_of(examine(path)) == [("ambiguous-stack", "fault")]
    done = run_command(capsys, "check", "--i", str(path), "--images-from", str(tmp_path))
    assert done.returncode == 0
    done = run_command(capsys, "check", "--i", str(path), "--images-from", str(tmp_path / "no"))
    assert done.returncode == 3
    assert examine(path).faults[0].kind == "ambiguous-stack"


def test_modern_tables_of_the_other_tests_are_plain(tmp_path: Path) -> None:
    assert examine(modern_table(tmp_path / "q.star", numbered("a.mrcs", 2))).faults == []
