"""Ways to damage a file of a project."""

import io
import json
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def truncate(path: Path, rng: random.Random, other: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(int(path.stat().st_size * rng.random()))


def empty(path: Path, rng: random.Random, other: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path, rng: random.Random, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def zero_tail(path: Path, rng: random.Random, other: Path) -> None:
    held = path.read_bytes()
    kept = int(len(held) * rng.random())
    path.write_bytes(held[:kept] + bytes(len(held) - kept))


def swap(path: Path, rng: random.Random, other: Path) -> None:
    """The file of that name of another project, or any other file."""
    if not other.is_file() or other.read_bytes() == path.read_bytes():
        other = rng.choice(sorted(p for p in path.parent.iterdir() if p.is_file()))
    shutil.copyfile(other, path) if other != path else path.write_bytes(b"x")


def noise(path: Path, rng: random.Random, other: Path) -> None:
    path.write_bytes(rng.randbytes(path.stat().st_size))


def flip(path: Path, rng: random.Random, other: Path) -> None:
    held = bytearray(path.read_bytes()) or bytearray(b"0")
    for _ in range(rng.randint(1, 8)):
        held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
    path.write_bytes(held)


def vanish(path: Path, rng: random.Random, other: Path) -> None:
    path.unlink()


def folder(path: Path, rng: random.Random, other: Path) -> None:
    path.unlink()
    path.mkdir()


def pickled(path: Path, rng: random.Random, other: Path) -> None:
    """What runs code where it is unpickled, as the file's kind would hold it."""
    canary = Canary(path.with_name("canary"))
    if path.suffix == ".npz":
        held = io.BytesIO()
        np.save(held, np.array([canary], object))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("points.npy", held.getvalue())
    elif path.suffix == ".npy":
        np.save(path, np.array([canary], object))
    else:
        path.write_bytes(pickle.dumps(canary))


def bomb(path: Path, rng: random.Random, other: Path) -> None:
    """Few bytes that say that they are many."""
    header = io.BytesIO()
    shape = (10**7, 10**4)
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    if path.suffix == ".npz":
        names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else ["points.npy"]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names[:4]:
                with archive.open(name, "w", force_zip64=True) as stream:
                    stream.write(header.getvalue())
                    for _ in range(64):
                        stream.write(bytes(1 << 20))
    elif path.suffix == ".npy":
        path.write_bytes(header.getvalue() + bytes(1000))
    elif path.suffix == ".json":
        path.write_text("[" * 200_000)
    else:
        path.write_bytes(path.read_bytes()[:200] + b" 9" * 500_000)


def edit(path: Path, rng: random.Random, other: Path) -> None:
    """One entry of a record, or one number of a table, is something else."""
    if path.suffix != ".json":
        return flip(path, rng, other)
    record = json.loads(path.read_text())
    wrong = [
        None,
        5,
        -1,
        1e300,
        "x",
        "../../x",
        [],
        {},
        [1],
        {"a": 1},
        "9" * 400,
        True,
        ["../x"],
    ]
    place = record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.6:
            place = place[key]
            continue
        place[key] = rng.choice(wrong)
        break
    path.write_text(json.dumps(record))
    return None


def swap_folder(path: Path, rng: random.Random, other: Path) -> None:
    """The whole folder, record and all, of another project."""
    if other.parent.is_dir():
        shutil.rmtree(path.parent)
        shutil.copytree(other.parent, path.parent)


WAYS = (
    truncate, empty, zero, zero_tail, swap, noise, flip, vanish, folder, pickled, bomb, edit, edit,
    swap_folder,
)  # fmt: skip
