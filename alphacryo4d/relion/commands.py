"""Options -> argument lists of RELION's programs; pure functions, tested by exact comparison.

``relion_refine --continue`` reads its options back from the optimiser file, except for
``--skip_align``, threads and disk use, which must be given again: without ``--skip_align`` RELION
3.1 dies, and where it does not it would align.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.program import extra_arguments
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.relion.version import Version


@dataclass(frozen=True)
class Classification:
    """One run of ``relion_refine`` without alignment.

    Attributes
    ----------
    table, root : Path
        Particle table, and how the names of the outputs begin (``folder/run``).
    reference : Path
        Initial map.
    classes, iterations, seed : int
        Number of classes, of iterations, and random seed.
    limit_resolution : float
        Highest resolution of the comparison in Angstrom.
    particle_diameter : float or None
        Diameter of the mask around particles in Angstrom.
    mask : Path or None
        Solvent mask.
    ranks : int
        MPI ranks; 1 runs without MPI.
    """

    table: Path
    root: Path
    reference: Path
    classes: int
    iterations: int
    limit_resolution: float
    particle_diameter: float | None = None
    mask: Path | None = None
    ranks: int = 1
    seed: int = 0


def number(value: float) -> str:
    """Number as RELION's help writes it: ``30``, not ``30.0``."""
    return f"{value:.10g}"


def mpi_prefix(launcher: str, ranks: int) -> list[str]:
    """Start of a command that runs on several MPI ranks, in words that every launcher knows.

    What Open MPI alone must be told is in the environment
    (:func:`alphacryo4d.relion.launching.mpi_variables`).
    """
    return [*shlex.split(launcher), "-n", str(ranks)]


def _program(name: str, ranks: int, launcher: str) -> list[str]:
    if ranks == 1:
        return [name]
    return [*mpi_prefix(launcher, ranks), f"{name}_mpi"]


def _computation(options: RelionOptions) -> list[str]:
    words = ["--j", "1", "--pool", str(options.pool), "--dont_combine_weights_via_disc"]
    if options.relion_scratch is not None:
        words += ["--scratch_dir", str(options.relion_scratch)]
    return words


def _reference_is_ctf_corrected(corrected: bool, version: Version) -> list[str]:
    if version.major >= 4:
        return [] if corrected else ["--ctf_uncorrected_ref"]
    return ["--ctf_corrected_ref"] if corrected else []


def reconstruct_command(
    table: Path,
    output: Path,
    *,
    symmetry: str = "C1",
    ranks: int = 1,
    launcher: str = "mpirun",
    limit_resolution: float | None = None,
    subset: int | None = None,
) -> list[str]:
    """``relion_reconstruct`` of all particles of a table, or of half ``subset`` of them."""
    words = _program("relion_reconstruct", ranks, launcher)
    words += ["--i", str(table), "--o", str(output), "--ctf", "--sym", symmetry]
    if limit_resolution is not None:
        words += ["--maxres", number(limit_resolution)]
    if subset is not None:
        words += ["--subset", str(subset)]
    return words


def class3d_command(run: Classification, options: RelionOptions, *, version: Version) -> list[str]:
    """``relion_refine`` for classification without alignment (4.11; the tutorial's command)."""
    words = _program("relion_refine", run.ranks, options.mpi_launcher)
    words += ["--o", str(run.root), "--i", str(run.table), "--ref", str(run.reference)]
    words += ["--ini_high", number(options.initial_lowpass), "--ctf"]
    words += _reference_is_ctf_corrected(options.reference_ctf_corrected, version)
    if options.firstiter_cc:
        words += ["--firstiter_cc"]
    words += ["--iter", str(run.iterations), "--tau2_fudge", number(options.relion_tau2_fudge)]
    words += ["--K", str(run.classes), "--flatten_solvent"]
    if options.zero_mask:
        words += ["--zero_mask"]
    if run.mask is not None:
        words += ["--solvent_mask", str(run.mask)]
    words += ["--oversampling", "1", "--skip_align"]
    words += ["--strict_highres_exp", number(run.limit_resolution), "--sym", options.symmetry]
    if options.correct_norm:
        words += ["--norm", "--scale"]
    if run.particle_diameter is not None:
        words += ["--particle_diameter", number(run.particle_diameter)]
    words += ["--pad", str(options.padding), "--random_seed", str(run.seed)]
    return [*words, *_computation(options), *extra_arguments(options.relion_args)]


