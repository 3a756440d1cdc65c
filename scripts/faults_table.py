"""The table of `docs/reliability.md` from the trials that `make faults` has put on record.

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
    """Markdown of the figures, one row a fault; the last time that a trial was made counts."""
    rows: dict[str, dict[int, dict[str, object]]] = {}
    for line in lines:
        entry = json.loads(line)
        rows.setdefault(entry["row"], {})[entry["trial"]] = entry
    shown = ["| fault | tried | survived | lost | minutes |", "|---|---|---|---|---|"]
    total = [0, 0, 0.0]
    for name, trials in sorted(rows.items()):
        asked = int(str([*trials.values()][-1]["asked"]))  # of the last that was made
        lost = sum(bool(entry["lost"]) for entry in trials.values())
        minutes = sum(float(str(entry["seconds"])) for entry in trials.values()) / 60
        tried = len(trials)
        told = str(tried) if tried >= asked else f"{tried} of {asked}"
        shown.append(f"| {name} | {told} | {tried - lost} | {lost} | {minutes:.1f} |")
        total = [total[0] + tried, total[1] + lost, total[2] + minutes]
    tried, lost, minutes = total
    shown.append(f"| **all** | {tried} | {tried - lost} | {lost} | {minutes:.0f} |")
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
