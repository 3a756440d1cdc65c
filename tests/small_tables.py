"""Small data sets for tests: a stack and a table in either dialect of RELION."""

import logging
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from alphacryo4d import cli
from alphacryo4d.io.mrc import write_stack

COLUMNS = {
    "rlnAngleRot": "12.5",
    "rlnAngleTilt": "80.25",
    "rlnAnglePsi": "-30.0",
    "rlnDefocusU": "15000.0",
    "rlnDefocusV": "14500.0",
    "rlnDefocusAngle": "20.0",
    "rlnPhaseShift": "0.0",
    "rlnRandomSubset": "1",
}
OPTICS = {
    "rlnOpticsGroup": "1",
    "rlnOpticsGroupName": "opticsGroup1",
    "rlnAmplitudeContrast": "0.1",
    "rlnSphericalAberration": "2.7",
    "rlnVoltage": "300",
    "rlnImagePixelSize": "1.5",
    "rlnImageSize": "16",
    "rlnImageDimensionality": "2",
}
OLD = {
    "rlnAmplitudeContrast": "0.1",
    "rlnSphericalAberration": "2.7",
    "rlnVoltage": "300",
    "rlnMagnification": "10000",
    "rlnDetectorPixelSize": "1.5",
}


def loop(name: str, rows: list[dict[str, str]], *, version: bool = True) -> str:
    """One table as text; RELION takes the version line for the dialect."""
    labels = "".join(f"_{column} #{i}\n" for i, column in enumerate(rows[0], 1))
    lines = "".join(" ".join(row.values()) + "\n" for row in rows)
    head = "\n# version 30001\n" if version else ""
    return f"{head}\ndata_{name}\n\nloop_\n{labels}{lines}\n"


def make_images(path: Path, count: int = 6, box: int = 16, pixel_size: float = 1.5) -> np.ndarray:
    """Random images, written as a stack."""
    images = np.random.default_rng(len(path.name)).normal(size=(count, box, box))
    with write_stack(path, pixel_size) as stack:
        stack.append(images)
    return images.astype(np.float32)


def make_rows(names: list[str], **changes: str) -> list[dict[str, str]]:
    """Rows of particles; angles differ so that they are poses, and both half-sets are there."""
    rows = []
    for i, name in enumerate(names):
        own = {"rlnAngleRot": f"{i + 0.5}", "rlnRandomSubset": f"{i % 2 + 1}"}
        row = {"rlnImageName": name} | COLUMNS | own | changes
        rows.append(row)
    return rows


def modern_table(
    path: Path,
    names: list[str],
    *,
    optics: list[dict[str, str]] | None = None,
    groups: list[str] | None = None,
    optics_last: bool = False,
    **changes: str,
) -> Path:
    """Table of RELION 3.1 and later."""
    rows = make_rows(names, **({"rlnOriginXAngst": "3.0", "rlnOriginYAngst": "-1.5"} | changes))
    for row, group in zip(rows, groups or ["1"] * len(rows), strict=True):
        row["rlnOpticsGroup"] = group
    parts = [loop("optics", optics or [OPTICS]), loop("particles", rows)]
    path.write_text("".join(reversed(parts) if optics_last else parts))
    return path


def old_table(path: Path, names: list[str], **changes: str) -> Path:
    """Table of RELION 3.0."""
    values = OLD | {"rlnOriginX": "2.0", "rlnOriginY": "-1.0"} | changes
    path.write_text(loop("images", make_rows(names, **values), version=False))
    return path


def numbered(stack: str, count: int = 6) -> list[str]:
    """Image names of a stack."""
    return [f"{i:06d}@{stack}" for i in range(1, count + 1)]


class Done(NamedTuple):
    """What a command gave back."""

    returncode: int
    stdout: str
    stderr: str


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    """Run a command of the program in this process."""
    package = logging.getLogger("alphacryo4d")
    kept = package.handlers[:], package.propagate, package.level
    ending = signal.SIGTERM, signal.SIGHUP, signal.SIGINT
    handlers = {number: signal.getsignal(number) for number in ending}
    hook = sys.unraisablehook
    capsys.readouterr()
    code = 0
    try:
        cli.main(arguments)
    except SystemExit as done:
        code = int(done.code or 0)
    finally:
        package.handlers[:], package.propagate, _ = kept
        package.setLevel(kept[2])
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
    captured = capsys.readouterr()
    return Done(code, captured.out, captured.err)
