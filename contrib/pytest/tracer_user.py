"""pytest plug-in: each test that traces something gets directories of its own.

Copy this file beside your conftest.py and write there: pytest_plugins = ["tracer_user"]
"""
import dataclasses, pathlib

import pytest


@dataclasses.dataclass(frozen=True)
class TracingConfig:
    trace_dir: pathlib.Path
    log_dir: pathlib.Path
    interval: str = "50ms"

    @property
    def environment(self):
        """The variables that give tracer-user these settings, whichever verb is called."""
        return {
            "TRACER_TRACE_DIR": str(self.trace_dir),
            "TRACER_LOG_DIR": str(self.log_dir),
            "TRACER_INTERVAL": self.interval,
        }


@pytest.fixture
def isolated_tracing_config(tmp_path, monkeypatch):
    """A trace and a log directory of this test, in its environment and so in that of all it starts."""
    config = TracingConfig(tmp_path / "traces", tmp_path / "log")
    for path in (config.trace_dir, config.log_dir):
        path.mkdir(mode=0o700)
    for name, value in config.environment.items():
        monkeypatch.setenv(name, value)
    return config
