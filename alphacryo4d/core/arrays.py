"""The one alias of arrays: what they hold and their shapes stand in the docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
