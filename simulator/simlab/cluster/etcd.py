# SPDX-License-Identifier: GPL-3.0-or-later
"""A real etcd member, run as Talos runs it."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import pathlib
import typing as t

from .node import Node


class EtcdError(Exception):
    """etcd refused, or does not answer. ``code`` is a gRPC status code (5 NOT_FOUND, 9 FAILED_PRECONDITION,
    14 UNAVAILABLE, …), the text etcd's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Member:
    id: int
    name: str  # "" while it has not started
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclasses.dataclass(frozen=True)
class Status:
    """As ``machine.EtcdMemberStatus``."""

    member_id: int
    version: str  # "3.6.8"
    storage_version: str  # "3.6.0"
    db_size: int
    db_size_in_use: int
    leader: int
    raft_index: int
    raft_term: int
    raft_applied_index: int
    errors: tuple[str, ...]
    learner: bool


class EtcdMember:
    """One member. All queries raise :class:`EtcdError` when it does not run."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # --- life ---
    @property
    def has_data(self) -> bool:
        """Whether the data directory is not empty (Bootstrap answers ALREADY_EXISTS then)."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """None while no process runs."""
        raise NotImplementedError

    @property
    def failure(self) -> str | None:
        """Why it does not run though it was started (the log's last line), None otherwise."""
        raise NotImplementedError

    async def start_new(self) -> None:
        """The first member of a new cluster (Bootstrap). Returns when the process runs."""
        raise NotImplementedError

    async def start_existing(self) -> None:
        """Boot with data on the disk."""
        raise NotImplementedError

    async def join(self, endpoints: t.Sequence[str]) -> None:
        """Join the cluster of the members at these node addresses: added as learner, started, promoted in the
        background as soon as etcd allows it. Raises EtcdError when no endpoint answers or etcd refuses (retry)."""
        raise NotImplementedError

    async def recover(self, snapshot: pathlib.Path, *, skip_hash_check: bool = False) -> None:
        """A new cluster of one from a snapshot file (Bootstrap with recover_etcd)."""
        raise NotImplementedError

    async def force_new_cluster(self) -> None:
        """Start from the data directory as the only member of a new cluster."""
        raise NotImplementedError

    async def healthy(self) -> bool:
        """What Talos's health check asks: the member answers a linearizable read."""
        raise NotImplementedError

    async def wait_healthy(self, timeout: float = 60.0) -> None:
        """Raises EtcdError when it exits or ``timeout`` (seconds) passes."""
        raise NotImplementedError

    async def stop(self, *, kill: bool = False) -> None:
        """SIGTERM and a bounded wait, or SIGKILL. The data stays."""
        raise NotImplementedError

    async def leave(self) -> None:
        """EtcdLeaveCluster: remove this member from the cluster, stop, wipe the data directory."""
        raise NotImplementedError

    # --- queries ---
    async def members(self, *, linearizable: bool = True) -> list[Member]:
        raise NotImplementedError

    async def status(self) -> Status:
        raise NotImplementedError

    async def alarms(self) -> list[tuple[int, str]]:
        """(member id, ``NOSPACE`` or ``CORRUPT``)."""
        raise NotImplementedError

    async def disarm_alarms(self) -> list[tuple[int, str]]:
        raise NotImplementedError

    async def defragment(self) -> None:
        raise NotImplementedError

    def snapshot(self) -> c.AsyncIterator[bytes]:
        """Chunks of the snapshot file."""
        raise NotImplementedError

    async def remove_member(self, member_id: int) -> None:
        raise NotImplementedError

    async def forfeit_leadership(self) -> str | None:
        """Name of the new leader; None when this member was not the leader."""
        raise NotImplementedError
