"""The proxies that are compared: which file and which command line each of them takes."""
import re
import shlex
import subprocess
from pathlib import Path

from .process import CPUS, wait_for_port
from .scenario import EJECTED, ENDS, ONE
from .template import render

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
DIRECT = "direct"
NO_HTTP2_UPSTREAM = {"nginx"}           # its HTTP/2 ends at the proxy


class Running:
    """A proxy (in a mesh, two) that serves; `direct` is the upstream itself."""

    def __init__(self, name, host, port, processes=(), roots=(), ready=None):
        self.name, self.host, self.port = name, host, port
        self.processes, self.ready = list(processes), ready
        self.roots = [*roots, *(p.pid for p in self.processes)]


class Peers:
    def __init__(self, processes, settings, upstreams, certificates):
        self.processes, self.settings = processes, settings
        self.upstreams, self.certificates = upstreams, certificates
        self.port = settings.base_port + 10

    def can(self, proxy, scenario, topology):
        """Whether the proxy speaks what the scenario needs."""
        name = proxy.split(":")[0]
        if "ends" in scenario.flags and proxy != DIRECT:    # those of the others know but one endpoint
            return name not in {DIRECT, "nginx", "haproxy", *self.settings.attached}
        lacks = name in NO_HTTP2_UPSTREAM and "h2" in scenario.flags
        return not (lacks and (topology != ONE or scenario.upstream == "grpc"))

    def start(self, proxy, scenario, topology, routes=0):
        upstream = scenario.upstream
        if proxy.split(":")[0] in NO_HTTP2_UPSTREAM and upstream == "h2":
            upstream = "h1"
        port = self.upstreams[upstream]
        if proxy == DIRECT:
            return Running(proxy, "127.0.0.1", port)
        if proxy in self.settings.attached:
            host, at, roots = self.settings.attached[proxy]
            return Running(proxy, host, at, roots=roots)
        flags = set(scenario.flags)
        roles = [("edge", flags)] if topology == ONE else [
            ("server", flags | {"tls_in", "mtls_in"}), ("client", flags | {"tls_out"})]
        return self.chain(proxy, roles, port, routes)

    def chain(self, proxy, roles, port, routes):
        """Starts one proxy for each role, each in front of the one before."""
        started = []
        cpus = set(CPUS) if proxy.endswith(":c2") else self.processes.proxy_cpus
        try:
            for role, flags in roles:
                listen, self.port = self.port, self.port + 1
                command = self.command(proxy, role, flags, listen, port, routes)
                log = f"{proxy.replace(':', '-')}-{role}-{listen}.log"
                started.append(self.processes.start(command, cpus, log))
                ready = wait_for_port(listen, started[-1])
                port = listen
        except (RuntimeError, OSError):
            self.processes.stop(started)
            raise
        return Running(proxy, "127.0.0.1", port, started, ready=ready)

    def command(self, proxy, role, flags, listen, upstream, routes):
        """Writes the configuration for one role and returns the command line."""
        name, _, variant = proxy.partition(":")
        folder = self.processes.folder / f"{proxy.replace(':', '-')}-{role}-{listen}"
        folder.mkdir()
        flags = set(flags) | {role}
        if variant in ("log", "ejected"):
            flags.add(variant)
        if variant != "bare":
            flags.add("filters")
        values = dict(listen=listen, upstream=upstream, certs=self.certificates, dir=folder,
                      logfile=folder / "access.log", mtls_in="true" if "mtls_in" in flags else "false",
                      out_scheme="https" if "tls_out" in flags else "http")
        values |= {"nginx": nginx_values, "haproxy": haproxy_values}.get(name, lambda *_: {})(flags, self.certificates)
        template = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}.get(name, "envoy.yaml")
        file = folder / template
        broken = EJECTED if "ejected" in flags else 0
        repeats = {"routes": routes, "sound": ENDS - broken, "broken": broken}
        file.write_text(render((TEMPLATES / template).read_text(), flags, repeats, values))
        return self.line(name, variant, file, dict(listen=listen, upstream=upstream, role=role))

    def line(self, name, variant, file, fill):
        workers = "2" if variant == "c2" else "1"
        known = {
            "nginx": [self.settings.nginx, "-c", file, "-p", file.parent],
            "haproxy": [self.settings.haproxy, "-db", "-f", file],
            "envoy": [self.settings.envoy, "-c", file, "--concurrency", workers,
                      "--disable-hot-restart", "--log-level", "error"],
            "ours": [self.settings.ours, "run", "--bootstrap", file, "--concurrency", workers],
        }
        if name in self.settings.custom:
            fill |= dict(bootstrap=file, certs=self.certificates)
            return [word.format(**fill) for word in shlex.split(self.settings.custom[name])]
        return [str(word) for word in known[name]]


def nginx_values(flags, _certificates):
    words = [*(["ssl"] if "tls_in" in flags else []), *(["http2"] if flags >= {"h2"} and "tcp" not in flags else [])]
    load = ""
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True).stderr
    if "tcp" in flags and "--with-stream=dynamic" in built:
        where = re.search(r"--modules-path=(\S+)", built)[1]
        if not Path(where, "ngx_stream_module.so").exists():
            raise RuntimeError("nginx cannot relay TCP here: apt-get install -y libnginx-mod-stream")
        load = f"load_module {where}/ngx_stream_module.so;"
    return {"in": " ".join(words), "load_stream": load}


def haproxy_values(flags, certificates):
    protocol = " alpn h2" if "h2" in flags else ""
    plain = "proto h2" if "h2" in flags else ""
    inbound, outbound = plain, plain
    if "tls_in" in flags:
        inbound = f"ssl crt {certificates}/server.both{protocol}"
    if "mtls_in" in flags:
        inbound += f" ca-file {certificates}/ca.pem verify required"
    if "tls_out" in flags:
        outbound = (f"ssl crt {certificates}/client.both ca-file {certificates}/ca.pem verify required "
                    f"sni str(server.default.svc){protocol}")
    return {"in": inbound, "out": outbound}
