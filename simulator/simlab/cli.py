# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``rehearse`` command: playbooks on a simulated lab."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t

from . import builder, client, faults, playbooks, sandbox

_PACKAGE = pathlib.Path(__file__).resolve().parent


class _Usage(Exception):
    """A wrong argument; the text says which and what was expected."""


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Returns the exit status: that of the worst playbook, 2 for wrong usage, 3 when no lab can be made here."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    ours, rest = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    options = _parser().parse_args(ours)
    options.rest = rest
    try:
        return int(options.function(options))
    except (_Usage, client.LabError) as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return 2
    except sandbox.SandboxUnavailable as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rehearse", description="Rehearse playbooks on a simulated lab.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="start a lab, run playbooks on it, report")
    _lab_options(run)
    run.add_argument("playbooks", nargs="+", metavar="PLAYBOOK", help="a path, or a name such as bootstrap")
    run.add_argument("--report", type=pathlib.Path, metavar="FILE", help="write a report as JSON")
    run.add_argument("--keep", action="store_true", help="leave the lab running: a shell in it, or until it is stopped")
    for short, long in (("-C", "--check"), ("-D", "--diff")):
        run.add_argument(short, long, dest="passed", action="append_const", const=long, help="for ansible-playbook")
    for short, long in (("-e", "--extra-vars"), ("-t", "--tags"), ("-l", "--limit")):
        run.add_argument(short, long, action="append", default=[], metavar="…", help="for ansible-playbook")
    run.add_argument("-v", dest="verbosity", action="count", default=0, help="for ansible-playbook")
    run.epilog = "Further arguments of ansible-playbook follow after --."
    run.set_defaults(function=_run, passed=[])

    serve = commands.add_parser("serve", help="start a lab and keep it until standard input ends (for tests)")
    _lab_options(serve)
    serve.set_defaults(function=_serve)

    for name, function, what in (
        ("shell", _shell, "a shell in a running lab's network"),
        ("exec", _exec, "run a program in a running lab's network: rehearse exec [LAB] -- PROGRAM …"),
        ("status", _status, "what a running lab is like, as JSON"),
        ("stop", _stop, "end a running lab"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("lab", nargs="?", help="folder, name or process id; not needed when only one is running")
        command.set_defaults(function=function)
    commands.add_parser("list", help="the running labs").set_defaults(function=_list)

    proxmox = commands.add_parser("proxmox", help="the played Proxmox VE alone, as the recordings found it")
    proxmox.add_argument("--listen", default="127.0.0.1:8006", metavar="ADDRESS:PORT")
    proxmox.add_argument("--password", required=True, help="of root@pam")
    proxmox.add_argument("--web", default="127.0.0.1:9000", metavar="ADDRESS:PORT", help="its web server with files")
    proxmox.add_argument(
        "--clock",
        metavar="MOMENT",
        help="what its clock shows at the start, such as 2026-11-21T12:00:00+00:00: for recordings whose answers name dates",
    )
    proxmox.set_defaults(function=_proxmox)
    return parser


def _lab_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lab", required=True, metavar="DIR", help="an inventory folder, or its name below inventories/"
    )
    parser.add_argument(
        "--time-scale", type=float, default=0.02, metavar="X", help="real seconds per played second (0.02)"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="k=v,… | JSON", help="break something on purpose"
    )
    parser.add_argument("--mirror", action="append", default=[], metavar="HOST=DIR", help="serve files under this name")
    parser.add_argument("--collection", type=pathlib.Path, metavar="DIR", help="the checkout to rehearse (this one)")


# -- commands that make a lab -----------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    collection = _collection(options.collection)
    try:
        for name in options.playbooks:
            playbooks.find(collection, name)
    except OSError as error:
        raise _Usage(str(error)) from None

    passed = [*options.passed, *(["-" + "v" * options.verbosity] if options.verbosity else [])]
    for name in ("extra_vars", "tags", "limit"):
        passed += [part for value in getattr(options, name) for part in (f"--{name.replace('_', '-')}", value)]
    report = options.report.absolute() if options.report else None
    if report and (not report.parent.is_dir() or report.is_dir()):
        raise _Usage(f"--report {options.report}: expected a file in a folder that exists")
    plan = playbooks.Plan(tuple(options.playbooks), (*passed, *options.rest), report, options.keep)
    return _in_sandbox(options, plan)


def _serve(options: argparse.Namespace) -> int:
    return _in_sandbox(options, None)


def _in_sandbox(options: argparse.Namespace, plan: playbooks.Plan | None) -> int:
    """A lab for a plan; without one, for whoever comes."""
    folder, collection = lab_folder(options.lab), _collection(options.collection)
    broken = tuple(_fault(text) for text in options.fault)
    files = dict(_mirror(text) for text in options.mirror)
    environment = {**os.environ, "PYTHONPATH": _python_path()}
    _need_control_plane(environment)
    outside = builder.leave_outside()

    def lab(outer: int) -> int:
        from .inventory import Reading

        reading = Reading(folder, environment)  # at the same time as the imports, which take as long
        from . import lab as labs
        from .session import begin

        settings = labs.LabOptions(
            folder=folder,
            reading=reading,
            time_scale=options.time_scale,
            faults=broken,
            files=files,
            environment=environment,
            outer_pid=outer,
            builder=outside,
        )
        return begin(settings, collection, plan)

    return sandbox.enter(lab)


def _need_control_plane(environment: t.Mapping[str, str]) -> None:
    """Build it when it is not there: in the sandbox there is no internet. In a process of its own, because this one
    must have one thread when it enters the sandbox. A lab without it still plays Proxmox VE and nodes in maintenance."""
    from . import binaries

    try:
        binaries.CONTROL_PLANE.find()
    except FileNotFoundError as error:
        print(f"rehearse: {error}; trying now", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "simlab.binaries"], env=environment, stdout=sys.stderr, check=False)


