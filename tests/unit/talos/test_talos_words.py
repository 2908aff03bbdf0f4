# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter talos_version and the lookup talos_secret; the inventory's decisions without a network."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.filter import talos as filters
from ansible_collections.groundwork.homelab.plugins.lookup import talos_secret
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import inventory, releases, secrets_bundle

talos_version = filters.FilterModule().filters()["talos_version"]
TEXTS = [
    ("v1.13.9", "v1.13.9"),
    ("1.12.0", "v1.12.0"),
    ("Talos (v1.14.0-rc.1)", "v1.14.0-rc.1"),
    ("factory.talos.dev/metal-installer/376567988ad370138ad8b2698212367b8edcb69b5fd68c80:v1.13.9", "v1.13.9"),
    ("v1.13.9+build.7", "v1.13.9"),
]


@pytest.mark.parametrize(("text", "wanted"), TEXTS)
def test_a_version_is_found_in_what_holds_it(text: str, wanted: str) -> None:
    assert talos_version(text)["text"] == wanted


def test_the_parts_of_a_version() -> None:
    assert talos_version("v1.14.0-rc.1") == {
        "text": "v1.14.0-rc.1",
        "major": 1,
        "minor": 14,
        "patch": 0,
        "pre": "rc.1",
        "contract": "v1.14",
        "kubernetes": ["1.32", "1.33", "1.34", "1.35", "1.36", "1.37"],
    }
    assert talos_version("v1.99.0")["kubernetes"] == []


@pytest.mark.parametrize(
    ("version", "comparison", "holds"),
    [
        ("v1.13.9", ">=1.13", True),
        ("v1.9.0", "<1.13", True),
        ("v1.13.9", ">=1.12, <1.14", True),
        ("v1.14.0-rc.1", "<1.14", True),
        ("v1.14.0-rc.1", ">=1.14.0-rc.0", True),
        ("v1.14.0-rc.10", ">v1.14.0-rc.2", True),
        ("v1.13.9", "==1.13.9", True),
        ("v1.13.9", "!=v1.13.9", False),
        ("v1.13.9", ">1.13.9", False),
    ],
)
def test_versions_compare(version: str, comparison: str, holds: bool) -> None:
    assert talos_version(version, comparison) is holds


@pytest.mark.parametrize(
    ("version", "comparison", "problem"),
    [
        ("latest", None, "The value 'latest' has no version. It looks like v1.13.9"),
        ("v1.13", None, "has no version"),
        ("v1.13.9 and v1.12.0", None, "has several versions"),
        (7, None, "The value is 7, which is no text"),
        (None, None, "which is no text"),
        ("v1.13.9", "1.13", "The comparison is '1.13'. It looks like '>=1.13'"),
        ("v1.13.9", "", "The comparison is ''"),
        ("v1.13.9", ">=1.12,", "The comparison is ''"),
        ("v1.13.9", "~>1.13", "The comparison is '~>1.13'"),
        ("v1.13.9", "==1.13", "is with no whole version. Compare with >= and <."),
        ("v1.13.9", ">=new", "The comparison with 'new' has no version"),
    ],
)
def test_what_is_no_version_is_refused(version: t.Any, comparison: t.Any, problem: str) -> None:
    with pytest.raises(AnsibleError) as caught:
        talos_version(version, comparison)
    assert problem in str(caught.value) and "talos_version: " in str(caught.value)


PARTS = st.tuples(*[st.integers(0, 30)] * 3, st.sampled_from(["", "alpha.1", "beta.0", "beta.2", "beta.10", "rc.1"]))


@settings(max_examples=60, deadline=None)
@given(PARTS, PARTS)
def test_exactly_one_of_less_equal_more_holds(one: tuple[t.Any, ...], other: tuple[t.Any, ...]) -> None:
    first, second = str(releases.Release(*one)), str(releases.Release(*other))
    assert [talos_version(first, f"{sign}{second}") for sign in ("<", "==", ">")].count(True) == 1
    assert talos_version(first, f"<{second}") == talos_version(second, f">{first}")


# -- talos_secret


