# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's certificate, got through an API server that is played: which requests, which errors, what is sealed."""

from __future__ import annotations

import collections.abc as c
import datetime
import http.server
import json
import os
import pathlib
import threading
import typing as t

import pytest
import yaml
from secrets_room import run

from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import sealing_certificate
from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import key_pairs
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secret

NOW = datetime.datetime.now(datetime.timezone.utc)
PAIR = key_pairs.generate("key", "kube-system", 2048, 30, NOW)
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"name": "http"}]}}
PATH = "/api/v1/namespaces/kube-system/services/sealed-secrets-controller"
PROXY = "/api/v1/namespaces/kube-system/services/http:sealed-secrets-controller:http/proxy/v1/cert.pem"
STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
Reply = tuple[int, str]


class Api(http.server.ThreadingHTTPServer):
    """``bad`` are answers to the next requests for the certificate; -1 closes the connection."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []
        self.bad: list[Reply] = []
        self.answers: dict[str, Reply] = {PATH: (200, json.dumps(SERVICE)), PROXY: (200, PAIR.certificate_pem)}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.seen.append(path)
        missing = json.dumps({**STATUS, "reason": "NotFound", "message": f"no {path}", "code": 404})
        status, text = self.server.answers.get(path, (404, missing))
        if path == PROXY and self.server.bad:
            status, text = self.server.bad.pop(0)
        if status < 0:
            self.close_connection = True
            return
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: t.Any) -> None:
        """Quiet."""


@pytest.fixture
def api() -> c.Iterator[Api]:
    with Api() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def options(api: Api, tmp_path: pathlib.Path) -> dict[str, t.Any]:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me"}}],
        "clusters": [{"name": "lab", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}],
        "users": [{"name": "me", "user": {}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    secret = {"name": "db", "namespace": "media", "contents": {"a": "not-for-anybody"}}
    return {
        "kubeconfig": str(path),
        "api_timeout": 5,
        "fetch_certificate": True,
        "sealing_key_file": str(tmp_path / "sealing.key"),
        "secrets": [{**secret, "path": str(tmp_path / "db.yaml")}],
    }


def test_the_certificate_of_the_controller_seals(api: Api, options: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    predicted = run(sealed_secret, check=True, **options)
    assert sorted(os.listdir(tmp_path)) == ["kubeconfig"]
    api.seen.clear()
    made = run(sealed_secret, **options)
    assert made["changed"] and made["changes"] == predicted["changes"], made
    assert api.seen == [PATH, PROXY]
    given = {key: options[key] for key in ("secrets", "sealing_key_file")}
    same = run(sealed_secret, certificate=PAIR.certificate_pem, **given)
    assert same["changes"] == []
    assert run(sealed_secret, **options)["changes"] == []


def test_another_controller_is_asked_where_it_is(api: Api, options: dict[str, t.Any]) -> None:
    service = "/api/v1/namespaces/sealing/services/sealer"
    api.answers = {service: (200, json.dumps({**SERVICE, "spec": {"ports": [{}]}}))}
    api.answers["/api/v1/namespaces/sealing/services/http:sealer:/proxy/v1/cert.pem"] = (200, PAIR.certificate_pem)
    made = run(sealed_secret, controller_name="sealer", controller_namespace="sealing", **options)
    assert made["changed"], made


@pytest.mark.parametrize("bad", [(503, "no endpoints"), (-1, ""), (429, "slow down")])
def test_what_passes_is_asked_again(api: Api, options: dict[str, t.Any], bad: Reply) -> None:
    api.bad = [bad, bad]  # the second for the words of a refusal
    assert run(sealed_secret, **options)["changed"]


@pytest.mark.parametrize(
    ("answers", "kind", "message"),
    [
        ({PATH: None}, "NotFound", "there is no such Service. controller_name and controller_namespace say where"),
        (
            {PROXY: (503, json.dumps({**STATUS, "message": "no endpoints available for service", "code": 503}))},
            "ServerFault",
            "no endpoints available for service",
        ),
        (
            {PROXY: (403, json.dumps({**STATUS, "reason": "Forbidden", "message": "services/proxy: no", "code": 403}))},
            "AccessDenied",
            "services/proxy: no",
        ),
        ({PATH: (401, json.dumps({**STATUS, "reason": "Unauthorized", "code": 401}))}, "Unauthenticated", ""),
        ({PROXY: (200, "<html>")}, "Refused", "what answered is no certificate. controller_name and"),
        ({PROXY: (302, "")}, None, ""),
    ],
)
def test_what_does_not_pass_is_told_and_nothing_is_written(
    api: Api,
    options: dict[str, t.Any],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[str, Reply | None],
    kind: str | None,
    message: str,
) -> None:
    monkeypatch.setattr(sealing_certificate, "PATIENCE", 0.1)
    for path, answer in answers.items():
        if answer is None:
            del api.answers[path]
        else:
            api.answers[path] = answer
    failed = run(sealed_secret, **options)
    assert failed["failed"] and message in failed["msg"], failed["msg"]
    assert kind is None or failed["error"]["kind"] == kind
    assert "not-for-anybody" not in str({key: value for key, value in failed.items() if key != "secrets"})
    assert sorted(os.listdir(tmp_path)) == ["kubeconfig"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"certificate": "x"}, "fetch_certificate is given with a certificate. Leave one of them out."),
        ({"certificate_file": "/x"}, "fetch_certificate is given with a certificate. Leave one of them out."),
        ({"state": "valid"}, "state valid needs no certificate. Leave out fetch_certificate."),
        ({"controller_name": "A b"}, "controller_name is 'A b', which is no name in Kubernetes"),
        ({"controller_namespace": "../x"}, "controller_namespace is '../x', which is no name in Kubernetes"),
        ({"kubeconfig": "/nowhere"}, "/nowhere"),
    ],
)
def test_bad_input_is_named_and_nobody_is_asked(
    api: Api, options: dict[str, t.Any], more: dict[str, t.Any], message: str
) -> None:
    failed = run(sealed_secret, **{**options, **more})
    assert message in failed["msg"] and api.seen == []
