"""What AutoSkillit's own code does with the files of tracer-user, and the files that its own code writes.

Called by autoskillit_itself.rs with a Python that can import autoskillit. Prints one JSON value.
"""
import json, os, subprocess, sys, time
from types import SimpleNamespace

import anyio

from autoskillit.execution import linux_tracing, session_log


def write(directory):
    """Traces a process until this one is killed. Prints the pid of the target once there are snapshots."""
    target = subprocess.Popen(["sleep", "1000"])
    time.sleep(0.1)
    config = SimpleNamespace(enabled=True, tmpfs_path=directory, proc_interval=0.02)

    async def trace():
        async with anyio.create_task_group() as group:
            handle = linux_tracing.start_linux_tracing(
                linux_tracing.trace_target_from_pid(target.pid), config, group, session_id="", kitchen_id="kitchen"
            )
            while len(handle._snapshots) < 18:
                await anyio.sleep(0.01)
            print(json.dumps(target.pid), flush=True)
            # A line is an order: the target ends, its owner lives.
            await anyio.to_thread.run_sync(sys.stdin.readline)
            target.kill()
            target.wait()
            print(json.dumps("the target has ended"), flush=True)
            await anyio.sleep(1000)

    anyio.run(trace)


def recover(directory, log):
    for name in os.listdir(directory):
        if name.startswith("autoskillit_trace_"):
            os.utime(os.path.join(directory, name), (time.time() - 60,) * 2)
    print(json.dumps(session_log.recover_crashed_sessions(directory, log)))


def read(log, session_id):
    from autoskillit.pipeline import DefaultTokenLog
    from autoskillit.recipe.identity import find_prior_runs
    from autoskillit.server.tools import tools_github
    from pathlib import Path

    tokens = DefaultTokenLog()
    loaded = tokens.load_from_log_dir(Path(log), campaign_id_filter="campaign")
    diagnostics = tools_github._read_session_diagnostics(session_id, log)
    print(json.dumps({
        "loaded": loaded,
        "tokens": tokens.compute_total(),
        "prior": len(find_prior_runs(Path(log) / "sessions.jsonl", recipe_name="recipe")),
        "snapshots": len(diagnostics["proc_trace_tail"]),
        "report": tools_github._format_diagnostics_section(diagnostics),
    }))


def clear(log):
    session_log.write_telemetry_clear_marker(log)
    print(json.dumps(str(session_log.read_telemetry_clear_marker(log))))


if __name__ == "__main__":
    {"write": write, "recover": recover, "read": read, "clear": clear}[sys.argv[1]](*sys.argv[2:])
