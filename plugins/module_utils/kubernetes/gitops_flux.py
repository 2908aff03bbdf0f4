# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flux's objects: whether one must be reconciled, how that is asked for, and how it went. Pure.

The fields are those of Flux's CustomResourceDefinitions; requests are made as Flux's own program makes them.
"""

from __future__ import annotations

import re
import typing as t

from .conditions import Check, Failure, Object, condition, said
from .gitops_inputs import SOURCES, Asked, controller
from .readiness_gitops import REQUESTED, unseen

FORCED = "reconcile.fluxcd.io/forceAt"
RESET = "reconcile.fluxcd.io/resetAt"
COMMIT = re.compile(r"[0-9a-f]{7,64}")

#: Reasons of ``Ready=False`` that others have to end, which they may at any time: waited for until the deadline.
OTHERS = ("DependencyNotReady",)
#: Reason -> seconds for which it may pass: what it needs is often there a moment later.
GRACE = {"ArtifactFailed": 20.0, "SourceNotReady": 20.0, "HealthCheckCanceled": 20.0}
#: Flux tries a failed fetch again within seconds, a failed release at once or after its interval, as its strategy says.
SOURCE_GRACE, RELEASE_GRACE = 5.0, 30.0
#: Seconds for a revision that was pushed a moment ago.
REVISION_GRACE = 20.0


# -- asking ------------------------------------------------------------------------------------------------------------


def reconcile_patch(asked: Asked, token: str) -> Object:
    """``force`` and ``reset`` count only with the same value as the request itself."""
    more = {FORCED: asked.force, RESET: asked.reset}
    return {"metadata": {"annotations": {REQUESTED: token, **{key: token for key, wanted in more.items() if wanted}}}}


def suspend_patch(wanted: bool) -> Object:
    return {"spec": {"suspend": True if wanted else None}}


def shown_request(asked: Asked) -> dict[str, t.Any]:
    return {"reconcile": True, **{key: True for key in ("force", "reset") if getattr(asked, key)}}


def suspended(live: Object) -> bool:
    return bool((live.get("spec") or {}).get("suspend"))


def static(live: Object) -> bool:
    """A HelmRepository of type ``oci`` only holds an address: nothing reconciles it, and it has no status."""
    return live["kind"] == "HelmRepository" and (live.get("spec") or {}).get("type") == "oci"


def sources_of(live: Object) -> list[tuple[str, str, str]]:
    """Where its content comes from, the farthest first, as (kind, namespace, name)."""
    spec, own = live.get("spec") or {}, str(live["metadata"]["namespace"])
    if live["kind"] in ("Kustomization", "HelmChart"):
        return [_reference(spec.get("sourceRef") or {}, own)]
    if live["kind"] != "HelmRelease":
        return []
    if spec.get("chartRef"):
        return [_reference(spec["chartRef"], own)]
    reference = _reference(((spec.get("chart") or {}).get("spec") or {}).get("sourceRef") or {}, own)
    made = str((live.get("status") or {}).get("helmChart") or f"{reference[1]}/{own}-{live['metadata']['name']}")
    namespace, _slash, name = made.partition("/")
    return [reference, ("HelmChart", namespace, name)]


def _reference(found: Object, namespace: str) -> tuple[str, str, str]:
    return str(found.get("kind") or ""), str(found.get("namespace") or namespace), str(found.get("name") or "")


# -- how it stands -----------------------------------------------------------------------------------------------------


def revision_of(live: Object) -> str:
    """What it has applied, released or fetched: ``main@sha1:…``, a chart's version."""
    status = live.get("status") or {}
    if live["kind"] == "Kustomization":
        return str(status.get("lastAppliedRevision") or "")
    if live["kind"] == "HelmRelease":
        history = status.get("history") or [{}]
        return str(history[0].get("chartVersion") or "")
    return str((status.get("artifact") or {}).get("revision") or "")


def is_at(have: str, wanted: str) -> bool:
    """Whether ``main@sha1:2b3c…`` is the wanted ``main``, ``main@sha1:2b3c…``, ``sha1:2b3c…`` or (a part of) a commit."""
    name, _at, digest = have.rpartition("@")
    commit = digest.rpartition(":")[2]
    if have == wanted or wanted in (name, digest, commit) or name.removeprefix("refs/heads/") == wanted:
        return True
    if have.split("+")[0] == wanted.split("+")[0] and not name:
        # A chart of an OCI repository carries its digest as build metadata: 1.2.3+4f5e6d.
        return True
    return bool(COMMIT.fullmatch(wanted)) and commit.startswith(wanted)


