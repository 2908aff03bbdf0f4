# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each kind of answer, and of none. The texts of the server are recorded ones."""

from __future__ import annotations

import pathlib
import socket
import time
import typing as t

import pytest
from scripted_server import ScriptedServer, Step, refusal

from ansible_collections.groundwork.homelab.plugins.module_utils import errors, web
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api import answers
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.connection import Connection
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.session import Session
from ansible_collections.groundwork.homelab.plugins.module_utils.proxmox.api.tasks import Tasks
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Clock

UPID = "UPID:pve1:0000075A:000AEDBF:6B015BEB:qmcreate:200:ansible@pve!groundwork:"
OK = Step({"version": "9.1.8"})
TICKET = Step({"ticket": "PVE:root@pam:65::a+b/c==", "CSRFPreventionToken": "65:csrf"})


class FastClock(Clock):
    """Sleeps are remembered, and time passes by them."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        super().__init__(now=lambda: sum(self.slept), sleep=self.slept.append)

    def __setattr__(self, name: str, value: t.Any) -> None:
        object.__setattr__(self, name, value)


class Lab:
    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.servers: list[ScriptedServer] = []
        self.told: list[str] = []
        self.warned: list[str] = []

    def session(self, *steps: Step, **more: t.Any) -> tuple[Session, ScriptedServer]:
        server = ScriptedServer(self.directory, *steps)
        self.servers.append(server)
        values: dict[str, t.Any] = {
            "host": "127.0.0.1",
            "port": server.port,
            "user": "ansible@pve",
            "token": "groundwork",
            "token_secret": "not-a-secret",
            "ca_path": str(server.ca),
            "api_timeout": 5.0,
            **more,
        }
        if values.get("password"):
            values.update({"token": "", "token_secret": ""})
        return Session(Connection(**values), progress=self.told.append, clock=FastClock()), server

    def tasks(self, *steps: Step) -> tuple[Tasks, ScriptedServer]:
        session, server = self.session(*steps)
        return Tasks(session, self.warned.append), server


@pytest.fixture
def lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Lab]:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    found = Lab(tmp_path)
    yield found
    for server in found.servers:
        server.__exit__()


# -- who asks -------------------------------------------------------------------------------------------------------


def test_a_token_goes_with_every_request_and_needs_no_login(lab: Lab) -> None:
    session, server = lab.session(OK)
    assert session.get("/version") == {"version": "9.1.8"}
    assert server.seen[0].headers["authorization"] == "PVEAPIToken=ansible@pve!groundwork=not-a-secret"


def test_a_password_logs_in_once_and_writes_carry_the_csrf_token(lab: Lab) -> None:
    session, server = lab.session(TICKET, OK, Step(UPID), password="not-a-secret", user="root@pam")
    session.get("/version")
    session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200")
    login, read, write = server.seen
    assert (login.path, login.values) == ("/access/ticket", {"username": "root@pam", "password": "not-a-secret"})
    assert read.headers["cookie"] == "PVEAuthCookie=PVE%3Aroot%40pam%3A65%3A%3Aa%2Bb%2Fc%3D%3D"
    assert "csrfpreventiontoken" not in read.headers
    assert write.headers["csrfpreventiontoken"] == "65:csrf"


def test_an_expired_ticket_is_renewed_in_the_middle_of_a_run(lab: Lab) -> None:
    expired = Step(status=401, reason="Authentication failed!", body=b"")
    second = Step({"ticket": "PVE:second", "CSRFPreventionToken": "2"})
    session, server = lab.session(TICKET, expired, second, Step(UPID), password="not-a-secret", user="root@pam")
    assert session.post("/nodes/pve1/qemu/200/status/start", asked="start VM 200") == UPID
    assert [seen.path for seen in server.seen] == [
        "/access/ticket",
        "/nodes/pve1/qemu/200/status/start",
        "/access/ticket",
        "/nodes/pve1/qemu/200/status/start",
    ]
    assert server.seen[-1].headers["cookie"] == "PVEAuthCookie=PVE%3Asecond"


def test_a_wrong_password_is_told_apart_and_tried_once(lab: Lab) -> None:
    session, server = lab.session(refusal(401, "authentication failure"), password="not-a-secret", user="root@pam")
    with pytest.raises(errors.Unauthenticated) as caught:
        session.get("/version")
    assert "log in as root@pam" in caught.value.message
    assert "Is the password of root@pam right" in caught.value.message
    assert len(server.seen) == 1


def test_a_second_factor_is_no_stack_trace(lab: Lab) -> None:
    challenge = Step({"ticket": "PVE:!tfa!x", "CSRFPreventionToken": "1", "NeedTFA": 1})
    session, _ = lab.session(challenge, password="not-a-secret", user="root@pam")
    with pytest.raises(errors.Unauthenticated, match="second factor.*Use an API token"):
        session.get("/version")


def test_a_refused_token_is_named_with_what_to_look_at(lab: Lab) -> None:
    session, server = lab.session(Step(status=401, reason="Authentication failed!", body=b""))
    with pytest.raises(errors.Unauthenticated) as caught:
        session.get("/version", asked="read the version")
    assert caught.value.message == (
        f"Could not read the version (Proxmox VE at https://127.0.0.1:{server.port}): 401 Authentication failed!, "
        "asked as ansible@pve!groundwork. Does the token ansible@pve!groundwork exist, is it not expired, and is "
        "api_token_secret its secret?"
    )
    assert "not-a-secret" not in str(caught.value.as_result())
    assert len(server.seen) == 1


# -- refusals ---------------------------------------------------------------------------------------------------------

REFUSALS = [
    (403, "Permission check failed (/vms/160, VM.Audit)", errors.AccessDenied, "Give ansible@pve!groundwork the right VM.Audit on /vms/160"),
    (403, "Permission check failed (/storage/local, Datastore.Audit|Datastore.AllocateSpace)", errors.AccessDenied, "Datastore.Audit or Datastore.AllocateSpace on /storage/local"),
    (403, "Permission check failed (/, Sys.Modify)", errors.AccessDenied, "It belongs to the role AnsibleSystem, on the path /."),
    (403, "Permission check failed (pool 'x' does not exist)", errors.NotFound, "Create the pool first."),
    (403, "Permission check failed", errors.AccessDenied, "user and token both need it"),
    (501, "Method 'GET /nope' not implemented", errors.Refused, "Is this a Proxmox VE of version 8.4 or newer"),
    (500, "VM is locked (backup)", answers.Locked, "see its lock"),
    (500, "can't lock file '/var/lock/qemu-server/lock-200.conf' - got timeout", answers.Locked, "see its lock"),
    (500, "checksum mismatch (file change by other user?)", errors.Conflict, "Run the task again."),
    (500, "detected modified configuration - file changed by other user? Try again.", errors.Conflict, "Run the task again."),
    (500, "unable to create VM 100 - VM 100 already exists on node 'pve1'", errors.Conflict, "VM.Audit on it is missing"),
    (500, "hostname lookup 'nope' failed - failed to get address info for: nope: Name or service not known", errors.NotFound, "Is the name of the node right?"),
    (500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", errors.NotFound, ""),
    (500, "storage 'x' does not exist", errors.NotFound, ""),
    (500, "only root can set 'args' config", errors.AccessDenied, "Only root@pam with a password may do this"),
    (500, "can't remove VM 134 - protection mode enabled", errors.Refused, ""),
    (595, "Errors during connection establishment, proxy handshake: No route to host", errors.Unreachable, "The node may be offline."),
]  # fmt: skip


@pytest.mark.parametrize(("status", "reason", "kind", "hint"), REFUSALS)
def test_each_refusal_is_its_own_error_and_keeps_its_text(
    lab: Lab, status: int, reason: str, kind: type[errors.HomelabError], hint: str
) -> None:
    error = answers.judge_error(
        answers.Answer(status, reason, {}, b""), asked="x", of="y", who="ansible@pve!groundwork"
    )
    assert type(error) is kind
    assert reason in error.message
    assert hint in error.hint
    assert error.details["status"] == status


@pytest.mark.parametrize("kind", [answers.Locked, answers.NoWorker, answers.Busy, web.AnswerLost, web.NeverSent])
def test_a_result_names_the_family_and_not_the_rooms_own_kinds(kind: type[errors.HomelabError]) -> None:
    named = kind("x").as_result()["kind"]
    assert issubclass(kind, getattr(errors, named))


def test_every_wrong_parameter_is_named(lab: Lab) -> None:
    wrong = {
        "net0": "invalid format - format error\nnet0.tag: value must have a maximum value of 4094\n",
        "cores": "bad",
    }
    session, _ = lab.session(refusal(400, "Parameter verification failed.", wrong))
    with pytest.raises(errors.Refused) as caught:
        session.put("/nodes/pve1/qemu/200/config", {"cores": "x"}, asked="update VM 200")
    assert caught.value.answer == (
        "Parameter verification failed: cores: bad; "
        "net0: invalid format - format error net0.tag: value must have a maximum value of 4094"
    )
    assert set(caught.value.details["errors"]) == {"cores", "net0"}


def test_a_message_longer_than_the_status_line_is_kept(lab: Lab) -> None:
    body = b'{"data":null,"message":"hotplug problem - error on hot-unplugging device\\nmore\\n"}'
    session, _ = lab.session(Step(status=500, reason="hotplug problem", body=body))
    with pytest.raises(errors.Refused, match=r"hot-unplugging device\nmore"):
        session.put("/x", {"a": 1}, asked="update VM 200")


# -- what is repeated ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "garbage", "cut"])
def test_a_read_whose_answer_was_lost_is_repeated(lab: Lab, fault: str) -> None:
    session, server = lab.session(Step(fault=fault), Step(fault=fault), OK)
    assert session.get("/version") == {"version": "9.1.8"}
    assert len(server.seen) == 3


@pytest.mark.parametrize("fault", ["drop", "garbage", "cut"])
def test_a_write_whose_answer_was_lost_is_never_repeated(lab: Lab, fault: str) -> None:
    session, server = lab.session(Step(UPID, fault=fault), Step(UPID))
    with pytest.raises(web.AnswerLost, match="the connection ended before the answer was complete"):
        session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200")
    assert len(server.seen) == 1


@pytest.mark.parametrize("broken", [Step(body=b'{"data": 1'), Step(body=b"[]"), refusal(503, "Service Unavailable")])
def test_a_broken_answer_to_a_write_is_as_good_as_none(lab: Lab, broken: Step) -> None:
    session, server = lab.session(broken, Step(UPID))
    with pytest.raises(web.AnswerLost):
        session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200")
    assert len(server.seen) == 1


def test_a_broken_answer_to_a_read_is_asked_for_again(lab: Lab) -> None:
    session, server = lab.session(Step(body=b'{"data": 1'), OK)
    assert session.get("/version") == {"version": "9.1.8"}
    assert len(server.seen) == 2


def test_a_worker_that_could_not_start_is_asked_for_again(lab: Lab) -> None:
    session, server = lab.session(refusal(500, "got no worker upid - start worker failed"), Step(UPID))
    assert session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200") == UPID
    assert len(server.seen) == 2


def test_a_lock_is_waited_for(lab: Lab) -> None:
    locked = refusal(500, "VM is locked (backup)")
    session, server = lab.session(locked, locked, locked, Step(None))
    assert session.put("/nodes/pve1/qemu/200/config", {"cores": 2}, asked="update VM 200") is None
    assert len(server.seen) == 4
    assert any("VM is locked (backup)" in text and "Waiting for it" in text for text in lab.told)


def test_a_lock_that_stays_is_an_error_at_the_deadline(lab: Lab) -> None:
    session, _ = lab.session(*[refusal(500, "VM is locked (backup)")] * 50, task_timeout=20.0)
    with pytest.raises(answers.Locked, match="VM is locked"):
        session.put("/nodes/pve1/qemu/200/config", {"cores": 2}, asked="update VM 200")
    slept = t.cast("FastClock", session.clock).slept
    assert 20 <= sum(slept) < 30


def test_too_many_requests_are_repeated_after_the_time_that_the_server_names(lab: Lab) -> None:
    session, server = lab.session(
        Step(status=429, reason="Too Many Requests", headers={"Retry-After": "3"}), Step(UPID)
    )
    assert session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200") == UPID
    assert t.cast("FastClock", session.clock).slept == [3.0]
    assert len(server.seen) == 2


# -- other servers, and none ------------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed(lab: Lab) -> None:
    session, server = lab.session(Step(status=301, reason="Moved", headers={"Location": "https://elsewhere.test/"}))
    with pytest.raises(errors.Refused, match=r"redirect to https://elsewhere.test/.*api_host and api_port"):
        session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200")
    assert len(server.seen) == 1


def test_a_web_page_is_no_answer(lab: Lab) -> None:
    page = Step(body=b"<!DOCTYPE html><title>Router</title>", headers={"Content-Type": "text/html"})
    session, server = lab.session(*[page] * 9)
    with pytest.raises(errors.ServerFault, match="a web page instead of JSON.*api_host and api_port"):
        session.get("/version")
    assert len(server.seen) == 4
    with pytest.raises(web.AnswerLost, match="api_host and api_port"):
        session.post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200")
    assert len(server.seen) == 5


def test_a_slow_answer_names_the_option_that_waits_longer(lab: Lab) -> None:
    session, server = lab.session(Step(OK.data, fault="slow"), api_timeout=0.3)
    with pytest.raises(errors.Unreachable, match=r"no answer within 0.3 s. api_timeout is the limit."):
        session.get("/version")
    assert len(server.seen) == 1


def test_nobody_there_is_said_within_seconds(tmp_path: pathlib.Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connection = Connection(host="127.0.0.1", user="a@pve", token="b", token_secret="not-a-secret", port=port)
    started = time.monotonic()
    with pytest.raises(web.NeverSent, match=r"Connection refused.*Is it switched on"):
        Session(connection).post("/nodes/pve1/qemu", {"vmid": 200}, asked="create VM 200")
    assert time.monotonic() - started < 5


# -- certificates -----------------------------------------------------------------------------------------------------


def test_an_unknown_authority_is_refused_with_a_hint_to_ca_path(lab: Lab) -> None:
    session, server = lab.session(OK, ca_path="")
    with pytest.raises(errors.Unreachable, match=r"certificate does not verify: .*ca_path.*pve-root-ca.pem"):
        session.get("/version")
    assert server.seen == []


def test_certificates_are_not_checked_when_the_user_says_so_whatever_the_environment(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``requests`` would let these variables win over ``session.verify``."""
    bundle = lab.directory / "other.pem"
    session, server = lab.session(OK, validate_certs=False, ca_path="")
    bundle.write_bytes(server.ca.read_bytes()[:20])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(bundle))
    assert session.get("/version") == {"version": "9.1.8"}


