"""What Prometheus scrapes: requests, latencies, the queue, the model, and how the device feels."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgenas.hardware.device import ROOT, power_mw, probe
from edgenas.serve.model import ServedModel

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
PROBE_S = 5.0  # the device's files are not read more often than this


class Metrics:
    """One registry per server."""

    def __init__(self, model: ServedModel) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "edgenas_requests", "Requests by endpoint and status.", ["endpoint", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "edgenas_request_seconds", "Time of requests.", ["endpoint"], buckets=BUCKETS, registry=self.registry
        )
        waiting = Gauge("edgenas_queue_length", "Requests that wait or compute.", registry=self.registry)
        waiting.set_function(lambda: float(model.waiting))
        ready = Gauge("edgenas_ready", "1 from the golden self-test on until it stops.", registry=self.registry)
        ready.set_function(lambda: float(model.ready and not model.draining))
        manifest = model.bundle.manifest
        Info("edgenas_model", "The model that is served.", registry=self.registry).info(
            {
                "name": model.name,
                "precision": model.precision,
                "runtime": model.runtime_name,
                "fingerprint": manifest.fingerprint,
                "sha256": manifest.models[model.precision].artifact.sha256,
            }
        )
        self.registry.register(_Device())

    def count(self, status: int) -> None:
        """An answer that was given before there was a request to any endpoint."""
        self.requests.labels("other", status).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Device(Collector):
    """Temperatures, power and throttling, where the device tells them."""

    def __init__(self) -> None:
        self._read, self._until = probe(ROOT), time.monotonic() + PROBE_S

    def collect(self) -> Iterable[Metric]:
        if time.monotonic() > self._until:
            self._read, self._until = probe(ROOT), time.monotonic() + PROBE_S
        temperature = GaugeMetricFamily("edgenas_temperature_celsius", "Of each zone.", labels=["zone"])
        for zone, value in self._read.temperatures_c.items():
            temperature.add_metric([zone], value)
        yield temperature
        if (power := power_mw(ROOT)) is not None:
            yield GaugeMetricFamily("edgenas_power_watts", "Of the module.", value=power / 1000)
        yield GaugeMetricFamily(
            "edgenas_throttled", "1 while the device slows itself down.", float(bool(self._read.throttling))
        )
