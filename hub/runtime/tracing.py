"""Traces of clicks, postbacks, syncs and commands by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set.

OpenTelemetry's own environment variables say the rest: OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS,
OTEL_TRACES_SAMPLER, OTEL_BSP_* and so on (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
Attributes hold codes and counts, never an address, a link, an argument or the text of an error.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from storage.ledger.errors import CasinoFluxError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

Attribute = str | int | float | bool | None


class Tracer:
    """Makes spans once it is started; costs one comparison until then."""

    def __init__(self) -> None:
        self._tracer: Any = None
        self._provider: Any = None

    @property
    def on(self) -> bool:
        return self._tracer is not None

    def began(self) -> int:
        """For `record`: nanoseconds since 1970; 0 while no spans are made."""
        return time.time_ns() if self._tracer is not None else 0

    def start(self) -> None:
        """Export spans from now on, if the environment names a collector. Raises CasinoFluxError if packages miss."""
        if not os.environ.get(ENDPOINT) or self.on:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise CasinoFluxError(
                f"{ENDPOINT} is set, but OpenTelemetry is not installed: pip install 'casinoflux[otel]', or unset it"
            ) from None
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "casinoflux"}
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("casinoflux")

    def stop(self) -> None:
        """Send what waits, and make no more spans. Blocks for some seconds where the collector is away."""
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is not None:
            provider.shutdown()

    @contextmanager
    def span(self, name: str, **attributes: Attribute) -> Iterator[None]:
        """What happens inside, and how it ends: an error is named by its type."""
        if self._tracer is None:
            yield
            return
        with self._tracer.start_as_current_span(
            name, attributes=_present(attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                raise

    def record(self, name: str, began: int, **attributes: Attribute) -> None:
        """A span that ends now, and began when `began` was asked."""
        if self._tracer is not None and began:
            self._tracer.start_span(name, start_time=began, attributes=_present(attributes)).end()


tracer = Tracer()
"""The process's own."""


def _present(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"casinoflux.{name}": value for name, value in attributes.items() if value is not None}
