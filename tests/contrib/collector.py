"""A stand-in for an OpenTelemetry collector: what is posted to it over HTTP, understood and kept.

It may also be asked to fail, or never to answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What it was sent, and how it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.status = 200
        self.hanging = threading.Event()
        """While it is not set, requests are not answered."""
        self.hanging.set()
        self.asked = threading.Event()

    def take(self, path: str, body: bytes) -> None:
        """Keeps what a request holds."""
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            return
        assert path == "/v1/metrics", path
        for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metered in measured.scope_metrics:
                self.metrics += metered.metrics

    def named(self, name: str) -> list[Any]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.asked.set()
            collector.hanging.wait(60)
            if self.headers.get("content-encoding") == "gzip":
                body = decompress(body)
            if collector.status == 200:
                collector.take(self.path, body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.hanging.set()
        server.shutdown()
        server.server_close()
        thread.join()


def attributes(found: Any) -> dict[str, Any]:  # noqa: ANN401 - of protobuf
    """The attributes of a span, an event or a point."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in found.attributes
    }
