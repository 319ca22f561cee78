"""A worker process for tests: counts what its arguments say, then prints the exposition each time a line comes in."""

import sys

from upnext.metrics.recorder import Metrics

requests, stage_ms, items, released = (float(argument) for argument in sys.argv[1:])
metrics = Metrics()
for _ in range(int(requests)):
    metrics.count_request("full", "live")
    metrics.observe_stage("ranking", stage_ms)
metrics.set_gauge("workers", requests)
metrics.set_gauge("release_items", items)
metrics.set_gauge("release_created_timestamp_seconds", released)
print("ready", flush=True)
for _ in sys.stdin:
    sys.stdout.buffer.write(metrics.exposition() + b"END\n")
    sys.stdout.flush()
