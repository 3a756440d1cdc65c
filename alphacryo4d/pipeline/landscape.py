"""The landscape of one data set made again for the volumes of another, as the null model needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphacryo4d.core.job import read_job
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.landscape.options import (
    CENTERS,
    EmbedOptions,
    EnergyOptions,
    LandscapeOptions,
    PathOptions,
    StatesOptions,
)


def options_like(landscape: Path, states: int) -> LandscapeOptions:
    """Options of a landscape folder for other volumes, with a given number of states.

    What is tied to the coordinates of its own embedding is left out: ends of the path, and
    centers from a file, instead of which volumes are grouped. Only what leads to states is made.
    """
    recorded = (read_job(landscape) or {}).get("options", {})

    def known(kind: type[Any], part: str) -> Any:
        names = {field.name for field in dataclasses.fields(kind)}
        values = recorded.get(part, {})
        return kind(**{name: values[name] for name in values.keys() & names})

    states_options = known(StatesOptions, "states")
    centers = states_options.centers if states_options.centers in CENTERS else "volumes"
    recorded = recorded | {"path": _free_of_places(recorded.get("path", {}))}
    embed, path = known(EmbedOptions, "embed"), known(PathOptions, "path")
    return LandscapeOptions(
        embed=dataclasses.replace(embed, stability=False, dimensions=2),
        energy=known(EnergyOptions, "energy"),
        path=dataclasses.replace(path, path=centers == "path", bootstrap=0),
        states=dataclasses.replace(states_options, states=str(states), centers=centers),
    )


def _free_of_places(path: dict[str, Any]) -> dict[str, Any]:
    tied = ("start", "end", "start_volume", "end_volume", "via", "range")
    return {name: value for name, value in path.items() if name not in tied}


def landscape_like(
    landscape: Path, *, threads: int | None = None
) -> Callable[[Path, Path, int], list[Path]]:
    """Function that makes the landscape of other volumes as a given one was made.

    Parameters
    ----------
    landscape : Path
        Folder of the landscape to be like; its record is read when the function is called.
    threads : int, optional

    Returns
    -------
    callable
        ``make(resample, output, states)``: volumes alone, without features of the network.
    """

    def make(resample: Path, output: Path, states: int) -> list[Path]:
        from alphacryo4d.landscape.stage import run_landscape

        return run_landscape(
            resample,
            None,
            output,
            options=options_like(landscape, states),
            seed=(read_job(landscape) or {}).get("seed") or 0,
            flags=RunFlags(overwrite=True, threads=threads),
        )

    return make
