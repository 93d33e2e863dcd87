"""Sentry learns where a fault is, and nothing of whom it concerns."""

import sys
from typing import Any

import pytest
import sentry_sdk
import structlog

from hub.runtime import error_reports
from hub.runtime.tracing import Tracer
from storage.ledger.errors import CasinoFluxError


class Kept(sentry_sdk.transport.Transport):
    """A transport that sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


def test_a_fault_is_reported_by_type_and_place_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(error_reports.DSN, "http://public@127.0.0.1:9/1")
    transport = Kept()
    assert error_reports.start(transport=transport)
    try:
        log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[error_reports.processor])
        password = "hunter2-of-a-casino"
        try:
            raise KeyError(f"no such user: {password}")
        except KeyError as error:
            log.error("a click failed", campaign="promo", exc_info=error)
        (event,) = transport.events
        assert event["exception"]["values"][0]["type"] == "KeyError"
        assert event["tags"]["event"] == "a click failed"
        assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"].startswith("test_a_fault")
        assert password not in str(event)
        assert not {"request", "breadcrumbs", "user", "extra"} & set(event)
    finally:
        sentry_sdk.init()


def test_nothing_is_reported_or_traced_unless_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(error_reports.DSN, raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    tracer = Tracer()
    tracer.start()
    assert (error_reports.start(), tracer.on, tracer.began()) == (False, False, 0)


@pytest.mark.parametrize("package", ["opentelemetry", "sentry_sdk"])
def test_a_missing_package_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(error_reports.DSN, "http://public@127.0.0.1:9/1")
    monkeypatch.setitem(sys.modules, package, None)
    name = {"opentelemetry": "opentelemetry.exporter.otlp.proto.http.trace_exporter"}.get(package, package)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CasinoFluxError, match=r"pip install 'casinoflux\[(otel|sentry)\]'"):
        Tracer().start() if package == "opentelemetry" else error_reports.start()
