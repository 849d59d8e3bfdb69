"""What a log line tells of an exception, and what it must not."""

import io
import json
import logging
import sys

import pytest
import structlog

from hatoba.telemetry.logs import configure_logging


@pytest.fixture
def logged(monkeypatch):
    """Log an exception out of a frame that knows a password; return what was written."""

    def write(*, terminal):
        output = io.StringIO()
        monkeypatch.setattr(output, "isatty", lambda: terminal)
        monkeypatch.setattr(sys, "stderr", output)
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        try:
            configure_logging()
            fail_knowing("quay" + "pass123")
        finally:
            root.handlers[:] = before
            root.setLevel(level)
            structlog.reset_defaults()
        return output.getvalue()

    return write


def fail_knowing(password):
    try:
        _ = {}[len(password)]
    except KeyError:
        structlog.get_logger().exception("request failed", path="/v2/")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_traceback_shows_no_variables(logged, terminal):
    text = logged(terminal=terminal)
    assert "KeyError" in text
    assert "fail_knowing" in text
    assert "quaypass123" not in text


def test_a_line_is_json_unless_somebody_looks(logged):
    line = json.loads(logged(terminal=False))
    assert line["event"] == "request failed"
    assert line["level"] == "error"
    assert line["path"] == "/v2/"
