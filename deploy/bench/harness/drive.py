"""Load: one bounded run of a generator, and what it says of itself."""
import json
import os
import re
import subprocess
import threading
import time

RANKS = ("p50", "p90", "p99", "p99_9")


def drive(scenario, at, seconds, processes, settings):
    """Runs the load and returns units done, rate, errors, the generator's own CPU time, and latencies in ms."""
    command = COMMANDS[scenario.driver](scenario, at, seconds, settings)
    for _ in range(3):
        out, code, own = run(command, seconds, processes)
        # The server of iperf3 may still be at the end of the last test.
        if scenario.driver != "iperf3" or code == 0:
            break
        time.sleep(0.5)
    try:
        result = READERS[scenario.driver](out, scenario, seconds)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RuntimeError(f"{scenario.driver} said nothing to go by ({error!r}): {out.strip()[-300:]}") from error
    if result["n"] <= 0:
        raise RuntimeError(f"{scenario.driver}: no response: {out.strip()[-300:]}")
    return result | dict(load_cpu_s=own)


def run(command, seconds, processes):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               preexec_fn=lambda: processes.place(processes.load_cpus))
    limit = threading.Timer(seconds + 20, process.kill)
    limit.start()
    try:
        out = process.stdout.read()
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = code
    finally:
        limit.cancel()
        if process.returncode is None:
            process.kill()
            process.wait()
    return out, code, used.ru_utime + used.ru_stime


def url(scenario, at):
    scheme = "https" if "tls_in" in scenario.flags and at.name != "direct" else "http"
    return f"{scheme}://{at.host}:{at.port}{scenario.path}"


def wrk(scenario, at, seconds, settings):
    close = ["-H", "Connection: close"] if scenario.close else []
    return [settings.wrk, "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--latency", *close, url(scenario, at)]


def h2load(scenario, at, seconds, settings):
    return [settings.h2load, "-t1", f"-c{scenario.connections}", "-m16", "-D", str(seconds), url(scenario, at)]


def echo(scenario, at, seconds, settings):
    options = ["-c", str(scenario.connections), "--rate", str(scenario.rate), "--duration", f"{seconds}s",
               "--allow-failures"]
    if scenario.upstream == "grpc":
        return [settings.echo, "client", f"grpc://{at.host}:{at.port}", "--grpc", "echo", "-d", "x" * 1024, *options]
    return [settings.echo, "client", url(scenario, at), *options]


def iperf3(_scenario, at, seconds, settings):
    return [settings.iperf3, "-c", at.host, "-p", str(at.port), "-t", str(seconds), "-J"]


def read_wrk(out, scenario, _seconds):
    responses = int(re.search(r"(\d+) requests in", out)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    bad = re.search(r"Non-2xx[^:]*: (\d+)", out)
    errors = int(bad[1]) if bad else 0
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    if sockets:
        connect, read, write, timeout = map(int, sockets.groups())
        # Where each response ends its connection, wrk counts a TLS close without notice as a failed read.
        errors += connect + write + timeout + (0 if scenario.close else read)
    scale = {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}
    latency = {f"p{rank}": float(value) * scale[unit]
               for rank, value, unit in re.findall(r"^\s+(50|90|99)%\s+([\d.]+)(us|ms|s|m)", out, re.M)}
    many = scenario.units_per_answer
    return dict(n=responses * many, rate=rate * many, errors=errors, latency_ms=latency)


def read_h2load(out, _scenario, seconds):
    good, failed, broken = map(int, re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out).groups())
    return dict(n=good, rate=good / seconds, errors=failed + broken, latency_ms={})


def read_echo(out, _scenario, _seconds):
    report = json.loads(out[out.index("{"):])
    return dict(n=report["ok"], rate=report["ok"] / report["duration_s"], errors=report["failed"],
                latency_ms={rank: report["latency_ms"].get(rank, 0.0) for rank in RANKS})


def read_iperf3(out, _scenario, _seconds):
    total = json.loads(out)["end"]["sum_received"]
    mib = total["bytes"] / 2**20
    return dict(n=mib, rate=mib / total["seconds"], errors=0, latency_ms={})


COMMANDS = {"wrk": wrk, "h2load": h2load, "echo": echo, "iperf3": iperf3}
READERS = {"wrk": read_wrk, "h2load": read_h2load, "echo": read_echo, "iperf3": read_iperf3}
