"""``report --serve``: the page on 127.0.0.1, with buttons that run commands.

Who may ask: the browser that was given the address, which holds a random token. The host that a
request names must be this machine (a foreign page that points its own name here is refused), and
a request that changes something must come from the page itself (its ``Origin``). Nothing is read
by a path that was sent, and the one file that is written has a fixed name.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from alphacryo4d.core.errors import AlphaCryo4DError, InputError
from alphacryo4d.core.files import JOB_JSON
from alphacryo4d.report.commands import EDITS_JSON, Runner
from alphacryo4d.report.edits import save_edits
from alphacryo4d.report.page import page_text
from alphacryo4d.report.stage import project_data

HOSTS = frozenset(("127.0.0.1", "localhost", "::1"))
LONGEST_BODY = 2_000_000
LONGEST_PATH = 200
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered, with the status that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ReportServer:
    """The page of one project and what its buttons do.

    Parameters
    ----------
    project : Path
        Project folder.
    allow_edits : bool
        Whether edits may be saved and commands run; without it everything is only looked at.
    token : str, optional
        Secret of the address; random by default.
    """

    def __init__(self, project: Path, *, allow_edits: bool, token: str | None = None) -> None:
        self.project = project
        self.allow_edits = allow_edits
        self.token = token or secrets.token_urlsafe(32)
        self.runner = Runner(project)
        self._page: tuple[str, bytes] | None = None

    def application(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/{token}/", self._guarded(self._show), methods=["GET"]),
            Route("/{token}/state", self._guarded(self._state), methods=["GET"]),
            Route("/{token}/edits", self._guarded(self._edits), methods=["POST"]),
            Route("/{token}/run", self._guarded(self._run), methods=["POST"]),
            Route("/{token}/cancel", self._guarded(self._cancel), methods=["POST"]),
        ]
        application = Starlette(routes=routes)
        application.router.redirect_slashes = False
        return application

    def _guarded(self, answer: Any) -> Any:
        async def handle(request: Request) -> Response:
            try:
                self._check(request)
                response: Response = await answer(request)
            except Refused as refused:
                response = JSONResponse({"error": str(refused)}, status_code=refused.status)
            except AlphaCryo4DError as known:
                response = JSONResponse({"error": str(known)}, status_code=400)
            response.headers.update(_HEADERS)
            return response

        return handle

    def _check(self, request: Request) -> None:
        """Refuse whoever does not come from the page on this machine."""
        if len(request.url.path) > LONGEST_PATH:
            raise Refused(414, "the address is too long")
        host = request.headers.get("host", "")
        if name_of_host(host) not in HOSTS:
            raise Refused(421, "this server answers to 127.0.0.1 and localhost alone")
        given = request.path_params["token"].encode()
        if not hmac.compare_digest(given, self.token.encode()):
            raise Refused(404, "no such page")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "the request comes from another page")
        if request.method == "POST":
            if origin is None:
                raise Refused(403, "the request does not say where it comes from")
            if not self.allow_edits:
                raise Refused(403, "read-only; start with --allow-edits to change the project")

    async def _body(self, request: Request) -> Any:
        """JSON that was sent, if it is not too long."""
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > LONGEST_BODY:
                raise Refused(413, "too long")
        try:
            return json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Refused(400, "not JSON") from error

    async def _show(self, _request: Request) -> Response:
        return HTMLResponse(await asyncio.to_thread(self.page))

    def page(self) -> bytes:
        """The page of the project as it is now; kept until the project changes."""
        refuse_links_out(self.project)
        stamp = project_stamp(self.project)
        if self._page is None or self._page[0] != stamp:
            data, payload = project_data(self.project)
            data["server"] = {
                "allow_edits": self.allow_edits,
                "stamp": stamp,
                "commands": [
                    {"name": name, "command": shlex.join(["alphacryo4d", *words])}
                    for name, words in self.runner.commands.items()
                    if self.allow_edits
                ],
            }
            self._page = stamp, page_text(data, payload, server=True).encode("utf-8")
        return self._page[1]

    async def _state(self, _request: Request) -> Response:
        job = self.runner.job
        stamp = await asyncio.to_thread(project_stamp, self.project)
        return JSONResponse({"job": job.told() if job else None, "stamp": stamp})

    async def _edits(self, request: Request) -> Response:
        sent = await self._body(request)
        path = safe_file(self.project, EDITS_JSON)
        await asyncio.to_thread(save_edits, path, sent)
        return JSONResponse({"message": f"{EDITS_JSON} is saved in the project folder."})

    async def _run(self, request: Request) -> Response:
        sent = await self._body(request)
        name = sent.get("name") if isinstance(sent, dict) else None
        if not isinstance(name, str) or set(sent) != {"name"}:
            raise Refused(400, "the name of a command is needed, and nothing else")
        self.runner.start(name)
        return JSONResponse({"message": f"{name} was started."})

    async def _cancel(self, request: Request) -> Response:
        await self._body(request)
        self.runner.cancel()
        return JSONResponse({"message": "The command is being cancelled."})


def name_of_host(host: str) -> str:
    """Name in a ``Host`` header, without its port; an ssh tunnel may change that."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def safe_file(project: Path, name: str) -> Path:
    """A file of the project that is no link to somewhere else.

    Raises
    ------
    InputError
        The project, followed through links, does not hold it.
    """
    path = project / name
    if path.is_symlink() or path.resolve().parent != project.resolve():
        raise InputError(f"{path}: a link out of the project; remove it")
    return path


def refuse_links_out(project: Path) -> None:
    """Refuse a project in which a link leads out of it, where the page would read through it.

    Raises
    ------
    InputError
        A file or folder of the project or of its stages is such a link.
    """
    root = project.resolve()
    for path in [*project.glob("*"), *project.glob("*/*")]:
        if path.is_symlink() and root not in path.resolve().parents:
            raise InputError(
                f"{path}: a link out of the project, which --serve does not follow; put the file "
                "itself there, or write the page as a file without --serve"
            )


def project_stamp(project: Path) -> str:
    """What changes whenever a stage of the project begins, ends or writes a set of states."""
    records = [project / JOB_JSON, *sorted(project.glob(f"*/{JOB_JSON}"))]
    times = [f"{path.parent.name}:{path.stat().st_mtime_ns}" for path in records if path.is_file()]
    return hashlib.sha256("|".join(times).encode()).hexdigest()[:16]


def settings_of(application: Starlette) -> Any:
    """How uvicorn serves the page: quietly, with bounds on headers and connections."""
    import uvicorn

    return uvicorn.Config(
        application,
        access_log=False,
        proxy_headers=False,
        log_level="warning",
        lifespan="off",
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=32_768,
        limit_concurrency=64,
        timeout_keep_alive=30,
    )


def serve(project: Path, *, port: int, allow_edits: bool, ready: Any = None) -> None:
    """Serve the page on 127.0.0.1 until it is interrupted.

    Parameters
    ----------
    project : Path
    port : int
        0 for any free one.
    allow_edits : bool
    ready : callable, optional
        Called with the address when the server listens.
    """
    import socket

    import uvicorn

    server = ReportServer(project, allow_edits=allow_edits)
    server.page()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(64)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/{server.token}/"
        if ready is not None:
            ready(address)
        try:
            uvicorn.Server(settings_of(server.application())).run(sockets=[listening])
        finally:
            server.runner.close()
