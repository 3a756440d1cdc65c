"""Damaged input is refused before RELION starts, each fault with its own message."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import open_stack, write_stack, write_volume
from alphacryo4d.relion.preflight import check_map, check_particles, image_root, name_from
from alphacryo4d.relion.version import Version

V31 = Version(3, 1, 3)


def edit(table: Path, old: str, new: str) -> None:
    text = table.read_bytes().decode()
    assert old in text
    table.write_bytes(text.replace(old, new, 1).encode())


def truncate(table: Path) -> None:
    stack = table.parent / "stack.mrcs"
    stack.write_bytes(stack.read_bytes()[:-5000])


def spoil_pixel(table: Path) -> None:
    with (table.parent / "stack.mrcs").open("r+b") as stack:
        stack.seek(1024 + 4 * (17 * 32 * 32 + 5 * 32 + 9))
        stack.write(np.float32(np.nan).tobytes())


def blank_line(table: Path) -> None:
    edit(table, "\n000021@", "\n\n000021@")


def windows_line_ends(table: Path) -> None:
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))


def no_optics_group(table: Path) -> None:
    edit(table, "mic3.mrc 1 ", "mic3.mrc 4 ")


def odd_box(table: Path) -> None:
    with write_stack(table.parent / "stack.mrcs", 4.0) as stack:
        stack.append(np.random.default_rng(0).normal(size=(40, 33, 33)))
    edit(table, "4.000000 32 2", "4.000000 33 2")


def beyond_the_stack(table: Path) -> None:
    edit(table, "000040@", "000041@")


def stack_gone(table: Path) -> None:
    (table.parent / "stack.mrcs").unlink()


def hostile_stack(table: Path) -> None:
    table.write_text(table.read_text().replace("@stack.mrcs", "@$(id).mrcs"))
    (table.parent / "stack.mrcs").rename(table.parent / "$(id).mrcs")


def short_row(table: Path) -> None:
    edit(table, " 30.0 2\n", " 30.0\n")


def pose_not_a_number(table: Path) -> None:
    lines = table.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("000003@"))
    words = lines[row].split()
    lines[row] = " ".join([*words[:4], "nan", *words[5:]])
    table.write_text("\n".join(lines) + "\n")


FAULTS = [
    (truncate, r"stack\.mrcs.*(truncated|shorter|bytes)"),
    (spoil_pixel, r"stack\.mrcs: image 18 .*not finite at y 5, x 9"),
    (blank_line, r"particles\.star: line 56.*blank or comment line"),
    (windows_line_ends, r"particles\.star.*CR"),
    (no_optics_group, r"particles\.star.*optics group"),
    (odd_box, r"stack\.mrcs.*33 x 33 px.*even"),
    (beyond_the_stack, r"stack\.mrcs: image 41 .*holds 40"),
    (stack_gone, r"particles\.star: 1 of 1 image stacks are missing"),
    (hostile_stack, r"\$\(id\)\.mrcs.*would mangle"),
    (short_row, r"particles\.star.*row"),
    (pose_not_a_number, r"particles\.star: row 3: rlnAngleTilt is nan"),
]


@pytest.mark.parametrize(
    ("damage", "message"), FAULTS, ids=[damage.__name__ for damage, _ in FAULTS]
)
def test_fault_is_refused_with_its_own_message(
    noise_table: Path, damage: Callable[[Path], None], message: str
) -> None:
    check_particles(noise_table, version=V31)
    damage(noise_table)
    with pytest.raises(InputError, match=message):
        check_particles(noise_table, version=V31)


def test_images_that_ruin_relions_classes_are_refused_with_the_way_out(noise_table: Path) -> None:
    """RELION only warns of them, and goes on."""
    stack = noise_table.parent / "stack.mrcs"
    images = np.array(open_stack(stack))

    def write(changed: np.ndarray) -> None:
        stack.unlink()
        with write_stack(stack, 4.0) as out:
            out.append(changed.astype(np.float32))

    write(images + 20)
    with pytest.raises(InputError, match=r"background is 2\d.* deviations, not 0.*relion_prepro"):
        check_particles(noise_table, version=V31)
    strange = images.copy()
    strange[3] *= 1000
    strange[7] = 0.5
    write(strange)
    with pytest.raises(InputError, match=r"2 of 40 images are constant .*row 4, 8; .*--engine nat"):
        check_particles(noise_table, version=V31)
    check_particles(noise_table, version=V31, rows=np.array([0, 1, 2, 4, 5, 6]))
    contrast = np.exp(np.random.default_rng(1).uniform(-0.5, 0.5, (len(images), 1, 1)))
    write(images * contrast)  # which RELION corrects
    check_particles(noise_table, version=V31)


def test_messages_are_all_different() -> None:
    assert len({message for _, message in FAULTS}) == len(FAULTS)


def test_optics_groups_are_refused_for_relion_3_0(noise_table: Path) -> None:
    with pytest.raises(InputError, match=r"RELION 3\.0\.8 cannot read"):
        check_particles(noise_table, version=Version(3, 0, 8))


def test_images_are_found_from_here_or_from_the_table(
    noise_table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    particles = check_particles(noise_table, version=V31)
    assert image_root(particles) == noise_table.parent
    monkeypatch.chdir(noise_table.parent)
    assert image_root(check_particles(Path("particles.star"), version=V31)) == Path.cwd()


def test_a_reference_of_another_box_or_voxel_size_is_refused(noise_table: Path) -> None:
    particles = check_particles(noise_table, version=V31)
    path = noise_table.parent / "ref.mrc"
    write_volume(path, np.zeros((32, 32, 32)), 4.0)
    check_map(path, particles, what="reference")
    write_volume(path, np.zeros((36, 36, 36)), 4.0)
    with pytest.raises(InputError, match="box of 36 voxels"):
        check_map(path, particles, what="reference")
    write_volume(path, np.zeros((32, 32, 32)), 4.2)
    with pytest.raises(InputError, match=r"voxels of 4\.2 A"):
        check_map(path, particles, what="reference")


def test_relion_gets_names_relative_to_its_folder(tmp_path: Path) -> None:
    assert name_from(tmp_path, tmp_path / "job" / "run") == Path("job/run")
    assert name_from(tmp_path / "a", tmp_path / "b") == tmp_path / "b"
    with pytest.raises(InputError, match="mangle"):
        name_from(tmp_path, tmp_path / "my job")
