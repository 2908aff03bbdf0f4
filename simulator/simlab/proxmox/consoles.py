# SPDX-License-Identifier: GPL-3.0-or-later
"""Consoles. Nothing listens behind their ports: whoever is sent there finds nobody, and their tasks end by time."""

from __future__ import annotations

import secrets
import string
import time
import typing as t

from . import certificates
from .api import Call, handles
from .errors import ApiError, Failure, Forbidden, NotSimulated
from .lxc import ct as containers
from .lxc.ct import Container
from .qemu.vm import Vm
from .tasks import Task

_NODE = "/nodes/{node}"
_VM = "/nodes/{node}/qemu/{vmid}"
_CT = "/nodes/{node}/lxc/{vmid}"
#: Seconds that a proxy waits for its client; as long its port is taken, by the clock of the one who asks.
_PATIENCE = 10
_PORTS = range(5900, 6000)
_PRINTABLE = string.ascii_letters + string.digits + string.punctuation


def _free_port(call: Call) -> int:
    taken: dict[int, float] = call.cluster.extra("console ports", dict)
    now = time.monotonic()
    for port in _PORTS:
        if taken.get(port, 0.0) <= now:
            taken[port] = now + _PATIENCE
            return port
    raise Failure("unable to find free port (5900-6000)")


def _certificate(call: Call) -> str:
    def make() -> str:
        return certificates.self_signed(call.cluster.config.root / "authority", "127.0.0.1")[0].read_text("ascii")

    return str(call.cluster.extra("console certificate", make))


def _ticket(call: Call, path: str) -> str:
    if call.cluster.authentication is None:
        raise NotSimulated(call.method, call.template)
    return call.cluster.authentication.console_ticket(call.caller.name, path)


def _open(call: Call, kind: str, path: str, end: t.Callable[[int], str], *, certificate: bool) -> dict[str, t.Any]:
    """``end``: the error of the task when nobody has come, by port."""
    port = _free_port(call)

    async def work(task: Task) -> None:
        task.to_spend = _PATIENCE * call.cluster.config.time_scale
        await task.spend()
        if end(port):
            raise Failure(end(port))

    upid = call.start(kind, call.params.get("vmid", ""), work)
    shown = {"user": call.caller.name, "ticket": _ticket(call, path), "port": str(port), "upid": upid}
    return shown | ({"cert": _certificate(call)} if certificate else {})


def _terminal(port: int, path: str, right: str, command: str) -> str:
    return f"command '/usr/bin/termproxy {port} --path {path} --perm {right} -- {command}' failed: exit code 1"


def _drawn_terminal(call: Call, port: int, path: str, right: str, command: str) -> str:
    words = [f"/usr/bin/vncterm -rfbport {port} -timeout {_PATIENCE} -authpath {path} -perm {right}"]
    words += [f"-{name} {call.params[name]}" for name in ("width", "height") if int(call.params.get(name, 0))]
    words += ["-notls -listen localhost"] if call.flag("websocket") else []
    return f"command '{' '.join(words)} -c {command}' failed: exit code 1"


# -- virtual machines -------------------------------------------------------------------------------------


def _vm(call: Call) -> Vm:
    return call.cluster.vm(call.node.name, call.vmid)


def _serial_display(vm: Vm) -> str:
    """The serial port that stands in for the display."""
    kind = vm.options.get("vga", "").split(",")[0].removeprefix("type=")
    return kind if kind.startswith("serial") else ""


@handles("POST", f"{_VM}/vncproxy")
def vm_display(call: Call) -> dict[str, t.Any]:
    serial, path = _serial_display(_vm(call)), f"/vms/{call.vmid}"
    command = f"/usr/sbin/qm terminal {call.vmid} -iface {serial} -escape 0"

    def end(port: int) -> str:
        return _drawn_terminal(call, port, path, "Sys.Console", command) if serial else "connection timed out"

    shown = _open(call, "vncproxy", path, end, certificate=True)
    if call.flag("generate-password"):
        shown["password"] = "".join(secrets.choice(_PRINTABLE) for _ in range(8))
    return shown


