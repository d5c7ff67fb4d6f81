"""Servers under measurement, and simulated sidecars: pilot reads a generated folder, or the bench's own API server."""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from . import apiserver

PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
LIMIT = 180


def entry(number, first):
    """A service of ten endpoints."""
    rest = [number * 10 + i for i in range(1, 10)]
    hosts = [first] + [f"10.{1 + i // 65536}.{i // 256 % 256}.{i % 256}" for i in rest]
    endpoints = ", ".join(f"{{address: {host}}}" for host in hosts)
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: s{number}, namespace: default}}
spec:
  hosts: [s{number}.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  addresses: [240.{number // 65536}.{number // 256 % 256}.{number % 256}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{endpoints}]
"""


def free_ports(count):
    """Ports of 127.0.0.1 that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Server:
    """A server with its health on a port of its own, ready when this returns."""

    def __init__(self, program, flags, http, work):
        self.http, self.log = http, open(work / f"{Path(program).name}.log", "w")
        self.process = subprocess.Popen([program, *map(str, flags)], stdout=self.log, stderr=self.log)
        self.wait(f"http://127.0.0.1:{self.http}/readyz")

    def wait(self, page):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if urllib.request.urlopen(page, timeout=1).status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        self.end()
        sys.exit(f"{self.process.args[0]} does not become ready:\n{Path(self.log.name).read_text()[-2000:]}")

    def cpu(self):
        """Seconds, exact to the nanosecond where the kernel tells (schedstat of each thread)."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                pass
        if total:
            return total / 1e9
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        """The resident memory in MiB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / (1 << 20)

    def peak(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def end(self):
        self.process.terminate()
        self.process.wait()


class Plane(Server):
    """A control plane and the folder that it serves."""

    def __init__(self, pilot, services, work):
        self.folder, self.changes = work / "config", 0
        self.folder.mkdir()
        others = (entry(i, f"10.90.{i // 256 % 256}.{i % 256}") for i in range(1, services))
        (self.folder / "others.yaml").write_text("".join(others))
        self.change()
        self.start(pilot, ["--config-dir", self.folder], work)

    def start(self, pilot, source, work):
        grpc, http, secure = free_ports(3)
        self.address = f"127.0.0.1:{grpc}"
        ports = ["--grpc-port", grpc, "--http-port", http, "--secure-grpc-port", secure]
        super().__init__(pilot, [*source, "--address", "127.0.0.1", *ports], http, work)

    def change(self):
        """Gives the first service another endpoint; says when."""
        self.changes += 1
        draft = self.folder / ".draft"
        draft.write_text(entry(0, f"10.91.{self.changes // 250}.{self.changes % 250 + 1}"))
        began = time.monotonic()
        draft.rename(self.folder / "changed.yaml")
        return began


class ClusterPlane(Plane):
    """A control plane and the API server that it reads from."""

    def __init__(self, pilot, services, sidecars, work, flags=()):
        self.store, self.changes, self.members = apiserver.Store(), 0, 10
        apiserver.fill(self.store, services, 10, sidecars)
        self.server = apiserver.serve(self.store)
        (work / "kubeconfig").write_text(apiserver.kubeconfig(self.server))
        self.start(pilot, ["--kubeconfig", work / "kubeconfig", "--pod-name", "pilot", *flags], work)

    def change(self):
        """Gives the first service one endpoint less or more; says when."""
        self.members = 19 - self.members
        members = [(f"s0-{i}", f"10.100.0.{i + 1}") for i in range(self.members)]
        began = time.monotonic()
        self.store.put(apiserver.SLICES, apiserver.endpoint_slice("s0", members))
        return began

    def apply(self):
        """Changes a VirtualService. Returns the seconds until pilot says that all sidecars have acknowledged it."""
        self.changes += 1
        wanted = {
            "group": "networking.istio.io", "kind": "VirtualService", "namespace": "default", "name": "changing",
            "generation": self.changes,
        }
        body = json.dumps({"objects": [wanted], "milliseconds": 30000}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/debug/verdicts", body, headers)
        began = time.monotonic()
        self.store.put(apiserver.ROUTES, apiserver.route(self.changes))
        verdicts = json.load(urllib.request.urlopen(request, timeout=40))
        seconds = time.monotonic() - began
        if not verdicts["settled"]:
            sys.exit("the sidecars do not acknowledge a VirtualService within 30 s")
        return seconds

    def idle(self, seconds):
        """Millicores while nothing happens, and the lists and writes of that time."""
        cpu, before = self.cpu(), self.store.counted()
        time.sleep(seconds)
        cpu = self.cpu() - cpu
        more = {key: count - before.get(key, 0) for key, count in self.store.counted().items()}
        renewals = "/apis/coordination.k8s.io/"
        unwanted = {
            f"{verb} {path}": count
            for (verb, path), count in more.items()
            if count and verb in ("list", "create", "update", "patch") and not path.startswith(renewals)
        }
        return cpu / seconds * 1000, unwanted

    def end(self):
        super().end()
        self.server.shutdown()


class Sidecars:
    """Simulated sidecars, connected until `leave` is called."""

    def __init__(self, program, plane, count, namespaces):
        command = [program, "--count", str(count), "--address", plane.address, "--namespaces", str(namespaces)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("synced")

    def expect(self, word):
        line = self.process.stdout.readline()
        if not line.startswith(word):
            sys.exit(f"the sidecars printed {line!r} instead of {word}")
        return line.split()

    def await_change(self, plane):
        """Changes an endpoint. Returns the seconds until all sidecars have it, and the bytes sent to them."""
        self.process.stdin.write("change\n")
        self.process.stdin.flush()
        self.expect("waiting")
        began = plane.change()
        words = self.expect("served")
        return time.monotonic() - began, int(words[1])

    def leave(self):
        self.process.stdin.close()
        self.process.wait()
