"""The table of `docs/reliability.md` from the figures that `make faults` has written.

``python scripts/faults_table.py FIGURES.jsonl docs/reliability.md`` puts it between the markers.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def table(lines: list[str]) -> str:
    """Markdown of the figures, one row a fault; the last run of each row counts."""
    rows = {}
    for line in lines:
        entry = json.loads(line)
        rows[entry["row"]] = entry
    shown = ["| fault | tried | survived | lost | seconds |", "|---|---|---|---|---|"]
    keys = ("tried", "survived", "lost", "seconds")
    for name, entry in rows.items():
        shown.append(f"| {name} | " + " | ".join(str(entry[key]) for key in keys) + " |")
    total = [str(sum(entry[key] for entry in rows.values())) for key in keys]
    shown.append("| **all** | " + " | ".join(total) + " |")
    return "\n".join(shown)


def main(figures: Path, page: Path) -> None:
    """Put the table into the page, and print it."""
    made = table(figures.read_text(encoding="utf-8").splitlines())
    text = page.read_text(encoding="utf-8")
    when = f"Written by `make faults`, {time.strftime('%d %B %Y')}."
    inner = f"{BEGIN}\n{when}\n\n{made}\n{END}"
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    page.write_text(re.sub(pattern, lambda _: inner, text, flags=re.DOTALL), encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
