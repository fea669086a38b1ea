"""Binding, warnings, and the command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from serve_helpers import toy_backend

from genmeta.cli.main import main
from genmeta.core.errors import RunError, UsageError
from genmeta.serve.guard import is_loopback
from genmeta.serve.limits import Limits
from genmeta.serve.server import address_of, bind, exposure, serve


def test_loopback_is_told_from_the_rest() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.0.1")] == [True] * 5
    assert [is_loopback(host) for host in ("0.0.0.0", "192.168.0.9", "::", "example")] == [False] * 4
    assert exposure("127.0.0.1") == ""
    assert "bound to 0.0.0.0: whoever can reach this machine can use it" in exposure("0.0.0.0")


def test_what_cannot_be_bound_is_explained() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}/"
        with pytest.raises(RunError, match=f"Cannot bind to 127.0.0.1:{port}.*choose another --port"):
            bind("127.0.0.1", port)
    with pytest.raises(UsageError, match="A port is a number from 0 to 65535, got 70000"):
        bind("127.0.0.1", 70000)
    with pytest.raises(UsageError, match="Cannot bind to host 'no such host'"):
        bind("no such host", 0)
    with pytest.raises(RunError, match=r"Cannot bind to 192\.0\.2\.1"):
        bind("192.0.2.1", 0)  # an address that no machine has


def test_a_taken_port_is_said_before_anything_is_served() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(RunError, match="Something listens there already"):
        serve(toy_backend(), Limits(), host="127.0.0.1", port=taken.getsockname()[1], ready=lambda _: None)


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "genmeta.serve.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as exit_:
        main(["serve"])
    assert exit_.value.code == 2
    assert "pip install 'genmeta[serve]'" in capsys.readouterr().err


def test_a_limit_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", "--max-upload-mb", "0"])
    assert exit_.value.code == 2
    assert "upload_mb must be above zero" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(tiny: Path) -> None:
    command = [sys.executable, "-m", "genmeta", "serve", "--port", "0", "--threads", "1", "--models", str(tiny)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            address = line.split("at ")[1].split(" ")[0]
            with urllib.request.urlopen(address, timeout=20) as page:
                assert b"<h1>" in page.read()
            port = int(address.rstrip("/").rsplit(":", 1)[1])
            with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", port), 2):
                pass  # bound to this one address, not to all
            process.send_signal(signal.SIGINT)
            assert "nothing was kept" in process.communicate(timeout=30)[1]
            assert process.returncode == 0
        finally:
            process.kill()