@handles("POST", f"{_VM}/termproxy")
def vm_terminal(call: Call) -> dict[str, t.Any]:
    serial, path = call.text("serial") or _serial_display(_vm(call)), f"/vms/{call.vmid}"
    command = f"/usr/sbin/qm terminal {call.vmid} -escape 0" + (f" -iface {serial}" if serial else "")
    return _open(call, "vncproxy", path, lambda port: _terminal(port, path, "VM.Console", command), certificate=False)


@handles("POST", f"{_VM}/spiceproxy")
def vm_spice(call: Call) -> t.NoReturn:
    vm = _vm(call)
    if vm.running is None:
        raise Failure(f"VM {call.vmid} not running")
    if not vm.running.options.get("vga", "").removeprefix("type=").startswith("qxl"):
        raise Failure("no spice port")
    raise NotSimulated(call.method, call.template)


@handles("POST", f"{_VM}/monitor")
def monitor(call: Call) -> str:
    """Of QEMU's own commands only the state is played."""
    vm = _vm(call)
    if vm.running is None:
        return f"ERROR: VM {call.vmid} not running\n"
    if call.text("command").split() != ["info", "status"]:
        raise NotSimulated(call.method, call.template)
    return f"VM status: {vm.running.qmp_status}\r\n"


# -- containers -------------------------------------------------------------------------------------------


def _console_command(ct: Container) -> str:
    console = {"shell": f"lxc-attach --clear-env -n {ct.vmid}", "console": f"lxc-console -n {ct.vmid} -t 0 -e -1"}
    command = console.get(ct.options.get("cmode", "tty"), f"lxc-console -n {ct.vmid} -e -1")
    return f"/usr/bin/dtach -A /var/run/dtach/vzctlconsole{ct.vmid} -r winch -z {command}"


@handles("POST", f"{_CT}/vncproxy")
def ct_display(call: Call) -> dict[str, t.Any]:
    command, path = _console_command(containers.find(call)), f"/vms/{call.vmid}"

    def end(port: int) -> str:
        return _drawn_terminal(call, port, path, "VM.Console", command)

    return _open(call, "vncproxy", path, end, certificate=True)


@handles("POST", f"{_CT}/termproxy")
def ct_terminal(call: Call) -> dict[str, t.Any]:
    command, path = _console_command(containers.find(call)), f"/vms/{call.vmid}"
    return _open(call, "vncproxy", path, lambda port: _terminal(port, path, "VM.Console", command), certificate=False)


@handles("POST", f"{_CT}/spiceproxy")
def ct_spice(call: Call) -> t.NoReturn:
    if containers.find(call).running is None:
        raise Failure(f"CT {call.vmid} not running")
    raise NotSimulated(call.method, call.template)


# -- nodes ------------------------------------------------------------------------------------------------


@handles("POST", f"{_NODE}/vncshell")
def node_display(call: Call) -> dict[str, t.Any]:
    if call.text("cmd", "login") != "login" and call.caller.name != "root@pam":
        raise Forbidden("user != root@pam")
    return _open(call, "vncshell", f"/nodes/{call.node.name}", lambda port: "", certificate=True)


@handles("POST", f"{_NODE}/termproxy")
def node_terminal(call: Call) -> dict[str, t.Any]:
    path = f"/nodes/{call.node.name}"
    login = "/bin/login -f root" if call.caller.name == "root@pam" else "/bin/login"

    def end(port: int) -> str:
        return _terminal(port, path, "Sys.Console --vncticket-endpoint", login)

    return _open(call, "vncshell", path, end, certificate=False)


# -- what a console's ticket opens ------------------------------------------------------------------------


def _websocket(call: Call) -> dict[str, str]:
    """Asked for without an upgrade it only says the port."""
    path = f"/vms/{call.vmid}" if "vmid" in call.params else f"/nodes/{call.node.name}"
    authentication = call.cluster.authentication
    if authentication is None or not authentication.check_console_ticket(
        call.text("vncticket"), call.caller.name, path
    ):
        raise ApiError(401, "permission denied - invalid PVEVNC ticket")
    return {"port": call.text("port")}


@handles("GET", f"{_VM}/vncwebsocket")
def vm_websocket(call: Call) -> dict[str, str]:
    shown = _websocket(call)
    _vm(call)
    return shown


handles("GET", f"{_CT}/vncwebsocket", f"{_NODE}/vncwebsocket")(_websocket)
