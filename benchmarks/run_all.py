"""The main benchmarks one after the other, on a machine that does nothing else; results into docs/benchmarks/."""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data", help="Folder of real data.")
    data = parser.parse_args().data
    RESULTS.mkdir(parents=True, exist_ok=True)
    commands = [
        ["funnel_floor.py", "--json", str(RESULTS / "funnel_floor.json")],
        [
            "peer_service.py",
            "--json",
            str(RESULTS / "peer_service.json"),
            "--markdown",
            str(RESULTS / "peer_service.md"),
        ],
        ["memory.py", "--json", str(RESULTS / "memory.json")],
        ["int8_vs_fp32.py", "--json", str(RESULTS / "int8_vs_fp32.json")],
        ["ingest.py", "--json", str(RESULTS / "ingest.json"), "--markdown", str(RESULTS / "ingest.md")],
        ["read_your_writes.py", "--markdown", str(RESULTS / "read_your_writes.md")],
        ["globo_replay.py", "--data", str(data), "--markdown", str(RESULTS / "globo_replay.md")],
    ]
    if (data / "ml-1m.zip").exists():
        commands.append(
            ["session_quality.py", str(data / "ml-1m.zip"), "--json", str(RESULTS / "session_quality.json")]
        )
    for script, *arguments in commands:
        print(f"── {script}", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *arguments], check=True, cwd=HERE)


if __name__ == "__main__":
    main()
