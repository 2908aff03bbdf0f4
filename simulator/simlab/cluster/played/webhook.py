# SPDX-License-Identifier: GPL-3.0-or-later
"""The played webhook of cert-manager: a TLS server in its pod's network, with a certificate of its own authority."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
import typing as t

from aiohttp import web

from ...contracts import Namespace
from ...network import NetNamespace
from .. import credentials
from ..client import KubeError
from ..containers.pod_network import NetworkFailed, PodNetwork, ip
from . import signing
from .admission import answered
from .certificate_policy import GROUP
from .seat import Object, Refused, Seat
from .selectors import matches

_RETRY = 1.0


async def webhook(seat: Seat) -> None:
    """Serves until cancelled. Raises Refused when its address cannot be had."""
    if seat.node is None or seat.kubelet is None or not seat.address:
        raise Refused("a webhook needs a node and an address")
    pair = await _authority(seat)
    place = seat.node.machine.namespace
    async with contextlib.AsyncExitStack() as stack:
        context = _context(pair, _dns_names(seat))
        runner = web.AppRunner(_application(), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        port = int(seat.flag("secure-port", "10250"))
        try:
            inside = await _own_network(seat, place, stack)
            await web.SockSite(runner, inside.listen(seat.address, port), ssl_context=context).start()
            for address, number in await _fronts(seat):
                await _hold(place, address, stack)
                await web.SockSite(runner, place.listen(address, number), ssl_context=context).start()
        except (OSError, NetworkFailed) as error:
            raise Refused(f"failed to listen: {error}") from None
        await asyncio.Event().wait()


def _application() -> web.Application:
    async def review(request: web.Request) -> web.Response:
        try:
            return web.Response(text=answered(await request.read()), content_type="application/json")
        except (ValueError, KeyError, TypeError) as error:
            return web.Response(status=400, text=str(error))

    application = web.Application(client_max_size=8 << 20)
    application.router.add_post("/validate", review)
    application.router.add_post("/mutate", review)
    return application


async def _own_network(seat: Seat, place: Namespace, stack: contextlib.AsyncExitStack) -> NetNamespace:
    """The pod's network namespace. Raises NetworkFailed, OSError."""
    network = PodNetwork(place, str(seat.pod["metadata"]["uid"]), seat.address)
    stack.push_async_callback(network.stop)
    await network.start()
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, home)
    inside = NetNamespace(seat.name, network.path, home)
    stack.callback(inside.close)
    return inside


async def _hold(place: Namespace, address: str, stack: contextlib.AsyncExitStack) -> None:
    """The address on the node for as long as the webhook runs. Raises NetworkFailed."""

    async def let_go() -> None:
        with contextlib.suppress(NetworkFailed, OSError):
            await ip(place, [f"addr del {address}/32 dev lo"])

    await ip(place, [f"addr replace {address}/32 dev lo"])
    stack.push_async_callback(let_go)


async def _fronts(seat: Seat) -> list[tuple[str, int]]:
    """Where the lab has a service network, it passes Services' addresses on to their pods, and is told that it is needed.
    Elsewhere the webhook answers at its Services' addresses itself, on its own node."""
    if seat.node is None or seat.kubelet is None:
        return []
    if seat.node.containers is not None:
        seat.node.containers.wanted(credentials.accepted_authorities(seat.node.config)).set()
        return []
    labels = seat.pod["metadata"].get("labels") or {}
    found = await seat.kubelet.call("GET", f"/api/v1/namespaces/{seat.namespace}/services")
    mine = [
        one["spec"]
        for one in found["items"]
        if one["spec"].get("selector") and matches({"matchLabels": one["spec"]["selector"]}, labels)
    ]
    return [
        (str(spec["clusterIP"]), int(port["port"]))
        for spec in mine
        if ":" not in spec.get("clusterIP", ":") and spec["clusterIP"] != "None"
        for port in spec["ports"]
        if port["port"] == 443
    ]


def _dns_names(seat: Seat) -> list[str]:
    given = seat.flag("dynamic-serving-dns-names").replace("$(POD_NAMESPACE)", seat.namespace)
    service = "cert-manager-webhook"
    default = [service, f"{service}.{seat.namespace}", f"{service}.{seat.namespace}.svc"]
    return [name for name in given.split(",") if name] or default


async def _authority(seat: Seat) -> signing.Signer:
    """The webhook's own, kept in a Secret that the injector reads."""
    name = seat.flag("dynamic-serving-ca-secret-name", "cert-manager-webhook-ca")
    path = f"/api/v1/namespaces/{seat.namespace}/secrets"
    told = ""
    while True:
        try:
            found = await seat.client.get(f"{path}/{name}")
            if found is None:
                found = await seat.client.call("POST", path, await asyncio.to_thread(_new_secret, seat.namespace, name))
            return signing.signer_of(found)
        except KubeError as error:
            if error.code == 403 and str(error) != told:
                told = str(error)
                await seat.tell("Warning", "Forbidden", told)
        except ValueError as error:
            raise Refused(f"Secret {seat.namespace}/{name}: {error}") from None
        await asyncio.sleep(_RETRY)


def _new_secret(namespace: str, name: str) -> Object:
    key = signing.new_key({"privateKey": {"algorithm": "ECDSA", "size": 384}})
    spec = {"commonName": name, "isCA": True, "duration": "8760h"}
    certificate = signing.sign(signing.request(key, spec), spec, None, key)
    data = {"ca.crt": certificate, "tls.crt": certificate, "tls.key": signing.key_pem(key, {})}
    notes = {f"{GROUP}/allow-direct-injection": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "annotations": notes},
        "data": {key_: signing.encoded(text) for key_, text in data.items()},
    }


def _context(signer: signing.Signer, dns_names: list[str]) -> ssl.SSLContext:
    key = signing.new_key({"privateKey": {"algorithm": "ECDSA"}})
    spec: dict[str, t.Any] = {"dnsNames": dns_names, "duration": "168h", "usages": ["digital signature", "server auth"]}
    certificate = signing.sign(signing.request(key, spec), spec, signer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # ssl reads files only; mode 0600
        file.write(certificate + signing.key_pem(key, {}))
        file.flush()
        context.load_cert_chain(file.name)
    return context
