"""Options of the resample stage."""

from __future__ import annotations

from dataclasses import dataclass

from alphacryo4d.core.help import STATES
from alphacryo4d.core.settings import described, keep_as_text, require_setting, setting


@described
@dataclass(frozen=True)
class ResampleOptions:
    """How particles are shuffled into folds and what becomes of the classes (4.1, 4.10)."""

    engine: str = setting(
        "native",
        "Classification by our engine or by RELION.",
        choices=("native", "relion"),
        group=STATES,
    )
    folds: int = setting(
        3, "M, odd: every particle is used in M of M+1 folds.", metavar="M", group=STATES
    )
    batch_size: int = setting(100_000, "Particles of a batch at the most.")
    minimum_class_size: int = setting(20, "Classes with fewer particles are dropped.")
    box: str | int = setting(
        "auto",
        "Box of volumes.npy in pixels: auto (the smallest divisible by 4 that holds the "
        "resolution limit with a margin of 1.4), full, or a number.",
        type=str,
    )

    def __post_init__(self) -> None:
        """Check the values."""
        keep_as_text(self, box=self.box)
        require_setting(
            self.folds >= 3 and self.folds % 2 == 1,
            f"--folds {self.folds}: M must be odd and at least 3, so that a majority exists",
        )
        require_setting(self.batch_size > self.folds, "--batch-size must exceed --folds")
        require_setting(self.minimum_class_size >= 1, "--minimum-class-size must be at least 1")
        require_setting(
            self.box in ("auto", "full") or str(self.box).isdecimal(),
            f"--box {self.box}: auto, full or a number of pixels",
        )


def analysis_box(choice: str | int, box: int, pixel_size: float, initial_resolution: float) -> int:
    """Box of ``volumes.npy`` in pixels (same field of view, coarser voxels).

    Parameters
    ----------
    choice : str
        ``auto``, ``full`` or a number of pixels.
    box : int
        Box of the particles in pixels.
    pixel_size : float
        Pixel size of the particles in Angstrom.
    initial_resolution : float
        Resolution of the classification in Angstrom.

    Returns
    -------
    int
        ``auto`` gives the smallest multiple of 4 whose Nyquist frequency is 1.4 times the
        frequency of the resolution limit, and never more than the box.
    """
    if choice == "full":
        return box
    if choice != "auto":
        wanted = int(choice)
        require_setting(
            8 <= wanted <= box and wanted % 4 == 0,
            f"--box {wanted}: a multiple of 4 from 8 to the particles' {box} pixels is needed",
        )
        return wanted
    needed = 1.4 * 2 * box * pixel_size / initial_resolution
    return min(box, 4 * int(-(-needed // 4)))