def not_current(live: Object, source: Object | None, asked: Asked) -> str:
    """Why it must be reconciled; nothing if it is where it is wanted."""
    if static(live):
        return ""
    status, annotations = live.get("status") or {}, live["metadata"].get("annotations") or {}
    ready = condition(live, "Ready")
    if not ready or unseen(live, ready):
        return "its latest definition has not been reconciled"
    if ready.get("status") != "True":
        return said(ready) or "it is not Ready"
    if annotations.get(REQUESTED) and annotations[REQUESTED] != status.get("lastHandledReconcileAt"):
        return f"the reconciliation that was asked for at {annotations[REQUESTED]} has not been done"
    have = revision_of(live)
    if asked.revision and not is_at(have, asked.revision):
        return f"it is at {have or 'no revision'}, not at {asked.revision}"
    if live["kind"] == "Kustomization" and source is not None and revision_of(source) not in ("", have):
        return f"it has applied {have or 'nothing'}, and its source has {revision_of(source)}"
    return ""


def standing(live: Object) -> dict[str, t.Any]:
    """How it stands, in a few words, for results."""
    ready = condition(live, "Ready")
    found = {"revision": revision_of(live), "ready": ready.get("status"), "message": ready.get("message")}
    return {key: value for key, value in {**found, "suspended": suspended(live)}.items() if value}


# -- how it went -------------------------------------------------------------------------------------------------------


def is_reconciled(asked: Asked, token: str = "") -> Check:
    """The check for the end of a reconciliation that was asked for with this token; without one, of what goes on."""

    def check(live: Object) -> str:
        status = live.get("status") or {}
        if static(live):
            return ""
        if token and status.get("lastHandledReconcileAt") != token:
            now = said(condition(live, "Reconciling"))
            return now or f"Flux has not handled the request yet: does {controller(live['kind'])} run?"
        ready, stalled = condition(live, "Ready"), condition(live, "Stalled")
        if unseen(live, stalled or ready):
            return "Flux has not seen its latest definition yet"
        if stalled.get("status") == "True":
            raise Failure(words(live))
        if ready.get("status") == "True":
            return _at(live, asked)
        if ready.get("status") == "False":
            return _failing(live, ready)
        return said(ready) or said(condition(live, "Reconciling")) or "it has no condition Ready yet"

    return check


def _at(live: Object, asked: Asked) -> str:
    have = revision_of(live)
    if asked.revision and not is_at(have, asked.revision):
        raise Failure(f"it is Ready at {have or 'no revision'}, not at {asked.revision}", REVISION_GRACE, "revision")
    return ""


def _failing(live: Object, ready: Object) -> str:
    reason = str(ready.get("reason") or "")
    if reason in OTHERS:
        return words(live)
    if reason in GRACE:
        raise Failure(words(live), GRACE[reason], reason)
    if live["kind"] == "HelmRelease":
        # While it may still try again it is Reconciling; then it is Stalled.
        going = condition(live, "Reconciling").get("status") == "True"
        raise Failure(words(live), RELEASE_GRACE if going else 0.0, reason)
    raise Failure(words(live), SOURCE_GRACE if live["apiVersion"].startswith(SOURCES) else 0.0, reason)


# -- why not -----------------------------------------------------------------------------------------------------------


def words(live: Object) -> str:
    """Why it is not Ready, in its controller's words: all conditions that say something of their own, and failed tests."""
    found: list[str] = []
    for name in ("Ready", "Stalled", "Released", "TestSuccess", "Remediated", "Healthy", "FetchFailed", "BuildFailed"):
        one = condition(live, name)
        bad = "True" if name in ("Stalled", "FetchFailed", "BuildFailed", "Remediated") else "False"
        message = str(one.get("message") or "")
        if one.get("status") == bad and not any(message and message in text for text in found):
            found.append(said(one))
    history = (live.get("status") or {}).get("history") or [{}]
    hooks = history[0].get("testHooks") or {} if live["kind"] == "HelmRelease" else {}
    found += [f"test {name} {hook['phase']}" for name, hook in hooks.items() if hook.get("phase") == "Failed"]
    return "; ".join(filter(None, found)) or "it is not Ready"
