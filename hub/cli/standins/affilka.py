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

from hub.cli.standins.web import Asked, Given, main
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

    def __call__(self, asked: Asked) -> Given:
        if asked.path.startswith("/_control/"):
            return self._control(asked)
        with self._lock:
            self.requests.append(
                {"method": asked.method, "path": asked.path, "query": asked.query, "headers": asked.headers}
            )
            failing = self._fail(asked)
        if failing is not None:
            return failing
        if asked.path == REPORT:
            return self._authorised(asked) or self._report(asked)
        if asked.path == REPORT.removesuffix("report") + "campaigns":
            return self._authorised(asked) or Given(body=self._campaigns())
        return Given(404, {"error": "not found"})

    def _authorised(self, asked: Asked) -> Given | None:
        token = asked.headers.get("authorization") or asked.one("token")
        if token and self.settings["token"] in (None, token):
            return None
        return Given(401, {"error": "Invalid token"})

    def _campaigns(self) -> dict[str, Any]:
        items = [{"id": number, "name": name} for name, number in self.campaigns.items()]
        return {"current_page": 1, "total_pages": 1, "total_count": len(items), "items": items}

    def _report(self, asked: Asked) -> Given:
        first, last = asked.one("from")[:10], asked.one("to")[:10]
        columns = [value for key, value in asked.query if key == "columns[]"]
        with self._lock:
            rows = [
                self._row(key, values, columns)
                for key, values in sorted(self.figures.items())
                if first <= key[0] and (key[0] < last if self.settings["to_is_exclusive"] else key[0] <= last)
            ]
        size, page = self.settings["per_page"], int(asked.one("page", "1"))
        pages = max(1, -(-len(rows) // size))
        shown = rows[(page - 1) * size : page * size]
        totals = [self._totals(rows)] if self.settings["totals"] and rows else []
        body = {"rows": {"data": shown}, "totals": {"data": totals}, "current_page": page, "total_pages": pages}
        if self.failing.get("mode") == "truncated":
            whole = json.dumps(body).encode()
            return Given(body=whole[: len(whole) // 2])
        return Given(body=body)

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

    def _fail(self, asked: Asked) -> Given | None:
        mode = self.failing.get("mode")
        if mode is None or (asked.path.endswith("/campaigns") and mode != "nameless"):
            return None
        if mode == "nameless":
            return Given(500, b"no names today") if asked.path.endswith("/campaigns") else None
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
        known = {
            "html": Given(200, b"<html><body><h1>Maintenance</h1></body></html>", html),
            "login": Given(200, LOGIN, html),
            "error": Given(200, {"error": "something went wrong"}),
            "garbage": Given(200, b"\x00\x01 not json"),
            "cut": Given(200, b'{"rows": {"data": []' + b" " * 500, cut=20),
        }
        if isinstance(mode, int):
            return Given(mode, {"error": f"failing with {mode}"}, headers)
        return known.get(mode)

    def _control(self, asked: Asked) -> Given:
        what = asked.path.removeprefix("/_control/")
        if what == "requests":
            return Given(body={"items": self.requests})
        if what == "postback":
            return Given(body=send(asked.json()))
        with self._lock:
            return self._change(what, asked.json())

    def _change(self, what: str, given: Any) -> Given:
        if what == "figures":
            for one in given if isinstance(given, list) else [given]:
                self._set(dict(one))
        elif what == "remove":
            self.figures = {
                key: values
                for key, values in self.figures.items()
                if key[:2] != (str(given["day"]), str(given["campaign"]))
            }
        elif what == "fail":
            self.failing = given
        elif what == "settings":
            self.settings |= given
        elif what == "reset":
            self._forget()
        else:
            return Given(404, {"error": f"no control {what!r}"})
        return Given(body={"ok": True})

    def _set(self, given: dict[str, Any]) -> None:
        day, campaign, sub = str(given.pop("day")), str(given.pop("campaign")), str(given.pop("sub", ""))
        self.campaigns.setdefault(campaign, int(campaign) if campaign.isdecimal() else 19941 + len(self.campaigns))
        self.figures[day, campaign, sub] = given | given.pop("figures", {})


def send(given: dict[str, Any]) -> dict[str, Any]:
    """Call a postback URL; its status and body."""
    words = urllib.parse.urlencode(given.get("parameters", {}))
    url, method = given["url"], given.get("method", "GET")
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
