"""Ways in which an input changes: ``python changing.py WAY FILE``."""

import sys
from pathlib import Path


def vanish(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[len(held) // 2 :] = bytes(reversed(held[len(held) // 2 :]))
    path.write_bytes(held)


def replace(path: Path) -> None:
    """As an extraction does that is run again: a new file under the name."""
    new = path.with_name("new")
    held = path.read_bytes()
    new.write_bytes(held[:1024] + held[-4096:] + held[1024:-4096])
    new.replace(path)


def shorten(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(bytes(4096))


HOW = {way.__name__: way for way in (vanish, change, replace, shorten, grow)}

if __name__ == "__main__":
    HOW[sys.argv[1]](Path(sys.argv[2]))
