"""The command line: one group, a command per file, and how failures look."""

import logging
import os
import sys
import tempfile
import traceback

import click

from upnext import __version__
from upnext.cli.bench_command import bench_command
from upnext.cli.compare_command import compare_command
from upnext.cli.completion_command import PROGRAM, completion_command
from upnext.cli.contracts_command import contracts_command
from upnext.cli.deadletters_command import deadletters_command
from upnext.cli.demo_command import demo_command
from upnext.cli.doctor_command import doctor_command
from upnext.cli.evaluate_command import evaluate_command
from upnext.cli.export_command import export_command
from upnext.cli.export_impressions import export_impressions
from upnext.cli.group import Group
from upnext.cli.import_command import import_command
from upnext.cli.keys_command import keys_command
from upnext.cli.off_policy_command import off_policy_command
from upnext.cli.precompute_command import precompute_command
from upnext.cli.release_command import release_command
from upnext.cli.serve_command import serve_command
from upnext.cli.settings_command import settings_command
from upnext.cli.slow_command import slow_command
from upnext.cli.train_command import train_command
from upnext.cli.users_command import users_command
from upnext.errors import UpnextError

_DEBUG = "UPNEXT_DEBUG"
_FAILED, _FAULT, _INTERRUPTED = 1, 70, 130  # exit statuses; 2 is click's, of a command line that cannot be understood
_SECTIONS = {
    "See it": ["demo"],
    "Data": ["import", "export", "contracts", "deadletters", "users"],
    "Models": ["train", "evaluate", "compare", "off-policy", "release"],
    "Serving": ["serve", "precompute", "keys", "bench", "slow"],
    "Help": ["doctor", "settings", "completion"],
}


@click.group(
    cls=Group, sections=_SECTIONS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of a failure, as UPNEXT_DEBUG=1 does.")
def cli(debug: bool) -> None:
    """Real-time personalization: events in, models trained, compressed, released, served inside a hard deadline.

    \b
    Examples:
      upnext demo
      upnext import clicks.csv --home shop
      upnext train --home shop
      upnext serve --home shop
      upnext doctor --home shop
    """
    if debug:
        os.environ[_DEBUG] = "1"  # for processes that the command starts too


for command in (
    import_command,
    train_command,
    evaluate_command,
    compare_command,
    off_policy_command,
    release_command,
    serve_command,
    precompute_command,
    bench_command,
    contracts_command,
    deadletters_command,
    slow_command,
    users_command,
    keys_command,
    export_command,
    settings_command,
    doctor_command,
    completion_command,
    demo_command,
):
    cli.add_command(command)


export_command.add_command(export_impressions)


def main() -> None:
    """Runs a command and exits: an error of ours is one line on standard error and status 1, Ctrl-C one and 130.

    A reader that goes away (`| head`) is no failure. Anything else is a fault of upnext: status 70, and where the
    traceback is kept.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # For libraries loaded from here on, PyTorch above all: threads that wait for each other sleep. Where the cores have
    # other work, threads that spin took training four and a half times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(_status())


def _status() -> int:
    """Runs the command; the exit status."""
    try:
        given = cli.main(prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that has gone away is noticed
        return given if isinstance(given, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        return _told("interrupted" if interrupted else "nothing was done", _INTERRUPTED if interrupted else _FAILED)
    except KeyboardInterrupt:
        return _told("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
        return 0
    except UpnextError as error:
        if _debugging():
            traceback.print_exc()
        return _told(str(error), _FAILED)
    except Exception as error:
        return _told(_fault(error), _FAULT)


def _told(text: str, status: int) -> int:
    click.echo(f"upnext: {text}", err=True)
    return status


def _debugging() -> bool:
    return os.environ.get(_DEBUG, "") not in ("", "0")


def _fault(error: Exception) -> str:
    """What to say of an error that nobody foresaw; keeps its traceback, so that hours of work need no repeating."""
    if _debugging():
        traceback.print_exc()
    with tempfile.NamedTemporaryFile("w", prefix="upnext-fault-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    shown = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"a fault of upnext {__version__}, not of yours: {shown}. Its traceback is in {file.name}; please open an "
        "issue with it where you got upnext from. With `upnext --debug …` the same command shows it at once"
    )
