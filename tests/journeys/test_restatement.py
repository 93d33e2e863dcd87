"""Restatement: the platform takes back what it said; report, as_of and digest all tell it right."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.journeys.conftest import Deploy
from tests.journeys.deployment import Deployment
from tests.journeys.steps import click, figures, today, tracked_campaign
from tests.waiting import wait_for


@pytest.mark.slow
def test_a_restated_day_is_shown_as_it_is_now_and_as_it_was_then(
    deploy: Deploy, affilka: httpx.Client, traffic_source: httpx.Client
) -> None:
    hub = deploy()
    hub.start()
    link, _ = tracked_campaign(hub, affilka, traffic_source)
    click(hub, link, 1)
    day = today(hub)
    affilka.post(
        "/_control/figures", json=figures(day, first_deposits_count=20, ngr="800.00", partner_income="2400.00")
    )
    hub.a_day_later()
    hub.sync("affilka-main")
    wait_for(lambda: row(hub, day)["first_deposits"]["platform"] == 20, "the first figures")
    believed = (datetime.now(UTC) + timedelta(days=hub.days)).isoformat()
    hub.shell("run", "digest", "preview")

    affilka.post(
        "/_control/figures", json=figures(day, first_deposits_count=18, ngr="-150.25", partner_income="2160.00")
    )
    status = hub.sync("affilka-main")
    assert status["restated"] >= 1
    now = wait_for(lambda: row(hub, day) if row(hub, day)["ngr"] == -150_250_000 else None, "the restated figures")
    assert now["first_deposits"]["merged"] == 18
    assert now["commission"] == 2_160_000_000
    then = row(hub, day, as_of=believed)
    assert then["first_deposits"]["merged"] == 20
    assert then["ngr"] == 800_000_000
    digest = hub.shell("run", "digest", "preview").stdout
    assert "20" in digest
    assert "18" in digest


def row(hub: Deployment, day: str, **more: str) -> Any:
    return hub.get("report/merged", **{"from": day, "to": day, "by": "day,offer", **more})["rows"][0]
