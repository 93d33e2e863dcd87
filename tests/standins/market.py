"""Every affiliate platform in one server, each in its own wire format, over one table of what was really earned.

Affilka under /affilka, Smartico under /smartico and so on; ReferOn's pasted URL is /referon/statistics/preset.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from hub.cli.standins.web import StubAnswer, StubRequest
from tests.standins.serving import answering

CSV = "Date,Channel,Customer Group,Campaign,Clicks,NRC,NDC,Total Deposits,Net revenue Total,Income Revshare,Income CPA"

MEMBERS = (
    "period,siteid,sitename,clicks,downloads,firstdepositcount,purchases,Deposits,Netrevenue,revsharecommission,"
    "totalcpacommission,cpacommissioncount,totalcommission"
)


class Figures(NamedTuple):
    """One day of one segment; money in cents."""

    visits: int
    registrations: int
    ftds: int
    deposits: int
    ngr: int
    cpa: int
    revshare: int


Row = tuple[str, str, Figures]
"""Day, segment, figures."""

Change = Callable[[list[Row]], list[Row]]


def money(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02}"


@dataclass
class Market:
    """What each platform says, and which of them is in trouble."""

    facts: dict[tuple[str, date, str], Figures] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)
    change: Change | None = None  # what becomes of the true rows of every answer

    def __call__(self, request: StubRequest) -> StubAnswer:
        platform = request.path.split("/")[1]
        mode = self.trouble.get(platform)
        if mode == "down":
            return StubAnswer(500, b"internal error")
        if mode == "key":
            return StubAnswer(200, b"Bad Authentication", {"Content-Type": "text/plain"})
        return getattr(self, platform)(request)  # type: ignore[no-any-return]

    def rows(self, platform: str, first: str, last: str) -> list[Row]:
        times = 2 if self.trouble.get(platform) == "doubled" else 1
        rows = [
            (day.isoformat(), tag, Figures(*(value * times for value in figures)))
            for (name, day, tag), figures in sorted(self.facts.items())
            if name == platform and first <= day.isoformat() <= last
        ]
        return self.change(rows) if self.change else rows

    def affilka(self, request: StubRequest) -> StubAnswer:
        if not request.path.endswith("/report"):
            return StubAnswer(404, {"error": "no such page"})
        data = [
            [_cell("day", day), _cell("campaign_id", int(tag)), _cell("visits_count", f.visits),
             _cell("registrations_count", f.registrations), _cell("first_deposits_count", f.ftds),
             _money("deposits_sum", f.deposits), _money("ngr", f.ngr), _money("fixed_per_player", f.cpa),
             _money("partner_income", f.cpa + f.revshare)]
            for day, tag, f in self.rows("affilka", request.parameter("from"), request.parameter("to"))
        ]  # fmt: skip
        return StubAnswer(body={"rows": {"data": data}, "totals": {"data": []}, "current_page": 1, "total_pages": 1})

    def smartico(self, request: StubRequest) -> StubAnswer:
        last = request.parameter("date_to")
        data = [
            {"dt": f"{day}T00:00:00.000Z", "link_id": tag, "afp": "", "brand_id": 77, "visit_count": f.visits,
             "registration_count": f.registrations, "ftd_count": f.ftds, "deposit_total": f.deposits / 100,
             "net_pl": f.ngr / 100, "commissions_cpa": f.cpa / 100, "commissions_rev_share": f.revshare / 100,
             "commissions_total": (f.cpa + f.revshare) / 100}
            for day, tag, f in self.rows("smartico", request.parameter("date_from"), last)
            if day < last
        ]  # fmt: skip
        return StubAnswer(body={"meta": {"affiliate_id": 1}, "data": data})

    def cellxpert(self, request: StubRequest) -> StubAnswer:
        rows = "".join(
            f"<row><Day>{day.replace('-', '/')}</Day><Tracking_Code>{tag}</Tracking_Code><Brand>demo</Brand>"
            f"<Visitors>{f.visits}</Visitors><Registrations>{f.registrations}</Registrations><FTD>{f.ftds}</FTD>"
            f"<Deposits>{money(f.deposits)}</Deposits><Commission>{money(f.cpa + f.revshare)}</Commission></row>"
            for day, tag, f in self.rows("cellxpert", request.parameter("fromdate"), request.parameter("todate"))
        )
        return StubAnswer(200, f"<ResultSet>{rows}</ResultSet>".encode(), {"Content-Type": "text/xml"})

    def myaffiliates(self, request: StubRequest) -> StubAnswer:
        if request.path.endswith("/access_token"):
            return StubAnswer(body={"access_token": "fake-access-token", "expires_in": 3600})
        rows = list(self.rows("myaffiliates", request.parameter("d1"), request.parameter("d2")))
        lines = [
            f"{day},Demo,4,{tag},{f.visits},{f.registrations},{f.ftds},{money(f.deposits)},{money(f.ngr)},"
            f"{money(f.revshare)},{money(f.cpa)}"
            for day, tag, f in rows
        ]
        sums = Figures(*(sum(f[n] for _, _, f in rows) for n in range(len(Figures._fields))))
        totals = (
            f"Total,,,,{sums.visits},{sums.registrations},{sums.ftds},{money(sums.deposits)},{money(sums.ngr)},"
            f"{money(sums.revshare)},{money(sums.cpa)}"
        )
        content = "".join(f"{line}\n" for line in (CSV, *lines, totals))
        return StubAnswer(200, content.encode(), {"Content-Type": "text/csv"})

    def referon(self, request: StubRequest) -> StubAnswer:
        data = [
            {"date": day, "brand": "DemoBet", "media_item": tag, "clicks": f.visits, "registrations": f.registrations,
             "ftd_count": f.ftds, "deposits_sum": money(f.deposits), "ngr": money(f.ngr),
             "commission": money(f.cpa + f.revshare), "currency": "EUR"}
            for day, tag, f in self.rows("referon", request.parameter("from"), request.parameter("to"))
        ]  # fmt: skip
        return StubAnswer(body={"data": data})

    def income_access(self, request: StubRequest) -> StubAnswer:
        first, last = (request.parameter(name).replace("/", "-") for name in ("reportstartdate", "reportenddate"))
        lines = [
            f"{day[5:7]}/{day[8:]}/{day[:4]},{tag},Blog,{f.visits},{f.registrations},{f.ftds},{f.ftds},{money(f.deposits)},"
            f"{money(f.ngr)},{money(f.revshare)},{money(f.cpa)},{f.ftds},{money(f.cpa + f.revshare)}"
            for day, tag, f in self.rows("income_access", first, last)
        ]
        return StubAnswer(
            200, "".join(f"{line}\n" for line in (MEMBERS, *lines)).encode(), {"Content-Type": "text/csv"}
        )

    def alanbase(self, request: StubRequest) -> StubAnswer:
        day = request.parameter("date_from")[:10]
        data = [
            {"group_fields": [{"label": f"Offer {tag}", "id": tag}], "click_count": f.visits,
             "conversions": {"total": {"count": f.ftds, "payout": 1}, "confirmed": _conversions(f)}}
            for _, tag, f in self.rows("alanbase", day, day)
        ]  # fmt: skip
        meta = {"page": 1, "per_page": 100, "total_count": len(data), "last_page": 1}
        return StubAnswer(body={"data": data, "meta": meta})

    def scaleo(self, request: StubRequest) -> StubAnswer:
        body = request.json()
        rows = [
            {"day": day, "offer_id": int(tag), "aff_param1": "", "statistics": _statistics(f)}
            for day, tag, f in self.rows("scaleo", body["rangeFrom"], body["rangeTo"])
        ]
        return StubAnswer(body={"status": "success", "code": 200, "info": {"rows": rows, "totals": {}}})

    def everflow(self, request: StubRequest) -> StubAnswer:
        body = request.json()
        table = [
            {"columns": [{"column_type": "offer", "id": tag, "label": "Demo"}, {"column_type": "sub1", "label": ""}],
             "reporting": {"total_click": f.visits, "cv": f.ftds, "revenue": (f.cpa + f.revshare) / 100}}
            for _, tag, f in self.rows("everflow", body["from"], body["to"])
        ]  # fmt: skip
        return StubAnswer(body={"table": table})

    def affise(self, request: StubRequest) -> StubAnswer:
        first, last = request.parameter("filter[date_from]"), request.parameter("filter[date_to]")
        stats = [
            {"slice": {"day": day, "offer": {"id": tag, "title": "Demo"}, "sub1": ""},
             "traffic": {"raw": str(f.visits), "uniq": str(f.visits)},
             "actions": {"confirmed": {"count": f.ftds, "revenue": (f.cpa + f.revshare) / 100}}, "currency": "EUR"}
            for day, tag, f in self.rows("affise", first, last)
        ]  # fmt: skip
        pagination = {"page": 1, "limit": 500, "total": len(stats)}
        return StubAnswer(body={"status": 1, "stats": stats, "pagination": pagination})

    def netrefer(self, request: StubRequest) -> StubAnswer:
        if request.path.endswith("/token"):
            return StubAnswer(body={"token_type": "Bearer", "access_token": "fake-access-token", "expires_in": 3599})
        first, last = request.path.split("/")[-2:]
        data = [
            {"Date": f"{day}T00:00:00", "MarketingSource": tag, "Clicks": f.visits, "Signups": f.registrations,
             "FirstTimeDepositingCustomers": f.ftds, "Deposits": f.deposits / 100, "NetRevenue": f.ngr / 100,
             "Earnings": (f.cpa + f.revshare) / 100}
            for day, tag, f in self.rows("netrefer", first, last)
        ]  # fmt: skip
        return StubAnswer(body={"data": data})

    def trackbox(self, request: StubRequest) -> StubAnswer:
        body = request.json()
        players = [
            player
            for day, tag, f in self.rows("trackbox", body["from"][:10], body["to"][:10])
            for player in _players(day, tag, f)
        ]
        return StubAnswer(body={"data": players, "meta": {"total": len(players), "currentPage": 1, "lastPage": 1}})

    def tune(self, request: StubRequest) -> StubAnswer:
        first, last = (value for name, value in request.query if name == "filters[Stat.date][values][]")
        data = [
            {"Stat": {"date": day, "offer_id": tag, "affiliate_info1": "", "clicks": str(f.visits),
                      "conversions": str(f.ftds), "payout": money(f.cpa + f.revshare), "currency": "EUR"}}
            for day, tag, f in self.rows("tune", first, last)
        ]  # fmt: skip
        page = {"page": 1, "current": 1000, "count": len(data), "pageCount": 1, "data": data}
        return StubAnswer(body={"response": {"status": 1, "httpStatus": 200, "data": page, "errors": []}})


def _players(day: str, tag: str, figures: Figures) -> list[dict[str, Any]]:
    """Whoever registered on the day, as many depositing at once as did; what is over registered long before."""
    long_before = date.fromisoformat(day) - timedelta(days=40)
    return [
        {"customerData": {"uniqueid": f"{day}-{tag}-{n}", "created": f"{registered} 10:00:00",
                          "depositor": n < figures.ftds,
                          "first_depositDate": f"{day} 11:00:00" if n < figures.ftds else None},
         "tracking": {"so": tag, "MPC_1": ""}}
        for n in range(max(figures.registrations, figures.ftds))
        for registered in [day if n < figures.registrations else long_before]
    ]  # fmt: skip


def _conversions(figures: Figures) -> dict[str, Any]:
    return {"count": figures.ftds, "payout": (figures.cpa + figures.revshare) / 100}


def _statistics(figures: Figures) -> dict[str, Any]:
    return {"clicks": figures.visits, "conversions": figures.ftds, "revenue": (figures.cpa + figures.revshare) / 100}


def _cell(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "type": "any"}


def _money(name: str, cents: int) -> dict[str, Any]:
    return _cell(name, {"amount": money(cents), "amount_cents": cents, "currency": "EUR"})


@contextmanager
def served_market() -> Iterator[tuple[Market, str]]:
    """The market on a port of its own, and its address."""
    standin = Market()
    with answering(standin) as url:
        yield standin, url
