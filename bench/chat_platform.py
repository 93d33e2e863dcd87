"""Both chat platforms at once, as little as a bot needs of them: they say yes at once and note when what arrived.

https://docs.slack.dev/reference/methods and https://core.telegram.org/bots/api#available-methods.
"""

import asyncio
import itertools
import json
import os
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

TOKEN = "123456:bench-token"
_BOT = {"id": 123456, "is_bot": True, "first_name": "Bench", "username": "bench_bot"}


class Arrived:
    """One call: its method, the room it is for (a response's number for Slack's answers), and when it came."""

    def __init__(self, method: str, room: str) -> None:
        self.method, self.room, self.at = method, room, time.perf_counter()


class Platform:
    """Listens on loopback in a thread of its own; `calls` grows as they come."""

    def __init__(self) -> None:
        self.calls: list[Arrived] = []
        self._news = threading.Condition()
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._up.wait(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def give_way(self) -> None:
        """Take what others leave of the core from now on: elsewhere it would share none with visitors."""
        os.sched_setscheduler(self._thread.native_id or 0, os.SCHED_IDLE, os.sched_param(0))

    def wait(self, since: int, methods: set[str], room: str = "", seconds: float = 10) -> Arrived:
        """The first such call after the first `since` ones. Raises RuntimeError when none comes."""
        with self._news:
            if not self._news.wait_for(lambda: self._found(since, methods, room), seconds):
                raise RuntimeError(f"none of {sorted(methods)} came for {room!r}")
            return self._found(since, methods, room) or self.calls[-1]

    def _found(self, since: int, methods: set[str], room: str) -> Arrived | None:
        expected = (call for call in self.calls[since:] if call.method in methods and room in {"", call.room})
        return next(expected, None)

    def most_in_a_second(self, methods: set[str], *, since: int = 0) -> int:
        """The most calls of these methods in any second."""
        times = sorted(call.at for call in self.calls[since:] if call.method in methods)
        return max((sum(0 <= other - at < 1 for other in times[n : n + 200]) for n, at in enumerate(times)), default=0)

    def per_room(self, methods: set[str], *, since: int = 0) -> Counter[str]:
        return Counter(call.room for call in self.calls[since:] if call.method in methods)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22))
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *rest = head.split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
                body = await reader.readexactly(int(headers.get("content-length") or 0))
                answer = json.dumps(self._answer(first.split(" ")[1], body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(answer), answer)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, path: str, body: bytes) -> dict[str, Any]:
        method = path.partition("?")[0].rpartition("/")[2]
        if path.startswith("/response/"):
            self._note("response", method)
            return {"ok": True}
        if path.startswith("/upload/"):
            return {"ok": True}
        form = _read(body)
        if path.startswith("/bot"):
            self._note(method, str(form.get("chat_id", "")))
            return {"ok": True, "result": self._telegram(method, form)}
        self._note(method, str(form.get("channel") or form.get("channel_id") or ""))
        return {"ok": True} | self._slack(method, form)

    def _note(self, method: str, room: str) -> None:
        with self._news:
            self.calls.append(Arrived(method, room))
            self._news.notify_all()

    def _telegram(self, method: str, form: dict[str, Any]) -> Any:
        if method == "getMe":
            return _BOT
        if method not in {"sendMessage", "sendPhoto", "editMessageText", "sendDocument"}:
            return True
        number, chat = next(self._numbers), int(form.get("chat_id") or 1)
        kind = {"type": "private", "first_name": "A"} if chat > 0 else {"type": "supergroup", "title": "G"}
        return {"message_id": number, "date": 1, "from": _BOT, "chat": {"id": chat} | kind, "text": "ok"}

    def _slack(self, method: str, form: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        if method == "files.getUploadURLExternal":
            return {"upload_url": f"{self.url}/upload/F{number}", "file_id": f"F{number}"}
        if method == "conversations.open":
            return {"channel": {"id": f"D{number}"}}
        return {"channel": form.get("channel", "C1"), "ts": f"1700000000.{number:06}", "files": [{"id": "F1"}]}


def _read(body: bytes) -> dict[str, Any]:
    """JSON, a form, or as much of a multipart form as its chat id."""
    if body.startswith(b"{"):
        return dict(json.loads(body))
    if b'name="chat_id"' in body:
        return {"chat_id": body.partition(b'name="chat_id"')[2].lstrip(b"\r\n").split(b"\r\n")[0].decode()}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
