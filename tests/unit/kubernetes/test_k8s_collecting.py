# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and URLs: what is taken from them, what is checked, and what the cache is for."""

from __future__ import annotations

import hashlib
import http.server
import pathlib
import threading
import typing as t

import pytest

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import collecting, fetching

TEXT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
BODY = (TEXT % "fetched").encode()
SHA256 = hashlib.sha256(BODY).hexdigest()


class Files(http.server.BaseHTTPRequestHandler):
    """Replies of the server's list, one after the other; the last one again and again."""

    def do_GET(self) -> None:
        server: t.Any = self.server
        server.asked += 1
        status, body = server.replies[min(server.asked, len(server.replies)) - 1]
        self.send_response(abs(status))
        self.send_header("content-length", str(len(body) + (9 if status < 0 else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture
def serve(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[..., t.Any]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "PATIENCE", 1.0)
    running: list[http.server.HTTPServer] = []

    def start(*replies: tuple[int, bytes]) -> t.Any:
        server: t.Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
        server.replies, server.asked = list(replies), 0
        server.url = f"http://127.0.0.1:{server.server_port}/release.yaml"
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def names(**given: t.Any) -> list[str]:
    return [one["metadata"]["name"] for one in collecting.collect([], **given)]


def test_what_is_verified_is_downloaded_once(serve: t.Callable[..., t.Any]) -> None:
    server = serve((200, BODY))
    entry = {"url": server.url, "sha256": f"sha256:{SHA256.upper()}"}
    assert names(urls=[entry]) == names(urls=[entry]) == ["fetched"]
    assert server.asked == 1
    (fetching.cache() / SHA256).write_text("changed on the disk")
    assert names(urls=[entry]) == ["fetched"]
    assert server.asked == 2
    assert (fetching.cache() / SHA256).read_bytes() == BODY


def test_what_is_not_verified_is_downloaded_each_time(serve: t.Callable[..., t.Any]) -> None:
    server = serve((200, BODY))
    entry = {"url": server.url, "unverified": True}
    assert names(urls=[entry, {**entry, "url": server.url + "?"}][:1]) == names(urls=[entry]) == ["fetched"]
    assert server.asked == 2
    assert not fetching.cache().exists()


def test_something_else_than_was_wanted_is_not_used(serve: t.Callable[..., t.Any]) -> None:
    server = serve((200, b"kind: Other"))
    with pytest.raises(errors.Refused) as caught:
        names(urls=[{"url": server.url, "sha256": SHA256}])
    assert f"not {SHA256}" in caught.value.message
    assert not fetching.cache().exists()


FAILING: dict[str, tuple[tuple[int, bytes], type[errors.HomelabError], str, bool]] = {
    "not there": ((404, b"no"), errors.NotFound, "HTTP 404", False),
    "no right": ((403, b"no"), errors.AccessDenied, "HTTP 403", False),
    "broken": ((503, b"no"), errors.ServerFault, "HTTP 503", True),
    "cut off": ((-200, BODY), errors.Unreachable, "ended before the answer was complete", True),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_failing_server_is_told_and_asked_again_where_that_may_help(case: str, serve: t.Callable[..., t.Any]) -> None:
    reply, kind, words, again = FAILING[case]
    server = serve(reply)
    with pytest.raises(kind) as caught:
        names(urls=[{"url": server.url, "sha256": SHA256}])
    assert words in caught.value.message
    assert (server.asked > 1) == again
    passing = serve(reply, (200, BODY))
    if again:
        assert names(urls=[{"url": passing.url, "sha256": SHA256}]) == ["fetched"]


def test_a_password_in_a_url_is_not_shown(serve: t.Callable[..., t.Any]) -> None:
    url = serve((404, b"no")).url.replace("http://", "http://me:s3cret@") + "?token=s3cret"
    for entry in ({"url": url, "sha256": SHA256}, {"url": url}, {"url": url, "sha256": "x"}):
        with pytest.raises(errors.HomelabError) as caught:
            names(urls=[entry])
        assert fetching.passwords([entry]) == {"s3cret"}
        assert "s3cret" not in str(caught.value.as_result()) + caught.value.message


def test_what_is_no_address_is_told(serve: t.Callable[..., t.Any]) -> None:
    del serve
    for url in ("https://[", "https://", "ftp://x.example/a"):
        entry = {"url": url, "sha256": SHA256}
        assert fetching.passwords([entry]) == set()
        with pytest.raises(errors.InvalidInput):
            names(urls=[entry])


def test_nobody_there_is_told(serve: t.Callable[..., t.Any]) -> None:
    url = serve((200, BODY)).url.rpartition(":")[0] + ":9/x.yaml"
    with pytest.raises(errors.Unreachable, match=r"download the manifest \(http://127\.0\.0\.1:9/x\.yaml\)"):
        names(urls=[{"url": url, "sha256": SHA256}])


def test_a_folder_stands_for_its_manifests_in_the_order_of_their_names(tmp_path: pathlib.Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json"):
        (tmp_path / name).write_text(TEXT % name[0])
    (tmp_path / "readme.md").write_text("no manifest")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/d.yaml").write_text(TEXT % "d")
    assert names(paths=[str(tmp_path)]) == ["a", "b", "c"]
    with pytest.raises(errors.InvalidInput, match="is given twice"):
        names(paths=[str(tmp_path), str(tmp_path / "b.yaml")])


def test_a_folder_that_is_something_else_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.InvalidInput, match=r"holds no file that ends in \.yaml, \.yml, \.json"):
        names(paths=[str(tmp_path)])
    (tmp_path / "kustomization.yaml").write_text("configMapGenerator: [{name: g}]")
    with pytest.raises(errors.InvalidInput, match="has a kustomization. Name it in kustomize, not in src"):
        names(paths=[str(tmp_path)])
    assert names(kustomizations=[str(tmp_path)])[0].startswith("g-")
