"""Files that are neither STAR, ``.cs`` nor MRC, told by their first bytes and their names."""

from __future__ import annotations

import re
from pathlib import Path

_PACKED = "unpack it first (gunzip, bunzip2, xz -d, unzip)"
_TO_MRC = (
    "convert it to an MRC stack, for example with EMAN2's e2proc2d.py or relion_convert_to_mrc"
)

# first bytes: (what the file is, the way out)
_MAGIC: list[tuple[bytes, str, str]] = [
    (b"\x1f\x8b", "a gzip archive", _PACKED),
    (b"BZh", "a bzip2 archive", _PACKED),
    (b"\xfd7zXZ\x00", "an xz archive", _PACKED),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first (unzstd)"),
    (b"PK\x03\x04", "a zip archive", _PACKED),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (EMAN2)",
        "write MRC stacks and a STAR table with EMAN2's e2proc2d.py and e2convert2star.py",
    ),
    (b"II*\x00", "a TIFF image (movie or micrograph)", _TO_MRC),
    (b"MM\x00*", "a TIFF image (movie or micrograph)", _TO_MRC),
    (b"II+\x00", "a BigTIFF or EER movie", _TO_MRC),
    (b"\x00\x00\x00\x03\x00\x00\x00", "a DigitalMicrograph file (Gatan)", _TO_MRC),
    (b"\x00\x00\x00\x04\x00\x00\x00", "a DigitalMicrograph file (Gatan)", _TO_MRC),
    (
        b"#LSX",
        "an EMAN2 list (.lst)",
        "write a STAR table with EMAN2's e2convert2star.py or e2proclst.py",
    ),
    (
        b"SQLite format 3",
        "a database (cisTEM's .db)",
        "export the refinement in cisTEM as a RELION package (Assets, Refine Packages)",
    ),
]
_CISTEM_WAY = (
    "export the refinement package from cisTEM as RELION STAR (Assets, Refine Packages, Export), "
    "which writes a stack and a table"
)


def foreign_format(raw: bytes, path: Path) -> tuple[str, str] | None:
    """What a file is, by its first bytes, and the way to one that can be read.

    Parameters
    ----------
    raw : bytes
        The first 1024 bytes or so.
    path : Path
        Its name tells formats without a mark (SPIDER, IMAGIC, Frealign).

    Returns
    -------
    (str, str) or None
        None for what is not known.
    """
    for magic, what, way_out in _MAGIC:
        if raw.startswith(magic):
            return what, way_out
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        return "a Python pickle", "give the STAR or .cs file it was made from; none is unpickled"
    if suffix in (".spi", ".spd") or (suffix in (".stk", ".dat") and _is_spider(raw)):
        return "a SPIDER file", _TO_MRC
    if suffix in (".hed", ".img"):
        return "an IMAGIC file", _TO_MRC
    if suffix == ".cistem":
        return "a binary particle table of cisTEM", _CISTEM_WAY
    text = raw.lstrip(b"\xef\xbb\xbf \t\r\n")
    if suffix == ".par" or re.match(rb"C\s+(PSI|NO)\s", text):
        return "a Frealign or cisTEM .par table", _CISTEM_WAY
    if b"_cisTEM" in raw:
        return "a particle table of cisTEM", _CISTEM_WAY
    if suffix == ".csg" or (text.startswith(b"created:") and b"group:" in raw):
        return csg_message(raw)
    if text.startswith(b";") and b"spi" in raw[:200].lower():
        return "a SPIDER document file", "write the poses as a STAR table first"
    return None


def csg_message(raw: bytes) -> tuple[str, str]:
    """What a ``.csg`` file of cryoSPARC is, and the ``.cs`` files that it names."""
    named = [
        n.decode("utf-8", "replace") for n in re.findall(rb"metafile:\s*['\">]*([^'\"\s]+)", raw)
    ]
    named = list(dict.fromkeys(named))
    if not named:
        return "a group file of cryoSPARC (.csg)", "give the .cs files that it names"
    more = "".join(f" --passthrough {name}" for name in named[1:])
    return (
        "a group file of cryoSPARC (.csg), which only names the tables",
        f"give the tables: alphacryo4d convert --i {named[0]}{more} --o particles_merged.cs"
        if more
        else f"give {named[0]}",
    )


def _is_spider(raw: bytes) -> bool:
    """Whether the header is that of SPIDER: words 1, 2, 5, 12 are whole and agree."""
    import numpy as np

    if len(raw) < 108:
        return False
    for order in "<>":
        words = np.frombuffer(raw[:108], f"{order}f4")
        used = words[[1, 4, 11, 12, 21, 22]]  # rows, form, columns, records, bytes, record's bytes
        whole = bool(np.isfinite(used).all() and (used == np.round(used)).all())
        if whole and used[2] > 0 and used[3] > 0 and used[4] == used[3] * used[5]:
            return True
    return False
