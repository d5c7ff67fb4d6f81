"""What the proxy has to reach, as shares of Envoy's figure in the same run (or of its own without a variant), and whether
it did."""
from dataclasses import dataclass

from .scenario import MESH, ONE


@dataclass(frozen=True)
class Target:
    name: str
    scenario: str
    topology: str
    measure: str                    # cpu, added_p50, or a memory figure
    must: float
    variant: str = ""               # against the same proxy without it


TARGETS = [
    Target("HTTP/1.1, one hop: CPU", "h1", ONE, "cpu", 0.40),
    Target("HTTP/1.1, mesh: CPU", "h1", MESH, "cpu", 0.35),
    Target("HTTP/1.1, mesh, JSON log: CPU", "h1log", MESH, "cpu", 0.40),
    Target("3 of 100 endpoints ejected: CPU", "ends", ONE, "cpu", 1.05, variant="ejected"),
    Target("HTTP/2, mesh: CPU", "h2", MESH, "cpu", 0.45),
    Target("1,000/s, mesh: CPU", "lat1k", MESH, "cpu", 0.60),
    Target("1,000/s, mesh: added p50", "lat1k", MESH, "added_p50", 0.60),
    Target("new connection: CPU", "conn", ONE, "cpu", 0.60),
    Target("new mTLS connection: CPU", "mtls", MESH, "cpu", 0.75),
    Target("10 MiB bodies, one hop: CPU", "big", ONE, "cpu", 0.80),
    Target("10 MiB bodies, mesh: CPU", "big", MESH, "cpu", 1.00),
    Target("TCP, one hop: CPU", "tcp", ONE, "cpu", 0.95),
    Target("TCP, mesh: CPU", "tcp", MESH, "cpu", 1.00),
    Target("memory idle", "rss", ONE, "idle_mib", 0.25),
    Target("memory, 1,000 connections", "rss", ONE, "connections_mib", 0.25),
    Target("memory, 1,000 routes and clusters", "rss", ONE, "routes_mib", 0.25),
]


def judge(results, memory, ours, baseline):
    """Each target that this run has measured, with its figure and whether it is met."""
    rows = {(r["scenario"], r["topology"], r["proxy"]): r for r in results}
    by_proxy = {m["proxy"]: m for m in memory}
    judged = []
    for target in TARGETS:
        value = figure(target, rows, by_proxy, ours, baseline)
        if value is not None:
            judged.append(dict(name=target.name, scenario=target.scenario, topology=target.topology,
                               measure=target.measure, must=target.must, value=round(value, 3),
                               met=value <= target.must))
    return judged


def figure(target, rows, by_proxy, ours, baseline):
    if target.scenario == "rss":
        mine, theirs = (by_proxy.get(p, {}).get(target.measure) for p in (ours, baseline))
        return mine / theirs if mine and theirs else None
    pair = (f"{ours}:{target.variant}", ours) if target.variant else (ours, baseline)
    mine, theirs = (rows.get((target.scenario, target.topology, p)) for p in pair)
    if not mine or not theirs:
        return None
    if target.variant:
        return mine["cpu_us"] / theirs["cpu_us"] if theirs.get("cpu_us") else None
    if target.measure == "cpu":
        return mine["ratio_cpu"]["median"] if mine.get("ratio_cpu") else None
    added, base = (r.get("added_ms", {}).get("p50") for r in (mine, theirs))
    return max(added, 0) / base if added is not None and base and base > 0 else None
