"""What a stage that reads images watches: the stacks that the resampling has recorded."""

import json
from pathlib import Path

from alphacryo4d.particles.recorded import stacks_on_record


def test_stacks_are_those_of_the_record_that_are_there(tmp_path: Path) -> None:
    assert stacks_on_record(tmp_path / "resample") == ()
    paths = [tmp_path / name for name in ("particles.star", "stack.mrcs", "gone.mrcs", "mask.mrc")]
    for path in paths:
        if "gone" not in path.name:
            path.write_bytes(b"x")
    folder = tmp_path / "resample"
    folder.mkdir()
    inputs = [{"path": str(path), "size": 1, "mtime": 0.0, "sha256": ""} for path in paths]
    record = {"stage": "resample", "status": "done", "folder": str(folder), "inputs": inputs}
    (folder / "job.json").write_text(json.dumps(record))
    assert stacks_on_record(folder) == (paths[1], paths[3])
