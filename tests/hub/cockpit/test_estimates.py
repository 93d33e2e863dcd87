"""What the pending days may bring: over HTTP and on the cockpit's first page, the same estimate."""

import re
from html import unescape

import pytest

from tests.journeys.deployment import Deployment

pytestmark = pytest.mark.slow


def test_the_estimate_over_http_is_the_one_that_the_cockpit_shows(hub: Deployment) -> None:
    made = hub.get("forecast")
    assert made["estimated"]
    assert made["items"], "the last days are pending"
    total = made["total"]
    assert total["low"] <= total["estimate"] <= total["high"]
    assert made["total_accuracy"]["days"] >= made["total_accuracy"]["inside"] > 0
    for item in made["items"]:
        assert (item["forecast"] is None) == bool(item["lacking"])
    hub.http.post("/cockpit/sign-in", data={"token": hub.token})
    page = unescape(hub.http.get("/cockpit").text)
    figure = page[page.index("Commission pending") :][:1500]
    shown = [float(amount.replace(",", "")) for amount in re.findall(r"€([\d,]+\.\d\d)", figure)][:3]
    asked = [total[name] / 1_000_000 for name in ("estimate", "low", "high")]
    assert shown == pytest.approx(asked, rel=0.002)  # it falls with every second of today that brings nothing
    assert "80 %" in figure
    assert "past outcomes" in figure
