"""Options of the assessment commands; their defaults are those of the blind assessment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.settings import described, require_setting, setting


@described
@dataclass(frozen=True)
class SimulateOptions:
    """How particles are simulated (section 4.13 of the paper, at a smaller box)."""

    particles_per_state: int = setting(
        1000, "Particles per conformer; with unequal populations their mean."
    )
    populations: str = setting(
        "uniform",
        "uniform, triangular (a wave between 1 and 3 over the states), or one number a state, "
        "such as 3,2,1.",
    )
    box: int = setting(64, "Box size in pixels, even.")
    pixel_size: float = setting(2.625, "Pixel size in Angstrom.")
    snr: float = setting(
        0.05, "Variance of signal over variance of noise; inf: no noise, 0: noise only."
    )
    snr_box: int = setting(
        200,
        "Box (pixels) of the same physical size at which --snr holds; the noise variance is "
        "that at this box times (box / snr-box)^2.",
    )
    rotation_error: float = setting(
        1.0,
        "Error of the poses in the table: degrees, Gaussian, on each axis of the rotation vector.",
    )
    shift_error: float = setting(
        0.5, "Error of the shifts in the table: Angstrom, Gaussian, on each axis."
    )
    poses: str = setting(
        "random",
        "Poses in the table: random errors as above; consensus: from these and 2 degrees and 1 A "
        "more, refined against one map of all particles, as a real consensus is; or a particle "
        "table or .npy file (P, 5) that holds them.",
        metavar="random|consensus|FILE",
    )
    junk: float = setting(
        0.0,
        "Share of the particles that are none: a third each noise alone, another molecule, and "
        "images with a random rotation in the table; 0 in truth.npy.",
    )
    noise: str = setting(
        "white",
        "Noise: white; or coloured as in micrographs: amplitude 0.6 + 1.2 exp(-25 A * frequency), "
        "signal and noise of other strength in every micrograph of 100 particles (log-normal, "
        "0.15), and a ramp of 0.3 deviations in every image.",
        choices=("white", "coloured"),
    )
    shift: float = setting(4.2, "Shifts are uniform within this many Angstrom on each axis.")
    atom_sigma: float = setting(
        1.0, "Standard deviation of the Gaussian that an atom is, in Angstrom."
    )
    voltage: float = setting(300.0, "Voltage in kV.")
    spherical_aberration: float = setting(
        2.7, "Spherical aberration in mm.", flags=("--cs", "--spherical-aberration")
    )
    amplitude_contrast: float = setting(0.1, "Amplitude contrast.")
    defocus_min: float = setting(0.5, "Smallest defocus in micrometres.")
    defocus_max: float = setting(3.0, "Largest defocus in micrometres.")
    astigmatism: float = setting(
        600.0, "Largest difference of the two defoci in Angstrom; 0: no astigmatism."
    )

    def __post_init__(self) -> None:
        require_setting(self.particles_per_state > 0, "--particles-per-state must be positive")
        require_setting(
            self.box >= 16 and self.box % 2 == 0, f"--box {self.box}: must be even, 16 or more"
        )
        require_setting(
            self.pixel_size > 0 and math.isfinite(self.pixel_size), "--pixel-size must be positive"
        )
        require_setting(self.snr >= 0, "--snr must not be negative")
        require_setting(self.snr_box > 0, "--snr-box must be positive")
        require_setting(0 <= self.junk < 1, "--junk must be in [0, 1)")
        for name in ("rotation_error", "shift_error", "shift", "atom_sigma", "astigmatism"):
            value = getattr(self, name)
            require_setting(
                0 <= value < math.inf,
                f"--{name.replace('_', '-')} {value}: must not be negative or infinite",
            )
        require_setting(self.voltage > 0, "--voltage must be positive")
        require_setting(0 <= self.amplitude_contrast < 1, "--amplitude-contrast must be in [0, 1)")
        require_setting(
            0 <= self.defocus_min <= self.defocus_max,
            "--defocus-min must not exceed --defocus-max",
        )

    @property
    def pose_files(self) -> list[Path]:
        """The file that ``poses`` names, if it names one."""
        return [] if self.poses in ("random", "consensus") else [Path(self.poses)]

    @property
    def particles_per_micrograph(self) -> int:
        """Particles that the table puts into one micrograph."""
        return 100 if self.noise == "coloured" else 200

    @property
    def noise_factor(self) -> float:
        """Noise variance at the box over that at ``snr_box``, for white noise."""
        return (self.box / self.snr_box) ** 2


FLAT_PRIOR = (60.0, 60.0)
"""Deviations (degrees, A) so large that the prior says nothing."""

DEMO_OPTIONS = SimulateOptions(
    particles_per_state=500, box=48, pixel_size=4.4, snr=0.1, snr_box=48, shift=4.4
)
"""The demonstration: 4,000 particles of the hinge protein, quick and easy."""


@described
@dataclass(frozen=True)
class ReferenceOptions:
    """The reference classifier that knows the true volumes."""

    reference_resolution: float = setting(
        8.0, "Resolution in Angstrom to which the reference classifier uses the images."
    )
    reference_poses: str = setting(
        "flat",
        "How it takes the poses: fixed; or as a start from which they move against every volume, "
        "marginalised under a flat prior, or under a Gaussian one with these deviations in degrees "
        "and Angstrom, such as 1,0.5.",
        metavar="flat|fixed|DEGREES,ANGSTROM",
    )
    atom_sigma: float = setting(
        1.0, "Standard deviation of the Gaussian that an atom is, in Angstrom."
    )

    @property
    def pose_prior(self) -> tuple[float, float] | None:
        """Deviations of the prior of the poses (degrees, A); None: poses stay as they are."""
        if self.reference_poses == "fixed":
            return None
        if self.reference_poses == "flat":
            return FLAT_PRIOR
        try:
            degrees, angstrom = (float(word) for word in self.reference_poses.split(","))
        except ValueError as error:
            raise UsageError(
                f"--reference-poses {self.reference_poses}: say flat, fixed, or two numbers such "
                "as 1,0.5 (degrees and Angstrom)"
            ) from error
        require_setting(
            0 < degrees < math.inf and 0 < angstrom < math.inf,
            f"--reference-poses {self.reference_poses}: both numbers must be positive",
        )
        return degrees, angstrom

    def __post_init__(self) -> None:
        _ = self.pose_prior
        require_setting(self.reference_resolution > 0, "--reference-resolution must be positive")
        require_setting(self.atom_sigma >= 0, "--atom-sigma must not be negative")
