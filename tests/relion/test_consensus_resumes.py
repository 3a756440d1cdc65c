"""A consensus refinement that was stopped goes on, and options of the other engine are refused."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from small_tables import run_command

from alphacryo4d.io.mrc import write_volume
from alphacryo4d.relion.version import Version
from alphacryo4d.resample import consensus_stage

STAND_IN = '''#!{python}
"""RELION's place: writes iteration 1 and dies, or goes on from it and writes iteration 2."""
import shutil, sys
from pathlib import Path

words = sys.argv[1:]
given = dict(zip(words, words[1:]))
root = Path(given["--o"])
with open("calls", "a") as calls:
    print(*words, file=calls)
last = 2 if "--continue" in words else 1
start = str(root) + f"_it{{last:03d}}"
Path(start + "_optimiser.star").write_text("data_optimiser_general\\n\\n_rlnX 1\\n")
Path(start + "_model.star").write_text(
    "data_model_classes\\n\\nloop_\\n_rlnReferenceImage #1\\n_rlnX #2\\na.mrc 1\\nb.mrc 2\\n\\n"
)
shutil.copy("particles.star", start + "_data.star")
for number in (1, 2):
    shutil.copy("map.mrc", start + f"_class{{number:03d}}.mrc")
sys.exit(0 if last == 2 else 1)
'''
BOTH = ("--models", "2", "--iter", "2", "--reference", "map.mrc", "--ranks", "1")


@pytest.fixture
def folder(noise_table: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with a table and a map, and RELION's stand-in in ``PATH``."""
    place = noise_table.parent
    (place / "bin").mkdir()
    program = place / "bin" / "relion_refine"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    rng = np.random.default_rng(1)
    write_volume(place / "map.mrc", rng.normal(size=(32, 32, 32)).astype(np.float32), 4.0)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(consensus_stage, "installed_version", lambda: Version(3, 1, 3))
    return place


def align(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code and messages of the command."""
    base = ("resample", "consensus", "--i", "particles.star", "--o", "consensus")
    done = run_command(capsys, *base, *words)
    return done.returncode, done.stderr


@pytest.mark.parametrize("more", [(), ("--continue",)])
def test_it_goes_on_with_and_without_continue(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert align(capsys, *BOTH)[0] == 5
    code, said = align(capsys, *BOTH, *more)
    assert code == 0, said
    first, second = (folder / "calls").read_text().splitlines()
    assert "--continue" not in first
    assert "--continue consensus/run_it001_optimiser.star" in second
    assert (folder / "consensus" / "particles.star").is_file()


@pytest.mark.parametrize("more", [(), ("--continue",)])
def test_other_options_begin_anew(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """What other options began is nothing to go on from, even where that is asked for."""
    assert align(capsys, *BOTH)[0] == 5
    assert align(capsys, *BOTH, "--healpix-order", "1", *more)[0] == 5
    assert "--continue" not in (folder / "calls").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--ranks", "3"), ("--healpix-order", "2"), ("--offset-step", "1"), ("--relion-args", ""),
        ("--gpu", "0"), ("--pad", "2"), ("--firstiter-cc",), ("--relion-tau2-fudge", "4"),
    ],
)  # fmt: skip
def test_the_native_engine_refuses_options_of_relion(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, said = align(capsys, "--engine", "native", "--reference", "map.mrc", *words)
    assert code == 2
    assert f"{words[0]} is for --engine relion" in said
    assert not (folder / "consensus").exists()


def test_relion_refuses_the_search_of_the_native_engine(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = align(capsys, *BOTH, "--search", "auto")
    assert code == 2
    assert "--search is for --engine native" in said
