"""Argument lists of RELION's programs, compared word for word."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from alphacryo4d.core.errors import MissingProgramError, ProgramError, UsageError
from alphacryo4d.relion.commands import (
    Alignment,
    Classification,
    class3d_command,
    consensus_command,
    continue_command,
    mpi_prefix,
    reconstruct_command,
)
from alphacryo4d.relion.launching import relion_lines, run_relion
from alphacryo4d.relion.options import (
    ConsensusOptions,
    RelionOptions,
    refuse_gpu_without_alignment,
)
from alphacryo4d.relion.version import Version, parse_version

RUN = Classification(
    table=Path("c/particles.star"),
    root=Path("c/run"),
    reference=Path("c/reference.mrc"),
    classes=20,
    iterations=25,
    limit_resolution=15.0,
    particle_diameter=160.0,
    ranks=3,
    seed=7,
)
V31 = Version(3, 1, 3)


def test_class3d_is_the_command_of_the_benchmark() -> None:
    assert " ".join(class3d_command(RUN, RelionOptions(), version=V31)) == (
        "mpirun -n 3 relion_refine_mpi --o c/run "
        "--i c/particles.star --ref c/reference.mrc --ini_high 30 --ctf --ctf_corrected_ref "
        "--iter 25 --tau2_fudge 4 --K 20 --flatten_solvent --zero_mask --oversampling 1 "
        "--skip_align --strict_highres_exp 15 --sym C1 --norm --scale --particle_diameter 160 "
        "--pad 2 --random_seed 7 --j 1 --pool 100 --dont_combine_weights_via_disc"
    )


def test_one_rank_runs_without_mpi() -> None:
    single = Classification(**{**vars(RUN), "ranks": 1})
    assert class3d_command(single, RelionOptions(), version=V31)[0] == "relion_refine"


def test_users_options_reach_relion() -> None:
    run = Classification(**{**vars(RUN), "mask": Path("mask.mrc"), "particle_diameter": None})
    options = RelionOptions(
        initial_lowpass=50, firstiter_cc=True, relion_tau2_fudge=2.5, zero_mask=False,
        correct_norm=False, padding=1, pool=3, symmetry="D7", mpi_launcher="srun --mpi=pmix",
        relion_scratch=Path("/local"), relion_args="--dont_check_norm --maxsig 500",
    )  # fmt: skip
    assert " ".join(class3d_command(run, options, version=V31)) == (
        "srun --mpi=pmix -n 3 relion_refine_mpi --o c/run --i c/particles.star "
        "--ref c/reference.mrc --ini_high 50 --ctf --ctf_corrected_ref --firstiter_cc --iter 25 "
        "--tau2_fudge 2.5 --K 20 --flatten_solvent --solvent_mask mask.mrc --oversampling 1 "
        "--skip_align --strict_highres_exp 15 --sym D7 --pad 1 --random_seed 7 --j 1 --pool 3 "
        "--dont_combine_weights_via_disc --scratch_dir /local --dont_check_norm --maxsig 500"
    )


@pytest.mark.parametrize(
    ("version", "corrected", "expected"),
    [
        (Version(3, 0), True, "--ctf_corrected_ref"),
        (Version(3, 1, 3), False, None),
        (Version(4, 0), True, None),
        (Version(5, 0), False, "--ctf_uncorrected_ref"),
    ],
)
def test_ctf_of_the_reference_is_said_as_each_version_wants_it(
    version: Version, corrected: bool, expected: str | None
) -> None:
    options = RelionOptions(reference_ctf_corrected=corrected)
    words = class3d_command(RUN, options, version=version)
    options_given = [word for word in words if word.endswith("corrected_ref")]
    assert options_given == ([expected] if expected else [])


def test_continuing_repeats_skip_align() -> None:
    command = continue_command(RUN, RelionOptions(), Path("c/run_it007_optimiser.star"))
    assert " ".join(command) == (
        "mpirun -n 3 relion_refine_mpi --continue c/run_it007_optimiser.star "
        "--o c/run --iter 25 --skip_align --j 1 --pool 100 --dont_combine_weights_via_disc"
    )


def test_reconstruction() -> None:
    command = reconstruct_command(Path("p.star"), Path("r.mrc"), limit_resolution=7.5, subset=2)
    expected = "relion_reconstruct --i p.star --o r.mrc --ctf --sym C1 --maxres 7.5 --subset 2"
    assert " ".join(command) == expected


def test_auto_refinement_of_one_consensus_model() -> None:
    run = Alignment(Path("p.star"), Path("o/run"), Path("ref.mrc"), ranks=3, threads=4, gpu="0:1")
    consensus = ConsensusOptions(particle_diameter=180, mask=Path("m.mrc"), limit_resolution=8)
    assert " ".join(consensus_command(run, consensus, RelionOptions(), version=Version(4, 0))) == (
        "mpirun -n 3 relion_refine_mpi --o o/run --i p.star --ref ref.mrc "
        "--ini_high 60 --ctf --auto_refine --split_random_halves --low_resol_join_halves 40 "
        "--flatten_solvent --zero_mask --solvent_mask m.mrc --oversampling 1 --healpix_order 2 "
        "--offset_range 5 --offset_step 2 --auto_local_healpix_order 4 --strict_highres_exp 8 "
        "--sym C1 --norm --scale --particle_diameter 180 --pad 2 --random_seed 0 --j 4 --pool 100 "
        "--dont_combine_weights_via_disc --gpu 0:1"
    )


def test_several_consensus_models_are_a_coarse_classification() -> None:
    run = Alignment(Path("p.star"), Path("o/run"), Path("ref.mrc"))
    consensus = ConsensusOptions(models=3, iterations=10)
    assert " ".join(consensus_command(run, consensus, RelionOptions(), version=V31)) == (
        "relion_refine --o o/run --i p.star --ref ref.mrc --ini_high 60 --ctf --ctf_corrected_ref "
        "--iter 10 --K 3 --tau2_fudge 4 --flatten_solvent --zero_mask --oversampling 1 "
        "--healpix_order 2 --offset_range 5 --offset_step 2 --sym C1 --norm --scale --pad 2 "
        "--random_seed 0 --j 1 --pool 100 --dont_combine_weights_via_disc"
    )


def test_every_launcher_gets_words_that_it_knows() -> None:
    assert mpi_prefix("srun", 4) == ["srun", "-n", "4"]
    words = mpi_prefix("/opt/mpi/mpiexec -x PATH", 2)
    assert " ".join(words) == "/opt/mpi/mpiexec -x PATH -n 2"


@pytest.mark.parametrize("user", [0, 1000])
def test_open_mpi_is_told_in_the_environment(user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    root = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 " if user == 0 else ""
    assert relion_lines([["/opt/mpiexec", "-n", "2", "a b"], ["srun", "c"], ["relion_x"]]) == (
        "env OMPI_MCA_rmaps_base_oversubscribe=1 "
        f"PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe {root}/opt/mpiexec -n 2 'a b'\n"
        "srun c\nrelion_x\n"
    )


@pytest.mark.relion
def test_more_ranks_than_cores_start_inside_another_mpi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMIX_RANK", "7")
    ranks = 1 + len(os.sched_getaffinity(0))
    command = [*mpi_prefix("mpirun", ranks), "sh", "-c", "echo rank $PMIX_RANK of $0", str(ranks)]
    run_relion(command, log=tmp_path / "log", folder=tmp_path)
    said = (tmp_path / "log").read_text().splitlines()[1:]
    assert sorted(said) == sorted(f"rank {rank} of {ranks}" for rank in range(ranks))
    monkeypatch.delenv("PMIX_RANK")
    done = subprocess.run(shlex.split(relion_lines([command])), check=True, capture_output=True)
    assert len(done.stdout.splitlines()) == ranks


def test_a_gpu_is_refused_with_the_reason() -> None:
    refuse_gpu_without_alignment(None)
    with pytest.raises(UsageError, match=r"skip_align.*ranks|RELION uses neither GPUs"):
        refuse_gpu_without_alignment("0,1")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("RELION version: 3.1.3 \nPrecision: BASE=double\n", (3, 1, 3)),
        ("RELION version: 4.0.1-commit-ex27cf \n", (4, 0, 1)),
        ("RELION version: 5.0-beta-3-commit-12cf15\n", (5, 0, 0)),
        ("RELION version 3.0.8\n", (3, 0, 8)),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version


def test_an_old_or_unknown_relion_is_refused() -> None:
    with pytest.raises(MissingProgramError, match=r"2\.1\.0 is too old"):
        parse_version("RELION version: 2.1.0")
    with pytest.raises(ProgramError, match="no version"):
        parse_version("command not understood")


@pytest.mark.parametrize(
    "wrong",
    [{"padding": 3}, {"ranks": 0}, {"relion_tau2_fudge": -1.0}, {"symmetry": "C1; rm"},
     {"initial_lowpass": float("nan")}, {"pool": 0}],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        RelionOptions(**wrong)  # type: ignore[arg-type]
