"""One invocation: the upstreams, then scenario after scenario, the proxies in turn within each round."""
import os
import sys
import tempfile
import time
from pathlib import Path

from . import memory as memory_use
from . import report
from .drive import drive
from .peer import DIRECT, Peers, TEMPLATES
from .process import CPUS, Processes, cpu_times, family, machine_busy, resident_mib, wait_for_port
from .scenario import ENDS, MEMORY, SCENARIOS
from .template import make_certificates, render


class Session:
    def __init__(self, settings):
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        os.chmod(self.folder, 0o755)                # nginx gives its workers another user
        self.processes = Processes(self.folder, not settings.no_pin, settings.nice, settings.rt)
        certificates = self.folder / "certs"
        make_certificates(certificates)
        self.upstreams = {kind: settings.base_port + i for i, kind in enumerate(("h1", "h2", "tcp", "grpc"))}
        self.peers = Peers(self.processes, settings, self.upstreams, certificates)
        self.upstream_roots = []
        self.runs, self.memory = [], []

    def run(self):
        names = self.settings.scenario
        self.start_upstreams({SCENARIOS[name].upstream for name in names if name != MEMORY} | {"h1"})
        for name in names:
            if name == MEMORY:
                self.measure_memory()
                continue
            for topology in SCENARIOS[name].topologies:
                if self.settings.topology in (None, topology):
                    self.measure_scenario(SCENARIOS[name], topology)

    def start_upstreams(self, kinds):
        conf = self.folder / "upstream.conf"
        values = dict(dir=self.folder, h1=self.upstreams["h1"], h2=self.upstreams["h2"], body="x" * 1024)
        ends = any("ends" in SCENARIOS[name].flags for name in self.settings.scenario if name != MEMORY)
        text = (TEMPLATES / "upstream.conf").read_text()
        conf.write_text(render(text, set(), {"ends": ENDS if ends else 0}, values))
        (self.folder / "big").write_bytes(os.urandom(1 << 20) * 10)
        at = {kind: str(port) for kind, port in self.upstreams.items()}
        commands = {
            "h1": ["nginx", "-c", str(conf), "-p", str(self.folder)],
            "tcp": [self.settings.iperf3, "-s", "-B", "127.0.0.1", "-p", at["tcp"]],
            "grpc": [self.settings.echo, "server", "--address", "127.0.0.1", "--grpc", at["grpc"]],
        }
        for kind in [kind for kind in commands if kind in kinds]:
            process = self.processes.start(commands[kind], self.processes.load_cpus, f"upstream-{kind}.log")
            self.upstream_roots.append(process.pid)
            wait_for_port(self.upstreams[kind], process)

    # ------------------------------------------------------------ scenarios

    def measure_scenario(self, scenario, topology):
        live = self.warm(scenario, topology)
        runs = {at.name: [] for at in live}
        for number in range(self.settings.rounds):
            turn = number % max(len(live), 1)
            for at in live[turn:] + live[:turn]:
                # Without latencies a direct run tells only that the generator is no limit: once is enough.
                if at.name == DIRECT and number and not scenario.paced:
                    continue
                self.wait_quiet()
                try:
                    run = self.measure(scenario, at)
                except (RuntimeError, OSError) as error:
                    say(f"{at.name} {scenario.name}/{topology} round {number}: {error}")
                    continue
                run = dict(scenario=scenario.name, topology=topology, proxy=at.name, round=number) | run
                runs[at.name].append(run)
                self.runs.append(run)
        for at in live:
            self.processes.stop(at.processes)
        lines = report.summary(scenario, topology, runs, self.settings.baseline)
        report.print_scenario(scenario, topology, lines, self.settings.baseline)

    def warm(self, scenario, topology):
        """Starts the proxies and lets each serve for a second; one that cannot is named and left out."""
        live = []
        plain = self.settings.proxies
        for proxy in [*plain, *(f"{name}:{flag}" for flag in scenario.variants for name in plain if name.isalnum())]:
            if not self.peers.can(proxy, scenario, topology):
                continue
            at = None
            try:
                at = self.peers.start(proxy, scenario, topology)
                if proxy != DIRECT:
                    drive(scenario, at, 1, self.processes, self.settings)
                live.append(at)
            except (RuntimeError, OSError) as error:
                say(f"{proxy} {scenario.name}/{topology}: left out: {error}")
                if at:
                    self.processes.stop(at.processes)
        return live

    def measure(self, scenario, at):
        proxy, upstream = family(at.roots), family(self.upstream_roots)
        before, other, busy, start = cpu_times(proxy), cpu_times(upstream), machine_busy(), time.monotonic()
        run = drive(scenario, at, self.settings.seconds, self.processes, self.settings)
        after, took = cpu_times(proxy), time.monotonic() - start
        spent, user, system = (b - a for a, b in zip(before, after))
        served = cpu_times(upstream)[0] - other[0]
        own = spent + served + run["load_cpu_s"]
        noise = 100 * (machine_busy() - busy - own) / (took * len(CPUS))
        per = 1e6 / run["n"]
        share = user / (user + system) if user + system else 0
        return run | dict(
            cpu_us=spent * per, cpu_user_us=spent * share * per, cpu_system_us=spent * (1 - share) * per,
            upstream_cpu_us=served * per, load_cpu_us=run["load_cpu_s"] * per, noise_percent=max(0.0, noise),
            rss_mib=resident_mib(proxy))

    def wait_quiet(self):
        """Waits (bounded) until other work uses less than --quiet percent of the machine."""
        for _ in range(self.settings.quiet_tries):
            busy, start = machine_busy(), time.monotonic()
            time.sleep(0.5)
            if 100 * (machine_busy() - busy) / ((time.monotonic() - start) * len(CPUS)) < self.settings.quiet:
                return
            time.sleep(1)

    def measure_memory(self):
        for proxy in [proxy for proxy in self.settings.proxies if proxy != DIRECT]:
            try:
                self.memory.append(memory_use.measure(self.peers, proxy))
            except (RuntimeError, OSError) as error:
                say(f"{proxy} {MEMORY}: left out: {error}")
        report.print_memory(self.memory)


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)
