# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When objects of cert-manager, sealed-secrets, Cilium and snapshots are ready. Pure."""

from __future__ import annotations

from .conditions import UNSEEN, Check, Failure, Object, behind, condition, must_be_true, said

#: Seconds for which a judgement may pass: an issuer or a key that is made a moment later.
GRACE = 10.0


def _certificate(live: Object) -> str:
    """cert-manager tries again an hour after an issuance that failed: that counts as failed."""
    issuing = condition(live, "Issuing")
    refused = issuing.get("status") == "False" and issuing.get("reason") in ("Failed", "Denied", "InvalidRequest")
    if refused and condition(live, "Ready").get("status") != "True" and not behind(live, issuing):
        raise Failure(said(issuing), GRACE, str(issuing["reason"]))
    return must_be_true("Ready")(live)


def _certificate_request(live: Object) -> str:
    for name in ("Denied", "InvalidRequest"):
        found = condition(live, name)
        if found.get("status") == "True":
            raise Failure(said(found))
    ready = condition(live, "Ready")
    if ready.get("status") == "False" and ready.get("reason") == "Failed":
        raise Failure(said(ready))
    return must_be_true("Ready")(live)


def _sealed_secret(live: Object) -> str:
    synced = condition(live, "Synced")
    if behind(live):
        return UNSEEN
    if synced.get("status") == "False":
        raise Failure(said(synced) or "the controller could not unseal it", GRACE, "Synced")
    return must_be_true("Synced")(live)


def _pool(live: Object) -> str:
    conflict = condition(live, "cilium.io/PoolConflict")
    if conflict.get("status") == "True":
        raise Failure(said(conflict), GRACE, "PoolConflict")
    return ""


def _snapshot(live: Object) -> str:
    status = live.get("status") or {}
    failed = (status.get("error") or {}).get("message")
    if failed:
        return f"error: {failed}"
    return "" if status.get("readyToUse") else "it is not ready to use yet"


CHECKS: dict[str, dict[str, Check]] = {
    "cert-manager.io": {
        "Certificate": _certificate,
        "CertificateRequest": _certificate_request,
        "Issuer": must_be_true("Ready"),
        "ClusterIssuer": must_be_true("Ready"),
    },
    "bitnami.com": {"SealedSecret": _sealed_secret},
    "cilium.io": {"CiliumLoadBalancerIPPool": _pool},
    "snapshot.storage.k8s.io": {"VolumeSnapshot": _snapshot},
}
