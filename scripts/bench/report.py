"""Size, first paint, pan and lasso of the page, and memory of its server.

    python scripts/bench/report.py --states 20 --volumes 640 --particles 200000

writes a project of that size (no stage runs), makes its page, opens it in Chromium without a
graphics card, and prints one JSON object: seconds to make the page, its size, first paint and time
until everything is drawn (medians of ``--repeat`` openings), the times of 20 pans and 20 lassos by
the browser's own clock, and the server's peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "report")]

from small_project import write_project  # noqa: E402

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PAN = """() => { const s = window.particleScatter, times = [];
for (let i = 0; i < 20; i++) { const t = performance.now(); s.centre[0] += 0.01 * s.extent[0];
  s.draw(); s.canvas.getContext('2d').getImageData(0, 0, 1, 1); times.push(performance.now() - t); }
s.reset(); s.draw(); return times; }"""
LASSO = """() => { const s = window.particleScatter, times = [], n = 60; let most = 0;
for (let k = 0; k < 20; k++) { const polygon = Array.from({length: n}, (_, i) =>
  [s.centre[0] + (0.2 + 0.015 * k) * s.extent[0] * Math.cos(i / n * 2 * Math.PI),
   s.centre[1] + (0.2 + 0.015 * k) * s.extent[1] * Math.sin(i / n * 2 * Math.PI)]);
  const t = performance.now(); s.select(polygon); times.push(performance.now() - t);
  most = Math.max(most, s.selected.length); } return [times, most]; }"""


def look(browser: Any, page_file: Path) -> dict[str, Any]:
    """Open the page once and measure."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    begun = time.monotonic()
    page.goto(page_file.as_uri())
    page.wait_for_selector("body[data-ready=yes]", timeout=120_000)
    ready = time.monotonic() - begun
    page.wait_for_selector("[data-drawn=yes]", timeout=120_000)
    paints = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('paint').map(e => [e.name, e.startTime]))"
    )
    result = {"first_paint_s": paints["first-contentful-paint"] / 1000, "ready_s": ready}
    for colour in ("state", "density"):
        page.locator("#particles select").first.select_option(colour)
        page.wait_for_timeout(500)
        times = page.evaluate(PAN)
        result[f"pan_{colour}_ms"] = {"median": median(times), "most": max(times)}
    times, most = page.evaluate(LASSO)
    result["lasso_ms"] = {"median": median(times), "most": max(times), "particles": most}
    page.close()
    return result


def server_memory(project: Path) -> float:
    """Peak memory (GB) of the server after the page was asked for twice."""
    import urllib.request

    process = subprocess.Popen(
        [sys.executable, "-m", "alphacryo4d", "report", "--i", str(project), "--serve"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    for _ in range(2):
        with urllib.request.urlopen(address) as answer:
            answer.read()
    status = Path(f"/proc/{process.pid}/status").read_text()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=20)
    parser.add_argument("--volumes", type=int, default=640)
    parser.add_argument("--particles", type=int, default=200_000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    from alphacryo4d.report.stage import write_report_page

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as player:
        project = write_project(
            Path(folder),
            states=given.states,
            per_state=given.volumes // given.states // 4,
            particles=given.particles,
            box=given.box,
        )
        shutil.copytree(project / "vote", project / "reclassify")
        begun = time.monotonic()
        page_file = write_report_page(project)
        figures: dict[str, Any] = {
            "made_s": time.monotonic() - begun,
            "size_mb": page_file.stat().st_size / 1e6,
        }
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        looks = [look(browser, page_file) for _ in range(given.repeat)]
        browser.close()
        figures |= {
            name: median(one[name] for one in looks) for name in ("first_paint_s", "ready_s")
        }
        figures |= {name: value for name, value in looks[-1].items() if name.endswith("_ms")}
        figures["server_peak_gb"] = server_memory(project)
    print(json.dumps(figures, indent=1, default=float))


if __name__ == "__main__":
    main()
