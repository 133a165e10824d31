"""A server on this machine that speaks the protocol of OpenAI, or breaks it as it is told to."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Told:
    """What the server answers to one request."""

    text: str = "hallway"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    delay_s: float = 0.0
    is_cut: bool = False


@dataclass
class LocalServer:
    """What it was asked, and how many requests were there at one time."""

    tell: Callable[[int, dict[str, Any]], Told]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0
    lock: Any = field(default_factory=threading.Lock)


@contextmanager
def local_server(tell: Callable[[int, dict[str, Any]], Told]) -> Iterator[LocalServer]:
    """Runs a server whose answer to request number n (from 0) with a body is `tell(n, body)`."""
    state = LocalServer(tell)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Stays silent."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                number = len(state.bodies)
                state.bodies.append(body)
                state.paths.append(self.path)
                state.keys.append(self.headers.get("Authorization"))
                state.now += 1
                state.most_at_once = max(state.most_at_once, state.now)
            told = state.tell(number, body)
            time.sleep(told.delay_s)
            with state.lock:
                state.now -= 1
            self.answer(told)

        def answer(self, told: Told) -> None:
            if told.is_cut:
                self.close_connection = True
                return
            choice = {"message": {"content": told.text}, "text": told.text}
            usage = {"prompt_tokens": 12, "completion_tokens": 1}
            content = told.raw
            if content is None:
                content = json.dumps({"choices": [choice], "usage": usage}).encode()
            try:
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                _ = self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client did not wait

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