def lab_folder(name: str) -> pathlib.Path:
    """The inventory folder of a lab that is given by path or by name. Raises on one that is not there."""
    tries = [pathlib.Path(name), pathlib.Path("inventories", name), _PACKAGE.parents[1] / "inventories" / name]
    for path in tries:
        if path.is_dir():
            return path.absolute()
    raise _Usage(f"no inventory folder {name}; looked at {', '.join(map(str, tries))}")


def _collection(given: pathlib.Path | None) -> pathlib.Path:
    tries = [given] if given else [_PACKAGE.parents[1], pathlib.Path.cwd()]
    for path in tries:
        if (path / "plugins").is_dir():
            return path.resolve()
    raise _Usage(f"no checkout of groundwork.homelab at {', '.join(map(str, tries))}; say --collection DIR")


def _python_path() -> str:
    """So that child processes find this package too, installed or not."""
    return os.pathsep.join(dict.fromkeys([str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]))


def _fault(text: str) -> faults.Fault:
    try:
        if text.lstrip().startswith("{"):
            return faults.parse(json.loads(text))
        return faults.parse(dict(part.split("=", 1) for part in text.split(",")))
    except (ValueError, TypeError) as error:
        expected = "expected JSON or kind=drop-after,api=proxmox,nth=3,…"
        raise _Usage(f"--fault {text!r}: {error}; {expected}") from None


def _mirror(text: str) -> tuple[str, pathlib.Path]:
    host, _, folder = text.partition("=")
    if not host or not pathlib.Path(folder).is_dir():
        raise _Usage(f"--mirror {text!r}: expected HOST=DIR with a directory that exists")
    return host.lower(), pathlib.Path(folder).absolute()


# -- commands for running labs ----------------------------------------------------------------------------------------


def _shell(options: argparse.Namespace) -> int:
    lab = client.find(options.lab)
    print(f"A shell in lab {lab.name}. Leave it with exit; the lab goes on.", file=sys.stderr)
    return client.enter(lab, [os.environ.get("SHELL", "/bin/sh")], client.environment_of(lab))


def _exec(options: argparse.Namespace) -> int:
    if not options.rest:
        raise _Usage("exec needs a program after --")
    lab = client.find(options.lab)
    return client.enter(lab, options.rest, client.environment_of(lab))


def _status(options: argparse.Namespace) -> int:
    print(json.dumps(client.find(options.lab).request("GET", "/status"), indent=2))
    return 0


def _stop(options: argparse.Namespace) -> int:
    lab = client.find(options.lab)
    lab.request("POST", "/stop")
    for _ in range(100):
        if lab.pid not in {other.pid for other in client.running()}:
            return 0
        time.sleep(0.1)
    raise client.LabError(f"lab {lab.name} (process {lab.pid}) was told to stop but is still there")


def _list(options: argparse.Namespace) -> int:
    for lab in client.running():
        print(f"{lab.pid}\t{lab.folder}\t{time.time() - lab.since:.0f} s")
    return 0


def _proxmox(options: argparse.Namespace) -> int:
    from .proxmox import standalone

    for address in (options.listen, options.web):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise _Usage(f"{address!r}: expected ADDRESS:PORT")
    clock = time.time
    if options.clock:
        try:
            clock = standalone.clock_from(datetime.datetime.fromisoformat(options.clock).timestamp())
        except ValueError as error:
            raise _Usage(f"--clock: {error}") from None
    asyncio.run(standalone.run(options.listen, options.password, options.web, clock))
    return 0


if __name__ == "__main__":
    sys.exit(main())
