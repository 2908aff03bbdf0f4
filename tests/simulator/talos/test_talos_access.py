# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect and who may call what: the recorded refusals of a worker and of each role."""

from __future__ import annotations

import asyncio
import collections.abc as c
import json
import ssl
import typing as t

import pytest
import recorded
import yaml
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpclib.exceptions import StreamTerminatedError
from talos_support import (
    RPCS,
    Client,
    Lab,
    authority,
    bundle,
    client_pair,
    config,
    connected,
    context,
    text,
    until,
)

from simlab.talos import TalosNode

NOT_SIMULATED: dict[str, str] = yaml.safe_load(
    (recorded.ROOT.parent / "not_simulated.yaml").read_text(encoding="utf-8")
)
RECORDED = recorded.calls("cluster/roles-and-tls.txt")
ROLES = {"reader": "os:reader", "operator": "os:operator", "backup": "os:etcd:backup"}


async def configured(
    lab: Lab, secrets: dict[str, t.Any], address: str, kind: str = "controlplane", vmid: int = 100
) -> TalosNode:
    """A node that was given its configuration; it serves as soon as it may."""
    node = lab.node(address, vmid=vmid)
    await node.boot()
    await until(lambda: node.describe()["stage"] == "maintenance" and address in lab.ports)
    async with connected(lab, address, context()) as client:
        answer = await client.call(
            "ApplyConfiguration", {"data": text(config(secrets, kind), f"n{vmid}"), "mode": "AUTO"}
        )
        assert answer.code == "OK", answer.message
    await until(lambda: node.runtime.config is not None)
    return node


async def bootstrapped(lab: Lab, secrets: dict[str, t.Any], address: str = "10.77.0.11") -> TalosNode:
    node = await configured(lab, secrets, address)
    await until(lambda: node.serving and node.runtime.services.healthy("cri"))
    async with connected(lab, address, admin(secrets)) as client:
        assert (await client.call("Bootstrap")).code == "OK"
    await until(lambda: node.runtime.stage == "running")
    return node


def admin(secrets: dict[str, t.Any]) -> ssl.SSLContext:
    return context(client_pair(secrets["os"], ["os:admin"]), secrets["os"])


def run(lab: Lab, scenario: c.Coroutine[t.Any, t.Any, None]) -> None:
    async def bounded() -> None:
        try:
            await asyncio.wait_for(scenario, 30)
        finally:
            await lab.close()

    asyncio.run(bounded())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_may_on_a_real_node(lab: Lab, secrets: dict[str, t.Any], role: str) -> None:
    calls = [call for call in RECORDED if call.section == f"role {role}"]
    assert len(calls) > 20

    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        tls = context(client_pair(secrets["os"], [ROLES[role]]), secrets["os"])
        async with connected(lab, "10.77.0.11", tls) as client:
            wrong = [wrong for call in calls if (wrong := await _difference(client, call))]
        assert wrong == []

    run(lab, scenario())


async def _difference(client: Client, call: recorded.Recorded) -> str:
    request = _arguments(call)
    answer = await client.call(call.path, request, timeout=0.3)
    if call.path in NOT_SIMULATED and call.code == "OK":
        return "" if answer.code == "UNIMPLEMENTED" else f"{call.path}: {answer}"
    expected = (call.code, "" if call.code == "DEADLINE_EXCEEDED" else call.message)
    got = (answer.code, "" if answer.code == "DEADLINE_EXCEEDED" else answer.message)
    return "" if expected == got else f"{call.path}: expected {expected}, got {got}"


def _arguments(call: recorded.Recorded) -> dict[str, t.Any]:
    if not call.arguments.startswith("{"):
        return {}
    found: dict[str, t.Any] = json.loads(call.arguments)
    if "crt_ttl" in found:
        found["crt_ttl"] = {"seconds": int(found["crt_ttl"].rstrip("s"))}
    if "member_id" in found:
        found["member_id"] = int(found["member_id"])
    if "wait_timeout" in found:
        found["wait_timeout"] = {"seconds": int(found["wait_timeout"].rstrip("s"))}
    return found


def test_a_worker_refuses_what_is_for_control_planes(lab: Lab, secrets: dict[str, t.Any]) -> None:
    calls = [call for call in recorded.calls("cluster/rpcs.txt") if call.code == "UNIMPLEMENTED"]
    assert len(calls) >= 10

    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        worker = await configured(lab, secrets, "10.77.0.21", "worker", vmid=121)
        await until(lambda: worker.serving)
        async with connected(lab, "10.77.0.21", admin(secrets)) as client:
            wrong = [wrong for call in calls if (wrong := await _difference(client, call))]
        assert wrong == []

    run(lab, scenario())


