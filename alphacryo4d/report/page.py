"""The HTML of the page: frame, style, data and programs in one text."""

from __future__ import annotations

import html
from importlib import resources
from typing import Any

from alphacryo4d.report.payload import Payload, safe_json

STYLES = ("page.css",)
SCRIPTS = (
    "base.js", "images.js", "plots.js", "summary.js", "states.js", "landscape.js", "morph.js",
    "viewer.js", "scatter.js", "particles.js", "particle_space.js", "training.js", "edits.js",
    "serve.js", "main.js",
)  # fmt: skip
LIBRARIES = {"plotly": "plotly-cartesian.min.js", "mol3d": "3Dmol-min.js"}

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; worker-src blob:; connect-src @CONNECT@; form-action 'none'; "
    "base-uri 'none'"
)
"""Nothing is fetched from anywhere; with a server, from the server alone."""

_FRAME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="@POLICY@">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>@TITLE@</title>
<style>@STYLE@</style></head>
<body>
<a class="skip" href="#main">To the content</a>
<header id="top"><h1>@NAME@</h1><p id="answer">@ANSWER@</p></header>
<main id="main"></main>
<noscript><p>The rest of this page needs JavaScript.</p></noscript>
<script type="application/json" id="data">@DATA@</script>
@ARRAYS@
@LIBRARIES@
<script>@SCRIPT@</script>
</body></html>
"""


def page_text(data: dict[str, Any], payload: Payload, *, server: bool = False) -> str:
    """The page as text.

    Parameters
    ----------
    data : dict
        What it shows.
    payload : Payload
        Arrays that ``data`` names.
    server : bool
        Whether it may talk to the server that it comes from.
    """
    shown = [one for one in data["sets"] if one["key"] == data.get("first")] or data["sets"]
    answer = shown[-1]["sentence"] if shown else "No states yet."
    parts = {
        "POLICY": _POLICY.replace("@CONNECT@", "'self'" if server else "'none'"),
        "TITLE": html.escape(f"{data['project']} - AlphaCryo4D"),
        "NAME": html.escape(data["project"]),
        "ANSWER": html.escape(answer),
        "STYLE": "\n".join(asset(name) for name in STYLES),
        "DATA": safe_json(data),
        "ARRAYS": payload.elements(),
        "LIBRARIES": "\n".join(
            f'<script type="text/plain" id="{name}">{asset(path)}</script>'
            for name, path in LIBRARIES.items()
        ),
        "SCRIPT": "\n".join(asset(name) for name in SCRIPTS),
    }
    pieces = _FRAME.split("@")
    return "".join(parts.get(piece, piece) for piece in pieces)


def asset(name: str) -> str:
    """Text of a file that is shipped beside this one."""
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
