"""A report server in a thread, asked by plain HTTP, so that every byte of a request is chosen."""

import http.client
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from waiting import net

from alphacryo4d.report.server import ReportServer, settings_of


class Answer(NamedTuple):
    """Status, headers and text of an answer."""

    status_code: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        """The text as JSON."""
        return json.loads(self.text)


class Asked:
    """A server and who asks it."""

    def __init__(self, project: Path, *, allow_edits: bool, token: str | None = "secret") -> None:
        self.server = ReportServer(project, allow_edits=allow_edits, token=token)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.home = f"http://127.0.0.1:{self.port}"
        self.uvicorn = uvicorn.Server(settings_of(self.server.application()))
        self.thread = threading.Thread(target=self.uvicorn.run, args=([self.socket],))
        self.thread.start()
        while not self.uvicorn.started:
            time.sleep(0.01)

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        """Send one request as it is."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=net(3))
        line.putrequest(method, path, skip_host="host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            line.putheader(name, value)
        if body is not None:
            line.putheader("content-length", str(len(body)))
        line.endheaders(body)
        answer = line.getresponse()
        whole = Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
        line.close()
        return whole

    def get(self, path: str, **headers: str) -> Answer:
        """GET a path."""
        return self.ask("GET", path, None, headers)

    def post(self, path: str, sent: Any, **headers: str) -> Answer:
        """POST bytes, or anything else as JSON, from the page itself by default."""
        body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        return self.ask("POST", path, body, headers or {"origin": self.home})

    def close(self) -> None:
        """End the server."""
        self.uvicorn.should_exit = True
        self.thread.join(timeout=net(3))
        self.socket.close()
