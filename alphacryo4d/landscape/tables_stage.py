"""CSV files: the data behind every figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.files import write_text


def write_csv(path: Path, columns: Mapping[str, Array]) -> Path:
    """Write columns of equal length with a header line."""
    lines = [",".join(columns)]
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join(_text(value) for value in row))
    return write_text(path, "\n".join(lines) + "\n")


def _text(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.9g}"
    return str(value)
