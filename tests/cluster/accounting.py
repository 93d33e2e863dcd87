"""What became of every click, postback and row that was answered, id by id, and of what the hubs sent by themselves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import msgspec

from storage.ledger.clicks.click_id import Codec
from tests.cluster.hubs import outside
from tests.cluster.laboratory import ROWS, Laboratory
from tests.cluster.load import Attempt
from tests.cluster.processes import Ended, wait_for


class Account(msgspec.Struct, kw_only=True):
    """Answered, and what is kept of it. `further`: rows of requests that broke before their answer came."""

    answered: int
    kept: int
    lost: list[str]
    twice: list[str]
    further: int = 0

    @property
    def balanced(self) -> bool:
        return not self.lost and not self.twice


def clicks_of(lab: Laboratory, run: str, attempts: Sequence[Attempt]) -> Account:
    """Clicks answered 302 against the rows there are, by the id that the link carried."""
    answered = {a.key: a.answer for a in attempts if a.kind == "click" and a.status == 302}
    codec = Codec(bytes.fromhex(lab.nodes.query(
        lab.hubs.database, "SELECT value FROM facts WHERE name = 'click_id_key'")[0]["value"]))  # fmt: skip
    rows = lab.nodes.query(
        lab.hubs.database, "SELECT id, source_click_id FROM clicks WHERE source_click_id LIKE $1", f"{run}-%"
    )
    stored = Counter((str(row["source_click_id"]), int(row["id"])) for row in rows)
    expected = {(key, codec.decode(word) or 0) for key, word in answered.items()}
    return Account(
        answered=len(expected),
        kept=sum(pair in stored for pair in expected),
        lost=sorted(key for key, number in expected if (key, number) not in stored),
        twice=sorted(key for key, number in expected if stored[key, number] > 1),
        further=sum(pair not in expected for pair in stored),
    )


def postbacks_of(lab: Laboratory, run: str, attempts: Sequence[Attempt]) -> Account:
    """Postbacks answered 200 against the conversions there are, by their transaction's id."""
    answered = {a.key for a in attempts if a.kind == "postback" and a.status == 200}
    rows = lab.nodes.query(lab.hubs.database, "SELECT txn_id FROM conversions WHERE txn_id LIKE $1", f"{run}-%")
    return compare(answered, [str(row["txn_id"]) for row in rows])


def rows_of(lab: Laboratory, run: str, attempts: Sequence[Attempt]) -> Account:
    """What PostgreSQL itself kept of rows whose commit it had acknowledged."""
    answered = {a.key for a in attempts if a.kind == "row" and a.status == 200}
    rows = lab.nodes.query(ROWS, "SELECT key FROM written WHERE key LIKE $1", f"{run}-%")
    return compare(answered, [str(row["key"]) for row in rows])


def passed_on(run: str, attempts: Sequence[Attempt]) -> Account:
    """Conversions that the traffic source was called with, by the click id it had given itself."""
    answered = {a.click for a in attempts if a.kind == "postback" and a.status == 200}
    received = httpx.get(f"{outside('traffic_source')}/_control/received", timeout=30).json()["items"]
    keys = [item["query"].get("cid", "") for item in received]
    return compare(answered, [key for key in keys if key.startswith(f"{run}-")])


def compare(answered: set[str], kept: Iterable[str]) -> Account:
    """What was answered against the keys of what there is, one for each row."""
    stored = Counter(kept)
    return Account(
        answered=len(answered), kept=sum(key in stored for key in answered), lost=sorted(answered - stored.keys()),
        twice=sorted(key for key in answered if stored[key] > 1), further=len(stored.keys() - answered),
    )  # fmt: skip


def wait_kept(ask: Any, what: str, seconds: float = 90) -> Account:
    """An account once nothing of it is lost; as it is when the time is over."""
    latest: list[Account] = []

    def kept() -> bool:
        latest.append(ask())
        return not latest[-1].lost

    with suppress(Ended):
        wait_for(kept, what, seconds=seconds, pause=1)
    return latest[-1]


def clicks_so_far(lab: Laboratory) -> int:
    """People's clicks that are stored."""
    return int(lab.nodes.query(lab.hubs.database, "SELECT count(*) AS n FROM clicks WHERE bot = 0")[0]["n"])


def report_agrees(lab: Laboratory) -> bool:
    """Whether the merged report says what an independent count of the rows says: clicks and registrations."""
    events = lab.nodes.query(
        lab.hubs.database, "SELECT count(*) AS n FROM conversions WHERE event = 'registration'"
    )[0]["n"]  # fmt: skip
    today = datetime.now(UTC).date()
    totals = lab.read("report/merged", **{"from": today - timedelta(days=1), "to": today, "by": "day"})["totals"]
    return bool(totals["clicks"] == clicks_so_far(lab) and totals["registrations"]["postback"] == events)


class Room(msgspec.Struct, frozen=True):
    """A room of each chat that a fault has to itself; it is to get one digest and one alert."""

    channel: str
    chat: int


def messages(room: Room) -> dict[str, int]:
    """How many digests and alerts each chat's room got."""
    calls = httpx.get(f"{outside('slack')}/_control/calls", timeout=30).json()
    slack = [
        str(call["body"]) for call in calls
        if call["method"] == "chat.postMessage" and call["body"].get("channel") == room.channel
    ]  # fmt: skip
    posted = httpx.get(f"{outside('telegram')}/_control/chat", params={"chat": room.chat}, timeout=30).json()
    telegram = [str(item["text"]) for item in posted if "text" in item]
    return {
        f"{kind} on {chat}": sum(_is_alert(text) == (kind == "alert") for text in texts)
        for chat, texts in (("Slack", slack), ("Telegram", telegram))
        for kind in ("digest", "alert")
    }


def _is_alert(text: str) -> bool:
    return "🔴" in text or ":red_circle:" in text


def gap(attempts: Iterable[Attempt], start: float) -> float:
    """The longest time, from `start` on, in which the database acknowledged no row."""
    written = sorted(a.at + a.took for a in attempts if a.kind == "row" and a.status == 200)
    return max(
        (later - max(earlier, start) for earlier, later in pairwise(written) if later > start),
        default=0.0,
    )


def percentile(values: Sequence[float], part: float = 0.99) -> float:
    """The value that this part of all values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
