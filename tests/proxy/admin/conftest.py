"""A state for the admin application, filled by the test."""

import asyncio

import httpx2
import pytest

from blueprint_proxy.admin.app import create_app
from blueprint_proxy.admin.event_streams import EventStreams
from blueprint_proxy.admin.state import (
    AddressesShown,
    AddressShown,
    BreakerShown,
    ConnectionsShown,
    SecretShown,
    UpstreamShown,
)
from blueprint_proxy.errors import Reason, Refusal
from blueprint_proxy.telemetry.exposition import Exposition
from blueprint_proxy.telemetry.metrics import Metrics
from blueprint_proxy.telemetry.stream import Telemetry


class FakeState:
    def __init__(self):
        self.allowed_hosts = {"sidecar.internal"}
        self.is_ready = True
        self.token = None
        self.jobs = None
        self.telemetry = Telemetry()
        self.events = EventStreams(self.telemetry)
        self.asked = []
        self.drains = 0
        self.breaker_state = "open"
        self.orders = []
        self.exposition = Exposition(Metrics())

    def ready(self):
        return self.is_ready

    def metrics(self, accept):
        return self.exposition.page(accept)

    def upstreams(self):
        return [
            UpstreamShown(
                name="gcs",
                kind="gcs",
                url="https://user:hunter2@storage.example/base?key=hunter3#hunter4",
                mode="enforce",
                breakers=[BreakerShown(owner="", state=self.breaker_state, retry_after=2.5)],
                in_flight=1,
                queued=2,
                connections=ConnectionsShown(idle=3, active=4),
            )
        ]

    def config(self):
        return {"mode": "enforce"}

    def operator_token(self):
        return self.token

    def job_token(self):
        return self.jobs

    def addresses(self, run=None, reached=None):
        self.asked.append((run, reached))
        url = AddressShown(kind="gcs", url="http://127.0.0.1:8900/gcs", credential=True, served=True)
        return AddressesShown(
            version="0", http="http://127.0.0.1:8900", grpc=None, admin="http://127.0.0.1:8901", upstreams={"gcs": url}
        )

    def grace(self):
        return 30.0

    async def drain(self):
        self.drains += 1

    async def secret(self, secret_id):
        if secret_id != "for-jobs":
            raise Refusal(Reason.FORBIDDEN, f"jobs may not read {secret_id}", sent=False)
        return SecretShown(id=secret_id, value="hunter2", version="3", source="secret_manager")

    def breaker_action(self, name, owner, action):
        if (name, owner) not in {("gcs", None), ("gcs", "")}:
            raise KeyError(name)
        self.orders.append((name, owner, action))
        self.breaker_state = "closed"


@pytest.fixture
def state():
    return FakeState()


@pytest.fixture
def ask(state):
    """Ask the application without a socket, as if over loopback."""
    app = create_app(state, runs=None, guard=None)

    def ask(method, path, **options):
        async def one():
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8901") as client:
                return await client.request(method, path, **options)

        return asyncio.run(one())

    return ask
