# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind an address: our node, a node in maintenance mode, somebody else's node, or nobody yet."""

from __future__ import annotations

import dataclasses
import enum
import ssl
import typing as t

from ..errors import AccessDenied, HomelabError, Unauthenticated, Unreachable
from ..waiting import Backoff, Deadline, Pending, no_progress, retry, wait_for
from . import rights, tls
from .channel import PORT, Channel, RefusedByOurs, Target, UntrustedNode
from .client import Client
from .inputs import Node

#: Seconds to make a connection: a node that answers does so at once, one that is off never does.
CONNECT_TIMEOUT = 5.0
#: Seconds in which a failing call is repeated.
STEADY = 10.0
#: Seconds that a machine without a clock of its own gets to set it: until then its certificates are of another time.
CLOCK = 60.0
#: Stages in which the node is about to go away or is not done coming.
PASSING_STAGES = frozenset({"installing", "rebooting", "shutting down", "resetting", "upgrading"})


def lacks_only_readiness(status: t.Mapping[str, t.Any]) -> bool:
    """Whether a machine, by its status, waits for nothing but Kubernetes' Ready. Its boot sequence itself waits for that,
    so without a network plugin it goes on booting for ever.
    """
    unmet = (status.get("status") or {}).get("unmetConditions") or []
    waits = bool(unmet) and all(one.get("name") == "nodeReady" for one in unmet)
    return waits and status.get("stage") in ("booting", "running")


class State(enum.Enum):
    """Who listens."""

    OURS = "configured by this cluster"
    MAINTENANCE = "in maintenance mode"
    FOREIGN = "configured by another cluster"
    UNFIT = "configured by this cluster, with a certificate or a clock that does not fit"
    SILENT = "silent"


@dataclasses.dataclass
class Sight:
    """One look at a node. ``client`` is open when the state is OURS or MAINTENANCE, and the caller closes it."""

    state: State
    client: Client | None = None
    stage: str = ""
    reason: HomelabError | None = None
    #: The machine's status as the node tells it, when it was asked.
    status: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def why(self) -> str:
        return (self.reason.answer or self.reason.message) if self.reason else self.state.value

    @property
    def host_is_up(self) -> bool:
        """The machine refuses connections, so it is on, and its API is not."""
        return bool(self.reason and self.reason.details.get("refused"))

    @property
    def clock_may_be_wrong(self) -> bool:
        """It is a node of ours, and one of the two certificates is of another time."""
        code = self.reason.details.get("verify_code") if self.reason else None
        return self.state is State.UNFIT and (code in tls.OTHER_TIME or isinstance(self.reason, RefusedByOurs))

    def close(self) -> None:
        if self.client:
            self.client.channel.close()


@dataclasses.dataclass(frozen=True)
class Connector:
    """How nodes are reached: who asks, seconds a call may take, the port (another one only in tests)."""

    identity: tls.Identity
    timeout: float = 30.0
    port: int = PORT

    def look(self, node: Node) -> Sight:
        """One attempt; raises nothing that waiting may change, but a missing right."""
        try:
            client = self.open(node, self.identity.context())
        except UntrustedNode as error:
            return self._look_unverified(node, error)
        except RefusedByOurs as error:
            return Sight(State.UNFIT, reason=error)
        except Unauthenticated as error:
            return Sight(State.FOREIGN, reason=error)
        except Unreachable as error:
            return Sight(State.SILENT, reason=error)
        return self._asked(client, State.OURS)

    def open(self, node: Node, context: ssl.SSLContext | None = None) -> Client:
        """A connection with our certificate."""
        channel = Channel(
            Target(node.address, node.name, self.port), context or self.identity.context(), timeout=CONNECT_TIMEOUT
        )
        return Client(channel, timeout=self.timeout)

    def _look_unverified(self, node: Node, distrust: UntrustedNode) -> Sight:
        """Its certificate is not ours: either it has no config yet, or it has another cluster's, or its certificate
        is ours and not for this address or this time.
        """
        try:
            client = self.open(node, tls.maintenance_context())
        except Unreachable as error:
            return Sight(State.SILENT, reason=error)
        except Unauthenticated:
            return Sight(_distrusted(distrust), reason=distrust)
        _require_fingerprint(node, client)
        sight = self._asked(client, State.MAINTENANCE)
        if sight.state is State.MAINTENANCE:
            return sight
        sight.close()
        # A node that wants a client certificate says so with an alert, or just closes the connection.
        return Sight(_distrusted(distrust), reason=distrust)

    def _asked(self, client: Client, state: State) -> Sight:
        """The stage is what both modes tell; the first call also shows a refusal of our certificate. A right that is
        missing stays missing, so it is raised and not waited for.
        """
        try:
            status = client.machine_status()
            stage = str(status.get("stage", ""))
        except AccessDenied as error:
            client.channel.close()
            if state is State.OURS:
                raise rights.too_little(self.identity, "Get", of=client.of, answer=error.answer) from error
            return Sight(State.SILENT, reason=error)
        except RefusedByOurs as error:
            client.channel.close()
            return Sight(State.UNFIT, reason=error)
        except Unauthenticated as error:
            client.channel.close()
            return Sight(State.FOREIGN, reason=error)
        except HomelabError as error:
            client.channel.close()
            return Sight(State.SILENT, reason=error)
        if state is State.MAINTENANCE and stage != "maintenance":
            client.channel.close()
            return Sight(State.SILENT, stage=stage)
        return Sight(state, client, stage, status=status)

    def wait(
        self,
        node: Node,
        wanted: t.Collection[State],
        *,
        deadline: Deadline,
        progress: t.Callable[[str], None] = no_progress,
        patience: float = 5.0,
    ) -> Sight:
        """Look until the node is in one of the states. FOREIGN or UNFIT that lasts ``patience`` seconds is an error:
        right after a config was applied, the first connections may meet a certificate that is about to go. A wrong
        clock gets :data:`CLOCK` seconds.
        """
        strange = Patience(deadline, patience)

        def check() -> Sight | Pending:
            sight = self.look(node)
            if sight.state in wanted and sight.stage not in PASSING_STAGES:
                return sight
            sight.close()
            strange.judge(node, sight)
            if sight.stage in PASSING_STAGES:
                return Pending(f"the machine is {sight.stage}")
            return Pending(sight.why)

        return wait_for(
            f"the Talos API of {node.name}",
            check,
            deadline=deadline,
            of=str(Target(node.address, node.name, self.port)),
            progress=progress,
            hint="Is the machine on, with this address, on the right VLAN? Its console shows what Talos does.",
        )


