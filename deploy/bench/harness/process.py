"""Processes: starting, placing on CPUs, waiting for, ending; and what /proc says of their CPU time and memory."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))


class Processes:
    """Everything that a run has started; all of it ends with the run."""

    def __init__(self, folder, pin, nice, realtime):
        self.folder, self.nice, self.realtime = folder, nice, realtime
        apart = pin and len(CPUS) > 1
        self.load_cpus = set(CPUS[:-1]) if apart else set(CPUS)
        self.proxy_cpus = {CPUS[-1]} if apart else set(CPUS)
        self.children = []

    def place(self, cpus):
        os.sched_setaffinity(0, cpus)
        if self.nice:
            os.setpriority(os.PRIO_PROCESS, 0, self.nice)
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    def start(self, command, cpus, log):
        with open(self.folder / log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       start_new_session=True, preexec_fn=lambda: self.place(cpus))
        process.log = self.folder / log
        self.children.append(process)
        return process

    def stop(self, processes):
        for process in list(processes):
            for pid in family([process.pid]):       # parents first, so that none starts a worker anew
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            process.wait()
            self.children.remove(process)

    def stop_all(self):
        self.stop(self.children)


def wait_for_port(port, process, limit=30):
    """Seconds until something listens. Nothing connects: a probe would reach the upstream."""
    start = time.monotonic()
    while time.monotonic() - start < limit and process.poll() is None:
        if listens(port):
            return time.monotonic() - start
        time.sleep(0.01)
    last = process.log.read_text(errors="replace").strip().split("\n")[-3:]
    raise RuntimeError(f"{Path(process.args[0]).name} does not listen on {port}: {' / '.join(last)[:600]}")


def listens(port):
    text = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    words = (line.split() for line in text.split("\n"))
    return any(len(w) > 3 and w[3] == "0A" and w[1].endswith(f":{port:04X}") for w in words)


def status(pid):
    """Parent, user seconds, system seconds; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) / TICKS, int(fields[12]) / TICKS


def family(roots):
    """The given processes and their descendants."""
    parents = {int(name): s[0] for name in os.listdir("/proc") if name.isdigit() and (s := status(name))}
    found = {pid for pid in roots if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return sorted(found)


def cpu_times(pids):
    """(all, user, system) seconds so far. The sum is the scheduler's, in nanoseconds where the kernel keeps it; the
    parts are counted in clock ticks, so only their proportion is used."""
    parts = [s for pid in pids if (s := status(pid))]
    user, system = sum(s[1] for s in parts), sum(s[2] for s in parts)
    exact = sum(exact_time(pid) for pid in pids)
    return exact or user + system, user, system


def exact_time(pid):
    total = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    except (OSError, IndexError):
        pass                            # a thread that has just ended, or a kernel that does not count
    return total / 1e9


def resident_mib(pids):
    total = 0
    for pid in pids:
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        total += int(match[1]) if match else 0
    return total / 1024


def machine_busy():
    """CPU seconds that the whole machine has spent: all but idle and waiting for disks, time stolen by a host too."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS
