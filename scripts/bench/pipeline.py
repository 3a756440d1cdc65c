r"""`alphacryo4d run` on simulated data, scored: one row of the benchmark table a data set.

    python scripts/bench/pipeline.py data/mini_005_s1 data/mini_001_s1 --o projects \
        --conformers nlrp3/ [--repeat 1] [-- --classes 5x8 --initial-resolution 15]

Everything after `--` goes to `alphacryo4d run`; with `--reclassify` there, the states after it get
a row of their own. Prints a Markdown table; `results.json` in the output folder keeps the whole
reports. The labels of the reference classifier are kept beside the
projects (`reference_NAME.npy`), since they do not depend on the run.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

COLUMNS = ("data", "seed", "by", "precision", "recall", "states", "kept", "ratio to reference",
           "purity of volumes", "precision, true labels", "seconds", "of it, by stage")  # fmt: skip
STAGES = ("resample", "deepfeature", "landscape", "vote", "reclassify")


def alphacryo4d(*arguments: object) -> str:
    """Standard output of a command of this package."""
    command = [sys.executable, "-m", "alphacryo4d", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run_one(folder: Path, project: Path, seed: int, reference: list[str], extra: list[str]):
    begun = time.perf_counter()
    alphacryo4d("run", "--i", folder / "particles.star", "--o", project, "--seed", seed, *extra)
    seconds = time.perf_counter() - begun
    return [
        score_one(folder, project, result, reference) | {"seconds": seconds}
        for result in ("vote", "reclassify")
        if (project / result / "particles.star").is_file()
    ]


def score_one(folder: Path, project: Path, result: str, reference: list[str]) -> dict:
    scoring = ["score", "--i", project / result / "particles.star", "--json"]
    scoring += ["--truth", folder / "truth.npy"]
    if result == "vote":
        scoring += ["--assignments", project / "resample/assignments.npy"]
    saved = project.parent / f"reference_{folder.name}.npy"
    if saved.exists():
        scoring += ["--reference", saved]
    elif reference:
        scoring += [*reference, "--save-reference", saved]
    report = json.loads(alphacryo4d(*scoring)) | {"result": result}
    report["stages"] = {
        name: json.loads((project / name / "job.json").read_text()).get("seconds")
        for name in STAGES
        if (project / name / "job.json").is_file()
    }
    return report


def table_row(name: str, seed: int, report: dict) -> str:
    ratio = report.get("reference", {}).get("precision_ratio")
    volumes = report.get("volumes", {})
    perfect = volumes.get("votes_with_true_labels", {}).get("precision")
    cells = [
        name,
        str(seed),
        report["result"],
        f"{report['precision']:.3f}",
        f"{report['recall']:.3f}",
        f"{report['states_found']} / {report['states']}",
        f"{report['kept']:.3f}",
        "" if ratio is None else f"{ratio:.3f}",
        f"{volumes['precision']:.3f}" if volumes else "",
        "" if perfect is None else f"{perfect:.3f}",
        f"{report['seconds']:.0f}",
        ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in report["stages"].items()),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    arguments, extra = sys.argv[1:], []
    if "--" in arguments:
        extra = arguments[arguments.index("--") + 1 :]
        arguments = arguments[: arguments.index("--")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of alphacryo4d simulate")
    parser.add_argument("--o", type=Path, required=True, help="folder for the projects")
    parser.add_argument("--conformers", help="adds the ratio to the reference classifier")
    parser.add_argument(
        "--reference-poses", default="flat", help="as alphacryo4d score takes it; fixed: as given"
    )
    parser.add_argument("--repeat", type=int, default=1, help="seeds 0 ... n-1 of the run")
    chosen = parser.parse_args(arguments)
    chosen.o.mkdir(parents=True, exist_ok=True)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    results, reference = [], []
    if chosen.conformers:
        reference = ["--reference", chosen.conformers, "--reference-poses", chosen.reference_poses]
    for folder in chosen.folders:
        for seed in range(chosen.repeat):
            project = chosen.o / f"{folder.name}_seed{seed}"
            for report in run_one(folder, project, seed, reference, extra):
                results.append({"data": folder.name, "seed": seed, "extra": extra, **report})
                print(table_row(folder.name, seed, report), flush=True)
            (chosen.o / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
