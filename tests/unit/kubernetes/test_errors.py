# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the API server, and kubeconfigs, as errors that say what to try."""

from __future__ import annotations

import pathlib
import socket
import typing as t

import pytest
import yaml

from ansible_collections.groundwork.homelab.plugins.module_utils import errors
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import answers, kubeconfig
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.transport import Answer

OF = "Kubernetes API at https://10.0.0.1:6443"


def answer(status: int, message: str, *causes: dict[str, str]) -> Answer:
    return Answer(status, {"kind": "Status", "message": message, "details": {"causes": list(causes)}}, 0.0)


FORBIDDEN = 'deployments.apps is forbidden: User "bob" cannot patch resource "deployments" in API group "apps"'
CASES: list[tuple[Answer, type[errors.HomelabError], str, bool]] = [
    (answer(400, "strict decoding error: unknown field"), errors.Refused, "misspelt field", False),
    (answer(401, "Unauthorized"), errors.Unauthenticated, "Fetch it anew", False),
    (answer(403, FORBIDDEN), errors.AccessDenied, 'User "bob" cannot patch resource "deployments"', False),
    (answer(403, "pods x is forbidden: exceeded quota: small"), errors.Refused, "raise the ResourceQuota", False),
    (answer(403, 'error looking up service account a/default: "default" not found'), answers.NotInstalled, "", True),
    (answer(403, 'pods "x" is forbidden: no PriorityClass with name y was found'), errors.Refused, "admission", False),
    (
        answer(
            403,
            'configmaps "x" is forbidden: unable to create new content in namespace n because it is being terminated',
        ),
        errors.Refused,
        "being deleted",
        False,
    ),
    (
        answer(403, 'roles "x" is forbidden: user "bob" (groups=[]) is attempting to grant RBAC permissions not held'),
        errors.AccessDenied,
        "Nobody may give rights that he does not have",
        False,
    ),
    (
        answer(403, 'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps"'),
        errors.AccessDenied,
        "has no credentials for this cluster",
        False,
    ),
    (answer(404, "not found"), errors.NotFound, "not found", False),
    (answer(409, "the object has been modified"), errors.Conflict, "Run it again", True),
    (answer(422, "spec.x: Invalid value", {"field": "spec.x"}), errors.Refused, "Correct the named fields", False),
    (answer(429, "too many requests"), answers.Throttled, "busy", True),
    (answer(500, "etcdserver: request timed out"), errors.ServerFault, "etcdserver", True),
    (answer(500, 'failed calling webhook "x": connection refused'), answers.NotInstalled, "Are its pods ready?", True),
    (
        answer(500, 'conversion webhook for a.example.com/v1, Kind=Thing failed: Post "https://x": service not found'),
        answers.NotInstalled,
        "Are its pods ready?",
        True,
    ),
    (answer(400, 'admission webhook "x" denied the request: no'), errors.Refused, "A policy of the cluster", False),
    (answer(302, ""), errors.Refused, "a redirect", False),
    (
        answer(500, "failed to create typed patch object (a): .dat: field not declared"),
        answers.Undeclared,
        "misspelt",
        False,
    ),
    (answer(503, ""), errors.ServerFault, "HTTP 503", True),
]


@pytest.mark.parametrize(
    ("given", "kind", "words", "retryable"), CASES, ids=[str(case[0].status) + case[2] for case in CASES]
)
def test_an_answer_becomes_the_error_that_says_what_to_try(
    given: Answer, kind: type[errors.HomelabError], words: str, retryable: bool
) -> None:
    error = answers.error_of(given, "apply Deployment a/b", OF)
    assert type(error) is kind
    assert words in error.message
    assert error.message.startswith(f"Could not apply Deployment a/b ({OF}): ")
    assert error.retryable is retryable


def test_a_field_conflict_names_the_managers_and_the_fields() -> None:
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kubectl" using apps/v1',
        "field": ".spec.replicas",
    }
    error = answers.error_of(answer(409, "Apply failed with 1 conflict", cause), "apply Deployment a/b", OF)
    assert isinstance(error, answers.FieldConflict)
    assert '.spec.replicas ("kubectl" using apps/v1)' in error.message
    assert "force_conflicts" in error.hint
    assert error.details["fields"] == [".spec.replicas"]
    assert not error.retryable


