# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dashboard asks a node: answers of the recorded form, of the machine's own size; and its time server."""

from __future__ import annotations

import typing as t

import pytest
import recorded
from talos_support import Lab, connected
from test_talos_access import admin, bootstrapped, run

CALLS = ("CPUInfo", "CPUFreqStats", "NetworkDeviceStats", "DiskStats", "Processes")


def fields(message: t.Any) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


def test_statistics_are_of_the_machine_and_of_the_recorded_form(lab: Lab, secrets: dict[str, t.Any]) -> None:
    real = {call.path.rpartition("/")[2]: call for call in recorded.calls("running/all-rpcs.txt")}

    async def scenario() -> None:
        node = await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            told = {name: (await client.call(name)).first for name in CALLS}
            assert all(real[name].code == "OK" for name in CALLS)
            later = (await client.call("DiskStats")).first
        guest = node.machine.guest
        assert [one.processor for one in told["CPUInfo"].cpu_info] == list(range(guest.cores))
        assert {one.cpu_cores for one in told["CPUInfo"].cpu_info} == {guest.cores}
        assert len(told["CPUFreqStats"].cpu_freq_stats) == guest.cores
        network = told["NetworkDeviceStats"]
        assert [one.name for one in network.devices] == ["lo", "ens18"] and network.total.name == "ens18, lo"
        assert network.total.tx_bytes == sum(one.tx_bytes for one in network.devices) > 0
        assert [one.name for one in told["DiskStats"].devices] == ["sda"]
        assert later.total.write_sectors >= told["DiskStats"].total.write_sectors > 0
        found = {one.command: one for one in told["Processes"].processes}
        assert found["init"].pid == 1 and {"containerd", "apid", "etcd", "kubelet"} <= set(found)
        assert fields(found["etcd"]) == {
            "pid", "ppid", "state", "threads", "cpu_time", "virtual_memory", "resident_memory", "command", "executable", "args",
        }  # fmt: skip
        assert len({one.pid for one in told["Processes"].processes}) == len(told["Processes"].processes)

    run(lab, scenario())


@pytest.mark.parametrize(
    ("call", "request_", "words"),
    [
        ("Time", {}, r'error querying NTP server "time.cloudflare.com": lookup time.cloudflare.com on '),
        ("TimeCheck", {"server": "ntp.example.org"}, r'error querying NTP server "ntp.example.org": lookup '),
        ("TimeCheck", {"server": "10.0.0.1"}, r'error querying NTP server "10.0.0.1": read udp 10.77.0.11:'),
    ],
)
def test_a_lab_has_no_time_server(
    lab: Lab, secrets: dict[str, t.Any], call: str, request_: dict[str, t.Any], words: str
) -> None:
    async def scenario() -> None:
        await bootstrapped(lab, secrets)
        async with connected(lab, "10.77.0.11", admin(secrets)) as client:
            answer = await client.call(f"/time.TimeService/{call}", request_)
        assert answer.code == "UNKNOWN" and answer.message.startswith(words), answer

    run(lab, scenario())
