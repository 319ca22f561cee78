"""Does the full funnel foretell the next click of a news site better than counting does, on the last day of the stream?

Imports the Globo clicks, trains on everything before 2017-10-12, then replays that day click by click: rank before each
click of the sessions whose id ends in 0 (but their first), then reveal it. All systems in the same run: clicks of the
last hour, pairs within sessions, VMIS-kNN, and the funnel.
"""

import argparse
import subprocess
import sys
from pathlib import Path

# Articles live for hours: what the crowd does now leads, so its counts forget in minutes and hours. How much each
# source counts for is learnt from the clicks before the cut. Half-lives and contexts were chosen on 2017-10-11.
SETTINGS = """\
[retrieval]
session_knn = 200
session_vector = 200
user_vector = 200
popular = 150
trending = 150
context = 200

[trends]
half_lives_ms = [900000, 3600000, 86400000]
covisit_half_life_ms = 3600000
sessions_per_item = 200
contexts = ["region", "referrer", "os"]
context_half_life_ms = 900000
"""
TRAIN = ["session.epochs=2", "two_tower.epochs=1", "lists.most=16000"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="globo-clicks-2017-10-01_to_12.csv.gz")
    parser.add_argument("--home", type=Path, required=True, help="Taken up where an earlier run stopped.")
    parser.add_argument("--cut", default="2017-10-12")
    parser.add_argument(
        "--sessions-ending", default="0", help="Which sessions are asked about, by the end of their id."
    )
    parser.add_argument(
        "--set", action="append", default=[], help="A setting of the training, as `upnext train --set`."
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    home = ["--home", str(arguments.home)]
    arguments.home.mkdir(parents=True, exist_ok=True)
    (arguments.home / "upnext.toml").write_text(SETTINGS)
    changes = [part for change in [*TRAIN, *arguments.set] for part in ("--set", change)]
    report = ["--json", str(arguments.json)] if arguments.json else []
    for command in (
        ["import", str(arguments.data), *home],
        ["train", *home, "--split", "time", "--hold-out", "--cut", arguments.cut, "--dataset", "globo", *changes],
        ["evaluate", *home, "--split", "stream", "--sessions-ending", arguments.sessions_ending, *report],
    ):
        subprocess.run([sys.executable, "-m", "upnext", *command], check=True)


if __name__ == "__main__":
    main()
