# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The administrator's kubeconfig, kept as a file of its own: fetched from a node, renewed before it ends."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
import typing as t

from .. import private_files
from ..errors import HomelabError, InvalidInput, Refused, ServerFault
from ..plan import HIDDEN, Change, Plan
from ..waiting import Deadline, Pending, no_progress, wait_for
from . import contexts, pki, status
from .apply import tidy
from .client import Client
from .inputs import Node
from .node import Connector, State, steadily

try:
    import yaml
except ImportError:  # only where the collection is imported without being used, as by ansible-test sanity
    yaml = t.cast("t.Any", None)

RENEW_BEFORE = dt.timedelta(days=30)


@dataclasses.dataclass(frozen=True)
class Access:
    """What a kubeconfig's current context says; certificates are PEM."""

    server: str
    user: str
    ca: bytes
    client: pki.Pair


@dataclasses.dataclass(frozen=True)
class Kubeconfig:
    """Fetching a kubeconfig from a control plane node into a file. ``known_ca``: PEM, when the bundle tells it,
    and empty when the bundle is still to be made."""

    connector: Connector
    node: Node
    dest: pathlib.Path
    deadline: Deadline
    known_ca: bytes | None = None
    progress: t.Callable[[str], None] = no_progress

    def plan(self, *, check_mode: bool, planned: bool) -> tuple[Plan, str]:
        """The change and the text to write. In check mode nothing is asked for a file that is not there."""
        current = private_files.current(self.dest, "kubeconfig")
        if current is None:
            text = "" if check_mode else self.fetch()
            return self._plan("create", before={}, reason=""), text
        if check_mode and planned:
            reason = self._staleness_offline(current)
            return self._renewal(current, reason), ""
        wanted = self._fetch_or_nothing() if check_mode else self.fetch()
        reason = staleness(current, wanted) if wanted else self._staleness_offline(current)
        return self._renewal(current, reason), wanted

    def _renewal(self, current: str, reason: str) -> Plan:
        before: dict[str, t.Any] = {}
        mode = private_files.mode_of(self.dest)
        if mode != "0600":
            before["mode"] = mode
        if reason:
            contexts.refuse_several(self.dest, current, "kubeconfig", "dest")
            before["kubeconfig"] = HIDDEN
        return self._plan("update", before, reason) if before else Plan()

    def _plan(self, action: t.Literal["create", "update"], before: dict[str, t.Any], reason: str) -> Plan:
        after = {"mode": "0600", "kubeconfig": HIDDEN}
        shown = {key: after[key] for key in before} if before else after
        return Plan.of([Change(f"kubeconfig/{self.dest}", action, before=before, after=shown, note=reason)])

    def write(self, plan: Plan, text: str) -> None:
        """Write the new text, or the old one with the right mode."""
        renewed = any("kubeconfig" in change.after for change in plan)
        private_files.replace(self.dest, text if renewed else self.dest.read_text(encoding="utf-8"))

    def fetch(self) -> str:
        """A kubeconfig that the node issues now."""

        def check() -> str | Pending:
            sight = self.connector.wait(self.node, {State.OURS}, deadline=self.deadline, progress=self.progress)
            try:
                with t.cast(Client, sight.client) as client:
                    return client.kubeconfig()
            except Refused as error:
                if status.code_of(error) != "FAILED_PRECONDITION":
                    raise self._refused(error) from error
                return Pending(tidy(error.answer))

        text = wait_for(
            f"the kubeconfig from {self.node.name}",
            lambda: steadily(check, deadline=self.deadline, progress=self.progress),
            deadline=self.deadline,
            progress=self.progress,
        )
        try:
            parse(text)
        except ValueError as error:
            raise ServerFault("use the kubeconfig", of=str(self.node.address), answer=str(error)) from error
        return text

    def _fetch_or_nothing(self) -> str:
        """Check mode, on a lab that an earlier task of the same run would have changed: there may be no node yet."""
        sight = self.connector.look(self.node)
        sight.close()
        return "" if sight.state in (State.MAINTENANCE, State.SILENT) else self.fetch()

    def _refused(self, error: Refused) -> HomelabError:
        hint = ""
        if status.code_of(error) == "UNIMPLEMENTED":
            hint = "Give the address of a control plane node."
        return Refused(f"get the kubeconfig from {self.node.name}", of=error.of, answer=tidy(error.answer), hint=hint)

    def _staleness_offline(self, current: str) -> str:
        """Without a node to compare with, what the bundle tells: the authority stays the cluster's."""
        try:
            access = parse(current)
        except ValueError as error:
            return f"it is no kubeconfig ({error})"
        if self.known_ca is not None and access.ca.strip() != self.known_ca.strip():
            return "it is of another cluster"
        return _ends_soon(access)


def parse(text: str) -> Access:
    """The current context of a kubeconfig. Raises :class:`ValueError` when it has none with certificates inline."""
    try:
        data = yaml.safe_load(text)
        context = _named(data["contexts"], data["current-context"])["context"]
        cluster = _named(data["clusters"], context["cluster"])["cluster"]
        user = _named(data["users"], context["user"])["user"]
        return Access(
            str(cluster["server"]),
            str(context["user"]),
            pki.decoded(cluster["certificate-authority-data"], "certificate-authority-data"),
            pki.Pair(
                pki.decoded(user["client-certificate-data"], "client-certificate-data"),
                pki.decoded(user["client-key-data"], "client-key-data"),
            ),
        )
    except (yaml.YAMLError, KeyError, TypeError, StopIteration, InvalidInput) as error:
        raise ValueError("it has no current context with certificates in it") from error


def staleness(current: str, wanted: str, *, now: dt.datetime | None = None) -> str:
    """Why a file is not what the node would issue, or the empty string. Each issue has a certificate of its own."""
    try:
        have, want = parse(current), parse(wanted)
    except ValueError as error:
        return f"it is no kubeconfig ({error})"
    if have.ca.strip() != want.ca.strip():
        return "it is of another cluster"
    if have.server != want.server:
        return f"its server is {have.server}, and now {want.server}"
    if have.user != want.user:
        return f"its user is {have.user}, and now {want.user}"
    if not pki.issued_by(have.client.crt, want.ca):
        return "its certificate is not the cluster's"
    return _ends_soon(have, now)


def _ends_soon(access: Access, now: dt.datetime | None = None) -> str:
    """Within 30 days, or the last third of what a short-lived one has: a new one would be no better."""
    try:
        begins, ends = pki.begins(access.client.crt), pki.expires(access.client.crt)
    except ValueError:
        return "its certificate is broken"
    left = ends - (now or dt.datetime.now(dt.UTC))
    return "" if left > min(RENEW_BEFORE, (ends - begins) / 3) else "its certificate ends soon"


def _named(entries: t.Sequence[t.Any], name: str) -> t.Any:
    return next(entry for entry in entries if entry["name"] == name)
