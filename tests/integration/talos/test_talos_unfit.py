# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of ours whose certificate is for another address or another time: that is told, and not that it is a stranger's."""

from __future__ import annotations

import datetime as dt
import time
import typing as t

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from talos_lab import PlayedLab
from test_talos_life import SYSCTL, build

from ansible_collections.groundwork.homelab.plugins.module_utils.talos import node as node_room
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import pki as our_pki
from simlab.talos import pki

HOUR = dt.timedelta(hours=1)
#: What is wrong with the certificate: what its names are, its lifetime, and the words that help.
UNFIT: dict[str, tuple[list[x509.GeneralName] | None, dt.timedelta, str]] = {
    "for another address": ([x509.DNSName("elsewhere.example")], HOUR, "add that to cert_sans"),
    "expired": (None, dt.timedelta(seconds=-5), "Compare this machine's clock with the node's."),
}
#: Modules that have to see the node, and their parameters.
MODULES: dict[str, t.Callable[[PlayedLab], dict[str, t.Any]]] = {
    "health": lambda lab: {"nodes": lab.described("cp1")},
    "reboot": lambda lab: {"nodes": lab.described("cp1")},
    "reset": lambda lab: {"node": lab.address("cp1"), "node_name": "cp1", "force": True},
    "apply_config": lambda lab: lab.cluster("cp1", patches=[SYSCTL]),
    "kubeconfig": lambda lab: {"node": lab.address("cp1"), "dest": str(lab.path / "new")},
}


@pytest.mark.parametrize("what", sorted(UNFIT))
def test_a_certificate_that_does_not_fit_is_told_as_that(
    lab: PlayedLab, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    names, lifetime, words = UNFIT[what]
    monkeypatch.setattr(node_room, "CLOCK", 5.0)
    build(lab, "cp1")

    def server(ca: pki.Pair, name: str, dns: t.Iterable[str], addresses: t.Iterable[str]) -> pki.Pair:
        leaf = x509.load_pem_x509_certificate(good(ca, name, dns, addresses).certificate)
        own = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return pki._issue(ca, x509.Name([]), ExtendedKeyUsageOID.SERVER_AUTH, lifetime, names or list(own))

    good = pki.server
    monkeypatch.setattr(pki, "server", server)
    lab.power_off("cp1")
    lab.power_on("cp1")
    lab.wait_until_serving("cp1")
    written = lab.writes()
    for module, given in MODULES.items():
        begun = time.monotonic()
        failed = lab.run(module, **{"wait_timeout": 60, **given(lab)})
        assert failed["failed"] and words in failed["msg"], (module, failed["msg"])
        assert failed["error"]["kind"] == "UntrustedNode" and lab.address("cp1") in failed["msg"]
        assert "secrets bundle" not in failed["msg"] and time.monotonic() - begun > 4, module
    [told] = lab.run("info", nodes=lab.described("cp1"), on_error="ignore")["nodes"]
    assert words in told["error"]["msg"]
    assert lab.writes() == written and not (lab.path / "new").exists()


def of_later(monkeypatch: pytest.MonkeyPatch, by: dt.timedelta) -> None:
    """What this machine signs begins later: so it looks to a node whose clock is slow by as much."""
    issue = our_pki.client_certificate
    monkeypatch.setattr(
        our_pki, "client_certificate", lambda *given, **more: issue(*given, **more, now=dt.datetime.now(dt.UTC) + by)
    )


def test_a_node_whose_clock_is_slow_is_ours(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses our certificate, which has not begun for it. It is neither another cluster's, nor off, nor to be reset.
    The played node ends the connection without an alert."""
    build(lab, "cp1")
    of_later(monkeypatch, our_pki.CLOCK_SKEW + HOUR)
    written = lab.writes()
    for module in ("health", "reset", "apply_config"):
        failed = lab.run(module, **{"wait_timeout": 3, **MODULES[module](lab)})
        assert failed["failed"] and "as when its clock is wrong" in failed["msg"], (module, failed["msg"])
        assert not [word for word in ("another cluster", "reset the machine", "is off") if word in failed["msg"]]
    [told] = lab.run("info", nodes=lab.described("cp1"), on_error="ignore")["nodes"]
    assert "as when its clock is wrong" in told["error"]["msg"]
    assert lab.writes() == written


def test_a_clock_that_is_some_hours_off_does_not_matter(lab: PlayedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock has the local time, before it has reached a time server."""
    of_later(monkeypatch, 12 * HOUR)
    build(lab, "cp1")
