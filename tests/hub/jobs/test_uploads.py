"""Figures of platforms without an API, uploaded as CSV."""

from collections.abc import Callable
from typing import Any

import pytest

from storage.ledger.errors import Refused
from tests.hub.syncing import hub

EGO = [
    "Date;Website;Clic;Sign.;CPA BL;First Qty Deposit;First Deposit;Revenue CPA;NGR;Total Deposit;Net Income;Earnings",
    "01/10/2026;blog;1.041;10;3;4;160,00 $;240,00 $;-12,50 $;1.400,50 $;-3,75 $;236,25 $",
]
MEXOS = [
    "Date,Campaign,Unique Clicks,Casino Signups Cnt,Sport Signups Cnt,Casino RFD Cnt,Sport RFD Cnt,Commission",
    "2026-10-01,push,40,7,3,3,1,90.00",
]


async def test_presets_and_own_mappings_are_read(opened: Callable[[], Any]) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Ego", options={"preset": "ego"})
        await team.say("account add csv_upload name=Mexos", options={"preset": "mexos"})
        own = {"day": "Tag", "tag": "Kampagne", "commission": "Provision"}
        await team.say("account add csv_upload name=Own", options={"columns": own})
        done = await team.say("sync upload ego", lines=EGO)
        assert (done["from"], done["to"], done["rows"], done["suspect"]) == ("2026-10-01", "2026-10-01", 1, None)
        assert (await team.say("sync upload mexos", csv="\n".join(MEXOS)))["revisions"] == 1
        assert (await team.say("sync upload own", lines=["Tag;Kampagne;Provision", "01.10.2026;x;9,50 €"]))["rows"] == 1
        assert (await team.say("sync upload ego", lines=EGO))["revisions"] == 0
        assert (await team.say("account show ego"))["segments"] == ["blog"]
        assert (await team.say("sync status mexos"))["items"][0]["last_success_at"] == "2026-10-20T12:00:00Z"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("lines", "told"),
    [(["a,b"], "no header"), (["day,tag,commission"], "no line"),
     (["day,tag,commission", "yesterday,x,1"], "no day"), (["day,tag,commission", "2026-10-01,x,abc"], "no number"),
     (["day,tag,commission", "2026-10-01,x"], "cut off"),
     (["day,tag,colour", "2026-10-01,x,1"], "none of its columns")],
)  # fmt: skip
async def test_a_file_that_cannot_be_read_says_why(opened: Callable[[], Any], lines: list[str], told: str) -> None:
    async with hub(opened) as team:
        await team.say("account add csv_upload name=Own")
        with pytest.raises(Refused, match=told) as caught:
            await team.say("sync upload own", lines=lines)
        assert caught.value.field == "lines"
