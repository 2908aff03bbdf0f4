# SPDX-License-Identifier: GPL-3.0-or-later
"""A TLS context that threads share is not written to by the connections that they open."""

from __future__ import annotations

import pathlib
import socket
import ssl
import typing as t

import pytest
import yaml
from urllib3.util.ssl_ import ssl_wrap_socket

from ansible_collections.groundwork.homelab.plugins.module_utils import tls, web
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import kubeconfig


def _of_proxmox(_folder: pathlib.Path) -> ssl.SSLContext:
    return t.cast(ssl.SSLContext, web.connections("https://192.0.2.1:8006", True, 4).conn_kw["ssl_context"])


def _of_kubernetes(folder: pathlib.Path) -> ssl.SSLContext:
    cluster = {"server": "https://192.0.2.1:6443"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": "not-a-secret"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    found = kubeconfig.load(str(path), None).tls
    assert found is not None
    return found


@pytest.mark.parametrize("made", [_of_proxmox, _of_kubernetes])
def test_connections_do_not_name_the_protocols_anew(
    made: t.Callable[[pathlib.Path], ssl.SSLContext], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL frees the old list at that, which another thread's greeting may be copying."""
    context, named = made(tmp_path), []
    monkeypatch.setattr(ssl.SSLContext, "set_alpn_protocols", lambda _self, protocols: named.append(protocols))
    for _connection in range(2):
        with socket.socket() as unconnected:
            ssl_wrap_socket(unconnected, server_hostname="192.0.2.1", ssl_context=context).close()
    assert named == []


def test_the_server_is_told_the_protocol() -> None:
    sent, received = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = tls.for_threads(ssl.create_default_context()).wrap_bio(received, sent, server_hostname="lab.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    assert b"\x08http/1.1" in sent.read()


def test_another_protocol_is_not_ignored_in_silence() -> None:
    context = tls.for_threads(ssl.create_default_context())
    with pytest.raises(ValueError, match="h2"):
        context.set_alpn_protocols(["h2"])
