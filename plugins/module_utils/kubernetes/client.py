# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server's verbs, and its discovery, for objects of any kind as plain dictionaries."""

from __future__ import annotations

import time
import typing as t

from ..errors import Conflict, HomelabError, NotFound, Refused, ServerFault, Unreachable
from ..waiting import Backoff, Deadline, no_progress, retry
from .answers import NotInstalled, Throttled, error_of
from .discovery import Discovery, Resource
from .kubeconfig import Access, load
from .transport import AGENT, JSON_TYPE, Stream, Transport

__all__ = ["Client", "Resource", "connect"]

Object = dict[str, t.Any]
Objects = list[Object]

#: How long what may pass is asked again: a refused connection, an overloaded or restarting server. Seconds.
PATIENCE = 4.0
SELECTORS = frozenset({"labelSelector", "fieldSelector"})
#: How often a list of many pages begins anew, because the server no longer has the version that it was of.
RESTARTS = 3
#: The same where something is just being installed: an admission webhook, a namespace's service account. Seconds.
INSTALL_PATIENCE = 30.0
#: How much longer than agreed a watch may be silent before it counts as lost. Seconds.
SILENCE = 5.0


class Client:
    """One cluster. Thread-safe; discovery is asked once for each group and version."""

    def __init__(self, access: Access, timeout: float = 30.0, progress: t.Callable[[str], None] = no_progress) -> None:
        self.access = access
        self.transport = Transport(access, timeout)
        self.of = self.transport.of
        self.progress = progress
        self.discovery = Discovery(self.read)

    # -- discovery -------------------------------------------------------------------------------------------------

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """How the server serves this kind; nothing if it does not. Raises ServerFault if it cannot say so."""
        found = self.discovery.resource(api_version, kind)
        if found is None and self.discovery.is_stale(api_version):
            group, _slash, version = api_version.rpartition("/")
            raise ServerFault(
                f"see what kinds {api_version} has",
                of=self.of,
                answer=f"the server behind the APIService {version}.{group} does not answer",
                hint="Are its pods ready? kubectl describe apiservice tells more.",
            )
        return found

    def kinds(self, api_version: str) -> list[str]:
        """The kinds that the server has in this group and version, for messages."""
        return self.discovery.kinds(api_version)

    def forget(self) -> None:
        """Ask discovery anew: CustomResourceDefinitions changed."""
        self.discovery.forget()

    # -- verbs -----------------------------------------------------------------------------------------------------

    def read(
        self, path: str, asked: str, query: t.Mapping[str, str] | None = None, *, accept: str = JSON_TYPE
    ) -> Object:
        return self._ask("GET", path, asked, query=query, accept=accept)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or nothing."""
        asked = f"read {resource.kind} {_full(namespace, name)}"
        try:
            return self.read(resource.path(namespace, name), asked)
        except NotFound:
            return None

    def list(self, resource: Resource, namespace: str = "", **query: str) -> list[Object]:
        """All objects of a kind, in one namespace or in all; ``query`` as the API has it (labelSelector …)."""
        return self.listed(resource, namespace, **query)[0]

    def listed(self, resource: Resource, namespace: str = "", **query: str) -> tuple[Objects, str]:
        """The same with the version of the list, from which :meth:`watch` goes on."""
        where = f" in namespace {namespace}" if namespace else ""
        found: Objects = []
        token, restarts = "", 0
        while True:
            page = {"limit": "500", **query, **({"continue": token} if token else {})}
            try:
                answer = self.read(resource.path(namespace), f"list {resource.plural}{where}", page)
            except Refused as error:
                if not token or error.details.get("status") != 410 or restarts == RESTARTS:
                    if not query.keys() & SELECTORS:
                        raise
                    hint = "Correct the selector."
                    raise Refused(error.asked, of=error.of, answer=error.answer, hint=hint, **error.details) from None
                # The server forgot the version that the first page was of.
                found, token, restarts = [], "", restarts + 1
                continue
            found += [
                {"apiVersion": resource.api_version, "kind": resource.kind, **o} for o in answer.get("items") or []
            ]
            meta = answer.get("metadata") or {}
            token = meta.get("continue") or ""
            if not token:
                return found, str(meta.get("resourceVersion") or "")

    def watch(self, resource: Resource, namespace: str, version: str, seconds: float, **query: str) -> Stream:
        """What happens to objects of a kind after this version, as lines of JSON, for at most so many seconds."""
        where = f" in namespace {namespace}" if namespace else ""
        asked = f"watch {resource.plural}{where}"
        more = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        query = {**more, "timeoutSeconds": str(max(1, round(seconds))), **query}
        stream = self.transport.stream(resource.path(namespace), asked, query=query, timeout=seconds + SILENCE)
        if stream.status == 200:
            return stream
        answer = self.transport.ended(stream, asked)
        error = error_of(answer, asked, self.of)
        if answer.retry_after:
            error.details["retry_after"] = answer.retry_after
        raise error

    def apply(
        self,
        resource: Resource,
        wanted: Object,
        manager: str,
        *,
        force: bool,
        dry_run: bool,
        warn: t.Callable[[str], None] = no_progress,
    ) -> Object:
        """Server-side apply. The object as it is (or, in a dry run, would be) after it. Safe to repeat; with a
        ``resourceVersion`` a :class:`Conflict` comes at once, also if a first try took effect without an answer. ``warn`` hears
        what the server warns of."""
        meta = wanted["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        query.update({"force": "true"} if force else {}, **({"dryRun": "All"} if dry_run else {}))
        return self._ask(
            "PATCH",
            resource.path(namespace, name),
            f"apply {resource.kind} {_full(namespace, name)}",
            query=query,
            body=wanted,
            content_type="application/apply-patch+yaml",
            patient=not dry_run,
            conflicts="resourceVersion" not in meta,
            warn=warn,
        )

    def merge(self, resource: Resource, namespace: str, name: str, patch: Object, *, dry_run: bool = False) -> Object:
        """JSON merge patch: the object as it is (or, in a dry run, would be) after it. With a ``resourceVersion`` in it, a
        :class:`Conflict` comes at once: the caller has to look again."""
        versioned = "resourceVersion" in (patch.get("metadata") or {})
        return self._ask(
            "PATCH",
            resource.path(namespace, name),
            f"change {resource.kind} {_full(namespace, name)}",
            query={"fieldManager": AGENT, "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})},
            body=patch,
            content_type="application/merge-patch+json",
            patient=not dry_run,
            conflicts=not versioned,
        )

    def replace(self, resource: Resource, wanted: Object, *, dry_run: bool) -> Object:
        """PUT the whole object, of the version that it was read in: the object as it is (or would be) after it."""
        meta = wanted["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        asked = f"replace {resource.kind} {_full(namespace, name)}"
        query = {"dryRun": "All"} if dry_run else {}
        path = resource.path(namespace, name)
        return self._ask("PUT", path, asked, query=query, body=wanted, patient=not dry_run, conflicts=False)

    def patch(self, resource: Resource, namespace: str, name: str, operations: Objects) -> Object:
        """JSON patch (RFC 6902). A :class:`Conflict` comes at once: the caller has to look again."""
        asked = f"change {resource.kind} {_full(namespace, name)}"
        kind = "application/json-patch+json"
        path = resource.path(namespace, name)
        return self._ask("PATCH", path, asked, body=operations, content_type=kind, conflicts=False)

    def create(self, path: str, body: Object, asked: str) -> Object:
        """POST something of which no second one can come into being: a review, an eviction of a pod by its UID."""
        return self._ask("POST", path, asked, body=body, conflicts=False)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        dry_run: bool = False,
        more: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        """Delete it and, in the background, what it owns; ``more`` are further DeleteOptions. What is not there any more
        is fine. With a ``resourceVersion`` in its preconditions a :class:`Conflict` comes at once."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            **(more or {}),
        }
        query = {"dryRun": "All"} if dry_run else None
        if dry_run:
            # The server takes the options from the body, and then ignores the query: that is for its log.
            options["dryRun"] = ["All"]
        asked = f"delete {resource.kind} {_full(namespace, name)}"
        path, conflicts = resource.path(namespace, name), "resourceVersion" not in options.get("preconditions", {})
        try:
            self._ask("DELETE", path, asked, query=query, body=options, conflicts=conflicts)
        except NotFound:
            return

    def log_line(self, namespace: str, pod: str, container: str, *, previous: bool) -> str:
        """The last line that a container wrote, or nothing: a log is a help, not a need."""
        query = {
            "container": container,
            "tailLines": "1",
            "limitBytes": "500",
            **({"previous": "true"} if previous else {}),
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            text = self.transport.text(path, f"read the log of {pod}", query=query, timeout=2.0)
        except HomelabError:
            return ""
        lines = (text or "").strip().splitlines()
        return lines[-1] if lines else ""

    def _ask(
        self,
        method: str,
        path: str,
        asked: str,
        *,
        patient: bool = True,
        conflicts: bool = True,
        warn: t.Callable[[str], None] = no_progress,
        **more: t.Any,
    ) -> Object:
        """One request, repeated while its failure may pass, not before the server wants it; ``patient`` also waits for
        what is being installed, and ``conflicts`` asks again where somebody else was first."""
        patience = Deadline(PATIENCE)
        reading = method == "GET"
        installing = Deadline((PATIENCE if reading else INSTALL_PATIENCE) if patient else 0.0)
        not_before = 0.0

        def once() -> Object:
            nonlocal not_before
            time.sleep(max(0.0, not_before - time.monotonic()))
            answer = self.transport.send(method, path, asked, **more)
            if answer.status < 300:
                for text in answer.warnings:
                    warn(text)
                return answer.body
            not_before = time.monotonic() + answer.retry_after
            raise error_of(answer, asked, self.of)

        def passing(error: HomelabError) -> bool:
            if not error.retryable or (isinstance(error, Conflict) and not conflicts):
                return False
            if isinstance(error, NotInstalled):
                return not installing.over()
            if isinstance(error, Throttled):
                return True
            return isinstance(error, (Unreachable, ServerFault, Conflict)) and not patience.over()

        backoff = Backoff(first=0.2, most=2.0)
        return retry(once, deadline=Deadline(INSTALL_PATIENCE), when=passing, progress=self.progress, backoff=backoff)


def connect(params: t.Mapping[str, t.Any], progress: t.Callable[[str], None] = no_progress) -> Client:
    """A client from a module's parameters (:data:`kubeconfig.OPTIONS`)."""
    access = load(params.get("kubeconfig"), params.get("context"))
    return Client(access, float(params.get("api_timeout") or 30.0), progress)


def _full(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
