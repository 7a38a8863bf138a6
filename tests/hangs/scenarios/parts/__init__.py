"""What scenarios share: the roles of their processes, and the moment from which a scenario can be diagnosed."""
import os, subprocess, sys, time

# The role of this process, from the word `role=NAME` in its arguments.
ROLE = next((word.removeprefix("role=") for word in sys.argv if word.startswith("role=")), "root")


def ready():
    """Reports to the runner that the scenario is set up, but for what this process does next."""
    open(os.environ["READY"], "w").close()


def command(role, *words):
    """The command of this scenario's process in a role. `words` are its arguments, from sys.argv[1] on."""
    return [sys.executable, os.path.abspath(sys.argv[0]), *words, f"role={role}"]


def start(role, *words, **options):
    """Starts this scenario's process in a role."""
    return subprocess.Popen(command(role, *words), **options)


def run(role, *words, **options):
    """As `start`, and waits for its exit."""
    return start(role, *words, **options).wait()


def outlives(role, *words, **options):
    """As `start`, for a process that cleans up after the scenario: the runner does not end it."""
    return start(role, *words, env=without_ready(), start_new_session=True, **options)


def without_ready():
    """The environment without READY, by which the runner finds the processes of a scenario."""
    return {name: value for name, value in os.environ.items() if name != "READY"}


def wait_for(path):
    """Waits until a file exists."""
    while not os.path.exists(path):
        time.sleep(0.01)
