"""Particles as arrays: the same numbers from every dialect, and clear refusals."""

import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_tables import (
    OLD,
    OPTICS,
    loop,
    make_images,
    make_rows,
    modern_table,
    numbered,
    old_table,
)

from alphacryo4d.core.errors import InputError
from alphacryo4d.particles.aberrations import contradictions
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.refined import write_refined_poses


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_both_dialects_give_the_same_particles(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    new = read_particles(modern_table(folder / "new.star", numbered("a.mrcs")))
    old = read_particles(old_table(folder / "old.star", numbered("a.mrcs")))
    for name in ("angles", "shifts", "defocus", "phase_shift", "random_subset", "slice_index"):
        assert (getattr(new, name) == getattr(old, name)).all(), name
    assert (new.box, new.pixel_size) == (old.box, old.pixel_size) == (16, 1.5)
    assert new.shifts[0].tolist() == [3.0, -1.5]
    assert new.optics.voltage == old.optics.voltage == 300


@pytest.mark.relion
def test_old_tables_mean_what_relion_makes_of_them(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = old_table(folder / "old.star", numbered("a.mrcs"))
    command = ["relion_convert_star", "--i", path.name, "--o", "new.star"]
    subprocess.run(command, check=True, capture_output=True)
    theirs, ours = read_particles(folder / "new.star"), read_particles(path)
    assert theirs.table.dialect == "3.1"
    for name in ("angles", "shifts", "defocus", "phase_shift"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-5)
    for name in ("voltage", "spherical_aberration", "amplitude_contrast", "pixel_size"):
        np.testing.assert_allclose(getattr(ours.optics, name), getattr(theirs.optics, name))


def test_optics_may_come_last(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = modern_table(folder / "p.star", numbered("a.mrcs"), optics_last=True)
    assert read_particles(path).pixel_size == 1.5


def test_images_come_in_the_order_asked_for(folder: Path) -> None:
    first, second = make_images(folder / "a.mrcs"), make_images(folder / "bb.mrcs")
    names = [
        name for pair in zip(numbered("a.mrcs"), numbered("bb.mrcs"), strict=True) for name in pair
    ]
    particles = read_particles(modern_table(folder / "p.star", names))
    rows = [11, 0, 3, 3, 10, 1]
    expected = [second[5], first[0], second[1], second[1], first[5], second[0]]
    assert (particles.images(rows) == np.array(expected)).all()
    assert particles.images(rows).dtype == np.float32


def test_more_stacks_than_may_be_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphacryo4d.particles.particle_set._OPEN_STACKS", 2)
    stacks = [make_images(folder / f"{'x' * n}.mrcs", 1) for n in range(1, 6)]
    names = [f"1@{'x' * n}.mrcs" for n in range(1, 6)]
    particles = read_particles(modern_table(folder / "p.star", names))
    assert (particles.images(range(5)) == np.concatenate(stacks)).all()


def test_images_are_found_beside_the_table_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = make_images(tmp_path / "a.mrcs")
    path = modern_table(tmp_path / "p.star", numbered("a.mrcs"))
    with caplog.at_level(logging.INFO, logger="alphacryo4d"):
        particles = read_particles(path)
    assert (particles.images([2]) == images[2]).all()
    assert "from the table's folder" in caplog.text


def test_the_working_directory_comes_first(folder: Path) -> None:
    (folder / "job").mkdir()
    make_images(folder / "a.mrcs")
    shutil.copy(folder / "a.mrcs", folder / "job/a.mrcs")
    path = modern_table(folder / "job/p.star", numbered("a.mrcs"))
    assert read_particles(path).stacks == (Path("a.mrcs"),)


@pytest.mark.parametrize("differ", ["content", "size"])
def test_two_stacks_of_one_name_are_refused_until_one_is_chosen(
    folder: Path, monkeypatch: pytest.MonkeyPatch, differ: str
) -> None:
    (folder / "job").mkdir()
    here = make_images(folder / "a.mrcs")
    there = make_images(folder / "job/other.mrcs", 6 if differ == "content" else 7)
    (folder / "job/other.mrcs").rename(folder / "job/a.mrcs")
    path = modern_table(folder / "job/p.star", numbered("a.mrcs"))
    with pytest.raises(InputError, match=f"differs in {differ}.*--images-from"):
        read_particles(path)
    for place, images in ((folder, here), (folder / "job", there)):
        monkeypatch.setenv("ALPHACRYO4D_IMAGES_FROM", str(place))
        assert (read_particles(path).images([0]) == images[0]).all()
    monkeypatch.setenv("ALPHACRYO4D_IMAGES_FROM", str(folder.parent))
    with pytest.raises(InputError, match="stacks are missing"):
        read_particles(path)


def test_links_to_one_stack_are_one_stack(folder: Path) -> None:
    (folder / "job").mkdir()
    make_images(folder / "a.mrcs")
    (folder / "job/a.mrcs").symlink_to(folder / "a.mrcs")
    assert len(read_particles(modern_table(folder / "job/p.star", numbered("a.mrcs")))) == 6


@pytest.mark.parametrize("voxel_size", [None, 3.0])
def test_refined_origins_in_pixels_are_those_of_each_particle(
    tmp_path: Path, voxel_size: float | None
) -> None:
    rows = [
        make_rows(["1@a.mrcs"], **OLD | {"rlnDetectorPixelSize": size, "rlnOriginX": "4.0"})[0]
        for size in ("1.5", "3.0")
    ]
    (tmp_path / "p.star").write_text(loop("images", rows, version=False))
    particles = read_particles(tmp_path / "p.star", need_images=False).on_grid(None, voxel_size)
    unchanged = np.zeros((2, 3)), np.zeros((2, 2))
    written = write_refined_poses(particles, *unchanged, tmp_path / "refined.star")
    again = read_particles(written, need_images=False)
    assert again.table.read(["rlnOriginX"])["rlnOriginX"].tolist() == [4.0, 4.0]
    np.testing.assert_allclose(again.shifts, [[6.0, 0.0], [12.0, 0.0]])


def test_refined_origins_of_a_table_without_any_are_in_its_dialect(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = old_table(folder / "p.star", numbered("a.mrcs"))
    path.write_text(path.read_text().replace("_rlnOrigin", "_xrlnOrigin"))
    particles = read_particles(path)
    moved = np.full((6, 2), 3.0)
    written = write_refined_poses(particles, np.zeros((6, 3)), moved, folder / "refined.star")
    again = read_particles(written)
    assert again.table.dialect == "3.0"
    np.testing.assert_allclose(again.shifts, moved)


MIXED = [
    ({"rlnOriginXAngst": "3.0", "rlnOriginYAngst": "-1.5"}, {}),
    ({"rlnOriginXAngst": "3.0"}, {"rlnOriginY": "-1.0"}),
    ({"rlnOriginYAngst": "-1.5"}, {"rlnOriginX": "2.0"}),
    ({}, {"rlnOriginX": "2.0", "rlnOriginY": "-1.0"}),
    (
        {"rlnOriginXAngst": "3.0", "rlnOriginYAngst": "-1.5"},
        {"rlnOriginX": "2.0", "rlnOriginY": "-1.0"},
    ),
]


@pytest.mark.parametrize(("angstrom", "pixels"), MIXED)
def test_no_shift_is_lost_between_columns(
    folder: Path, angstrom: dict[str, str], pixels: dict[str, str]
) -> None:
    make_images(folder / "a.mrcs")
    for make in (modern_table, old_table):
        path = make(folder / "p.star", numbered("a.mrcs"), **angstrom, **pixels)
        for name in ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginX", "rlnOriginY"):
            if name not in angstrom | pixels:
                path.write_text(path.read_text().replace(f"_{name} ", f"_x{name} "))
        if make is modern_table or not angstrom:
            assert read_particles(path).shifts.tolist() == [[3.0, -1.5]] * 6


def test_origins_that_contradict_each_other_are_refused(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = modern_table(folder / "p.star", numbered("a.mrcs"), rlnOriginX="5.0", rlnOriginY="-1.0")
    with pytest.raises(InputError, match="row 1: rlnOriginXAngst is 3 A but rlnOriginX is 5 px"):
        read_particles(path)


@pytest.mark.parametrize("value", ["0", "1", "2"])
def test_one_half_set_is_none(folder: Path, value: str, caplog: pytest.LogCaptureFixture) -> None:
    make_images(folder / "a.mrcs")
    path = modern_table(folder / "p.star", numbered("a.mrcs"), rlnRandomSubset=value)
    assert read_particles(path).random_subset is None
    assert f"rlnRandomSubset is {value} in every row" in caplog.text


def test_half_sets_of_some_particles_are_refused(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = modern_table(folder / "p.star", numbered("a.mrcs"))
    path.write_text(path.read_text().replace(" 0.0 2 3.0", " 0.0 258 3.0", 1))
    with pytest.raises(InputError, match="row 2: rlnRandomSubset is 258, not 1 or 2"):
        read_particles(path)


def test_stacks_with_other_axes_are_refused(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    raw = bytearray((folder / "a.mrcs").read_bytes())
    raw[64:76] = np.array([2, 1, 3], "<i4").tobytes()
    (folder / "a.mrcs").write_bytes(raw)
    particles = read_particles(modern_table(folder / "p.star", numbered("a.mrcs")))
    with pytest.raises(InputError, match=r"axes are stored as \(2, 1, 3\)"):
        particles.images([0])


def test_a_byte_order_mark_changes_nothing(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = modern_table(folder / "p.star", numbered("a.mrcs"))
    before = read_particles(path)
    text = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + text.lstrip())
    after = read_particles(path)
    assert (after.angles == before.angles).all()
    after.table.write_rows(folder / "q.star", [0, 1])
    assert len(read_particles(folder / "q.star")) == 2


def test_several_optics_groups(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    second = OPTICS | {"rlnOpticsGroup": "7", "rlnVoltage": "200", "rlnOpticsGroupName": "two"}
    path = modern_table(
        folder / "p.star",
        numbered("a.mrcs"),
        optics=[second, OPTICS],
        groups=["1", "7", "1", "1", "7", "7"],
    )
    particles = read_particles(path)
    assert particles.optics.voltage[particles.optics_group].tolist() == [
        300, 200, 300, 300, 200, 200
    ]  # fmt: skip
    assert particles.optics.names == ["two", "opticsGroup1"]


def test_group_numbers_may_be_written_as_decimals(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    optics = [OPTICS | {"rlnOpticsGroup": "1.000000"}]
    path = modern_table(folder / "p.star", numbered("a.mrcs"), optics=optics)
    assert read_particles(path).optics_group.tolist() == [0] * 6


def test_values_of_options_fill_and_replace(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_images(folder / "a.mrcs", pixel_size=1.0)
    path = old_table(folder / "p.star", numbered("a.mrcs"))
    text = path.read_text().replace("rlnVoltage", "x").replace("rlnMagnification", "y")
    path.write_text(text)
    with pytest.raises(InputError, match=r"rlnMagnification.*\(--pixel-size\), rlnVoltage.*\(--v"):
        read_particles(path)
    particles = read_particles(path, pixel_size=2.0, voltage=200, amplitude_contrast=0.07)
    assert (particles.pixel_size, particles.optics.voltage[0]) == (2.0, 200)
    assert particles.shifts[0].tolist() == [4.0, -2.0]
    assert "rlnAmplitudeContrast is 0.07" in caplog.text


def test_pixel_sizes_that_differ_go_to_the_grid_of_the_first_group(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    second = OPTICS | {"rlnOpticsGroup": "2", "rlnImagePixelSize": "1.6"}
    optics = [OPTICS, second | {"rlnOpticsGroupName": "two"}]
    names = numbered("a.mrcs")
    groups = ["2", "1"] * 3
    path = modern_table(folder / "p.star", names, optics=optics, groups=groups)
    assert read_particles(path).pixel_size == 1.5
    assert read_particles(path).on_grid(6, 1.7).grid == (6, 1.7)
    one = modern_table(folder / "q.star", names, optics=optics, groups=["2"] * 6)
    assert read_particles(one).pixel_size == 1.6


ABERRATIONS = {
    "rlnBeamTiltX": ("0.1", "beam_tilt", [0.1, 0]),
    "rlnEvenZernike": ("[0.1,0,2]", "even", (0.1, 0, 2)),
    "rlnMagMat01": ("0.01", "magnification", [[1, 0.01], [0, 1]]),
    "rlnMagMat00": ("1.01", "magnification", [[1.01, 0], [0, 1]]),
    "rlnMagMatrix_10": ("0.02", "magnification", [[1, 0], [0.02, 1]]),
    "rlnCtfDataAreCtfPremultiplied": ("1", "premultiplied", True),
    "rlnCtfDataArePhaseFlipped": ("1", "phase_flipped", True),
}


@pytest.mark.parametrize("column", ABERRATIONS)
def test_aberrations_come_from_optics_group_or_row(folder: Path, column: str) -> None:
    make_images(folder / "a.mrcs")
    value, name, wanted = ABERRATIONS[column]
    optics = modern_table(folder / "p.star", numbered("a.mrcs"), optics=[OPTICS | {column: value}])
    tables = [optics]
    if "Zernike" not in column:
        tables.append(old_table(folder / "q.star", numbered("a.mrcs"), **{column: value}))
    for table in tables:
        aberration = getattr(read_particles(table).optics.aberrations, name)[0]
        np.testing.assert_array_equal(aberration, wanted)


def test_the_row_goes_before_the_optics_group(shared_data: Path) -> None:
    """RELION: ``CTF::readByGroup``. All that stands in both is said by ``contradictions``."""
    folder = shared_data / "cases/row-values-over-optics"
    particles = read_particles(folder / "particles.star")
    plain = read_particles(folder / "plain.star")
    for name in ("voltage", "spherical_aberration", "amplitude_contrast"):
        np.testing.assert_array_equal(getattr(particles.optics, name), getattr(plain.optics, name))
    assert len(particles.optics) == 1
    notes = [note.what.split()[0] for note in contradictions(particles.table)]
    assert notes == ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]
    assert not contradictions(plain.table)


def test_the_phase_shift_may_stand_in_the_optics_table(shared_data: Path) -> None:
    folder = shared_data / "cases/phase-shift-in-optics"
    for name in ("optics", "rows"):
        assert (read_particles(folder / f"{name}.star").phase_shift == 90).all()


def test_tilt_images_are_refused_by_name(shared_data: Path) -> None:
    with pytest.raises(InputError, match="tilt images.*not supported"):
        read_particles(shared_data / "formats/sta_testing.star", need_images=False)


def test_subtomograms_are_refused_by_name(folder: Path) -> None:
    optics = [OPTICS | {"rlnImageDimensionality": "3"}]
    path = modern_table(folder / "p.star", numbered("a.mrcs"), optics=optics)
    with pytest.raises(InputError, match="subtomograms"):
        read_particles(path, need_images=False)
    path = old_table(folder / "q.star", numbered("a.mrcs"), rlnTomoName="t1")
    with pytest.raises(InputError, match="rlnTomoName"):
        read_particles(path, need_images=False)


def test_groups_by_micrograph_are_no_tilt_images(folder: Path) -> None:
    make_images(folder / "a.mrcs")
    path = old_table(folder / "p.star", numbered("a.mrcs"), rlnGroupName="g", rlnCtfBfactor="0")
    assert len(read_particles(path)) == 6


REAL = {
    "FinalRefinement-OriginalParticles-PfCRT": (5, 1.035, 300.0),
    "empiar_10076_7": (7, 5e4 / 38168, 300.0),
    "relion31": (5, 2.806, 300.0),
    "relion31.v2": (5, 2.806, 300.0),
    "relion5": (17, 0.89, 100.0),
    "toy_projections": (1000, None, 300.0),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables(shared_data: Path, name: str) -> None:
    count, pixel_size, voltage = REAL[name]
    path = shared_data / f"formats/{name}.star"
    particles = read_particles(path, need_images=False, need_poses=False)
    assert len(particles) == count
    assert particles.optics.voltage.tolist() == [voltage]
    if pixel_size is not None:
        assert particles.pixel_size == pytest.approx(pixel_size)


def test_the_real_table_of_six_groups(shared_data: Path) -> None:
    path = shared_data / "formats/relion31.6opticsgroups.star"
    particles = read_particles(path, need_images=False)
    sizes = particles.optics.pixel_size[particles.optics_group]
    assert set(np.round(sizes, 3)) == {1.24, 1.25}
    assert particles.pixel_size == pytest.approx(1.25)


def test_the_real_table_of_the_proteasome(shared_data: Path) -> None:
    path = shared_data / "proteasome/sub1.star"
    particles = read_particles(path, need_images=False, pixel_size=2.74)
    assert len(particles) == 25000
    np.testing.assert_allclose(particles.shifts[0], [-0.362636 * 2.74, -0.559386 * 2.74])
    assert np.isnan(particles.optics.voltage).all()


@pytest.mark.parametrize("name", ["relion31", "empiar_10076_7"])
def test_real_images_are_those_of_mrcfile(shared_data: Path, name: str) -> None:
    import mrcfile

    particles = read_particles(shared_data / f"formats/{name}.star", need_poses=False)
    path = particles.stacks[0]
    with (
        mrcfile.open(path, permissive=name != "relion31" or None)
        if name != "relion31"
        else (_permissive(path)) as theirs
    ):
        assert (particles.images(range(len(particles))) == theirs.data).all()


def _permissive(path: Path):
    import warnings

    import mrcfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mrcfile.open(path, permissive=True)


HOSTILE = ["a b", "x;touch hacked", "$(touch hacked)", "`touch hacked`", "-rf", "it's", "../up"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_stack_names_are_only_names(folder: Path, name: str) -> None:
    work = folder / "work"
    work.mkdir()
    images = make_images(work / f"{name}.mrcs")
    quoted = f'"1@work/{name}.mrcs"'
    particles = read_particles(modern_table(folder / "p.star", [quoted]))
    assert (particles.images([0])[0] == images[0]).all()
    assert not list(folder.rglob("hacked"))


def test_reading_images_does_not_hold_their_pages(tmp_path: Path) -> None:
    """Resident memory is that of the images asked for, not of the stacks they come from."""
    from alphacryo4d.io.mrc import open_stack, release_pages, write_volume

    path = tmp_path / "v.mrc"
    write_volume(path, np.ones((128, 128, 128), np.float32), 1.0)
    stack = open_stack(path)
    assert float(stack.sum()) == 128**3
    before = resident_pages(path)
    release_pages(stack)
    assert before > 2000
    assert resident_pages(path) == 0


def resident_pages(path: Path) -> int:
    """Pages of 4 KiB of a file that this process holds (Linux)."""
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("needs /proc")
    total, inside = 0, False
    for line in smaps.read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) // 4
    return total
