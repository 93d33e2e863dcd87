"""A stand-in for one Affilka programme: keeps campaigns, days and figures, speaks the reporting API, sends postbacks.

Control (`POST` JSON under /_control/):
  figures   {"day", "campaign", <column>: number or "12.50" …} or a list of such; sets what the report says of that day
  remove    {"day", "campaign"}: the day is withdrawn
  fail      {"mode": an HTTP status, "html", "login", "truncated", "error", "slow", "garbage", "cut", "nameless"
             or null, "times": n (for ever if absent), "retry_after": seconds}
  settings  {"per_page", "totals", "token", "currency", "to_is_exclusive", "tags": a sub id dimension}
  postback  {"url", "parameters", "method"}: call it as the platform would; answers with what came back
  reset     forget everything
`GET /_control/requests` lists what was asked.
"""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from decimal import Decimal
from typing import Any

from hub.cli.standins.web import StubAnswer, StubRequest, main
from storage.ledger.numbers import read_exact, read_float

MONEY = ("deposits_sum", "ngr", "fixed_per_player", "partner_income", "first_deposits_sum", "wager", "ggr")
REPORT = "/api/customer/v1/partner/report"
LOGIN = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><form>Password</form></body></html>"


class Affilka:
    """The programme. Campaigns get ids as they are first named; a report shows ids, /campaigns the names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self.campaigns: dict[str, int] = {}
        self.figures: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.failing: dict[str, Any] = {}
        self.settings: dict[str, Any] = {
            "per_page": 1000, "totals": True, "token": None, "currency": "EUR", "to_is_exclusive": False, "tags": None,
        }  # fmt: skip
        self.requests: list[dict[str, Any]] = []

    def __call__(self, request: StubRequest) -> StubAnswer:
        if request.path.startswith("/_control/"):
            return self._control(request)
        with self._lock:
            self.requests.append(
                {"method": request.method, "path": request.path, "query": request.query, "headers": request.headers}
            )
            failing = self._fail(request)
        if failing is not None:
            return failing
        if request.path == REPORT:
            return self._authorised(request) or self._report(request)
        if request.path == REPORT.removesuffix("report") + "campaigns":
            return self._authorised(request) or StubAnswer(body=self._campaigns())
        return StubAnswer(404, {"error": "not found"})

    def _authorised(self, request: StubRequest) -> StubAnswer | None:
        token = request.headers.get("authorization") or request.parameter("token")
        if token and self.settings["token"] in (None, token):
            return None
        return StubAnswer(401, {"error": "Invalid token"})

    def _campaigns(self) -> dict[str, Any]:
        items = [{"id": number, "name": name} for name, number in self.campaigns.items()]
        return {"current_page": 1, "total_pages": 1, "total_count": len(items), "items": items}

    def _report(self, request: StubRequest) -> StubAnswer:
        first, last = request.parameter("from")[:10], request.parameter("to")[:10]
        columns = [value for key, value in request.query if key == "columns[]"]
        with self._lock:
            rows = [
                self._row(key, values, columns)
                for key, values in sorted(self.figures.items())
                if first <= key[0] and (key[0] < last if self.settings["to_is_exclusive"] else key[0] <= last)
            ]
        size, page = self.settings["per_page"], int(request.parameter("page", "1"))
        pages = max(1, -(-len(rows) // size))
        shown = rows[(page - 1) * size : page * size]
        totals = [self._totals(rows)] if self.settings["totals"] and rows else []
        body = {"rows": {"data": shown}, "totals": {"data": totals}, "current_page": page, "total_pages": pages}
        if self.failing.get("mode") == "truncated":
            whole = json.dumps(body).encode()
            return StubAnswer(body=whole[: len(whole) // 2])
        return StubAnswer(body=body)

    def _row(self, key: tuple[str, str, str], values: dict[str, Any], columns: list[str]) -> list[dict[str, Any]]:
        day, campaign, sub = key
        cells: list[dict[str, Any]] = [{"name": "day", "value": day, "type": "date"},
                 {"name": "campaign_id", "value": self.campaigns[campaign], "type": "integer"}]  # fmt: skip
        if self.settings["tags"]:
            cells.append({"name": self.settings["tags"], "value": sub or None, "type": "string"})
        return cells + [self._cell(name, values[name]) for name in columns or values if name in values]

    def _totals(self, rows: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        sums: dict[str, Decimal] = {}
        for cells in rows:
            for cell in cells[3 if self.settings["tags"] else 2 :]:
                value = cell["value"]["amount"] if cell["type"] == "money" else cell["value"]
                sums[cell["name"]] = read_exact(value) + sums.get(cell["name"], 0)
        return [self._cell(name, value if name in MONEY else int(value)) for name, value in sums.items()]

    def _cell(self, name: str, value: Any) -> dict[str, Any]:
        if name not in MONEY:
            return {"name": name, "value": int(value), "type": "integer"}
        amount = read_exact(value)
        cents = amount * 100
        money: dict[str, Any] = {"amount": str(amount), "currency": self.settings["currency"]}
        if cents == cents.to_integral_value():
            money["amount_cents"] = int(cents)
        return {"name": name, "value": money, "type": "money"}

    def _fail(self, request: StubRequest) -> StubAnswer | None:
        mode = self.failing.get("mode")
        if mode is None or (request.path.endswith("/campaigns") and mode != "nameless"):
            return None
        if mode == "nameless":
            return StubAnswer(500, b"no names today") if request.path.endswith("/campaigns") else None
        if "times" in self.failing:
            if self.failing["times"] <= 0:
                self.failing = {}
                return None
            self.failing["times"] -= 1
        after = self.failing.get("retry_after")
        headers = {"Retry-After": str(after)} if after is not None else {}
        html = {"Content-Type": "text/html"}
        if mode == "slow":
            time.sleep(read_float(self.failing.get("seconds", 2)))
        bodies = {
            "html": StubAnswer(200, b"<html><body><h1>Maintenance</h1></body></html>", html),
            "login": StubAnswer(200, LOGIN, html),
            "error": StubAnswer(200, {"error": "something went wrong"}),
            "garbage": StubAnswer(200, b"\x00\x01 not json"),
            "cut": StubAnswer(200, b'{"rows": {"data": []' + b" " * 500, cut=20),
        }
        if isinstance(mode, int):
            return StubAnswer(mode, {"error": f"failing with {mode}"}, headers)
        return bodies.get(mode)

    def _control(self, request: StubRequest) -> StubAnswer:
        what = request.path.removeprefix("/_control/")
        if what == "requests":
            return StubAnswer(body={"items": self.requests})
        if what == "postback":
            return StubAnswer(body=send(request.json()))
        with self._lock:
            return self._change(what, request.json())

    def _change(self, what: str, content: Any) -> StubAnswer:
        if what == "figures":
            for entry in content if isinstance(content, list) else [content]:
                self._set(dict(entry))
        elif what == "remove":
            self.figures = {
                key: values
                for key, values in self.figures.items()
                if key[:2] != (str(content["day"]), str(content["campaign"]))
            }
        elif what == "fail":
            self.failing = content
        elif what == "settings":
            self.settings |= content
        elif what == "reset":
            self._forget()
        else:
            return StubAnswer(404, {"error": f"no control {what!r}"})
        return StubAnswer(body={"ok": True})

    def _set(self, entry: dict[str, Any]) -> None:
        day, campaign, sub = str(entry.pop("day")), str(entry.pop("campaign")), str(entry.pop("sub", ""))
        self.campaigns.setdefault(campaign, int(campaign) if campaign.isdecimal() else 19941 + len(self.campaigns))
        self.figures[day, campaign, sub] = entry | entry.pop("figures", {})


def send(order: dict[str, Any]) -> dict[str, Any]:
    """Call a postback URL; its status and body."""
    words = urllib.parse.urlencode(order.get("parameters", {}))
    url, method = order["url"], order.get("method", "GET")
    if method == "GET" and words:
        url += ("&" if "?" in url else "?") + words
    request = urllib.request.Request(url, method=method, data=words.encode() if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return {"status": response.status, "body": response.read().decode()}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": error.read().decode()}


if __name__ == "__main__":
    main(Affilka)
