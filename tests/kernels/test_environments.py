"""`make test-kernels` says what it cannot do, and fails only if that was demanded."""

from __future__ import annotations

import sys

import pytest

import environments


@pytest.mark.parametrize(("demanded", "code"), [("", 0), ("gl,triton", 1)])
def test_where_triton_has_no_build_there_is_a_notice(
    demanded: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("ADBENCH_REQUIRE", demanded)
    assert environments.main() == code
    assert "NOTICE: Triton has no build for darwin" in capsys.readouterr().out


def test_every_leg_runs_and_one_that_fails_fails_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(environment: environments.Environment, folder: str, _: object) -> bool:
        ran.append((environment.name, folder))
        return folder != "compiled" or environment.share == 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(environments, "prepare", lambda _: None)
    monkeypatch.setattr(environments, "run", run)
    assert environments.main() == 1
    assert len(set(ran)) == 4
    said = capsys.readouterr().out
    assert said.count("passed ") == 3 and said.count("FAILED") == 1
