"""OpenTelemetry: spans and metrics of a queue, where the application has set an SDK up."""

from eventq.contrib.otel.instrument import Instrumentation, instrument

__all__ = ["Instrumentation", "instrument"]
