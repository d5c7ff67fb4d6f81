"""Figures from runs: medians, ratios of the same round, tables for people, one file for programs."""
import json
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

from . import target
from .drive import RANKS
from .process import CPUS
from .scenario import MEMORY_ABOUT, SCENARIOS, TOPOLOGIES

SCHEMA = 1


def median(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return statistics.median(values) if values else None


def ratio(rows, base, key):
    """Median and range of the ratio to the baseline, both taken in the same round."""
    theirs = {row["round"]: row[key] for row in base}
    values = [row[key] / theirs[row["round"]] for row in rows if theirs.get(row["round"])]
    if not values:
        return None
    return dict(median=statistics.median(values), low=min(values), high=max(values))


def summary(scenario, topology, runs, baseline):
    """One line of figures for each proxy of a scenario."""
    base, direct = runs.get(baseline, []), runs.get("direct", [])
    latency = {name: ranks(rows) for name, rows in runs.items()}
    lines = []
    for name, rows in runs.items():
        if not rows:
            continue
        line = dict(scenario=scenario.name, topology=topology, proxy=name, unit=scenario.unit, rounds=len(rows),
                    rate=median(rows, "rate"), errors=sum(row["errors"] for row in rows),
                    noise_percent=median(rows, "noise_percent"))
        if scenario.driver == "echo" or latency[name]:
            line["latency_ms"] = latency[name]
        if name != "direct":
            line |= {key: median(rows, key) for key in ("cpu_us", "cpu_user_us", "cpu_system_us", "rss_mib")}
            line |= dict(per_core=1e6 / line["cpu_us"] if line["cpu_us"] else None,
                         ratio_cpu=ratio(rows, base, "cpu_us"), ratio_rate=ratio(rows, base, "rate"))
            line["added_ms"] = added(rows, direct)
        lines.append(line)
    return lines


def ranks(rows):
    found = {rank: median([row["latency_ms"] for row in rows], rank) for rank in RANKS}
    return {rank: value for rank, value in found.items() if value is not None}


def added(rows, direct):
    """What the proxy adds to the direct run of the same round."""
    without = {row["round"]: row["latency_ms"] for row in direct}
    result = {}
    for rank in RANKS:
        values = [row["latency_ms"][rank] - without[row["round"]][rank] for row in rows
                  if rank in row["latency_ms"] and rank in without.get(row["round"], {})]
        if values:
            result[rank] = statistics.median(values)
    return result


# ---------------------------------------------------------------- tables

def table(head, rows):
    width = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]

    def line(row):
        return "| " + " | ".join(str(cell).ljust(w) for cell, w in zip(row, width)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in width) + "|", *map(line, rows)])


def number(value, digits=1):
    return "" if value is None else f"{value:,.{digits}f}"


def print_scenario(scenario, topology, lines, baseline):
    unit = scenario.unit
    head = ["proxy", f"{unit}/s", f"CPU us/{unit}", "user/system", f"CPU x {baseline} [range]", f"{unit}/s per core",
            "p50 ms (added)", "p99 ms (added)", "p99.9 ms", "RSS MiB", "errors", "noise %"]
    rows = []
    for line in lines:
        share = line.get("ratio_cpu")
        rows.append([
            line["proxy"], number(line["rate"], 0), number(line.get("cpu_us")),
            f"{number(line['cpu_user_us'])}/{number(line['cpu_system_us'])}" if "cpu_us" in line else "",
            f"{share['median']:.2f} [{share['low']:.2f}-{share['high']:.2f}]" if share else "",
            number(line.get("per_core"), 0), *(moment(line, rank) for rank in ("p50", "p99")),
            number(line.get("latency_ms", {}).get("p99_9"), 2), number(line.get("rss_mib"), 0),
            number(line["errors"], 0), number(line["noise_percent"], 0)])
    print(f"\n### {scenario.name} ({TOPOLOGIES[topology]}): {scenario.about}\n\n{table(head, rows)}", flush=True)


def moment(line, rank):
    value, more = line.get("latency_ms", {}).get(rank), line.get("added_ms", {}).get(rank)
    return "" if value is None else number(value, 2) + (f" ({more:+.2f})" if more is not None else "")


def print_memory(memory):
    rows = [[m["proxy"], number(m["idle_mib"]), number(m["connections_mib"]), number(m["kib_per_connection"]),
             number(m.get("routes_mib")), number(m.get("ready_s"), 2)] for m in memory]
    head = ["proxy", "idle MiB", "1,000 connections", "KiB/connection", "1,000 routes + clusters", "ready after s"]
    print(f"\n### rss: {MEMORY_ABOUT}\n\n{table(head, rows)}", flush=True)


def print_targets(judged, baseline):
    rows = [[t["name"], f"{t['value']:.2f}", f"{t['must']:.2f}", "met" if t["met"] else "MISSED"] for t in judged]
    if rows:
        print(f"\n### targets, as shares of {baseline}\n\n{table(['target', 'here', 'must', ''], rows)}", flush=True)


# ---------------------------------------------------------------- the file

def document(settings, runs, memory, began):
    """Everything that was measured, with what is needed to judge it; the schema stands in docs/performance.md."""
    results = []
    for name, topology in dict.fromkeys((run["scenario"], run["topology"]) for run in runs):
        of = {}
        for run in runs:
            if (run["scenario"], run["topology"]) == (name, topology):
                of.setdefault(run["proxy"], []).append(run)
        results += summary(SCENARIOS[name], topology, of, settings.baseline)
    ours = "ours" if settings.ours else next(iter(settings.custom), "ours")
    return dict(
        schema=SCHEMA, date=began, seconds_taken=round(time.time() - settings.began),
        commit=output("git", "rev-parse", "HEAD"), uncommitted_changes=bool(output("git", "status", "--porcelain")),
        machine=machine(), versions=versions(settings), baseline=settings.baseline,
        settings=dict(arguments=settings.arguments, rounds=settings.rounds, seconds=settings.seconds),
        targets=target.judge(results, memory, ours, settings.baseline) if settings.baseline == "envoy" else [],
        results=rounded(results), memory=rounded(memory), runs=rounded(runs))


def rounded(value):
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def machine():
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return dict(cpu=cpu[1] if cpu else platform.machine(), cpus=len(CPUS), memory_mib=int(memory[1]) // 1024,
                kernel=os.uname().release, load_average=os.getloadavg())


def versions(settings):
    arguments = dict(envoy=["--version"], ours=["version"], nginx=["-v"], haproxy=["-v"], wrk=["-v"],
                 h2load=["--version"], iperf3=["--version"])
    part = {"nginx"} | {proxy.split(":")[0] for proxy in settings.proxies}
    part |= {SCENARIOS[name].driver for name in settings.scenario if name in SCENARIOS}
    found = {name: output(getattr(settings, name), *words) for name, words in arguments.items() if name in part}
    first = {name: text.split("\n")[0].split("version: ")[-1][:120] for name, text in found.items()}
    return first | dict(openssl=output("openssl", "version"), python=platform.python_version())


def output(*command):
    """The output of a command; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=Path(__file__).parent)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip() or done.stderr.strip())


def write(file, content):
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(file)