def silence(node: Node, sight: Sight, control_plane_up: bool) -> str:
    """Why this node does not answer: a machine that is on refuses connections, one that is off says nothing. A worker
    that is on gets the certificate for its API from a control plane node, so it waits until one is up.
    """
    if sight.state is not State.SILENT:
        return sight.why
    if sight.reason and sight.reason.details.get("connected"):
        return sight.why
    if not sight.host_is_up:
        return f"{sight.why}: the machine is off, or not at this address"
    if node.type == "worker" and not control_plane_up:
        return f"{sight.why}: the machine is on; a worker's API comes when a control plane node is up, and none is"
    return f"{sight.why}: the machine is on, its Talos API is not"


def _require_fingerprint(node: Node, client: Client) -> None:
    """Nobody vouches for a machine without a config but the person who has seen its console. Nothing was sent yet."""
    shown = client.channel.fingerprint
    if not node.fingerprint or node.fingerprint == shown:
        return
    client.channel.close()
    raise Unauthenticated(
        f"trust {node.name} without a certificate of the cluster",
        of=client.of,
        answer=f"its certificate has the fingerprint {shown}, and {node.fingerprint} was given",
        hint="Compare it with the one on the machine's console: it is another one after each boot. Nothing was sent to it.",
        fingerprint=shown,
    )


T = t.TypeVar("T")


def steadily(work: t.Callable[[], T], *, deadline: Deadline, progress: t.Callable[[str], None] = no_progress) -> T:
    """Do what may be repeated again while it fails in a passing way, for a short while from its first failure on: a lost
    answer should not end a task, also after a long wait, and a node that keeps failing should not keep it waiting.
    """
    try:
        return work()
    except HomelabError as error:
        if not error.retryable or deadline.over():
            raise
        progress(f"{error.message} Trying again")
    limit = Deadline(min(STEADY, deadline.left()), deadline.clock)
    deadline.clock.sleep(min(0.2, limit.seconds))
    return retry(work, deadline=limit, progress=progress, backoff=Backoff(first=0.3, most=2.0))


class Patience:
    """Lets a node show a strange certificate for some seconds, and raises when it goes on."""

    def __init__(self, deadline: Deadline, seconds: float) -> None:
        self._deadline = deadline
        self._seconds = seconds
        self._since: float | None = None

    def judge(self, node: Node, sight: Sight) -> None:
        """Raise the error of a sight that has been strange for too long."""
        if sight.state not in (State.FOREIGN, State.UNFIT):
            self._since = None
            return
        if self._since is None:
            self._since = self._deadline.elapsed()
        patience = max(self._seconds, CLOCK) if sight.clock_may_be_wrong else self._seconds
        if self._deadline.elapsed() - self._since < patience:
            return
        if sight.state is State.UNFIT and sight.reason:
            raise sight.reason
        raise foreign_error(node, sight)


def _distrusted(error: UntrustedNode) -> State:
    codes = (*tls.NAME_MISMATCH, *tls.OTHER_TIME)
    return State.UNFIT if error.details["verify_code"] in codes else State.FOREIGN


def foreign_error(node: Node, sight: Sight) -> HomelabError:
    return Unauthenticated(
        f"reach {node.name} as a node of this cluster",
        of=f"Talos node {node.name} at {node.address}",
        answer=sight.why,
        hint="It was configured with another secrets bundle. Use that bundle, or reset the machine if it is to join "
        "this cluster.",
    )
