# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: retention by two people's reckoning, and plans without a network."""

from __future__ import annotations

import datetime
import typing as t
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import InvalidInput
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups import backup_plan, retention
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups.backup_plan import (
    Delete,
    MakeDump,
    Seen,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups.backup_reading import (
    Backup,
    Clock,
    Guest,
    StorageAt,
    places,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.backups.backup_spec import (
    Dump,
    parse_volid,
    seconds,
)

UTC = datetime.timezone.utc
NOW = 1795251370
HOUR, DAY = 3600, 86400
PLACE = ("pve1", "nas")
RULES = st.dictionaries(
    st.sampled_from(["keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly"]),
    st.integers(1, 4),
    min_size=1,
)
TIMES = st.lists(st.integers(NOW - 500 * DAY, NOW), max_size=12, unique=True)
GUESTS = [Guest(200, "qemu", "pve1", "cp", "lab", True), Guest(310, "lxc", "pve1", "dns")]


def by_sets(times: t.Collection[int], rule: t.Mapping[str, int], zone: datetime.tzinfo) -> set[int]:
    """The documentation's words once more, in another way: for each option, the newest of each period that has no kept
    backup yet, as many as it says."""
    formats = {
        "keep-last": "%s", "keep-hourly": "%Y%m%d%H", "keep-daily": "%Y%m%d", "keep-weekly": "%G/%V",
        "keep-monthly": "%Y%m", "keep-yearly": "%Y",
    }  # fmt: skip
    keep: set[int] = set()
    for option, pattern in formats.items():

        def period(moment: int, pattern: str = pattern) -> str:
            return str(moment) if pattern == "%s" else datetime.datetime.fromtimestamp(moment, zone).strftime(pattern)

        covered = {period(one) for one in keep}
        newest = {period(one): one for one in sorted(times) if period(one) not in covered}
        chosen = sorted(newest.values(), reverse=True)[: rule.get(option, 0)]
        keep |= set(chosen)
    return set(times) - keep


@settings(max_examples=60, deadline=None)
@given(TIMES, RULES, st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/St_Johns"]))
def test_two_reckonings_agree(times: list[int], rule: dict[str, int], name: str) -> None:
    zone = zoneinfo.ZoneInfo(name)
    assert retention.removed({one: one for one in times}, rule, zone) == by_sets(times, rule, zone)


def test_the_periods_are_those_of_the_nodes_clock() -> None:
    """Half past eleven and half past midnight in Berlin are two days there, and one day in UTC."""
    evening = int(datetime.datetime(2026, 11, 20, 23, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).timestamp())
    times = {"evening": evening, "night": evening + HOUR}
    assert retention.removed(times, {"keep-daily": 2}, zoneinfo.ZoneInfo("Europe/Berlin")) == set()
    assert retention.removed(times, {"keep-daily": 2}, UTC) == {"evening"}
    unknown = retention.zone_of({"timezone": "Nowhere/None", "time": 1000, "localtime": 4600})
    assert unknown.utcoffset(None) == datetime.timedelta(hours=1)


def test_keep_all_keeps_all() -> None:
    assert retention.removed({1: 1, 2: 2}, {"keep-all": 1}, UTC) == set()
    assert retention.removed({1: 1, 2: 2}, {}, UTC) == set()


class Model:
    """Backups of some guests on a storage, and a server that prunes as the documentation says."""

    def __init__(self, backups: list[Backup]) -> None:
        self.backups = backups
        self.now = NOW

    def seen(self, rule: t.Mapping[str, int]) -> Seen:
        gone: set[str] = set()
        for guest in GUESTS:
            ours = [one for one in backup_plan.of(guest, self.backups) if not one.protected]
            times = by_sets({one.time for one in ours}, rule, UTC) if rule else set()
            gone |= {one.volid for one in ours if one.time in times}
        return Seen({PLACE: self.backups}, {"pve1": Clock(self.now, UTC)}, {PLACE: frozenset(gone)})

    def do(self, operation: t.Any, rule: t.Mapping[str, int]) -> None:
        self.now += 1
        if isinstance(operation, MakeDump):
            volid = f"nas:backup/vzdump-{operation.guest.kind}-{operation.guest.vmid}-new"
            new = Backup(volid, operation.guest.vmid, operation.guest.kind, self.now, 1, operation.dump.protected)
            self.backups = [new, *self.backups]
        else:
            assert operation.backup.volid in self.seen(rule).prunable[PLACE]
            self.backups = [one for one in self.backups if one.volid != operation.backup.volid]


def backup(number: int, vmid: int, age: int, *, size: int = 1, protected: bool = False, verified: str = "") -> Backup:
    kind = "qemu" if vmid == 200 else "lxc"
    return Backup(f"nas:backup/b{number}", vmid, kind, NOW - age, size, protected, "", verified)


BACKUPS = st.lists(
    st.tuples(
        st.sampled_from([200, 310]), st.integers(1, 300 * DAY), st.sampled_from([0, 1, 1]), st.booleans(),
        st.sampled_from(["", "ok", "failed"]),
    ),
    max_size=10,
    unique_by=lambda entry: entry[1],
).map(lambda found: [backup(n, v, a, size=s, protected=p, verified=w) for n, (v, a, s, p, w) in enumerate(found)])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(BACKUPS, RULES, st.sampled_from([HOUR, DAY, 100 * DAY]), st.booleans())
def test_the_prediction_is_what_comes_of_it_and_a_second_plan_is_empty(
    backups: list[Backup], rule: dict[str, int], max_age: int, protected: bool
) -> None:
    model = Model(backups)
    dump = Dump("nas", max_age=max_age, retention=rule, protected=protected)
    made = backup_plan.present(GUESTS, dump, model.seen(rule))
    predicted = {one.volid for one in backups} - {
        change.operation.backup.volid for change in made if isinstance(change.operation, Delete)
    }
    for change in made:
        model.do(change.operation, rule)
    assert {one.volid for one in model.backups if not one.volid.endswith("-new")} == predicted
    assert {one.volid for one in backups if one.protected} <= predicted
    again = backup_plan.present(GUESTS, dump, model.seen(rule))
    assert [change.resource for change in again] == []


def test_what_the_storage_would_prune_by_itself_is_switched_off() -> None:
    form = Dump("nas", notes="{{guestname}}", bandwidth=10, fleecing="fast").form(200)
    assert form == {
        "vmid": 200, "storage": "nas", "mode": "snapshot", "compress": "zstd", "remove": 0,
        "notes-template": "{{guestname}}", "bwlimit": 10, "fleecing": "enabled=1,storage=fast",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("45m", 2700), ("20h", 72000), ("7d", 604800), ("2w", 1209600), (None, 0)]
)
def test_ages(text: str | None, expected: int) -> None:
    assert seconds("max_age", text) == expected


@pytest.mark.parametrize("volid", ["nas:backup/vm/200/2026-11-21T03:00:00Z", "nas:backup/vzdump-lxc-1-x.tar.zst"])
def test_volume_ids_of_files_and_of_backup_servers(volid: str) -> None:
    assert parse_volid(volid)[0] == "nas"


def test_a_shared_storage_is_looked_at_once_and_a_local_one_on_each_node() -> None:
    def at(storage: str, node: str, shared: bool, available: bool = True) -> StorageAt:
        return StorageAt(storage, node, shared, frozenset({"backup"}), available)

    found = [
        at("local", "pve1", False), at("local", "pve2", False), at("local", "pve3", False, False),
        at("nas", "pve1", True), at("nas", "pve2", True),
    ]  # fmt: skip
    assert places(found, ["nas", "local"]) == [("pve1", "local"), ("pve2", "local"), ("pve1", "nas")]
    assert places(found, ["nas"], ["pve2"]) == [("pve2", "nas")]
    with pytest.raises(InvalidInput, match="There is no storage 'local' on pve3 that is available"):
        places(found, ["local"], ["pve3"])
