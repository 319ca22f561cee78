"""Does every answer come in time, whatever fails? A real server under load, and one fault after the other.

    python -m tests.faults.under_pressure --fault all --markdown docs/under_pressure.md

Each fault has a server of its own, with an open loop of requests for slates and of single events: calm, then the
fault, then calm again. Exit status 1 when an answer took too long, a request failed, a breaker that had to open and
close did not, or fewer than 99 % of answers are full at the end. What each fault is: docs/under_pressure.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults import pressure_home
from tests.faults.pressure_faults import faults
from tests.faults.pressure_figures import Result
from tests.faults.pressure_home import World
from tests.faults.pressure_report import as_json, as_markdown, into_document
from tests.faults.pressure_trial import Load, run

REPOSITORY = Path(__file__).resolve().parents[2]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", action="append", choices=[*faults(), "all"], help="may be given again  [all]")
    parser.add_argument("--home", type=Path, help="with a random release; copied  [one is made]")
    parser.add_argument("--items", type=int, default=100_000, help="of the release that is made  [%(default)s]")
    parser.add_argument("--rate", type=float, default=150.0, help="slates a second  [%(default)s]")
    parser.add_argument("--events-per-s", type=float, default=30.0, help="[%(default)s]")
    parser.add_argument("--calm", type=float, default=5.0, help="seconds before  [%(default)s]")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the fault  [%(default)s]")
    parser.add_argument("--after", type=float, default=15.0, help="seconds after it  [%(default)s]")
    parser.add_argument("--hang", type=float, default=2.0, help="seconds that each call of a hanging model takes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--most-ms", type=float, default=200.0, help="no answer may take as long  [%(default)s]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="a document whose results are replaced, or a new one")
    parser.add_argument("--logs", type=Path, help="a folder to keep the servers' logs in")
    return parser.parse_args()


def main() -> int:
    options = _arguments()
    load = Load(
        slates_per_s=options.rate,
        events_per_s=options.events_per_s,
        calm_s=options.calm,
        fault_s=options.seconds,
        after_s=options.after,
        connections=options.connections,
        workers=options.workers,
        most_ms=options.most_ms,
        seed=options.seed,
    )
    known = faults(options.hang)
    chosen = list(known) if not options.fault or "all" in options.fault else options.fault
    results: list[Result] = []
    sound = True
    with tempfile.TemporaryDirectory(prefix="upnext-pressure-") as name:
        folder = Path(name)
        if options.home:
            world = World(options.home, *pressure_home.random_names(options.items))
        else:
            world = pressure_home.random_world(folder / "world", options.items)
        for fault in (known[name] for name in chosen):
            print(f"{fault.name}: {fault.what} …", file=sys.stderr, flush=True)
            try:
                result = run(world, fault, folder / fault.name, load, options.set)
            except (OSError, AssertionError) as error:
                print(f"  {fault.name} could not be tried: {error}", file=sys.stderr)
                sound = False
                continue
            finally:
                if options.logs and (log := folder / fault.name / "server.log").exists():
                    options.logs.mkdir(parents=True, exist_ok=True)
                    (options.logs / f"{fault.name}.log").write_bytes(log.read_bytes())
            results.append(result)
            for broken in result.broken():
                print(f"  BROKEN: {broken}", file=sys.stderr)
    print(table := as_markdown(results, load, REPOSITORY))
    if options.markdown:
        into_document(table, options.markdown)
    if options.json:
        options.json.write_bytes(as_json(results, load, REPOSITORY))
    return 0 if sound and not any(result.broken() for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
