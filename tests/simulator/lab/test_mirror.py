# SPDX-License-Identifier: GPL-3.0-or-later
"""The internet of a lab: Image Factory, files, names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import lzma
import pathlib
import socket
import typing as t

import aiohttp
import dnslib
import pytest

from simlab import images
from simlab.authority import Authority
from simlab.faults import Fault, Faults
from simlab.ledger import Ledger
from simlab.mirror.dns import NameServer
from simlab.mirror.schematic import InvalidSchematic, canonical, identifier
from simlab.mirror.server import MirrorServer

AGENT = "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515"
EMPTY = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"

#: Ids that the real factory gives, from its own tests.
IDS = [
    ("{}", EMPTY),
    ("customization: {}", EMPTY),
    ('customization: {"extraKernelArgs": []}', EMPTY),
    (
        "customization: {extraKernelArgs: [noapic, nolapic]}",
        "9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c",
    ),
    (
        '{"customization": {"meta": [{"key": 10, "value": "foo"}], "extraKernelArgs": [], "systemExtensions": {}}}',
        "d308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f",
    ),
    (
        '{"overlay": {"name": "rpi_generic", "image": "siderolabs/sbc-raspberrypi"}}',
        "ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9",
    ),
    (
        '{"customization":{"secureboot": {"includeWellKnownCertificates": true}}}',
        "fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6",
    ),
    ("customization: {systemExtensions: {officialExtensions: [siderolabs/qemu-guest-agent]}}", AGENT),
]


@pytest.mark.parametrize(("schematic", "number"), IDS)
def test_a_schematic_has_the_id_of_the_real_factory(schematic: str, number: str) -> None:
    assert identifier(canonical(schematic.encode())) == number


@pytest.mark.parametrize(
    ("schematic", "reason"),
    [
        ("", "EOF"),
        ("[]", "cannot unmarshal !!seq into schematic.Schematic"),
        ("customisation: {}", "field customisation not found in type schematic.Schematic"),
        ("customization: {extraKernelArgs: noapic}", "cannot unmarshal !!str `noapic` into []string"),
        ("customization: {meta: [{key: 300, value: x}]}", "into uint8"),
        ("a: [", "yaml: "),
    ],
)
def test_a_wrong_schematic_is_refused_in_the_factorys_words(schematic: str, reason: str) -> None:
    with pytest.raises(InvalidSchematic, match=reason.replace("[", r"\[").replace("]", r"\]")):
        canonical(schematic.encode())


class Web:
    """The mirror on loopback, asked under its names."""

    def __init__(self, folder: pathlib.Path) -> None:
        (folder / "files").mkdir()
        (folder / "files" / "install.yaml").write_text("kind: List\n")
        (folder / "secret").write_text("no")
        self.ledger, self.faults = Ledger(), Faults()
        self.authority = Authority(folder)
        names = ["factory.test"], {"files.test": folder / "files"}
        self.server = MirrorServer(*names, self.ledger, self.faults)
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> t.AsyncIterator[Web]:
        secure, plain = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.port = secure.getsockname()[1]
        await self.server.start(secure, plain, self.authority.server_context(*self.server.names))
        try:
            yield self
        finally:
            await self.server.stop()

    async def ask(self, method: str, path: str, host: str = "factory.test", **keywords: t.Any) -> tuple[int, bytes]:
        import ssl

        context = ssl.create_default_context(cadata=self.authority.certificate)
        connector = aiohttp.TCPConnector(ssl=context, resolver=_Loopback())
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"https://{host}:{self.port}{path}", **keywords) as answer,
        ):
            return answer.status, await answer.read()


class _Loopback(aiohttp.abc.AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return None


def _ask_all(folder: pathlib.Path, *requests: tuple[t.Any, ...], register: bool = True) -> tuple[Web, list[t.Any]]:
    async def ask() -> tuple[Web, list[t.Any]]:
        async with Web(folder).serving() as web:
            if register:
                await web.ask("POST", "/schematics", data=IDS[-1][0])
            return web, [await web.ask(*request) for request in requests]

    return asyncio.run(ask())


def test_a_schematic_that_is_posted_is_known(tmp_path: pathlib.Path) -> None:
    async def ask() -> tuple[t.Any, ...]:
        async with Web(tmp_path).serving() as web:
            before = await web.ask("GET", f"/schematics/{AGENT}")
            posted = await web.ask("POST", "/schematics", data=IDS[-1][0])
            return before, posted, await web.ask("GET", f"/schematics/{AGENT}"), web.server.factory.extensions(AGENT)

    before, (status, body), after, extensions = asyncio.run(ask())
    text = "customization:\n    systemExtensions:\n        officialExtensions:\n            - siderolabs/qemu-guest-agent\n"
    assert before == (404, b"schematic not found\n")
    assert (status, json.loads(body)) == (201, {"id": AGENT, "schematic": text})
    assert after == (200, text.encode())
    assert extensions == ["siderolabs/qemu-guest-agent"]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (f"/image/{EMPTY}/v1.13.9/nocloud-amd64.qcow2", 404, f'schematic ID "{EMPTY}" not found'),
        (f"/image/{AGENT}/v9.9.9/nocloud-amd64.qcow2", 404, "version 9.9.9 is not available"),
        (f"/image/{AGENT}/v1.13.9/nocloud-amd64.vdi", 400, 'invalid profile path: "nocloud-amd64.vdi"'),
        (f"/image/{AGENT}/v1.13.9/nocloud-riscv.iso", 400, 'invalid architecture: "riscv"'),
        (f"/image/{AGENT}/v1.13.9/nocloud.iso", 400, 'invalid platform-arch: "nocloud"'),
        (f"/image/{AGENT}/v1.13.9/teapot-amd64.iso", 400, 'invalid platform: "teapot"'),
        ("/nothing", 404, "route not registered"),
    ],
)
def test_an_image_that_cannot_be_is_refused(path: str, status: int, text: str, tmp_path: pathlib.Path) -> None:
    _, [(found, body)] = _ask_all(tmp_path, ("GET", path))
    assert found == status and text in body.decode()


def test_images_say_what_boots_from_them(tmp_path: pathlib.Path) -> None:
    base = f"/image/{AGENT}/v1.13.9/"
    names = ("nocloud-amd64.qcow2", "metal-arm64.iso", "nocloud-amd64.raw.xz", "nocloud-amd64-secureboot.raw")
    _, answers = _ask_all(tmp_path, *(("GET", base + name) for name in names))
    found = []
    for name, (status, body) in zip(names, answers, strict=True):
        path = tmp_path / name
        path.write_bytes(lzma.decompress(body) if name.endswith(".xz") else body)
        image = images.identity_of(path)
        assert status == 200 and image is not None
        found.append((image.version, image.platform, image.arch, image.schematic, image.medium))
    rest = ("v1.13.9", "nocloud", "amd64", AGENT, "disk")
    assert found == [rest, ("v1.13.9", "metal", "arm64", AGENT, "iso"), rest, rest]
    assert images.virtual_size_of(tmp_path / names[0]) == 4 << 30


def test_extensions_of_a_version_are_listed(tmp_path: pathlib.Path) -> None:
    _, ((status, body), missing) = _ask_all(
        tmp_path,
        ("GET", "/version/1.13.9/extensions/official"),
        ("GET", "/version/v9.9.9/extensions/official"),
    )
    agent = next(one for one in json.loads(body) if one["name"] == "siderolabs/qemu-guest-agent")
    assert status == 200 and list(agent) == ["name", "ref", "digest", "author", "description"]
    assert missing == (404, b"version 9.9.9 is not available\n")


def test_files_are_served_and_nothing_beside_them(tmp_path: pathlib.Path) -> None:
    _, answers = _ask_all(
        tmp_path,
        ("GET", "/install.yaml", "files.test"),
        ("GET", "/../secret", "files.test"),
        ("GET", "/%2e%2e/secret", "files.test"),
        ("POST", "/install.yaml", "files.test"),
    )
    assert [status for status, _ in answers] == [200, 404, 404, 405]
    assert answers[0][1] == b"kind: List\n"


def test_requests_stand_in_the_ledger(tmp_path: pathlib.Path) -> None:
    web, _ = _ask_all(tmp_path, ("GET", "/versions"), ("GET", "/install.yaml", "files.test"))
    seen = [(entry.server, entry.verb, entry.path, entry.write, entry.result) for entry in web.ledger.entries()]
    assert seen == [
        ("factory.test", "POST", "/schematics", True, "201"),
        ("factory.test", "GET", "/versions", False, "200"),
        ("files.test", "GET", "/install.yaml", False, "200"),
    ]


@pytest.mark.parametrize(("kind", "known"), [("drop-before", 404), ("drop-after", 200)])
def test_a_connection_is_dropped_before_or_after_it_took_effect(kind: str, known: int, tmp_path: pathlib.Path) -> None:
    async def ask() -> int:
        async with Web(tmp_path).serving() as web:
            web.faults.add(Fault(kind, api="mirror", writes=True))
            with pytest.raises(aiohttp.ClientError):
                await web.ask("POST", "/schematics", data=IDS[-1][0])
            return (await web.ask("GET", f"/schematics/{AGENT}"))[0]

    assert asyncio.run(ask()) == known


def test_an_answer_is_cut_in_the_middle_or_is_garbage(tmp_path: pathlib.Path) -> None:
    async def ask() -> tuple[int, bytes]:
        async with Web(tmp_path).serving() as web:
            web.faults.add(Fault("cut", api="mirror"))
            with pytest.raises(aiohttp.ClientPayloadError):
                await web.ask("GET", "/versions")
            web.faults.add(Fault("garbage", api="mirror"))
            return await web.ask("GET", "/versions")

    status, body = asyncio.run(ask())
    assert status == 200 and body.startswith(b"\x00\xff")


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def names() -> NameServer:
    return NameServer({"cp1.small.test": ["192.168.30.50"], "cp1": ["192.168.30.50"]})


def _query(server: NameServer, name: str, kind: str) -> dnslib.DNSRecord:
    answer = server.answer(bytes(dnslib.DNSRecord.question(name, kind).pack()))
    assert answer is not None
    return dnslib.DNSRecord.parse(answer)


@pytest.mark.parametrize(
    ("name", "kind", "code", "data"),
    [
        ("cp1.small.test", "A", "NOERROR", ["192.168.30.50"]),
        ("CP1.Small.Test", "A", "NOERROR", ["192.168.30.50"]),
        ("cp1.small.test", "AAAA", "NOERROR", []),
        ("cp2.small.test", "A", "NXDOMAIN", []),
        ("50.30.168.192.in-addr.arpa", "PTR", "NOERROR", ["cp1.small.test.", "cp1."]),
        ("51.30.168.192.in-addr.arpa", "PTR", "NXDOMAIN", []),
    ],
)
def test_names_of_the_lab_are_answered_and_no_others(
    names: NameServer, name: str, kind: str, code: str, data: list[str]
) -> None:
    answer = _query(names, name, kind)
    assert (dnslib.RCODE.get(answer.header.rcode), [str(record.rdata) for record in answer.rr]) == (code, data)


@pytest.mark.parametrize("packet", [b"", b"\0" * 12, b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_query_gets_no_answer(names: NameServer, packet: bytes) -> None:
    assert names.answer(packet) is None
