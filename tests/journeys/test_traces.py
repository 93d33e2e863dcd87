"""What a collector of traces, Sentry and the log get to know of a hub: enough to find a fault, and no secret."""

import gzip
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hub.cli.standins.web import StubAnswer, StubRequest
from tests.journeys.deployment import Deployment
from tests.journeys.steps import click, convert, tracked_campaign
from tests.standins.serving import answering
from tests.waiting import wait_for

Deploy = Callable[..., Deployment]
pytestmark = pytest.mark.slow


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP collector on loopback: its address, and the bodies that were sent to it."""
    bodies: list[bytes] = []

    def collect(request: StubRequest) -> StubAnswer:
        is_packed = request.headers.get("content-encoding") == "gzip"
        bodies.append(gzip.decompress(request.body) if is_packed else request.body)
        return StubAnswer(headers={"Content-Type": "application/x-protobuf"})

    with answering(collect) as url:
        yield url, bodies


def spans(bodies: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """Name and attributes of each span, with the service's name among them."""
    result = []
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            of_service = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    own = {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
                    assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
                    result.append((span.name, {"service": of_service["service.name"], **own}))
    return result


def test_a_click_a_postback_a_sync_and_a_command_are_traced_without_what_is_private(
    deploy_sqlite: Deploy, affilka: httpx.Client, traffic_source: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as (address, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        hub = deploy_sqlite()
        hub.start()
        link, postback = tracked_campaign(hub, affilka, traffic_source)
        landed = click(hub, link, 7)
        assert convert(hub, postback, "unknownclick", "reg") == "unmatched"
        hub.sync("affilka-main")

        def named() -> dict[str, dict[str, Any]]:
            by_name = dict(spans(bodies))
            return by_name if {"click", "postback", "sync", "store report"} <= set(by_name) else {}

        by_name = wait_for(named, "the spans at the collector")
        hub.stop()
    assert by_name["click"] == {
        "service": "casinoflux",
        "casinoflux.campaign": "spring-push",
        "casinoflux.outcome": "chosen",
    }
    assert by_name["postback"]["casinoflux.outcome"] == "unmatched"
    assert by_name["command account add"]["casinoflux.role"] == "owner"
    assert {"fetch report", "store report"} <= set(by_name)
    key = postback.split("/postback/")[1].split("?")[0]
    sent = b"".join(bodies)
    assert landed.encode() not in sent
    for private in (b"fake-statistic-token", key.encode(), b"unknownclick", hub.token.encode(), b"source-7"):
        assert private not in sent


def test_each_answer_to_the_team_has_a_request_id_that_the_log_names_too(
    deploy_sqlite: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_DSN", "http://public@127.0.0.1:9/1")  # no one listens there: nothing is held up by it
    hub = deploy_sqlite()
    hub.start()
    own = hub.http.get("/readyz").headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", own)
    kept = hub.http.get("/readyz", headers={"x-request-id": "proxy-0123456789"}).headers["x-request-id"]
    assert kept == "proxy-0123456789"
    bad = hub.http.get("/readyz", headers={"x-request-id": 'a" level=error x="'}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", bad)
    assert "x-request-id" not in hub.http.get("/c/none").headers
    hub.stop()
