"""The loops over samples that this processor can run: emitted in vectors of eight, or plain."""

from __future__ import annotations

from typing import Any

import numba

from alphacryo4d.ml3d.compiled import emitted, plain
from alphacryo4d.ml3d.compiled.cache import FAST
from alphacryo4d.ml3d.compiled.vectors import WIDE

MOST = 6
"""Most vectors of columns for which sums and weights fit the registers."""
AHEAD = emitted.AHEAD

_CHOSEN: Any = emitted if WIDE else plain
_score_1, _score_2, _score_3 = emitted.score_1, emitted.score_2, emitted.score_3
_score_4, _score_5, _score_6 = emitted.score_4, emitted.score_5, emitted.score_6


@numba.njit(fastmath=FAST, nogil=True)
def score_emitted(count, *arguments):  # type: ignore[no-untyped-def]
    """As :func:`.plain.score_columns`, with code of its own for every number of vectors."""
    if count == 1:
        _score_1(*arguments)
    elif count == 2:
        _score_2(*arguments)
    elif count == 3:
        _score_3(*arguments)
    elif count == 4:
        _score_4(*arguments)
    elif count == 5:
        _score_5(*arguments)
    else:
        _score_6(*arguments)


score_columns = score_emitted if WIDE else plain.score_columns
scatter_samples, gather_rows = _CHOSEN.scatter_samples, _CHOSEN.gather_rows
scatter_rows, add_rows = _CHOSEN.scatter_rows, _CHOSEN.add_rows
data_block, fetch = _CHOSEN.data_block, _CHOSEN.fetch
gram_block, gram_half_block = _CHOSEN.gram_block, _CHOSEN.gram_half_block