def test_ca_path_wins_over_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(lab.directory / "missing.pem"))
    session, _ = lab.session(OK)
    assert session.get("/version") == {"version": "9.1.8"}


def test_the_environment_names_the_authorities_when_no_option_does(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    session, server = lab.session(OK, ca_path="")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
    assert session.get("/version") == {"version": "9.1.8"}


# -- tasks --------------------------------------------------------------------------------------------------------------

RUNNING = Step({"status": "running"})


def ended(verdict: str) -> Step:
    return Step({"status": "stopped", "exitstatus": verdict})


def log(*lines: str) -> Step:
    return Step([{"n": number, "t": line} for number, line in enumerate(lines, 1)])


def test_a_task_is_waited_for_with_short_looks_first(lab: Lab) -> None:
    tasks, server = lab.tasks(RUNNING, RUNNING, ended("OK"))
    tasks.wait(UPID, asked="create VM 200")
    slept = t.cast("FastClock", tasks.session.clock).slept
    assert slept[0] == 0.05
    assert sum(slept) < 0.2
    assert server.seen[0].path.endswith(
        "/tasks/UPID:pve1:0000075A:000AEDBF:6B015BEB:qmcreate:200:ansible@pve!groundwork:/status"
    )


def test_a_task_that_failed_is_an_error_at_once_with_its_log(lab: Lab) -> None:
    text = "unable to create VM 200 - disk full"
    tasks, _ = lab.tasks(RUNNING, ended(text), log("line 1", "line 2", f"TASK ERROR: {text}"))
    with pytest.raises(errors.TaskFailed) as caught:
        tasks.wait(UPID, asked="create VM 200")
    assert caught.value.answer == text
    assert "node pve1" in caught.value.message
    assert caught.value.details["log"] == ["line 1", "line 2", f"TASK ERROR: {text}"]


def test_a_bare_exit_code_is_explained_by_the_log(lab: Lab) -> None:
    tasks, _ = lab.tasks(
        ended("download failed: exit code 8"),
        log("2026-11-21 ERROR 404: File not found.", "TASK ERROR: download failed: exit code 8"),
    )
    with pytest.raises(errors.TaskFailed, match="exit code 8 .*404: File not found"):
        tasks.wait(UPID, asked="download")


def test_warnings_are_a_success_that_is_told(lab: Lab) -> None:
    tasks, _ = lab.tasks(ended("WARNINGS: 1"), log("start", "WARN: no EFI disk", "TASK WARNINGS: 1"))
    tasks.wait(UPID, asked="start VM 200")
    assert lab.warned == ["Task qmcreate to start VM 200 ended with warnings: WARN: no EFI disk"]


def test_a_task_that_met_a_lock_is_started_again(lab: Lab) -> None:
    tasks, server = lab.tasks(ended("VM is locked (snapshot)"), log("x"), ended("OK"))
    started: list[int] = []

    def start() -> str:
        started.append(1)
        return UPID

    tasks.do(start, asked="start VM 200")
    assert len(started) == 2
    assert len(server.seen) == 3


def test_a_task_without_end_names_itself_at_the_deadline(lab: Lab) -> None:
    session, _ = lab.session(*[RUNNING] * 60, task_timeout=30.0)
    with pytest.raises(errors.WaitTimeout, match="task_timeout is the limit") as caught:
        Tasks(session, lab.warned.append).wait(UPID, asked="create VM 200")
    assert UPID in caught.value.message


def test_an_answer_that_is_no_task_is_not_waited_for(lab: Lab) -> None:
    tasks, _ = lab.tasks()
    with pytest.raises(errors.ServerFault, match="a task was expected, not None"):
        tasks.wait(None, asked="create VM 200")


def test_a_lost_answer_while_waiting_does_not_end_the_wait(lab: Lab) -> None:
    tasks, _ = lab.tasks(RUNNING, Step(fault="drop"), refusal(503, "Service Unavailable"), ended("OK"))
    tasks.wait(UPID, asked="create VM 200")


def test_an_open_console_is_no_running_work(lab: Lab) -> None:
    console = UPID.replace("qmcreate", "vncproxy")
    tasks, _ = lab.tasks(Step([{"upid": console}, {"upid": UPID}, {"upid": UPID, "endtime": 1}]))
    assert [(task.kind, task.id) for task in tasks.running("pve1")] == [("qmcreate", "200")]
