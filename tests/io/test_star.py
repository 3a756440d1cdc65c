"""STAR tables: what is read, what is refused, and that rows go out as they came in."""

import os
import random
import re
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import read_table, read_tables, write_tables
from alphacryo4d.particles.open import open_table

FIXTURES = (
    "formats/FinalRefinement-OriginalParticles-PfCRT.star",
    "formats/empiar_10076_7.star",
    "formats/relion31.6opticsgroups.star",
    "formats/relion31.star",
    "formats/relion31.v2.star",
    "formats/relion5.star",
    "formats/sta_testing.star",
    "formats/toy_projections.star",
    "proteasome/sub1.star",
)
fixtures = pytest.mark.parametrize("name", FIXTURES)
many = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

HEAD = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnAngleRot #2\n_rlnMicrographName #3\n"


def table_of(folder: Path, *rows: str, head: str = HEAD, end: str = "\n") -> Path:
    path = folder / "particles.star"
    path.write_bytes((head + "\n".join(rows) + end).encode())
    return path


def gemmi_loop(path: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and rows as gemmi reads them."""
    document = gemmi.cif.read_file(str(path))
    for block in document:
        columns = block.find_loop("_rlnImageName")
        if columns:
            loop = columns.get_loop()
            width = loop.width()
            values = [gemmi.cif.as_string(value) for value in loop.values]
            rows = [values[i : i + width] for i in range(0, len(values), width)]
            return [tag[1:] for tag in loop.tags], rows
    raise AssertionError(path)


@fixtures
def test_values_are_those_that_gemmi_reads(shared_data: Path, name: str) -> None:
    columns, rows = gemmi_loop(shared_data / name)
    table = open_table(shared_data / name)
    assert table.columns == columns
    assert table.rows == len(rows)
    ours = table.read(table.columns)
    for i, column in enumerate(columns):
        theirs = [row[i] for row in rows]
        if ours[column].dtype == object:
            assert ours[column].tolist() == theirs
        else:
            assert ours[column].tolist() == [float(value) for value in theirs]


@fixtures
def test_all_rows_written_are_the_file(shared_data: Path, tmp_path: Path, name: str) -> None:
    table = open_table(shared_data / name)
    out = table.write_rows(tmp_path / "out.star", np.ones(table.rows, bool))
    assert out.read_bytes() == (shared_data / name).read_bytes()


@fixtures
def test_kept_rows_keep_their_bytes(shared_data: Path, tmp_path: Path, name: str) -> None:
    table = open_table(shared_data / name)
    mask = np.random.default_rng(0).random(table.rows) < 0.4
    mask[0] = True
    out = table.write_rows(tmp_path / "out.star", mask)
    raw = (shared_data / name).read_bytes()
    head = raw[: table.block.rows_start]
    lines = raw[table.block.rows_start : table.block.rows_end].splitlines(keepends=True)
    tail = raw[table.block.rows_end :]
    kept = b"".join(line for line, keep in zip(lines, mask, strict=True) if keep)
    assert out.read_bytes() == head + kept + tail


@fixtures
def test_added_columns_come_behind_the_old_bytes(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    table = open_table(shared_data / name)
    labels = np.arange(table.rows)
    confidence = np.random.default_rng(0).random(table.rows)
    out = table.write_with_columns(
        tmp_path / "out.star",
        {"rlnClassNumber": labels, "ac4dConfidence": confidence},
        rename={"rlnClassNumber": "ac4dInputClassNumber"},
    )
    again = open_table(out)
    read = again.read(["rlnClassNumber", "ac4dConfidence"])
    assert read["rlnClassNumber"].tolist() == labels.tolist()
    assert read["ac4dConfidence"].tolist() == confidence.tolist()
    had = "rlnClassNumber" in table.columns
    assert ("ac4dInputClassNumber" in again.columns) == had
    columns, rows = gemmi_loop(out)
    assert columns == again.columns
    assert len(rows) == table.rows
    old = (shared_data / name).read_bytes().splitlines()
    first = table.block.first_line - 1
    new = out.read_bytes().splitlines()[first + 2 :]
    for before, after in zip(old[first : first + table.rows], new, strict=False):
        assert after.startswith(before)


@pytest.mark.relion
def test_relion_reads_a_table_with_added_columns(shared_data: Path, tmp_path: Path) -> None:
    import subprocess

    table = open_table(shared_data / "formats/relion31.v2.star")
    table.write_with_columns(tmp_path / "in.star", {"ac4dVotes": np.arange(5)})
    subprocess.run(
        ["relion_star_handler", "--i", "in.star", "--o", "out.star"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    again = open_table(tmp_path / "out.star")
    assert again.read(["ac4dVotes"])["ac4dVotes"].tolist() == [0, 1, 2, 3, 4]


def test_columns_in_the_way_are_renamed_one_after_the_other(tmp_path: Path) -> None:
    path = table_of(tmp_path, "1@a.mrcs 1 2", head=HEAD.replace("rlnAngleRot", "rlnClassNumber"))
    for number in (1, 2):
        out = tmp_path / f"{number}.star"
        open_table(path).write_with_columns(
            out,
            {"rlnClassNumber": np.array([7])},
            rename={"rlnClassNumber": "ac4dInputClassNumber"},
        )
        path = out
    names = ["rlnImageName", "ac4dInputClassNumber", "rlnMicrographName"]
    assert open_table(path).columns == [*names, "ac4dInputClassNumber2", "rlnClassNumber"]


def test_a_value_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    table = open_table(table_of(tmp_path, "1@a.mrcs 1 m"))
    with pytest.raises(InputError, match="not finite"):
        table.write_with_columns(tmp_path / "out.star", {"ac4dEntropy": np.array([np.nan])})
    assert not (tmp_path / "out.star").exists()


def test_row_numbers_must_ascend(tmp_path: Path) -> None:
    table = open_table(table_of(tmp_path, "1@a.mrcs 1 m", "2@a.mrcs 1 m"))
    with pytest.raises(ValueError, match="ascend"):
        table.write_rows(tmp_path / "out.star", np.array([1, 0]))


@pytest.mark.parametrize("end", ["\n", "", " \n\n", "\n\n# done\n", "\n \n"])
def test_ends_of_files_do_not_matter(tmp_path: Path, end: str) -> None:
    table = open_table(table_of(tmp_path, "1@a.mrcs 1 m", " 2@a.mrcs\t2  m ", end=end))
    assert table.read(["rlnAngleRot"])["rlnAngleRot"].tolist() == [1, 2]
    out = table.write_rows(tmp_path / "out.star", np.array([True, True]))
    assert out.read_bytes() == table.path.read_bytes()
    added = table.write_with_columns(tmp_path / "added.star", {"x": np.array([3, 4])})
    assert open_table(added).read(["x"])["x"].tolist() == [3, 4]


FAULTS = {
    "short row": ("1@a.mrcs 1 m\n2@a.mrcs 1\n3@a.mrcs 1 m\n", "row 2 .* 2 values.* 3 columns"),
    "long row": ("1@a.mrcs 1 m 5\n", "row 1 .* 4 values.* 3 columns"),
    "blank line": ("1@a.mrcs 1 m\n\n2@a.mrcs 1 m\n", "line 9.*RELION would silently stop after 1"),
    "line of blanks": ("1@a.mrcs 1 m\n \t\n2@a.mrcs 1 m\n", "line 9.*silently stop after 1"),
    "comment line": ("1@a.mrcs 1 m\n# x\n2@a.mrcs 1 m\n", "line 9.*blank or comment"),
    "CR LF": ("1@a.mrcs 1 m\r\n", "CR LF.*dos2unix"),
    "open quote": ("1@a.mrcs 1 'm\n", "row 1.*quote"),
    "comment in a row": ("1@a.mrcs 1 #m\n", "row 1.*comment"),
    "control character": ("1@a.mrcs 1 m\x07\n", "row 1.*control character 0x07"),
    "second loop": ("1@a.mrcs 1 m\nloop_\n_x\n1\n", "loop_|inside data_particles"),
    "double table": ("1@a.mrcs 1 m\n\ndata_particles\n\nloop_\n_x\n1\n", "second table"),
    "no rows": ("", "no rows"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_form_are_refused_with_the_place(tmp_path: Path, fault: str) -> None:
    rows, message = FAULTS[fault]
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}.*(?:{message})"):
        open_table(table_of(tmp_path, head=HEAD + rows, end=""))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    head = HEAD.replace("rlnMicrographName", "rlnAngleRot")
    with pytest.raises(InputError, match="rlnAngleRot is there twice"):
        open_table(table_of(tmp_path, "1@a.mrcs 1 2", head=head))


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 5000, b"\x89PNG\r\n\x1a\n" * 100, b"hello\n", random.Random(0).randbytes(4096)],
    ids=["nothing", "zeros", "a picture", "a word", "noise"],
)
def test_what_is_no_star_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.star"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        open_table(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.star", tmp_path, Path("x" * 5000), Path("a\0b")):
        with pytest.raises(InputError):
            open_table(path)


def test_a_word_where_a_number_belongs_is_named(tmp_path: Path) -> None:
    table = open_table(table_of(tmp_path, "1@a.mrcs 1 m", "2@a.mrcs up m"))
    with pytest.raises(InputError, match="row 2: rlnAngleRot is 'up'"):
        table.read(["rlnAngleRot"])


def test_missing_columns_are_named(tmp_path: Path) -> None:
    table = open_table(table_of(tmp_path, "1@a.mrcs 1 m"))
    with pytest.raises(InputError, match="no column rlnAnglePsi, rlnAngleTilt"):
        table.read(["rlnAnglePsi", "rlnAngleTilt", "rlnAngleRot"])


def test_what_a_small_table_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "states.star"
    write_tables(path, {"states": {"ac4dRadius": np.array([1.5, 2]), "ac4dState": [1, 2]}})
    assert read_table(path, "states", numbers=["ac4dRadius"])["ac4dRadius"].tolist() == [1.5, 2]
    for name, columns in (("volumes", ["ac4dRadius"]), ("states", ["ac4dCenterX"])):
        with pytest.raises(InputError, match=f"lacks the table {name}.*{columns[0]}"):
            read_table(path, name, numbers=columns)
    for wrong in ("!1.5", "nan", "-inf", "x"):
        path.write_text(f"data_states\nloop_\n_ac4dRadius\n_ac4dState\n2 001\n{wrong} 002\n")
        with pytest.raises(InputError, match=f"row 2: ac4dRadius is {wrong}, not a number"):
            read_table(path, "states", numbers=["ac4dState", "ac4dRadius"])


def test_two_tables_of_images_are_refused(tmp_path: Path) -> None:
    one = HEAD.replace("particles", "a") + "1@a.mrcs 1 m\n\n"
    with pytest.raises(InputError, match="2 tables hold images"):
        open_table(table_of(tmp_path, head=one + one.replace("data_a", "data_b")))


def test_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{i + 1:06d}@stack{i % 7}.mrcs {i / 7:.6f} 'm {i % 3}'" for i in range(3000)]
    path = table_of(tmp_path, *rows)
    whole = open_table(path).read(["rlnImageName", "rlnAngleRot", "rlnMicrographName"])
    monkeypatch.setattr("alphacryo4d.io.tables.scan.BLOCK_BYTES", 1000)
    monkeypatch.setattr("alphacryo4d.io.tables.rows.pieces.__defaults__", (1000,))
    table = open_table(path)
    for name, values in table.read(list(whole)).items():
        assert values.tolist() == whole[name].tolist()
    mask = np.arange(3000) % 3 == 0
    out = table.write_rows(tmp_path / "out.star", mask)
    assert out.read_text() == HEAD + "".join(row + "\n" for row in rows[::3])


# Property tests -----------------------------------------------------------------------------

BLANKS = st.text(" \t", min_size=1, max_size=3)
RESERVED = ("data_", "loop_", "save_", "stop_", "global_")


def is_plain(text: str) -> bool:
    """Whether CIF takes a word as it is."""
    return (
        text not in ("?", ".")
        and text[0] not in "_#$'\";[]"
        and not text.lower().startswith(RESERVED)
    )


PLAIN = st.text(
    st.characters(codec="ascii", exclude_categories=("Cc", "Zs")),
    min_size=1,
    max_size=12,
).filter(is_plain)
QUOTED = st.one_of(
    st.text('ab c$;#@"()/.-', max_size=8).map(lambda text: f"'{text}'"),
    st.text("ab c$;#@'()/.-", max_size=8).map(lambda text: f'"{text}"'),
)
NUMBER = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(-1e4, 1e4).map("{:12.6f}".format).map(str.strip),
    st.floats(1e-8, 1e8).map("{:e}".format),
)


@given(
    rows=st.lists(
        st.tuples(BLANKS, PLAIN, BLANKS, NUMBER, BLANKS, st.one_of(PLAIN, QUOTED), BLANKS),
        min_size=1,
        max_size=12,
    ),
    last=st.booleans(),
    data=st.data(),
)
@many
def test_any_table_is_read_as_gemmi_reads_it(
    tmp_path: Path, rows: list[tuple[str, ...]], last: bool, data: st.DataObject
) -> None:
    lines = ["".join(row) for row in rows]
    path = table_of(tmp_path, *lines, end="\n" if last else "")
    table = open_table(path)
    _, theirs = gemmi_loop(path)
    read = table.read(["rlnImageName", "rlnAngleRot", "rlnMicrographName"])
    assert read["rlnImageName"].tolist() == [row[0] for row in theirs]
    assert read["rlnMicrographName"].tolist() == [row[2] for row in theirs]
    assert read["rlnAngleRot"].tolist() == [float(row[1]) for row in theirs]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    out = table.write_rows(tmp_path / "out.star", mask)
    whole = path.read_bytes()[table.block.rows_start :].splitlines(keepends=True)
    assert len(whole) == len(rows)
    kept = b"".join(line for line, keep in zip(whole, mask, strict=True) if keep)
    assert out.read_bytes() == HEAD.encode() + kept


VALUES = st.one_of(
    st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), PLAIN
)
HOSTILE = (
    "a b",
    "x; rm -rf y",
    "$(touch z)",
    "`id`",
    "-o",
    "../../etc/passwd",
    "it's",
    'say "x"',
    "#1",
    "_x",
    "data_x",
    "loop_",
    "?",
    ".",
    "",
    "'",
    ";",
    "é ü.mrc",
    "001",
    "1e5",
    "nan",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_come_back_from_small_tables_as_they_went_in(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.star"
    write_tables(path, {"volumes": {"ac4dVolumeName": [name, "x"], "rlnPixelSize": [1.5, 2.0]}})
    assert read_tables(path)["volumes"]["ac4dVolumeName"].tolist() == [name, "x"]
    block = gemmi.cif.read_file(str(path)).find_block("volumes")
    assert gemmi.cif.as_string(block.find_loop("_ac4dVolumeName")[0]) == name


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\tb", "\0", "' x\" y"])
def test_names_that_no_table_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="ac4dVolumeName"):
        write_tables(tmp_path / "t.star", {"volumes": {"ac4dVolumeName": [name]}})
    assert not (tmp_path / "t.star").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_names_come_back_from_added_columns(tmp_path: Path, name: str) -> None:
    table = open_table(table_of(tmp_path, "1@a.mrcs 1 m"))
    out = table.write_with_columns(tmp_path / "out.star", {"ac4dName": np.array([name], object)})
    assert open_table(out).read(["ac4dName"])["ac4dName"].tolist() == [name]


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
@many
def test_floats_come_back_exactly(tmp_path: Path, values: list[float]) -> None:
    path = write_tables(tmp_path / "t.star", {"states": {"ac4dEnergy": values}})
    assert read_tables(path)["states"]["ac4dEnergy"].tolist() == values
    table = open_table(table_of(tmp_path, *["1@a.mrcs 1 m"] * len(values)))
    out = table.write_with_columns(tmp_path / "out.star", {"x": np.array(values)})
    assert open_table(out).read(["x"])["x"].tolist() == values


def test_small_tables_keep_kinds_of_values(tmp_path: Path) -> None:
    columns = {
        "ac4dState": np.arange(1, 3),
        "ac4dEnergy": np.array([1e-9, -2.5]),
        "ac4dVolumeName": np.array(["001", "002"]),
        "ac4dOther": np.array(["001", "1"]),
    }
    path = write_tables(tmp_path / "t.star", {"general": {"rlnAngpix": 1.5}, "states": columns})
    tables = read_tables(path)
    assert tables["general"]["rlnAngpix"].tolist() == [1.5]
    states = tables["states"]
    assert states["ac4dState"].dtype == np.int64
    assert states["ac4dEnergy"].tolist() == [1e-9, -2.5]
    assert states["ac4dVolumeName"].tolist() == ["001", "002"]
    assert states["ac4dOther"].tolist() == ["001", "1"]


def test_not_finite_is_refused_in_small_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ac4dEnergy.*not finite"):
        write_tables(tmp_path / "t.star", {"states": {"ac4dEnergy": [1.0, np.inf]}})


def test_names_in_other_encodings_survive(tmp_path: Path) -> None:
    path = tmp_path / "p.star"
    path.write_bytes(HEAD.encode() + b"1@caf\xe9.mrcs 1 m\n2@b.mrcs 1 m\n")
    table = open_table(path)
    name = table.read(["rlnImageName"])["rlnImageName"][0]
    assert os.fsencode(name) == b"1@caf\xe9.mrcs"
    out = table.write_rows(tmp_path / "out.star", np.array([True, True]))
    assert out.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "by_starfile"), [("map_1.mrc", True), ("it's.mrc", False), ("a#b.mrc", False)]
)
def test_starfile_reads_what_it_reads_rightly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, by_starfile: bool
) -> None:
    """Quotes and ``#`` within names are kept from it; padded numbers stay text with it, too."""
    import starfile

    calls: list[Path] = []
    read = starfile.read

    def counted(path, **options):
        calls.append(path)
        return read(path, **options)

    path = tmp_path / "volumes.star"
    write_tables(path, {"volumes": {"rlnReferenceImage": [name], "rlnGroupNumber": ["001"]}})
    monkeypatch.setattr(starfile, "read", counted)
    table = read_tables(path)["volumes"]
    assert table["rlnReferenceImage"].tolist() == [name]
    assert table["rlnGroupNumber"].tolist() == ["001"]
    assert bool(calls) == by_starfile


def test_a_small_table_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "states.star"
    for value in (1, 2):
        write_tables(path, {"states": {"ac4dState": [value, 7]}})
        assert read_tables(path)["states"]["ac4dState"].tolist() == [value, 7]