def look_up(*terms: t.Any, **options: t.Any) -> list[t.Any]:
    name = "groundwork.homelab.talos_secret"
    described = yaml.safe_load(talos_secret.DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", name, described)
    plugin = talos_secret.LookupModule(loader=DataLoader())
    plugin._load_name = name
    return t.cast("list[t.Any]", plugin.run(list(terms), {}, **options))


def test_an_option_that_the_lookup_does_not_have_is_refused(bundle_path: pathlib.Path) -> None:
    with pytest.raises(AnsibleError, match="talos_secret: The lookup has no option decoded. There are .*decode"):
        look_up("certs.os.crt", secrets_path=str(bundle_path), decoded=True)


def test_a_value_is_found_by_its_path(bundle_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load(bundle_path.read_text())
    values = look_up("trustdinfo.token", "certs.os.crt", secrets_path=str(bundle_path))
    assert values == [data["trustdinfo"]["token"], data["certs"]["os"]["crt"]]
    monkeypatch.setenv("TALOS_SECRETS", str(bundle_path))
    [pem] = look_up("certs.os.crt", decode=True)
    assert pem == base64.b64decode(data["certs"]["os"]["crt"]).decode() and "BEGIN CERTIFICATE" in pem


@pytest.mark.parametrize(
    ("terms", "options", "problem"),
    [
        (["certs"], {}, "certs is more than one value. Ask for one of certs.etcd, certs.k8s"),
        (["certs.os"], {}, "certs.os is more than one value. Ask for one of certs.os.crt, certs.os.key."),
        (["cluster"], {}, "cluster is more than one value"),
        (["nothing"], {}, "The secrets bundle has no nothing. It has certs, cluster, secrets, trustdinfo."),
        (["certs.talos.key"], {}, "The secrets bundle has no certs.talos.key. certs has etcd, k8s"),
        (["trustdinfo.token.x"], {}, "trustdinfo.token has nothing below it."),
        ([""], {}, "The path is ''. It looks like trustdinfo.token."),
        ([7], {}, "The path is 7."),
        (["trustdinfo.token"], {"decode": True}, "trustdinfo.token"),
        (["cluster.id"], {"secrets_path": "/none"}, "There is no secrets bundle at /none"),
        (["cluster.id"], {"secrets_path": None}, "secrets_path is not set"),
    ],
)
def test_bad_paths_are_refused_and_show_nothing(
    terms: list[t.Any],
    options: dict[str, t.Any],
    problem: str,
    bundle_path: pathlib.Path,
    bundle: secrets_bundle.Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TALOS_SECRETS", raising=False)
    with pytest.raises(AnsibleError) as caught:
        look_up(*terms, **{"secrets_path": str(bundle_path), **options})
    text = str(caught.value)
    assert problem in text, text
    assert not [value for value in bundle.secret_values() if value in text]


# -- the inventory


def member(name: str, *addresses: str) -> dict[str, t.Any]:
    return {"name": name, "addresses": list(addresses), "type": "worker", "version": "v1.13.9", "node_id": ""}


def test_addresses_are_sorted_by_preference() -> None:
    one = member("a", "fe80::1", "2001:db8::1", "10.0.0.1", "192.168.30.5")
    assert inventory.sorted_addresses(one, []) == ["10.0.0.1", "192.168.30.5", "2001:db8::1", "fe80::1"]
    preferred = inventory.networks(["2001:db8::/32", "192.168.30.0/24"])
    assert inventory.sorted_addresses(one, preferred)[:3] == ["2001:db8::1", "192.168.30.5", "10.0.0.1"]


def test_names_that_two_members_have_get_addresses() -> None:
    assert inventory.host_names([member("a", "10.0.0.1"), member("b"), member("a", "10.0.0.2")]) == [
        "a-10.0.0.1",
        "b",
        "a-10.0.0.2",
    ]


def test_a_cache_of_another_source_or_form_is_not_read() -> None:
    entry = inventory.as_entry([member("a")], {}, ["x"])
    assert inventory.from_entry(entry, ["x"]) == ([member("a")], {})
    for wrong in (None, {}, {**entry, "form": 0}, {**entry, "of": ["y"]}, {**entry, "members": 7}):
        assert inventory.from_entry(wrong, ["x"]) is None


def test_a_member_that_did_not_answer_has_a_stage_of_its_own() -> None:
    found = inventory.variables(member("a", "10.0.0.1"), {"name": "a", "reachable": False, "error": {}}, [])
    assert (found["stage"], found["reachable"], "error" in found) == ("unreachable", False, False)
    assert inventory.groups(found, ["type", "version", "stage"], "talos_") == [
        "talos_type_worker",
        "talos_version_v1_13_9",
        "talos_stage_unreachable",
    ]
