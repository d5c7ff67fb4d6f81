"""What is measured: one line per scenario, as data."""
from dataclasses import dataclass

ONE, MESH = "one", "mesh"
TOPOLOGIES = {ONE: "one hop", MESH: "two sidecars, mTLS between"}


@dataclass(frozen=True)
class Scenario:
    """One kind of load, and what a proxy's configuration needs for it."""
    name: str
    driver: str                     # wrk, h2load, echo (fixed rate) or iperf3
    about: str
    topologies: tuple = (ONE, MESH)
    flags: frozenset = frozenset()  # template flags
    connections: int = 16
    rate: int = 0                   # requests a second; 0: as fast as responses arrive
    close: bool = False             # a connection for each request
    upstream: str = "h1"            # which upstream serves it: h1, h2, tcp, grpc
    path: str = "/"
    unit: str = "request"
    units_per_answer: int = 1
    variants: tuple = ()            # template flags, each with a proxy of its own (NAME:FLAG) beside the plain one

    @property
    def tcp(self):
        return "tcp" in self.flags

    @property
    def paced(self):
        return self.rate > 0


SCENARIOS = {s.name: s for s in [
    Scenario("h1", "wrk", "HTTP/1.1 keep-alive, 1 KiB, 32 connections, saturated", connections=32),
    Scenario("h1log", "wrk", "the same with a JSON access log of 19 fields", topologies=(MESH,),
             flags=frozenset({"log"}), connections=32),
    Scenario("ends", "wrk", "HTTP/1.1 to 100 endpoints with outlier detection; :ejected has three of them ejected",
             topologies=(ONE,), flags=frozenset({"ends"}), connections=32, variants=("ejected",)),
    Scenario("h2", "h2load", "HTTP/2, 1 KiB, 4 connections x 16 streams, saturated", flags=frozenset({"h2"}),
             connections=4, upstream="h2"),
    Scenario("lat1k", "echo", "HTTP/1.1, 1 KiB, 1,000 requests a second evenly spread over 16 connections", rate=1000),
    Scenario("lat4k", "echo", "HTTP/1.1, 1 KiB, 4,000 requests a second evenly spread over 16 connections", rate=4000),
    Scenario("grpc", "echo", "gRPC unary call, 1,000 a second evenly spread over 8 connections",
             flags=frozenset({"h2"}), connections=8, rate=1000, upstream="grpc"),
    Scenario("conn", "wrk", "HTTP/1.1, a new plaintext connection per request", topologies=(ONE,), close=True),
    Scenario("tls", "wrk", "HTTP/1.1, a new TLS 1.3 connection per request, terminated by the proxy", topologies=(ONE,),
             flags=frozenset({"tls_in"}), close=True),
    Scenario("mtls", "wrk", "TCP proxying, a new mTLS connection between sidecars per request", topologies=(MESH,),
             flags=frozenset({"tcp"}), close=True),
    Scenario("big", "wrk", "HTTP/1.1, 10 MiB bodies, 4 connections", connections=4, path="/big", unit="MiB",
             units_per_answer=10),
    Scenario("tcp", "iperf3", "one TCP stream through the TCP proxy", flags=frozenset({"tcp"}), connections=1,
             upstream="tcp", unit="MiB"),
]}
ENDS, EJECTED = 100, 3
MEMORY = "rss"
MEMORY_ABOUT = "resident memory: idle, with 1,000 connections, with 1,000 routes and clusters"
NAMES = [*SCENARIOS, MEMORY]
