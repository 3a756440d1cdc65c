"""check: every fault in one list, with its place, and nothing written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_tables import make_images, modern_table, numbered, old_table, run_command

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import read_tables
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.tools.check import examine, find_faults, require_sound


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "a.mrcs")
    return tmp_path


def names() -> list[str]:
    return numbered("a.mrcs")


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())
    return path


def table() -> Path:
    return modern_table(Path("p.star"), names())


def with_bytes(path: Path, place: int, value: bytes) -> None:
    raw = bytearray(path.read_bytes())
    raw[place : place + len(value)] = value
    path.write_bytes(raw)


def missing_stack() -> Path:
    Path("a.mrcs").unlink()
    return table()


def truncated_stack() -> Path:
    path = Path("a.mrcs")
    path.write_bytes(path.read_bytes()[:-100])
    return table()


def no_stack_at_all() -> Path:
    Path("a.mrcs").write_text("x" * 3000)
    return table()


def index_beyond() -> Path:
    return modern_table(Path("p.star"), [*names(), "000007@a.mrcs"])


def index_zero() -> Path:
    return modern_table(Path("p.star"), ["0@a.mrcs", *names()[1:]])


def nan_pixel() -> Path:
    place = 1024 + 4 * (256 * 3 + 16 * 2 + 5)
    with_bytes(Path("a.mrcs"), place, np.float32(np.nan).tobytes())
    return table()


def infinite_pixel() -> Path:
    with_bytes(Path("a.mrcs"), 1024, np.float32(-np.inf).tobytes())
    return table()


def non_square_box() -> Path:
    from alphacryo4d.io.mrc import write_stack

    with write_stack(Path("a.mrcs"), 1.5) as stack:
        stack.append(np.ones((6, 14, 16)))
    return table()


def other_box() -> Path:
    make_images(Path("a.mrcs"), box=32)
    return table()


def other_pixel_size() -> Path:
    make_images(Path("a.mrcs"), pixel_size=1.7)
    return table()


def missing_group() -> Path:
    return modern_table(Path("p.star"), names(), groups=["1", "1", "2", "1", "2", "1"])


def no_optics() -> Path:
    return edit(table(), "data_optics", "data_other")


def without(column: str) -> Callable[[], Path]:
    def make() -> Path:
        return edit(table(), column, "_unknown" if column.startswith("_") else "unknown")

    return make


def duplicate() -> Path:
    return modern_table(Path("p.star"), [*names(), "2@./a.mrcs"], rlnAngleRot="5.0")


def zero_poses() -> Path:
    zero = dict.fromkeys(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), "0")
    return modern_table(Path("p.star"), names(), **zero)


def blank_line() -> Path:
    return edit(table(), "\n000004@", "\n\n000004@")


def crlf() -> Path:
    path = table()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return path


def short_row() -> Path:
    return edit(table(), "000004@a.mrcs 3.5 80.25", "000004@a.mrcs 3.5")


def not_a_number() -> Path:
    return edit(table(), "3.5 80.25", "3.5 high")


def nan_pose() -> Path:
    return edit(table(), "3.5 80.25", "3.5 nan")


def tilt_series() -> Path:
    return old_table(Path("p.star"), names(), rlnTomoName="t")


def gone() -> Path:
    return Path("p.star")


FAULTS: dict[str, tuple[Callable[[], Path], str, str]] = {
    "missing stack": (missing_stack, "missing-stack", "stack 'a.mrcs' is missing"),
    "truncated stack": (truncated_stack, "truncated-stack", "a.mrcs: image 6: truncated"),
    "not a stack": (no_stack_at_all, "unreadable-stack", "a.mrcs: not an MRC file"),
    "index beyond the stack": (index_beyond, "index-beyond-stack", "p.star: row 7: image 7 of"),
    "index zero": (index_zero, "index-beyond-stack", "p.star: row 1: image 0 of a.mrcs"),
    "NaN pixel": (nan_pixel, "not-finite-pixels", "image 4 (row 4 of p.star): 1 pixel not finite"),
    "NaN pixel's place": (nan_pixel, "not-finite-pixels", "first at y 2, x 5"),
    "infinite pixel": (infinite_pixel, "not-finite-pixels", "image 1 (row 1 of p.star)"),
    "non-square box": (non_square_box, "non-square-box", "images of 16 x 14 px"),
    "another box": (other_box, "box-contradiction", "box of 32 px, but optics group"),
    "pixel size": (other_pixel_size, "pixel-size-contradiction", "says 1.7 A a pixel, the table"),
    "optics group": (missing_group, "missing-optics-group", "row 3: optics group 2 has no entry"),
    "no optics": (no_optics, "missing-optics", "table data_optics missing"),
    "no voltage": (without("rlnVoltage"), "missing-column", "column rlnVoltage missing"),
    "no defocus": (without("rlnDefocusV"), "missing-column", "column rlnDefocusV missing"),
    "no group column": (without("_rlnOpticsGroup #12"), "missing-column", "rlnOpticsGroup"),
    "no poses": (without("rlnAngleTilt"), "no-poses", "rlnAngleTilt missing; no poses"),
    "zero poses": (zero_poses, "no-poses", "no poses: rot, tilt and psi are 0"),
    "duplicate": (duplicate, "duplicate", "row 7: the same image as row 2 with the same pose"),
    "blank line": (blank_line, "blank-line", "RELION would silently stop after 3 rows"),
    "CR LF": (crlf, "crlf", "CR LF"),
    "short row": (short_row, "short-row", "row 4 of data_particles (line 38): has 11 values"),
    "word for number": (not_a_number, "unreadable", "row 4: rlnAngleTilt is 'high'"),
    "NaN pose": (nan_pose, "not-finite", "row 4: rlnAngleTilt is nan"),
    "tilt series": (tilt_series, "unreadable", "rlnTomoName"),
    "file gone": (gone, "unreadable", "p.star: no such file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(folder: Path, fault: str) -> None:
    make, kind, message = FAULTS[fault]
    faults = find_faults(make())
    assert kind in {one.kind for one in faults}, faults
    assert any(message in str(one) for one in faults), [str(one) for one in faults]
    assert all(one.way_out for one in faults)


@pytest.mark.parametrize("fault", FAULTS)
def test_only_that_fault_is_found(folder: Path, fault: str) -> None:
    make, kind, _ = FAULTS[fault]
    assert {one.kind for one in find_faults(make())} == {kind}


def test_a_sound_table_has_none(folder: Path) -> None:
    report = require_sound(table(), full=True)
    assert report.summary["particles"] == 6
    assert report.summary["box"] == [16]
    assert report.summary["optics_groups"][0]["pixel_size"] == 1.5
    assert find_faults(old_table(folder / "old.star", names())) == []


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_a_header_without_pixel_size_is_no_contradiction(folder: Path, size: float) -> None:
    make_images(folder / "a.mrcs", pixel_size=size)
    assert find_faults(table()) == []


def test_a_folder_that_paths_do_not_start_from_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = modern_table(Path("p.star"), numbered("job/a.mrcs"))
    monkeypatch.setenv("ALPHACRYO4D_IMAGES_FROM", str(folder))
    (fault,) = find_faults(path)
    assert "give the folder that holds job, or leave the option out" in fault.way_out


def test_many_faults_are_in_one_list(folder: Path) -> None:
    make_images(folder / "bb.mrcs")
    nan_pixel()
    with_bytes(folder / "bb.mrcs", 1024, np.float32(np.inf).tobytes())
    path = modern_table(
        folder / "p.star",
        [*names(), "9@a.mrcs", "1@bb.mrcs", "1@gone.mrcs", "1@a.mrcs"],
        groups=["1"] * 9 + ["5"],
        rlnAngleRot="5.0",
    )
    edit(path, "000002@a.mrcs 5.0 80.25", "000002@a.mrcs 5.0")
    edit(path, "\n000006@", "\n\n000006@")
    kinds = [fault.kind for fault in find_faults(path)]
    assert kinds == ["short-row", "blank-line", "not-finite-pixels"]
    edit(path, "\n\n000006@", "\n000006@")
    messages = {fault.kind: str(fault) for fault in find_faults(path)}
    assert set(messages) == {
        "short-row",
        "missing-optics-group",
        "missing-stack",
        "index-beyond-stack",
        "duplicate",
        "not-finite-pixels",
    }
    assert "row 7" in messages["index-beyond-stack"]
    assert "row 10: the same image as row 1" in messages["duplicate"]


def test_faults_of_a_kind_are_counted_not_all_listed(folder: Path) -> None:
    faults = find_faults(modern_table(folder / "p.star", numbered("gone.mrcs", 30)))
    assert len(faults) == 1
    many = [f"{i}@gone{i}.mrcs" for i in range(1, 41)]
    faults = find_faults(modern_table(folder / "p.star", many))
    assert len(faults) == 10
    assert "30 more" in str(faults[-1])


def test_damaged_rows_beyond_the_list_are_counted(folder: Path) -> None:
    path = modern_table(folder / "p.star", numbered("a.mrcs", 100))
    path.write_text(path.read_text().replace(" 80.25", ""))
    faults = find_faults(path)
    assert len(faults) == 21
    assert "80 more rows are damaged" in str(faults[-1])


def test_full_looks_at_every_pixel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphacryo4d.tools.check_pixels.SAMPLED_IMAGES", 2)
    nan_pixel()
    with_bytes(folder / "a.mrcs", 1024 + 4 * 256 * 4, np.float32(np.nan).tobytes())
    assert len(find_faults(table())) == 1
    assert len(find_faults(table(), full=True)) == 2


def test_options_fill_what_is_missing(folder: Path) -> None:
    path = edit(old_table(folder / "p.star", names()), "rlnVoltage", "x")
    assert [f.kind for f in find_faults(path)] == ["missing-column"]
    assert find_faults(path, given={"voltage": 300.0}) == []


def test_poses_may_be_absent_where_they_are_not_needed(folder: Path) -> None:
    path = edit(table(), "rlnAngleTilt", "x")
    assert find_faults(path, need_poses=False) == []


def test_the_error_holds_the_whole_list(folder: Path) -> None:
    path = modern_table(folder / "p.star", [*names(), "7@a.mrcs", "1@gone.mrcs"])
    with pytest.raises(InputError) as error:
        require_sound(path)
    assert "2 faults" in str(error.value)
    assert "gone.mrcs" in str(error.value)
    assert "row 7" in str(error.value)


def test_the_command_lists_faults_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = modern_table(folder / "p.star", [*names(), "7@a.mrcs", "1@gone.mrcs"])
    before = sorted(folder.iterdir())
    done = run_command(capsys, "check", "--i", str(path))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "2 faults" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.iterdir()) == before
    done = run_command(capsys, "check", "--i", str(path), "--json")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert not answer["sound"]
    assert [fault["kind"] for fault in answer["faults"]] == [
        "missing-stack",
        "index-beyond-stack",
    ]


def test_the_command_sums_up_a_sound_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_command(capsys, "check", "--i", str(table()), "--full")
    assert done.returncode == 0
    assert "error" not in done.stderr
    assert done.stdout.splitlines() == [
        "6 particles (RELION 3.1) in 1 stack, box 16 px",
        "opticsGroup1: 6 particles, 1.5 A a pixel, 300 kV, 2.7 mm, 0.1 amplitude contrast",
        "no fault found",
    ]


DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0, 1, 3, 40]),
        st.sampled_from(
            [b"", b"\n", b"\r\n", b" ", b"#", b"'", b'"', b"nan", b"1e999", b"@", b"\0", b"\xff"]
            + [b"data_x\n", b"loop_\n", b"_rlnX #1\n", b"9" * 30, b"0", b"_", b"\n\n", b"-"]
        ),
    ),
    min_size=1,
    max_size=4,
)


def damage(raw: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    damaged = bytearray(raw)
    for place, length, piece in changes:
        start = int(place * len(damaged))
        damaged[start : start + length] = piece
    return bytes(damaged)


@pytest.mark.parametrize("name", ["relion31.star", "relion31.v2.star", "relion5.star"])
@given(changes=DAMAGE)
@example(changes=[(0.125, 0, b"\r\n"), (0.125, 1, b"")])  # starfile cannot read it
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_gives_faults_and_never_a_crash(
    shared_data: Path, tmp_path: Path, name: str, changes: list[tuple[float, int, bytes]]
) -> None:
    path = tmp_path / name
    path.write_bytes(damage((shared_data / "formats" / name).read_bytes(), changes))
    report = examine(path)
    try:
        read_particles(path, need_images=False, need_poses=False)
        read_tables(path)
    except InputError:
        assert report.faults


@given(changes=DAMAGE)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_cs_files_never_crash(
    shared_data: Path, tmp_path: Path, changes: list[tuple[float, int, bytes]]
) -> None:
    path = tmp_path / "p.cs"
    raw = (shared_data / "formats/empiar_10076_7.cs").read_bytes()
    path.write_bytes(damage(raw, changes))
    examine(path)


def test_a_row_that_contradicts_its_optics_group_is_named(shared_data: Path) -> None:
    folder = shared_data / "cases/row-values-over-optics"
    report = examine(folder / "particles.star")
    assert report.faults == []
    said = [str(warning) for warning in report.warnings if warning.kind == "row-over-optics"]
    assert len(said) == 3
    assert "rlnVoltage is 300.0 in the row and 200.0 in data_optics (so in 96 rows)" in said[0]


def test_real_fixtures(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared_data / "formats")
    assert find_faults(Path("relion31.star"), full=True) == []
    assert find_faults(Path("relion31.v2.star"), full=True) == []
    assert find_faults(Path("empiar_10076_7.star"), need_poses=False) == []
    toy = examine(Path("toy_projections.star"), need_poses=False, given={"pixel_size": 3.0})
    assert toy.faults == []
    six = find_faults(Path("relion31.6opticsgroups.star"))
    assert {fault.kind for fault in six} == {"missing-stack"}  # its images are not here
    assert "tilt images" in str(find_faults(Path("sta_testing.star"))[0])