def test_a_worker_is_silent_until_a_control_plane_is_up(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        worker = await configured(lab, secrets, "10.77.0.21", "worker", vmid=121)
        await asyncio.sleep(0.5)
        assert not worker.serving
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", lab.ports["10.77.0.21"])
        await configured(lab, secrets, "10.77.0.11")
        await until(lambda: worker.serving)

    run(lab, scenario())


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        (lambda secrets: None, "no client certificate"),
        (lambda secrets: client_pair(authority("talos", _ed25519()), ["os:admin"]), "a foreign CA"),
        (
            lambda secrets: client_pair(secrets["os"], ["os:admin"], [ExtendedKeyUsageOID.SERVER_AUTH]),
            "a server's certificate",
        ),
        (
            lambda secrets: client_pair(
                secrets["os"], ["os:admin"], [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            "a certificate for more than clients",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_connections_are_refused(lab: Lab, secrets: dict[str, t.Any], pair: t.Any, name: str) -> None:
    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        await until(lambda: node.serving)
        mark = lab.ledger.mark()
        assert await _asked(lab, context(pair(secrets), secrets["os"])) != "OK"
        assert lab.ledger.entries(mark) == []

    run(lab, scenario())


async def _asked(lab: Lab, tls: ssl.SSLContext) -> str:
    """The code of an answer, or the connection's end."""
    async with connected(lab, "10.77.0.11", tls) as client:
        try:
            return (await client.call("Version", timeout=2)).code
        except (OSError, StreamTerminatedError, ssl.SSLError) as error:
            return type(error).__name__


def _ed25519() -> t.Any:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PrivateKey.generate()


def test_the_maintenance_certificate_is_a_leaf_of_an_unknown_ca(lab: Lab) -> None:
    from cryptography import x509

    async def scenario() -> None:
        node = lab.node("10.77.0.11")
        await node.boot()
        await until(lambda: "10.77.0.11" in lab.ports)
        port = lab.ports["10.77.0.11"]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context(), server_hostname="x")
        certificate = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.close()
        assert certificate.subject.rfc4514_string() == "CN=maintenance-service.talos.dev"
        assert certificate.issuer.rfc4514_string() == ""
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
        assert addresses == ["10.77.0.11", "127.0.0.1", "::1"]

    run(lab, scenario())


def test_every_rpc_of_the_api_stands_in_the_recordings() -> None:
    assert {call.path for call in recorded.calls("maintenance/all-rpcs.txt")} == set(RPCS)


def test_another_clusters_admin_is_refused(lab: Lab, secrets: dict[str, t.Any]) -> None:
    other = bundle()

    async def scenario() -> None:
        node = await configured(lab, secrets, "10.77.0.11")
        await until(lambda: node.serving)
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connected(lab, "10.77.0.11", admin(other)) as client:
                await client.call("Version")

    run(lab, scenario())


# --- requests for other nodes
def test_a_control_plane_forwards_and_fans_out(lab: Lab, secrets: dict[str, t.Any]) -> None:
    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        worker = await configured(lab, secrets, "10.77.0.21", "worker", vmid=121)
        await until(lambda: worker.serving)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call("Hostname", metadata=[("node", "10.77.0.21")])
            assert answer.first.hostname == "n121"
            both = await client.call("Hostname", metadata=[("nodes", "10.77.0.11"), ("nodes", "10.77.0.21")])
            assert [(m.metadata.hostname, m.hostname) for m in both.messages[0].messages] == [
                ("10.77.0.11", "n100"),
                ("10.77.0.21", "n121"),
            ]
            list_ = await client.call("Version", metadata=[("nodes", "10.77.0.11,10.77.0.21")])
            assert list_.first.metadata.status.code == 14
            dead = await client.call("Version", metadata=[("node", "10.77.0.99")])
            assert (dead.code, dead.message) == ("UNAVAILABLE", _recorded_dial_error())
            port = await client.call("Version", metadata=[("node", "10.77.0.21:50000")])
            assert (port.code, port.message) == ("INTERNAL", 'invalid target "10.77.0.21:50000"')
            two = await client.call("Version", metadata=[("node", "10.77.0.11"), ("node", "10.77.0.21")])
            assert (two.code, two.message) == ("INVALID_ARGUMENT", "node metadata must be single-valued")
        async with connected(lab, "10.77.0.21", admin(secrets)) as client:
            answer = await client.call("Version", metadata=[("node", "10.77.0.11")])
            assert (answer.code, answer.message) == ("PERMISSION_DENIED", "no request forwarding")
            assert (await client.call("Version", metadata=[("node", "10.77.0.21")])).code == "OK"

    run(lab, scenario())


def _recorded_dial_error() -> str:
    return next(call.message for call in recorded.calls("cluster/rpcs.txt") if call.code == "UNAVAILABLE")
