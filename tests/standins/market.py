"""Four affiliate platforms in one server, each in its own wire format, over one table of what was really earned.

Affilka under /affilka, Smartico under /smartico, Cellxpert under /cellxpert, MyAffiliates under /myaffiliates.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from hub.cli.standins.web import StubAnswer, StubRequest

CSV = "Date,Channel,Customer Group,Campaign,Clicks,NRC,NDC,Total Deposits,Net revenue Total,Income Revshare,Income CPA"


class Figures(NamedTuple):
    """One day of one segment; money in cents."""

    visits: int
    registrations: int
    ftds: int
    deposits: int
    ngr: int
    cpa: int
    revshare: int


def money(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02}"


@dataclass
class Market:
    """What each platform says, and which of them is in trouble."""

    facts: dict[tuple[str, date, str], Figures] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)

    def __call__(self, asked: StubRequest) -> StubAnswer:
        platform = asked.path.split("/")[1]
        mode = self.trouble.get(platform)
        if mode == "down":
            return StubAnswer(500, b"internal error")
        if mode == "key":
            return StubAnswer(200, b"Bad Authentication", {"Content-Type": "text/plain"})
        return getattr(self, platform)(asked)  # type: ignore[no-any-return]

    def rows(self, platform: str, first: str, last: str) -> list[tuple[str, str, Figures]]:
        times = 2 if self.trouble.get(platform) == "doubled" else 1
        return [
            (day.isoformat(), tag, Figures(*(value * times for value in figures)))
            for (name, day, tag), figures in sorted(self.facts.items())
            if name == platform and first <= day.isoformat() <= last
        ]

    def affilka(self, asked: StubRequest) -> StubAnswer:
        if not asked.path.endswith("/report"):
            return StubAnswer(404, {"error": "no such page"})
        data = [
            [_cell("day", day), _cell("campaign_id", int(tag)), _cell("visits_count", f.visits),
             _cell("registrations_count", f.registrations), _cell("first_deposits_count", f.ftds),
             _money("deposits_sum", f.deposits), _money("ngr", f.ngr), _money("fixed_per_player", f.cpa),
             _money("partner_income", f.cpa + f.revshare)]
            for day, tag, f in self.rows("affilka", asked.parameter("from"), asked.parameter("to"))
        ]  # fmt: skip
        return StubAnswer(body={"rows": {"data": data}, "totals": {"data": []}, "current_page": 1, "total_pages": 1})

    def smartico(self, asked: StubRequest) -> StubAnswer:
        last = asked.parameter("date_to")
        data = [
            {"dt": f"{day}T00:00:00.000Z", "link_id": tag, "afp": "", "brand_id": 77, "visit_count": f.visits,
             "registration_count": f.registrations, "ftd_count": f.ftds, "deposit_total": f.deposits / 100,
             "net_pl": f.ngr / 100, "commissions_cpa": f.cpa / 100, "commissions_rev_share": f.revshare / 100,
             "commissions_total": (f.cpa + f.revshare) / 100}
            for day, tag, f in self.rows("smartico", asked.parameter("date_from"), last)
            if day < last
        ]  # fmt: skip
        return StubAnswer(body={"meta": {"affiliate_id": 1}, "data": data})

    def cellxpert(self, asked: StubRequest) -> StubAnswer:
        rows = "".join(
            f"<row><Day>{day.replace('-', '/')}</Day><Tracking_Code>{tag}</Tracking_Code><Brand>demo</Brand>"
            f"<Visitors>{f.visits}</Visitors><Registrations>{f.registrations}</Registrations><FTD>{f.ftds}</FTD>"
            f"<Deposits>{money(f.deposits)}</Deposits><Commission>{money(f.cpa + f.revshare)}</Commission></row>"
            for day, tag, f in self.rows("cellxpert", asked.parameter("fromdate"), asked.parameter("todate"))
        )
        return StubAnswer(200, f"<ResultSet>{rows}</ResultSet>".encode(), {"Content-Type": "text/xml"})

    def myaffiliates(self, asked: StubRequest) -> StubAnswer:
        if asked.path.endswith("/access_token"):
            return StubAnswer(body={"access_token": "fake-access-token", "expires_in": 3600})
        rows = list(self.rows("myaffiliates", asked.parameter("d1"), asked.parameter("d2")))
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


def _cell(name: str, value: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "type": "any"}


def _money(name: str, cents: int) -> dict[str, Any]:
    return _cell(name, {"amount": money(cents), "amount_cents": cents, "currency": "EUR"})
