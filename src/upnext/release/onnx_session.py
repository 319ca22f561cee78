"""How every graph of a release is run: one place for the session options; knows no graph."""

import platform
from functools import cache
from pathlib import Path

import onnxruntime

from upnext.errors import ReleaseCorrupt


def open_session(graph: Path | bytes, *, saturating: bool | None = None) -> onnxruntime.InferenceSession:
    """A session on the CPU that computes in the calling thread alone; several threads may run one session at once.

    `saturating` says whether this machine's u8 × s8 products overflow 16 bits, which costs accuracy; such machines take
    a slower exact path. None finds out. Raises ReleaseCorrupt when the graph cannot be read or run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # what fails is raised, with its message
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if saturating or (saturating is None and _multiplies_saturate()):
        options.add_session_config_entry("session.x64quantprecision", "1")
    name = f"a graph of {len(graph)} bytes" if isinstance(graph, bytes) else str(graph)
    try:
        content = graph if isinstance(graph, bytes) else graph.read_bytes()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no class of their own in common
        raise ReleaseCorrupt(
            f"{name} cannot be run by onnxruntime {onnxruntime.__version__} ({error}); build the release anew"
        ) from error


@cache
def _multiplies_saturate() -> bool:
    """True on x86 without VNNI, where two products are summed in 16 bits; also when x86 will not tell."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
