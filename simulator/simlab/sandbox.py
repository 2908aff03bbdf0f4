# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of a lab: private user, mount, network and process namespaces, gone when their first process ends.

The same as ``unshare --user --map-root-user --mount --net --pid --fork --kill-child``, by system calls. Three processes:

* the *outer* one is what the user started: it passes signals on and takes over the exit status;
* *init* is the first process of the sandbox: when it ends, the kernel kills every other one in it. It dies with the
  outer process, also when that is killed with -9, because the kernel sends it SIGKILL then;
* the *lab* is its child and does the work.

Everything that the lab writes lies on a tmpfs on ``/run`` that only the sandbox sees.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import select
import signal
import sys
import traceback
import typing as t

from . import namespaces

#: The lab's own directory, in the sandbox only.
RUN = pathlib.Path("/run/simlab")
_ALL = namespaces.NEWUSER | namespaces.NEWNS | namespaces.NEWNET | namespaces.NEWPID
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FROM_A_PROCESS = 0  # si_code SI_USER: by kill(2); the terminal's own signals reach all processes anyway

_HELP = """\
cannot make the private namespaces that a simulated lab lives in: {reason}
A lab needs Linux and one of
  - user namespaces for plain users (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0;
    on Ubuntu 23.10 and newer also kernel.apparmor_restrict_unprivileged_userns=0),
  - root (in a container: with CAP_SYS_ADMIN and without the default seccomp profile)."""


class SandboxUnavailable(Exception):
    """Neither user namespaces nor root; the text says what to do."""

    def __init__(self, reason: object) -> None:
        super().__init__(_HELP.format(reason=reason))


def enter(lab: t.Callable[[int], int]) -> int:
    """Run ``lab(outer pid)`` in a new sandbox and return its exit status. Raises :class:`SandboxUnavailable`.

    Must be called while the process has one thread. The caller's process stays outside of the process namespace but
    sees the sandbox's mounts, so that the lab is found below ``/proc/<pid>/root``.
    """
    outer = os.getpid()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
    _unshare()
    alive, keep_open = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child == 0:
        os.close(keep_open)
        _exit_with(lambda: _init(lab, outer, alive, blocked))
    os.close(alive)
    try:
        return _supervise(child)
    finally:
        os.close(keep_open)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _unshare() -> None:
    if sys.platform != "linux":
        raise SandboxUnavailable(f"this is {sys.platform}, not Linux")
    root = os.geteuid() == 0
    try:
        _unshare_with_users() if root else _unshare_as_user()
    except OSError as error:
        if not root:
            raise SandboxUnavailable(error) from error
        try:
            namespaces.unshare(_ALL & ~namespaces.NEWUSER)
        except OSError as second:
            raise SandboxUnavailable(second) from second


def _unshare_as_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    namespaces.unshare(_ALL)
    namespaces.map_users_of("self", uid, gid)


def _unshare_with_users() -> None:
    """As root: every user is mapped, so that files of other users stay readable. A child that stays outside does it."""
    ready, tell = os.pipe()
    outer = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.close(tell)
        _exit_with(lambda: _map_when_told(ready, outer))
    os.close(ready)
    try:
        namespaces.unshare(_ALL)
        os.write(tell, b"x")
    finally:
        os.close(tell)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        namespaces.map_users_of("self", 0, 0)


def _map_when_told(ready: int, outer: int) -> int:
    if not os.read(ready, 1):
        return 1
    try:
        namespaces.map_all_users_of(outer)
    except OSError:
        return 1
    return 0


def _exit_with(main: t.Callable[[], int]) -> t.NoReturn:
    """End a forked process here, whatever happens."""
    status = 1
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except SandboxUnavailable as error:
        print(f"rehearse: {error}", file=sys.stderr)
    except BaseException:  # the last frame of the process: say it and go
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _init(lab: t.Callable[[int], int], outer: int, alive: int, blocked: t.Iterable[int]) -> int:
    """The sandbox's first process: mounts, then one child, and the graves of all orphans."""
    namespaces.die_with_parent(signal.SIGKILL)
    gone, _, _ = select.select([alive], [], [], 0)
    if gone:  # the outer process died before the line above
        return 1
    _mount()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        _exit_with(lambda: lab(outer))
    return _supervise(child)


def _mount() -> None:
    resolv = os.path.realpath("/etc/resolv.conf")
    try:
        namespaces.make_mounts_private()
        namespaces.mount_tmpfs("/run")
    except OSError as error:
        raise SandboxUnavailable(error) from error
    try:
        namespaces.mount_proc()
    except OSError as error:  # in containers that hide parts of /proc; the old one does
        if error.errno not in (errno.EPERM, errno.EBUSY):
            raise
    for path, mode in ((RUN, 0o755), (pathlib.Path("/run/netns"), 0o755), (pathlib.Path("/run/lock"), 0o1777)):
        path.mkdir(mode=mode)
    for name in ("secrets", "tmp", "etc", "volumes"):
        (RUN / name).mkdir(mode=0o700)
    if resolv.startswith("/run/"):  # systemd-resolved: the link's target has just been hidden
        pathlib.Path(resolv).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(resolv).touch()


def overlay(target: str, text: str) -> None:
    """Let this file have this content, in the sandbox only. Nothing happens when there is no such file."""
    real = os.path.realpath(target)
    if not os.path.exists(real):
        return
    copy = RUN / "etc" / real.strip("/").replace("/", "-")
    copy.write_text(text, encoding="utf-8")
    namespaces.bind_mount(copy, real)


def _supervise(child: int) -> int:
    """Wait for the child, pass signals on, bury every other child. Returns the exit status as a shell does."""
    while True:
        status = _buried(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        arrived = signal.sigwaitinfo({*_PASSED_ON, signal.SIGCHLD})
        if arrived.si_signo != signal.SIGCHLD and arrived.si_code == _FROM_A_PROCESS:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, arrived.si_signo)


def _buried(child: int) -> int | None:
    """Wait for all that have ended; the child's status if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status
