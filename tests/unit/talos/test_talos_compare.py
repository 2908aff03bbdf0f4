# SPDX-License-Identifier: GPL-3.0-or-later
"""Configs side by side: what means the same, what differs, what of that may be shown."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.plan import HIDDEN
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import apply, compare

OPEN = compare.Discretion(frozenset())
BUNDLE = compare.Discretion(frozenset({"bundle-value-1"}))


def difference(before: str, after: str, discretion: compare.Discretion = OPEN) -> tuple[t.Any, t.Any]:
    return compare.difference(list(yaml.safe_load_all(before)), list(yaml.safe_load_all(after)), discretion)


def test_order_comments_and_emptiness_mean_nothing() -> None:
    before = "machine: {a: 1, b: {c: 2}}  # x\n---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: 'off'\n"
    after = (
        "apiVersion: v1alpha1\nkind: HostnameConfig\nauto: off\n---\nmachine: {b: {c: 2, d: {}, e: [], f: }, a: 1}\n"
    )
    assert difference(before, after) == ({}, {})


def test_an_empty_label_means_something_and_an_empty_key_does_not() -> None:
    assert difference("machine: {nodeLabels: {a: ''}, ca: {crt: x, key: ''}}", "machine: {ca: {crt: x}}") == (
        {"v1alpha1": {"machine": {"nodeLabels": {"a": ""}}}},
        {},
    )


def test_only_what_differs_is_shown_nested_as_it_stands() -> None:
    before = "machine: {sysctls: {a: '1', b: '1'}, time: {servers: [x]}}"
    after = "machine: {sysctls: {a: '2', b: '1'}, time: {servers: [x, y]}}"
    assert difference(before, after) == (
        {"v1alpha1": {"machine": {"sysctls": {"a": "1"}, "time": {"servers": ["x"]}}}},
        {"v1alpha1": {"machine": {"sysctls": {"a": "2"}, "time": {"servers": ["x", "y"]}}}},
    )


def test_documents_that_come_and_go_are_shown_by_name() -> None:
    volume = "apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\n"
    assert list(difference("machine: {}", f"machine: {{}}\n---\n{volume}")[1]) == ["VolumeConfig/EPHEMERAL"]


def test_secrets_are_hidden_by_key_and_by_value() -> None:
    config = yaml.safe_load("""
      machine:
        token: t1
        ca: {crt: bundle-value-1, key: k1}
        files: [{path: /a, content: c1}]
        registries: {config: {x: {auth: {username: u, password: p1, identityToken: i1}}}}
        env: {p: "http://u:p2@h"}
        nodeLabels: {a: plain}
      cluster: {secret: s1, secretboxEncryptionSecret: e1, x: "-----BEGIN EC PRIVATE KEY-----"}
    """)
    shown = compare.shown([config], BUNDLE)
    text = yaml.safe_dump(shown)
    secrets = ("t1", "bundle-value-1", "k1", "c1", "p1", "i1", "p2", "s1", "e1", "PRIVATE")
    assert not [value for value in secrets if value in text]
    assert shown["v1alpha1"]["machine"]["nodeLabels"] == {"a": "plain"}
    assert shown["v1alpha1"]["machine"]["registries"]["config"]["x"]["auth"]["username"] == "u"


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "ExtensionServiceConfig", "environment": ["TS_AUTHKEY=tskey-auth-1", "TS_ROUTES=10.0.0.0/8"]},
        {"machine": {"env": {"TS_AUTHKEY": "tskey-auth-1", "TS_ROUTES": "10.0.0.0/8"}}},
        {
            "inlineManifests": [
                {"contents": '{"kind": "Secret", "stringData": {"a": "tskey-auth-1"}}'},
                {"contents": "kind: SecretStore\nTS_ROUTES: 10.0.0.0/8"},
            ]
        },
        {"apiUrl": "https://siderolink.example/?grpc=1&jointoken=tskey-auth-1", "routes": "TS_ROUTES 10.0.0.0/8"},
    ],
)
def test_secrets_in_environment_variables_and_urls_are_hidden(document: dict[str, t.Any]) -> None:
    shown = str(OPEN.hidden(document))
    assert "tskey-auth-1" not in shown and "TS_ROUTES" in shown and "10.0.0.0/8" in shown
    assert any("tskey-auth-1" in secret for secret in OPEN.secrets_in(document))
    assert not any("10.0.0.0/8" in secret for secret in OPEN.secrets_in(document))


def test_the_value_of_a_secret_variable_is_a_secret_by_itself() -> None:
    assert "tskey-auth-1" in set(OPEN.secrets_in({"environment": ["TS_AUTHKEY=tskey-auth-1"]}))


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({"Authorization": "Bearer abc-1"}, "abc-1"),
        ({"authorization": "abc-1"}, "abc-1"),
        ({"Proxy-Authorization": "Basic YWJjLTE="}, "YWJjLTE="),
        ({"X-Custom": "bearer  abc-1"}, "abc-1"),
        ({"X-Custom": "Basic YWJjLTE="}, "YWJjLTE="),
        ({"X-Api-Key": "abc-1"}, "abc-1"),
        ({"Cookie": "session=abc-1"}, "session=abc-1"),
    ],
)
def test_headers_that_say_who_asks_are_secrets(headers: dict[str, str], secret: str) -> None:
    given = {"cluster": {"extraManifestHeaders": {**headers, "User-Agent": "lab"}}}
    assert secret not in str(OPEN.hidden(given)) and "lab" in str(OPEN.hidden(given))
    assert secret in set(OPEN.secrets_in(given)) and "lab" not in set(OPEN.secrets_in(given))


@pytest.mark.parametrize("plain", ["Basic", "the bearer of news", "Node,RBAC", "basic-auth"])
def test_words_that_only_look_like_it_are_shown(plain: str) -> None:
    given = {"cluster": {"apiServer": {"extraArgs": {"authorization-mode": plain}}}}
    assert OPEN.hidden(given) == given


def test_a_changed_secret_is_a_change_with_both_sides_hidden() -> None:
    before, after = difference("machine: {token: a}", "machine: {token: b}")
    assert before == after == {"v1alpha1": {"machine": {"token": HIDDEN}}}


def test_words_of_the_node_are_censored() -> None:
    assert BUNDLE.censored("bad value bundle-value-1") == f"bad value {HIDDEN}"


_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 2), st.sampled_from(["", "x", "y"]), st.none()),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["a", "b", "key", "token"]), inner, max_size=3), st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)
_PARTS = st.dictionaries(st.sampled_from(["machine", "cluster"]), _VALUES)
# A document says at least what it is.
_DOCUMENTS = st.lists(_PARTS.map(lambda parts: {"version": "v1alpha1", **parts}), max_size=1)


@given(_DOCUMENTS)
def test_a_config_does_not_differ_from_itself(documents: t.Any) -> None:
    assert compare.difference(documents, copy.deepcopy(documents), OPEN) == ({}, {})


@given(_DOCUMENTS, _DOCUMENTS)
def test_a_difference_is_empty_exactly_when_both_mean_the_same(one: t.Any, other: t.Any) -> None:
    before, after = compare.difference(one, other, OPEN)
    same = compare.normalized(one) == compare.normalized(other)
    assert same == (not before and not after)


@given(_DOCUMENTS, _DOCUMENTS)
def test_after_the_change_nothing_differs(one: t.Any, other: t.Any) -> None:
    """The predicted end state is the desired one: what the difference says, put over the old config, is the new."""
    before, after = compare._differing(compare.normalized(one), compare.normalized(other))
    assert _overlaid(compare.normalized(one), before, after) == compare.normalized(other)


def _overlaid(base: t.Any, before: t.Any, after: t.Any) -> t.Any:
    if not (isinstance(base, dict) and isinstance(before, dict) and isinstance(after, dict)):
        return after
    result = {key: value for key, value in base.items() if key not in before and key not in after}
    for key in {**before, **after}:
        value = _overlaid(base[key], before.get(key, {}), after.get(key, {})) if key in base else after[key]
        if value != {}:
            result[key] = value
    return result


def test_the_node_s_nested_errors_become_one_line() -> None:
    recorded = (
        "INVALID_ARGUMENT: 1 error occurred:\n\t* v1alpha1.Config: 3 errors occurred:\n"
        "\t* etcd config is only allowed on control plane machines\n"
        "\t* cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)\n"
        '\t* unknown machine type "master"\n\n\n\n'
    )
    assert apply.tidy(recorded) == (
        "etcd config is only allowed on control plane machines; "
        'cluster CA key is not allowed on non-controlplane nodes (.cluster.ca); unknown machine type "master"'
    )


def test_a_diff_in_the_node_s_words_is_cut_off() -> None:
    words = (
        "INVALID_ARGUMENT: this config change can't be applied in immediate mode\ndiff:\n--- a\n+++ b\n+  token: x\n"
    )
    assert apply.tidy(words) == "this config change can't be applied in immediate mode"
