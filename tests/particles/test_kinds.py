"""What is no particle table is refused with one message that names it and the way out."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_tables import OPTICS, loop, make_images, modern_table, numbered, old_table, run_command

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.io.mrc_header import read_header
from alphacryo4d.io.star import write_tables
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.tools.check import examine


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "a.mrcs")


def text(name: str, content: str | bytes) -> Path:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(name)


def volumes() -> Path:
    rng = np.random.default_rng(0)
    for name in ("v1.mrc", "v2.mrc"):
        write_volume(Path(name), rng.normal(size=(16, 16, 16)), 1.5)
    return old_table(Path("p.star"), ["v1.mrc", "v2.mrc"])


def unstamped() -> Path:
    """Stack of a program that writes no stamp into the header."""
    raw = bytearray(Path("a.mrcs").read_bytes())
    raw[208:216] = bytes(8)
    Path("a.mrcs").write_bytes(raw)
    return Path("a.mrcs")


def dimensionality(word: str) -> Path:
    optics = [OPTICS | {"rlnImageDimensionality": word}]
    return modern_table(Path("p.star"), numbered("a.mrcs"), optics=optics)


def with_column(**more: str) -> Path:
    return old_table(Path("p.star"), numbered("a.mrcs"), **more)


def tomogram_general() -> Path:
    path = modern_table(Path("p.star"), numbered("a.mrcs"))
    path.write_text("data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n" + path.read_text())
    return path


def table_of(name: str, **columns: str) -> Path:
    return text("p.star", loop(name, [columns, columns]))


def tilt_series() -> Path:
    rows = []
    for particle in range(3):
        for tilt in range(1, 5):
            rows.append((f"{tilt + 4 * particle}@a.mrcs", f"g{particle}", f"{-12.0 * tilt}"))
    path = old_table(
        Path("p.star"), [name for name, _, _ in rows], rlnGroupName="G", rlnCtfBfactor="B"
    )
    lines = path.read_text()
    for _, group, dose in rows:
        lines = lines.replace(" G B", f" {group} {dose}", 1)
    path.write_text(lines)
    return path


def spider() -> Path:
    header = np.zeros(256, "<f4")
    header[[0, 1, 4, 11, 12, 21, 22]] = (1, 16, 1, 16, 16, 1024, 64)
    return text("p.spi", header.tobytes() + bytes(1024))


CSG = b"""created: 2022-05-06 13:24:48
group:
  description: All particles
results:
  blob:
    metafile: '>J12_particles.cs'
  alignments3D:
    metafile: '>J12_passthrough_particles.cs'
