"""A stand-in for a traffic source: keeps the conversions it is called with, whatever the path.

`GET /_control/received` → {"items": [{method, path, query, headers, body}]} · `POST /_control/fail` {"status", "times",
"retry_after", "body"} makes the next calls fail, with status 200 too · `POST /_control/reset` forgets.
"""

import threading
from typing import Any

from hub.cli.standins.web import StubAnswer, StubRequest, main


class TrafficSource:
    """Answers `OK` to every conversion."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received: list[dict[str, Any]] = []
        self.failing: dict[str, Any] = {}

    def __call__(self, request: StubRequest) -> StubAnswer:
        with self._lock:
            if request.path.startswith("/_control/"):
                return self._control(request)
            if self.failing.get("times", 0) > 0:
                self.failing["times"] -= 1
                after = self.failing.get("retry_after")
                return StubAnswer(
                    self.failing["status"], str(self.failing.get("body", "busy")).encode(),
                    {"Retry-After": str(after)} if after is not None else {},
                )  # fmt: skip
            self.received.append({
                "method": request.method, "path": request.path, "query": dict(request.query),
                "headers": request.headers, "body": request.body.decode(errors="replace"),
            })  # fmt: skip
            return StubAnswer(200, b"OK", {"Content-Type": "text/plain"})

    def _control(self, request: StubRequest) -> StubAnswer:
        what = request.path.removeprefix("/_control/")
        if what == "received":
            return StubAnswer(body={"items": self.received})
        if what == "fail":
            self.failing = request.json()
        elif what == "reset":
            self.received, self.failing = [], {}
        else:
            return StubAnswer(404, {"error": f"no control {what!r}"})
        return StubAnswer(body={"ok": True})


if __name__ == "__main__":
    main(TrafficSource)
