# SPDX-License-Identifier: GPL-3.0-or-later
"""Which proxy is asked, whom a connection trusts, and what a connection that never stood says."""

from __future__ import annotations

import pathlib
import socket
import threading

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import web
from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("address", "exceptions", "proxy"),
    [
        ("https://pve.lab:8006", "", "http://proxy.lab:3128"),
        ("https://pve.lab:8006", "pve.lab", ""),
        ("https://pve.lab:8006", ".lab", ""),
        ("https://pve.lab:8006", "other.lab,*", "http://proxy.lab:3128"),
        ("https://pve.lab:8006", "*", ""),
        ("https://192.168.30.10:8006", "192.168.0.0/16", ""),
        ("https://192.168.30.10:8006", "10.0.0.0/8, 192.168.30.10", ""),
        ("https://192.168.30.10:8006", "10.0.0.0/8", "http://proxy.lab:3128"),
        ("https://[fd00::10]:8006", "fd00::/8", ""),
        ("http://factory.lab", "", ""),
    ],
)
def test_the_proxy_of_the_environment(
    address: str, exceptions: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.lab:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert web.proxy_for(address) == proxy


def ask(address: str, verify: bool | str = False) -> None:
    """As the rooms do."""
    import urllib3

    pool = web.connections(address, verify, 1)
    try:
        pool.urlopen("GET", "/", retries=False, redirect=False, timeout=urllib3.Timeout(connect=5, read=5))
    except (urllib3.exceptions.HTTPError, UnicodeError) as error:
        raise web.unreachable(error, asked="ask", of=address, timeout=5, limit="limit", authority="ca") from error


def answering(text: bytes) -> tuple[int, list[bytes]]:
    """A server for one connection: its port, and what it heard."""
    server, heard = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def serve() -> None:
        with server, server.accept()[0] as one:
            heard.append(one.recv(65536))
            one.sendall(text)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1]), heard


def test_a_proxy_is_asked_with_its_password_and_its_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    port, heard = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{port}")
    with pytest.raises(web.NeverSent, match=r"403 Forbidden.*HTTPS_PROXY, NO_PROXY"):
        ask("https://pve.lab:8006")
    assert heard[0].startswith(b"CONNECT pve.lab:8006 HTTP/1.")
    assert b"roxy-" in heard[0] and b"Basic bWU6cEBzcw==" in heard[0]


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    with pytest.raises(web.NeverSent, match=r"Connection refused.*HTTPS_PROXY, NO_PROXY"):
        ask("https://pve.lab:8006")


def test_a_port_that_does_not_speak_tls() -> None:
    port, _heard = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(web.NeverSent, match="the TLS handshake failed: .*Does this port speak TLS"):
        ask(f"https://127.0.0.1:{port}")


@pytest.mark.parametrize("address", [f"https://{'x' * 70}.lab:8006", "https://a..b:8006"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InvalidInput, match="is no address that can be asked"):
        ask(address)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(web.NeverSent, match="Is it switched on, and are host and port right"):
        ask("https://nobody.invalid:8006")


def test_authorities_that_are_no_certificates(tmp_path: pathlib.Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(InvalidInput, match=r"authorities to trust cannot be read from .*ca\.pem"):
        web.connections("https://pve.lab:8006", str(tmp_path / "ca.pem"), 1)
    web.connections("https://pve.lab:8006", str(tmp_path), 1)


def test_the_environment_names_authorities_and_an_option_wins(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/bundle.pem")
    assert web.verification(True, "") == "/bundle.pem"
    assert web.verification(True, "/mine.pem") == "/mine.pem"
    assert web.verification(False, "/mine.pem") is False
