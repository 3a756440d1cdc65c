"""What a changed run leaves out of date is said beforehand."""

import json
from pathlib import Path

from alphacryo4d.core.plan import REDO, UNCHANGED, Plan
from alphacryo4d.pipeline.plan import out_of_date, plan_lines


def write_record(project: Path, name: str, *inputs: str, outputs: tuple[str, ...]) -> None:
    folder = project / name
    folder.mkdir(parents=True)
    record = {
        "status": "done",
        "inputs": [{"path": str(project / one)} for one in inputs],
        "outputs": list(outputs),
        "steps": {"count": list(outputs)},
    }
    (folder / "job.json").write_text(json.dumps(record))


def test_results_that_rest_on_what_is_made_again_are_named(tmp_path: Path) -> None:
    """Also those that rest on such results; those of stages that stand are not."""
    write_record(tmp_path, "landscape", outputs=("states.star",))
    write_record(tmp_path, "vote", "landscape/states.star", outputs=("particles.star",))
    write_record(tmp_path, "vote-2", "landscape/states.star", outputs=("particles.star",))
    write_record(tmp_path, "a-refine", "vote-2/particles.star", outputs=("refine.sh",))
    write_record(tmp_path, "landscape2", "resample/volumes.star", outputs=("states.star",))
    redo = Plan(REDO, {}, ("count",), ("states 4 -> 12",))
    plans = [("resample", Plan(UNCHANGED)), ("landscape", redo), ("vote", redo)]
    assert out_of_date(tmp_path, plans) == ["vote-2", "a-refine"]
    first, second = plan_lines(tmp_path, plans)
    assert first == "resample unchanged; redoing landscape, vote because states 4 -> 12"
    assert second.endswith(": vote-2, a-refine")
    votes = [("landscape", Plan(UNCHANGED)), ("vote", redo)]
    assert out_of_date(tmp_path, votes) == []
    assert plan_lines(tmp_path, votes)[1:] == []
