"""A stand-in for a traffic source: keeps the conversions it is called with, whatever the path.

`GET /_control/received` → {"items": [{method, path, query, headers, body}]} · `POST /_control/fail` {"status", "times",
"retry_after"} makes the next calls fail · `POST /_control/reset` forgets.
"""

import threading
from typing import Any

from hub.cli.standins.web import Asked, Given, main


class TrafficSource:
    """Answers `OK` to every conversion."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received: list[dict[str, Any]] = []
        self.failing: dict[str, Any] = {}

    def __call__(self, asked: Asked) -> Given:
        with self._lock:
            if asked.path.startswith("/_control/"):
                return self._control(asked)
            if self.failing.get("times", 0) > 0:
                self.failing["times"] -= 1
                after = self.failing.get("retry_after")
                return Given(self.failing["status"], b"busy", {"Retry-After": str(after)} if after is not None else {})
            self.received.append({
                "method": asked.method, "path": asked.path, "query": dict(asked.query), "headers": asked.headers,
                "body": asked.body.decode(errors="replace"),
            })  # fmt: skip
            return Given(200, b"OK", {"Content-Type": "text/plain"})

    def _control(self, asked: Asked) -> Given:
        what = asked.path.removeprefix("/_control/")
        if what == "received":
            return Given(body={"items": self.received})
        if what == "fail":
            self.failing = asked.json()
        elif what == "reset":
            self.received, self.failing = [], {}
        else:
            return Given(404, {"error": f"no control {what!r}"})
        return Given(body={"ok": True})


if __name__ == "__main__":
    main(TrafficSource)
