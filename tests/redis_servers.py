"""Starts real Redis servers and clusters on free ports, and makes them fail: for tests and fault scripts."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PATIENCE_S = 30.0
_NODE_TIMEOUT_MS = 2_000


class RedisServer:
    """One redis-server in `folder`, kept on its port over restarts; nothing of it outlives `stop`."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        """`options` as on its command line, `--maxmemory 10mb`. Starts nothing yet."""
        self.folder = folder
        self.port = port or free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns once it answers. Again is fine while it runs."""
        if self._process is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [_program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", "--unixsocket", "", "--daemonize", "no", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, f"redis-server on port {self.port} to answer; see {self.folder / 'log'}")

    def stop(self) -> None:
        """Kills it, as a crash would. Again is fine."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Killed and started again on the same port; what it held is gone."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It keeps its port and connections, and does nothing until thawed."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGSTOP)
        wait_until(self._is_stopped, f"redis-server {self.pid} to freeze")

    def thaw(self) -> None:
        """It goes on, beginning with what it was sent meanwhile."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """What redis-cli prints for a command. Raises `RuntimeError` when it fails."""
        return _cli(["-p", str(self.port), "-e", *words])

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"redis-server ended at once: {(self.folder / 'log').read_text()[-500:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) in (b"+PONG", b"-NOAU", b"-LOAD")
        return False

    def _is_stopped(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class RedisCluster:
    """Masters without replicas, which share all slots; one that is down takes only its own with it."""

    def __init__(self, servers: Sequence[RedisServer]) -> None:
        self.servers = list(servers)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(server.address for server in self.servers)

    def owner(self, slot: int) -> RedisServer:
        """The server that serves the slot, by its own account."""
        return next(server for server in self.servers if _owns(server, slot))

    def move(self, slot: int, to: RedisServer, *, between: Callable[[], object] = lambda: None) -> None:
        """Moves a slot with its keys; `between` runs when the keys have moved and nobody has been told."""
        source = self.owner(slot)
        source_id, target_id = source.command("cluster", "myid").strip(), to.command("cluster", "myid").strip()
        to.command("cluster", "setslot", str(slot), "importing", source_id)
        source.command("cluster", "setslot", str(slot), "migrating", target_id)
        while keys := source.command("cluster", "getkeysinslot", str(slot), "100").split():
            for key in keys:
                source.command("migrate", "127.0.0.1", str(to.port), key, "0", "5000")
        between()
        for server in (to, source):
            server.command("cluster", "setslot", str(slot), "node", target_id)


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server that runs for as long as the block."""
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def running_cluster(folder: Path, masters: int = 3) -> Iterator[RedisCluster]:
    """A cluster that runs for as long as the block."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(_NODE_TIMEOUT_MS))
    options += ("--cluster-require-full-coverage", "no")
    with ExitStack() as running:
        servers = []
        for number in range(masters):
            bus = ("--cluster-port", str(free_port()), "--cluster-config-file", "nodes.conf")
            servers.append(running.enter_context(running_server(folder / str(number), *options, *bus)))
        _cli(["--cluster", "create", *(server.address for server in servers), "--cluster-yes"])
        cluster = RedisCluster(servers)
        for server in servers:
            wait_until(lambda server=server: "cluster_state:ok" in server.command("cluster", "info"), "the cluster")
        yield cluster


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Returns once it holds. Raises `TimeoutError` when it does not within half a minute."""
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(0.005)


def _owns(server: RedisServer, slot: int) -> bool:
    (own,) = [line for line in server.command("cluster", "nodes").splitlines() if "myself" in line]
    ranges = [part.split("-") for part in own.split()[8:] if not part.startswith("[")]
    return any(int(span[0]) <= slot <= int(span[-1]) for span in ranges)


def _cli(arguments: Sequence[str]) -> str:
    finished = subprocess.run([_program("redis-cli"), *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
    if finished.returncode:
        raise RuntimeError(f"redis-cli {' '.join(arguments)}: {finished.stdout}{finished.stderr}")
    return finished.stdout


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed; these tests need it (on Debian: apt-get install redis-server)")
    return path