"""
MODEL = "data_model_general\n\n_rlnReferenceDimensionality 2\n\n"

KINDS: dict[str, tuple[Callable[[], Path], str]] = {
    "volumes without @": (volumes, "subtomograms or other volumes.*16 sections"),
    "dimensionality 3": (lambda: dimensionality("3"), "subtomograms.*tomography"),
    "dimensionality 3.0": (lambda: dimensionality("3.000000"), "subtomograms.*tomography"),
    "dimensionality 3D": (lambda: dimensionality("3D"), "subtomograms.*tomography"),
    "CTF volumes": (lambda: with_column(rlnCtfImage="c.mrc"), r"subtomograms \(rlnCtfImage"),
    "coordinate z": (lambda: with_column(rlnCoordinateZ="5.0"), r"subtomograms \(rlnCoordinateZ"),
    "origin z": (lambda: with_column(rlnOriginZAngst="5.0"), "rlnOriginZAngst"),
    "tomogram": (lambda: with_column(rlnTomoName="t"), "tilt series.*rlnTomoName"),
    "RELION 5 tomograms": (tomogram_general, "tilt series.*rlnTomoSubTomosAre2DStacks"),
    "tilt series": (tilt_series, "tilt images.*group g0"),
    "micrographs": (
        lambda: table_of("micrographs", rlnMicrographName="m.mrc", rlnCtfFigureOfMerit="0.1"),
        "is a table of micrographs.*particles.star",
    ),
    "micrographs of RELION 3.0": (
        lambda: table_of("", rlnMicrographName="m.mrc", rlnDefocusU="1"),
        "holds micrographs .*particles.star",
    ),
    "movies": (lambda: table_of("movies", rlnMicrographMovieName="m.tif"), "movies"),
    "coordinates": (lambda: table_of("", rlnCoordinateX="1", rlnCoordinateY="1"), "coordinates"),
    "class averages": (
        lambda: table_of("", rlnReferenceImage="1@c.mrcs", rlnClassDistribution="0.1"),
        "classes of a RELION job.*run_it025_data.star",
    ),
    "model file": (lambda: text("p.star", MODEL), "run_model.star.*run_data.star"),
    "job file": (lambda: table_of("job", rlnJobTypeLabel="x"), "job.star"),
    "csg": (lambda: text("p.csg", CSG), "csg.*J12_particles.cs --passthrough J12_passthrough"),
    "cisTEM": (
        lambda: table_of("", cisTEMPositionInStack="1", cisTEMAnglePsi="2.0"),
        "particle table of cisTEM.*export",
    ),
    "Frealign": (lambda: text("p.par", "C           PSI   THETA     PHI\n"), "Frealign.*export"),
    "cisTEM binary": (lambda: text("p.cistem", bytes(64)), "cisTEM"),
    "SPIDER": (spider, "SPIDER.*MRC"),
    "HDF": (lambda: text("p.hdf", b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5.*EMAN2"),
    "gzip": (lambda: text("p.star.gz", gzip.compress(b"data_\n" * 99)), "gzip.*unpack"),
    "EMAN2 list": (lambda: text("p.lst", "#LSX\n# comment\n"), "EMAN2 list"),
    "stack": (lambda: Path("a.mrcs"), "an MRC stack or map.*STAR"),
    "old stack": (unstamped, "an MRC stack or map.*STAR"),
    "table of a landscape": (
        lambda: table_of("states", ac4dStateNumber="1", ac4dCenterX="0.5"),
        "results of this program.*particles.star",
    ),
    "numpy": (lambda: (np.save("p.npy", np.ones(3)), Path("p.npy"))[1], "numpy array"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_tables_are_named_once(kind: str) -> None:
    make, message = KINDS[kind]
    path = make()
    with pytest.raises(InputError, match=message):
        read_particles(path, need_poses=False)
    faults = examine(path).faults
    assert len(faults) == 1, faults
    assert faults[0].way_out


STACKS = {
    "gzip": (gzip.compress(bytes(4096)), "gzip archive; unpack"),
    "HDF": (b"\x89HDF\r\n\x1a\n" + bytes(4096), "HDF5.*EMAN2"),
    "TIFF": (b"II*\x00" + b"\xff" * 4096, "TIFF"),
}


@pytest.mark.parametrize("kind", STACKS)
def test_other_stacks_are_named(kind: str) -> None:
    content, message = STACKS[kind]
    Path("a.mrcs").write_bytes(content)
    path = modern_table(Path("p.star"), numbered("a.mrcs"))
    with pytest.raises(InputError, match=message):
        read_particles(path)
    assert [fault.kind for fault in examine(path).faults] == ["unreadable-stack"]


def test_single_images_without_a_mark_are_images() -> None:
    make_images(Path("one.mrc"), 1)
    assert len(read_particles(modern_table(Path("p.star"), ["one.mrc"]))) == 1


def test_b_factors_of_particles_are_no_doses() -> None:
    rng = np.random.default_rng(1)
    path = old_table(Path("p.star"), numbered("a.mrcs"), rlnGroupName="g", rlnCtfBfactor="B")
    lines = path.read_text()
    for value in rng.normal(scale=20, size=6):
        lines = lines.replace(" g B", f" g {value:.3f}", 1)
    path.write_text(lines)
    assert len(read_particles(path, need_images=False)) == 6


def test_volumes_of_this_program_are_no_particles(tmp_path: Path) -> None:
    path = write_tables(tmp_path / "volumes.star", {"volumes": {"rlnReferenceImage": ["a.mrc"]}})
    with pytest.raises(InputError, match="classes"):
        read_particles(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "alphacryo4d convert --i p.cs --passthrough"),
        ([("alphacryo4d", "<f4")], "Homogeneous"),
        (
            [("alignments3D_multi/pose", "<f4", (2, 3))],
            "alignments3D_multi/pose of several classes",
        ),
    ],
)
def test_cs_without_poses_names_the_way_to_them(
    shared_data: Path, fields: list[tuple[str, ...]], message: str
) -> None:
    from alphacryo4d.io.cs import read_cs, write_cs

    old = read_cs(shared_data / "formats/empiar_10076_7.cs")
    kept = [n for n in old.dtype.names or () if not n.startswith("alignments")]
    new = np.zeros(len(old), [(n, old.dtype[n]) for n in kept] + fields)
    for name in kept:
        new[name] = old[name]
    write_cs(Path("p.cs"), new)
    with pytest.raises(InputError, match=message):
        read_particles(Path("p.cs"), need_images=False)
    poses = [fault for fault in examine(Path("p.cs")).faults if fault.kind == "no-poses"]
    assert len(poses) == 1
    assert message.split(" --i")[0] in poses[0].way_out


@pytest.mark.parametrize(
    "words",
    [("check",), ("run", "--o", "out"), ("resample", "split", "--o", "out"),
     ("convert", "--o", "p.cs"), ("convert", "--o", "q.star")],
)  # fmt: skip
def test_a_folder_in_the_place_of_a_table(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    Path("job/deeper.star").mkdir(parents=True)
    modern_table(Path("job/run_data.star"), numbered("a.mrcs"))
    for folder, named in (("job", "(deeper.star, run_data.star)"), ("job/deeper.star", "")):
        done = run_command(capsys, *words, "--i", folder)
        assert done.returncode == 3, done.stderr
        said = f"{folder}: is a folder, not a particle table; give the table in it {named}"
        assert said.strip() in done.stderr.replace("error: ", "").replace("\n  ", "\n")
        assert not Path("out").exists()


def test_a_folder_in_the_place_of_a_stack() -> None:
    Path("b.mrcs").mkdir()
    path = modern_table(Path("p.star"), numbered("b.mrcs"))
    assert "stack 'b.mrcs' is missing" in str(examine(path).faults[0])
    with pytest.raises(InputError, match=r"b\.mrcs: is a folder; give a file"):
        read_header(Path("b.mrcs"))
