# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a Gateway is programmed and a route is accepted, in the words of their controllers. Pure.

Source: gateway-api.sigs.k8s.io, the reasons of GatewayClass, Gateway and route conditions (GEP-1364).
"""

from __future__ import annotations

import typing as t

from .conditions import UNSEEN, Check, Failure, Object, behind, condition, label, must_be_true, said

GROUP = "gateway.networking.k8s.io"
ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")

#: A controller's judgement that stays until somebody changes the object, or what it refers to: the seconds for which the
#: latter may happen. What is not here, such as a missing backend, is waited for until the deadline.
JUDGED: dict[str, float] = {
    "UnsupportedValue": 3.0,
    "UnsupportedProtocol": 3.0,
    "UnsupportedAddress": 3.0,
    "IncompatibleFilters": 3.0,
    "InvalidKind": 3.0,
    "InvalidRouteKinds": 3.0,
    "NotAllowedByListeners": 10.0,
    "NoMatchingListenerHostname": 10.0,
    "NoMatchingParent": 10.0,
    "RefNotPermitted": 10.0,
    "HostnameConflict": 10.0,
    "ProtocolConflict": 10.0,
}

#: Conditions that must be true of each parent of a route, and of each listener of a Gateway.
OF_PARENT = ("Accepted", "ResolvedRefs")
OF_LISTENER = ("Accepted", "ResolvedRefs", "Programmed")


def route(live: Object) -> str:
    """Each parent that it names must have accepted it, and resolved what it refers to."""
    parents = (live.get("spec") or {}).get("parentRefs") or []
    if not parents:
        return "it names no parent"
    for parent in parents:
        reason = _parent(live, parent)
        if reason:
            return reason
    return ""


def answers_for(live: Object, parent: t.Mapping[str, t.Any]) -> list[Object]:
    """What controllers have said for a parent that a route names: one entry for each of them."""
    wanted = parent_key(parent, live["metadata"].get("namespace", ""))
    found = (live.get("status") or {}).get("parents") or []
    own = live["metadata"].get("namespace", "")
    return [one for one in found if parent_key(one.get("parentRef") or {}, own) == wanted]


def parent_key(parent: t.Mapping[str, t.Any], namespace: str) -> tuple[t.Any, ...]:
    """What tells one parent reference from another, defaults filled in."""
    return (
        parent.get("group", GROUP),
        parent.get("kind") or "Gateway",
        parent.get("namespace") or namespace,
        parent.get("name"),
        parent.get("sectionName") or "",
        parent.get("port") or 0,
    )


def parent_label(parent: t.Mapping[str, t.Any], namespace: str) -> str:
    """``Gateway lab/main, listener https``."""
    shown = label(parent.get("kind") or "Gateway", parent.get("namespace") or namespace, str(parent.get("name")))
    if parent.get("sectionName"):
        shown += f", listener {parent['sectionName']}"
    return shown + (f", port {parent['port']}" if parent.get("port") else "")


def _parent(live: Object, parent: t.Mapping[str, t.Any]) -> str:
    name = parent_label(parent, live["metadata"].get("namespace", ""))
    answers = answers_for(live, parent)
    if not answers:
        return f"no controller has answered for {name} yet"
    for answer in _heeded(live, answers):
        for kind in OF_PARENT:
            reason = judged(live, condition(answer, kind), kind, name)
            if reason:
                return reason
        partly = condition(answer, "PartiallyInvalid")
        if partly.get("status") == "True":
            raise Failure(f"{name} takes only a part of it: {said(partly)}", 3.0, f"{name} PartiallyInvalid")
    return ""


def _heeded(live: Object, answers: list[Object]) -> list[Object]:
    """Those of the controllers that serve the parent, as far as that can be told: one that has left does not hear of a
    change any more, and one of policies does not say whether the route is accepted. Each counts while it is alone."""
    serving = [one for one in answers if condition(one, "Accepted")] or answers
    return [one for one in serving if not behind(live, condition(one, "Accepted"))] or serving


def judged(live: Object, found: Object, kind: str, name: str) -> str:
    """Why a condition of a part (a parent, a listener) is not true yet. Raises Failure for a judgement that stays."""
    if not found:
        return f"{name}: no condition {kind} yet"
    if behind(live, found):
        return f"{name}: {UNSEEN}"
    if found.get("status") == "True":
        return ""
    text = f"{name}: {said(found) or f'{kind} is not true'}"
    if found.get("status") == "False" and found.get("reason") in JUDGED:
        raise Failure(text, JUDGED[str(found["reason"])], f"{name} {found['reason']}")
    return text


def gateway(live: Object) -> str:
    """Accepted, each listener in order, Programmed, and with an address."""
    reason = judged(live, condition(live, "Accepted"), "Accepted", "the Gateway")
    if reason and condition(live, "Accepted").get("reason") != "ListenersNotValid":
        return reason
    states = {one.get("name"): one for one in (live.get("status") or {}).get("listeners") or []}
    for listener in (live.get("spec") or {}).get("listeners") or []:
        name = listener.get("name")
        of_it = _listener(live, f"listener {name}", states.get(name))
        if of_it:
            return of_it
    reason = reason or judged(live, condition(live, "Programmed"), "Programmed", "the Gateway")
    return reason or ("" if addresses(live) else "it has no address yet")


def _listener(live: Object, name: str, state: Object | None) -> str:
    if state is None:
        return f"{name}: its controller has not answered yet"
    conflicted = condition(state, "Conflicted")
    if conflicted.get("status") == "True":
        grace = JUDGED.get(str(conflicted.get("reason")), 10.0)
        raise Failure(f"{name}: {said(conflicted)}", grace, f"{name} Conflicted")
    for kind in OF_LISTENER:
        reason = judged(live, condition(state, kind), kind, name)
        if reason:
            return reason
    return ""


def addresses(live: Object) -> list[str]:
    """The addresses that a Gateway has got."""
    found = (live.get("status") or {}).get("addresses") or []
    return [str(one["value"]) for one in found if isinstance(one, dict) and one.get("value")]


CHECKS: dict[str, Check] = {
    "GatewayClass": must_be_true("Accepted"),
    "Gateway": gateway,
    **dict.fromkeys(ROUTES, route),
}