def write(path: pathlib.Path, content: t.Any) -> str:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def config(**cluster: t.Any) -> dict[str, t.Any]:
    return {
        "clusters": [{"name": "lab", "cluster": {"server": "https://127.0.0.1:1", **cluster}}],
        "users": [{"name": "me", "user": {"token": "s3cret-token"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": "media"}}],
        "current-context": "lab",
    }


BROKEN: dict[str, tuple[t.Any, str]] = {
    "no YAML": ("clusters: [\n s3cret", "it is not valid YAML in line 2"),
    "empty": ("", "empty"),
    "text": ("s3cret words", "it is not a mapping"),
    "no contexts": (
        {"clusters": [], "users": [], "contexts": [], "current-context": "lab"},
        "it has no context lab",
    ),
    "no current context": ({**config(), "current-context": None}, "current-context"),
    "another cluster": ({**config(), "clusters": []}, "it has no cluster lab"),
    "bad base64": (config(**{"certificate-authority-data": "s3cret"}), "cannot be read"),
    "bad authority": (config(**{"certificate-authority-data": "czNjcmV0"}), "cannot be read"),
    "no server": (config(server=""), "its cluster names no server"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_kubeconfig_is_named_with_what_is_wrong_and_without_its_content(
    case: str, tmp_path: pathlib.Path
) -> None:
    content, words = BROKEN[case]
    path = write(tmp_path / "kubeconfig", content)
    with pytest.raises(errors.InvalidInput) as caught:
        kubeconfig.load(path, None)
    assert path in caught.value.message
    assert words in caught.value.message
    assert "s3cret" not in caught.value.message


def test_a_missing_kubeconfig_and_a_missing_context_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.InvalidInput, match="none does not exist"):
        kubeconfig.load(str(tmp_path / "none"), None)
    with pytest.raises(errors.InvalidInput, match="prod"):
        kubeconfig.load(write(tmp_path / "kubeconfig", config()), "prod")


def test_a_good_kubeconfig_gives_server_namespace_and_a_secret_header(tmp_path: pathlib.Path) -> None:
    before = set(pathlib.Path("/tmp").glob("groundwork-*"))
    access = kubeconfig.load(write(tmp_path / "kubeconfig", config()), None)
    assert (access.server, access.namespace) == ("https://127.0.0.1:1", "media")
    assert access.secrets() == ["s3cret-token"]
    assert "s3cret" not in repr(access)
    assert set(pathlib.Path("/tmp").glob("groundwork-*")) <= before


def test_an_unreachable_server_is_said_within_seconds(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{taken.getsockname()[1]}"
        access = kubeconfig.load(write(tmp_path / "kubeconfig", config(server=server)), None)
        told: list[str] = []
        client = Client(access, 1.0, told.append)
        with pytest.raises(errors.Unreachable, match="Connection refused"):
            client.read("/version", "see the version")
    assert told, "it was tried again, and said so"


TEMPLATE = (
    '{"labels":{"a":"b"},"Spec":{"Env":[{"Name":"PASSWORD","Value":"hunter2 }\\" {"}],'
    + '"Volumes":null,' * 99
    + '"x":1}}'
)
QUOTATIONS = {
    "JSON": (f'Job.batch "j" is invalid: spec.template: Invalid value: {TEMPLATE}: field is immutable', "{…}"),
    "Go": (
        f'Job.batch "j" is invalid: spec.template: Invalid value: core.PodTemplateSpec{TEMPLATE}: field is immutable',
        "core.PodTemplateSpec{…}",
    ),
    "two": (
        f'Job.batch "j" is invalid: [spec.a: Invalid value: {{"x":1}}: too {{}}, spec.template: Invalid value: {TEMPLATE}: '
        "field is immutable]",
        '{"x":1}: too {}, spec.template: Invalid value: {…}',
    ),
}


@pytest.mark.parametrize("case", QUOTATIONS)
def test_an_object_that_the_server_quotes_is_not_shown_whole(case: str) -> None:
    message, shown = QUOTATIONS[case]
    error = answers.error_of(answer(422, message, {"field": "spec.template", "message": message}), "apply Job j", OF)
    assert "hunter2" not in error.message
    assert f"Invalid value: {shown}" in error.message
    assert "field is immutable" in error.message
    assert "deleted first" in error.message
    assert error.details["fields"] == ["spec.template"]


@pytest.mark.parametrize("message", ["a } b { c", '{"short": 1} is wrong', 'an "odd quote {' + "x" * 300])
def test_what_is_no_long_quotation_is_said_as_it_is(message: str) -> None:
    assert message in answers.error_of(answer(422, message), "apply Job j", OF).message