def continue_command(run: Classification, options: RelionOptions, optimiser: Path) -> list[str]:
    """``relion_refine --continue`` after the last iteration that is complete."""
    words = _program("relion_refine", run.ranks, options.mpi_launcher)
    words += ["--continue", str(optimiser), "--o", str(run.root)]
    words += ["--iter", str(run.iterations), "--skip_align"]
    return [*words, *_computation(options)]


@dataclass(frozen=True)
class Alignment:
    """One consensus alignment: where it reads and writes, and what it may use."""

    table: Path
    root: Path
    reference: Path
    ranks: int = 1
    threads: int = 1
    gpu: str | None = None
    seed: int = 0


def _search(options: ConsensusOptions, *, auto: bool) -> list[str]:
    words = ["--oversampling", "1", "--healpix_order", str(options.healpix_order)]
    words += ["--offset_range", number(options.offset_range)]
    words += ["--offset_step", number(2 * options.offset_step)]
    if auto:
        words += ["--auto_local_healpix_order", str(max(4, options.healpix_order))]
    return words


def consensus_command(
    run: Alignment,
    consensus: ConsensusOptions,
    options: RelionOptions,
    *,
    version: Version,
) -> list[str]:
    """``relion_refine`` that finds one pose for every particle (4.10).

    One model is auto-refined with independent half-sets, which needs three MPI ranks or more;
    several models are a classification with a coarse global search.
    """
    auto = consensus.relion_models == 1
    words = _program("relion_refine", run.ranks, options.mpi_launcher)
    words += ["--o", str(run.root), "--i", str(run.table), "--ref", str(run.reference)]
    words += ["--ini_high", number(consensus.initial_lowpass), "--ctf"]
    words += _reference_is_ctf_corrected(options.reference_ctf_corrected, version)
    if options.firstiter_cc:
        words += ["--firstiter_cc"]
    if auto:
        words += ["--auto_refine", "--split_random_halves", "--low_resol_join_halves", "40"]
    else:
        words += ["--iter", str(consensus.iterations), "--K", str(consensus.relion_models)]
        words += ["--tau2_fudge", number(options.relion_tau2_fudge)]
    words += ["--flatten_solvent", *(["--zero_mask"] if options.zero_mask else [])]
    if consensus.mask is not None:
        words += ["--solvent_mask", str(consensus.mask)]
    words += _search(consensus, auto=auto)
    if consensus.limit_resolution is not None:
        words += ["--strict_highres_exp", number(consensus.limit_resolution)]
    words += ["--sym", options.symmetry]
    if options.correct_norm:
        words += ["--norm", "--scale"]
    if consensus.particle_diameter is not None:
        words += ["--particle_diameter", number(consensus.particle_diameter)]
    words += ["--pad", str(options.padding), "--random_seed", str(run.seed)]
    words += _consensus_computation(run, options)
    return [*words, *extra_arguments(options.relion_args)]


def _consensus_computation(run: Alignment, options: RelionOptions) -> list[str]:
    words = ["--j", str(run.threads), *_computation(options)[2:]]
    if run.gpu is not None:
        words += ["--gpu", run.gpu]
    return words


def continue_consensus_command(
    run: Alignment, options: RelionOptions, optimiser: Path
) -> list[str]:
    """``relion_refine --continue`` of a consensus alignment."""
    words = _program("relion_refine", run.ranks, options.mpi_launcher)
    words += ["--continue", str(optimiser), "--o", str(run.root)]
    return [*words, *_consensus_computation(run, options)]
