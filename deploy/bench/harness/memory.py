"""Memory of a proxy: after some traffic, with 1,000 open connections, and with 1,000 routes and clusters."""
import socket
import time
from contextlib import ExitStack

from .process import family, resident_mib
from .scenario import ONE, SCENARIOS

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
CONNECTIONS = 1000
SETTLE = 3                              # seconds: allocators return memory with a delay
WITHOUT_ROUTES = {"nginx", "haproxy"}   # their templates have one route


def measure(peers, proxy):
    measured = dict(proxy=proxy)
    with ExitStack() as stack:
        at = serving(peers, proxy, stack)
        for _ in range(10):
            with ExitStack() as some:
                talk([connect(at, some) for _ in range(16)], rounds=10)
        time.sleep(SETTLE)
        measured["idle_mib"] = resident_mib(family(at.roots))
        talk([connect(at, stack) for _ in range(CONNECTIONS)], rounds=1)
        time.sleep(SETTLE)
        measured["connections_mib"] = resident_mib(family(at.roots))
        measured["kib_per_connection"] = (measured["connections_mib"] - measured["idle_mib"]) * 1024 / CONNECTIONS
    if proxy.split(":")[0] not in WITHOUT_ROUTES and proxy not in peers.settings.attached:
        with ExitStack() as stack:
            at = serving(peers, proxy, stack, routes=1000)
            talk([connect(at, stack)], rounds=100)
            time.sleep(SETTLE)
            measured["routes_mib"], measured["ready_s"] = resident_mib(family(at.roots)), at.ready
    return measured


def serving(peers, proxy, stack, routes=0):
    at = peers.start(proxy, SCENARIOS["h1"], ONE, routes)
    stack.callback(peers.processes.stop, at.processes)
    return at


def connect(at, stack):
    link = stack.enter_context(socket.create_connection((at.host, at.port), 10))
    return link


def talk(links, rounds):
    """Sends a request on all connections at once and reads the responses."""
    for _ in range(rounds):
        for link in links:
            link.sendall(REQUEST)
        for link in links:
            got = b""
            while got.count(b"x") < 1024:
                more = link.recv(65536)
                if not more:
                    raise RuntimeError(f"the proxy has closed a connection after {got[:80]!r}")
                got += more
