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
