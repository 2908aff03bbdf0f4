# SPDX-License-Identifier: GPL-3.0-or-later
"""Consoles: where a client is sent to, and what ends when nobody comes."""

from __future__ import annotations

import re
import typing as t

import asked
import pytest
from asked import gone, vm

TEMPLATE = "local:vztmpl/mini_1.0_amd64.tar.gz"
TICKET = r"PVEVNC:[0-9A-F]{8}::[A-Za-z0-9+/]+=*"


def opened(server: asked.Asked, path: str, **sent: t.Any) -> dict[str, t.Any]:
    """What a proxy answers, without what differs each time."""
    data = server.data("POST", path, **sent)
    assert re.fullmatch(TICKET, data.pop("ticket"))
    assert re.fullmatch("59[0-9]{2}", data.pop("port"))  # a text
    data["upid"] = ":".join(data["upid"].split(":")[5:])
    if "cert" in data:
        assert data.pop("cert").startswith("-----BEGIN CERTIFICATE-----\n")
        data["cert"] = True
    return data


@pytest.fixture
def guests(asked_server: asked.Asked) -> t.Iterator[asked.Asked]:
    asked_server.walk([
        vm(810, serial0="socket"),
        ("POST", "/lxc", {"vmid": 811, "ostemplate": TEMPLATE, "rootfs": "local:1"}, "task OK"),
    ])  # fmt: skip
    yield asked_server
    asked_server.walk([gone(810), ("DELETE", "/lxc/811", {}, "task OK")])


def test_a_console_is_offered_even_of_what_is_stopped(guests: asked.Asked) -> None:
    root = {"user": "root@pam"}
    assert opened(guests, "/qemu/810/vncproxy") == root | {"upid": "vncproxy:810:root@pam:", "cert": True}
    assert opened(guests, "/qemu/810/vncproxy", websocket=1) == root | {"upid": "vncproxy:810:root@pam:", "cert": True}
    assert opened(guests, "/qemu/810/termproxy", serial="serial0") == root | {"upid": "vncproxy:810:root@pam:"}
    assert opened(guests, "/lxc/811/vncproxy", width=800, height=600) == root | {
        "upid": "vncproxy:811:root@pam:", "cert": True,
    }  # fmt: skip
    assert opened(guests, "/lxc/811/termproxy") == root | {"upid": "vncproxy:811:root@pam:"}
    assert opened(guests, "/termproxy") == root | {"upid": "vncshell::root@pam:"}
    assert opened(guests, "/vncshell", websocket=1) == root | {"upid": "vncshell::root@pam:", "cert": True}


def test_a_password_is_made_when_it_is_wanted(guests: asked.Asked) -> None:
    data = guests.data("POST", "/qemu/810/vncproxy", **{"generate-password": 1})
    assert len(data["password"]) == 8 and "password" not in guests.data("POST", "/qemu/810/vncproxy")


def test_every_console_has_a_port_of_its_own(guests: asked.Asked) -> None:
    ports = [int(guests.data("POST", "/qemu/810/vncproxy")["port"]) for _ in range(3)]
    assert ports == sorted(set(ports))


def test_a_ticket_opens_the_websocket_of_its_guest_only(guests: asked.Asked) -> None:
    data = guests.data("POST", "/qemu/810/vncproxy")
    sent = {"port": data["port"], "vncticket": data["ticket"]}
    guests.walk([
        ("GET", "/qemu/810/vncwebsocket", sent, {"port": data["port"]}),
        ("GET", "/lxc/811/vncwebsocket", sent, "401 permission denied - invalid PVEVNC ticket"),
        ("GET", "/vncwebsocket", sent, "401 permission denied - invalid PVEVNC ticket"),
        ("GET", "/qemu/810/vncwebsocket", sent | {"vncticket": "x"}, "401 permission denied - invalid PVEVNC ticket"),
        ("GET", "/qemu/810/vncwebsocket", sent | {"port": 80}, "port: value must have a minimum value of 5900"),
    ])  # fmt: skip


def test_the_task_of_a_console_to_which_nobody_comes_ends(guests: asked.Asked) -> None:
    upid = guests.data("POST", "/qemu/810/vncproxy")["upid"]
    assert guests.end_of(upid) == "connection timed out"
    upid = guests.data("POST", "/qemu/810/termproxy")["upid"]
    assert guests.end_of(upid).startswith("command '/usr/bin/termproxy 59")
    assert guests.end_of(upid).endswith(
        " --path /vms/810 --perm VM.Console -- /usr/sbin/qm terminal 810 -escape 0' failed: exit code 1"
    )
    assert guests.end_of(guests.data("POST", "/vncshell")["upid"]) == "OK"  # its end is only logged


@pytest.mark.parametrize("call", ["vncproxy", "termproxy", "spiceproxy"])
def test_no_console_of_what_is_not_there(asked_server: asked.Asked, call: str) -> None:
    for kind, folder in (("qemu", "qemu-server"), ("lxc", "lxc")):
        text = f"500 Configuration file 'nodes/pve1/{folder}/819.conf' does not exist"
        asked_server.walk([("POST", f"/{kind}/819/{call}", {}, text)])


def test_spice_needs_a_display_and_a_running_guest(guests: asked.Asked) -> None:
    guests.walk([
        ("POST", "/qemu/810/spiceproxy", {}, "500 VM 810 not running"),
        ("POST", "/lxc/811/spiceproxy", {}, "500 CT 811 not running"),
        ("POST", "/qemu/810/status/start", {}, "task OK"),
        ("POST", "/qemu/810/spiceproxy", {}, "500 no spice port"),
        ("POST", "/qemu/810/status/stop", {}, "task OK"),
    ])  # fmt: skip


def test_the_monitor_of_a_vm(guests: asked.Asked) -> None:
    def said(command: str) -> t.Any:
        return guests.data("POST", "/qemu/810/monitor", command=command)

    assert said("info status") == "ERROR: VM 810 not running\n"
    guests.walk([("POST", "/qemu/810/status/start", {}, "task OK")])
    assert said("info status") == "VM status: running\r\n"
    guests.walk([("POST", "/qemu/810/status/suspend", {}, "task OK")])
    assert said("info status") == "VM status: paused\r\n"
    guests.walk([
        ("POST", "/qemu/819/monitor", {"command": "info status"},
         "500 Configuration file 'nodes/pve1/qemu-server/819.conf' does not exist"),
        ("POST", "/qemu/810/status/stop", {}, "task OK"),
    ])  # fmt: skip
