"""What a mesh costs the Kubernetes cluster of KUBECONFIG: how much later a pod with a sidecar is ready, and what the control
plane uses and asks when nothing changes.

A pod with a sidecar has an init container and a container that starts before the application's. The kubelet looks once a
second at what its containers do, so each costs up to a second whatever runs in it. `shape` is therefore a pod with two
containers of the same kinds that do nothing: the difference to it is the mesh's own.
"""
import calendar
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

BENCH, PARTS = "ostria-bench", ("ostria-pilot", "ostria-citadel", "ostria-injector")
ADDED = "s until ready that a sidecar adds"
ADDED_BY_US = "s until ready that a sidecar adds to containers that do nothing"
# A pod may take this long, on a busy machine.
LIMIT = 120


class Api:
    """The API server, through `kubectl proxy`."""

    def __init__(self):
        command = ["kubectl", "proxy", "--port=0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "127.0.0.1:" not in line:
            sys.exit("kubectl proxy does not start; KUBECONFIG names the cluster")
        self.base = "http://" + line.split()[-1]

    def __call__(self, verb, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=verb)
        try:
            return json.load(urllib.request.urlopen(request, timeout=60))
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{verb} {path}: {error.read().decode()[:500]}") from error

    def watch(self, path):
        """Yields changed objects until the server ends the watch."""
        for line in urllib.request.urlopen(f"{self.base}{path}?watch=true", timeout=3600):
            yield json.loads(line)["object"]

    def end(self):
        self.process.terminate()
        self.process.wait()


class Pods:
    """The pods of the bench's namespace: when each reached which step of its start."""

    def __init__(self, api, options):
        self.api, self.options, self.steps = api, options, {}
        self.path, self.news = f"/api/v1/namespaces/{BENCH}/pods", threading.Condition()
        label = {"istio.io/rev": options.revision} if options.revision else {"istio-injection": "enabled"}
        api("POST", "/api/v1/namespaces", {"metadata": {"name": BENCH, "labels": label}})
        until("the namespace has an account", lambda: api("GET", f"/api/v1/namespaces/{BENCH}/serviceaccounts")["items"])
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        try:
            while True:
                for pod in self.api.watch(self.path):
                    self.see(pod, time.monotonic())
        except OSError:
            """The proxy to the API server has ended."""

    def see(self, pod, now):
        with self.news:
            known = self.steps.setdefault(pod["metadata"]["name"], {})
            for step in reached(pod):
                known.setdefault(step, now)
            self.news.notify_all()

    def start(self, name, shape):
        """Creates a pod and waits until it is ready. Returns the seconds until each step."""
        began = time.monotonic()
        self.api("POST", self.path, pod(name, shape, self.options))
        created = time.monotonic() - began
        with self.news:
            ready = self.news.wait_for(lambda: "ready" in self.steps.get(name, {}), LIMIT)
            steps = {step: at - began for step, at in self.steps.get(name, {}).items()}
        if not ready:
            sys.exit(f"{name} is not ready after {LIMIT} s: it reached {steps}")
        return {"created": created, **steps}

    def end(self):
        """All pods end at last: the end of one would disturb the start of the next."""
        self.api("DELETE", f"/api/v1/namespaces/{BENCH}")
        until("the namespace is gone", lambda: BENCH not in self.namespaces())

    def namespaces(self):
        return [item["metadata"]["name"] for item in self.api("GET", "/api/v1/namespaces")["items"]]


def until(what, test):
    end = time.monotonic() + LIMIT
    while not test():
        if time.monotonic() > end:
            sys.exit(f"waited {LIMIT} s until {what}")
        time.sleep(0.2)


def reached(pod):
    """The steps of its start that a pod has reached."""
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["status"] == "True":
            yield {"PodScheduled": "scheduled", "Ready": "ready"}.get(condition["type"], condition["type"])
    for container in status.get("initContainerStatuses", []) + status.get("containerStatuses", []):
        if "terminated" in container["state"]:
            yield f"{container['name']} ended"
        if "running" in container["state"]:
            yield f"{container['name']} runs"
        if container.get("started"):
            yield f"{container['name']} started"


def pod(name, shape, options):
    """A pod of one container: `plain`, with the `sidecar` of the mesh, or of the `shape` of such a pod."""
    def container(kind, *arguments, **more):
        return {
            "name": kind, "image": options.image, "imagePullPolicy": options.pull, "command": ["/echo"],
            "args": list(arguments), **more,
        }

    spec = {
        "containers": [container("app", "server", "--address", "0.0.0.0", "--http", "8080")],
        "terminationGracePeriodSeconds": 1,
    }
    if shape == "shape":
        probe = {"httpGet": {"path": "/", "port": 15099}, "timeoutSeconds": 3}
        server = ("server", "--address", "0.0.0.0", "--http", "15099")
        probes = {
            "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 600},
            "readinessProbe": {**probe, "periodSeconds": 15, "failureThreshold": 4},
        }
        sidecar = container("sidecar", *server, restartPolicy="Always", **probes)
        spec["initContainers"] = [container("init", "--help"), sidecar]
    inject = "true" if shape == "sidecar" else "false"
    metadata = {"name": name, "labels": {"app": name, "sidecar.istio.io/inject": inject}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def started(api, options):
    """The seconds until pods of the three kinds are ready, one after the other in turn."""
    pods, found = Pods(api, options), {kind: [] for kind in ("plain", "shape", "sidecar")}
    try:
        for number in range(options.pods + 1):
            for kind, runs in found.items():
                steps = pods.start(f"{kind}-{number}", kind)
                # The first of each kind loads images and fills caches.
                if number:
                    runs.append(steps)
    finally:
        pods.end()
    return found


def summarized(found):
    """Medians of the steps, in their order, and how much later a pod is ready."""
    figures = {}
    for kind, runs in found.items():
        steps = sorted((statistics.median(run[step] for run in runs if step in run), step) for step in runs[0])
        print(f"{kind}: " + ", ".join(f"{step} {at:.2f}" for at, step in steps), flush=True)
        ready = sorted(run["ready"] for run in runs)
        created = statistics.median(run["created"] for run in runs)
        figures[f"{kind}: s until ready, median"] = round(statistics.median(ready), 2)
        figures[f"{kind}: s until ready, mean"] = round(statistics.mean(ready), 2)
        figures[f"{kind}: s until ready, least and most"] = [round(ready[0], 2), round(ready[-1], 2)]
        figures[f"{kind}: ms of the request that creates it, median"] = round(created * 1000, 1)
    mean = {kind: figures[f"{kind}: s until ready, mean"] for kind in found}
    figures[ADDED] = round(mean["sidecar"] - mean["plain"], 2)
    figures[ADDED_BY_US] = round(mean["sidecar"] - mean["shape"], 2)
    return figures


def used(api, namespace, revision):
    """CPU seconds until when, working set and anonymous memory in MB of each pod of the control plane, by its part."""
    parts = {part + (f"-{revision}" if revision else ""): {} for part in PARTS}
    pods = api("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    known = {pod["metadata"]["name"]: pod["metadata"]["labels"].get("app") for pod in pods}
    for node in api("GET", "/api/v1/nodes")["items"]:
        name = node["metadata"]["name"]
        for pod in api("GET", f"/api/v1/nodes/{name}/proxy/stats/summary")["pods"]:
            reference = pod["podRef"]
            part = known.get(reference["name"]) if reference["namespace"] == namespace else None
            if part in parts:
                container = pod["containers"][0]
                cpu, memory = container["cpu"], container["memory"]
                parts[part][reference["name"]] = {
                    "cpu": cpu["usageCoreNanoSeconds"] / 1e9, "at": seconds(cpu["time"]),
                    "memory": memory["workingSetBytes"] / 1e6, "anonymous": memory.get("rssBytes", 0) / 1e6,
                }
    missing = [part for part, replicas in parts.items() if not replicas]
    if missing:
        sys.exit(f"{namespace} has no pods of {', '.join(missing)}: install the mesh before")
    return parts


def seconds(text):
    """The seconds since 1970 of a time as Kubernetes writes it."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{rest or 0}")


def idle(api, options):
    """What the control plane uses and asks while nothing changes: for each part, the mean of its replicas."""
    marked, before = time.time(), used(api, options.system, options.revision)
    time.sleep(options.idle)
    after, figures, memory, millicores = used(api, options.system, options.revision), {}, 0, 0
    for part, replicas in after.items():
        both = [(before[part][name], now) for name, now in replicas.items() if name in before[part]]
        if not both:
            sys.exit(f"{part} was restarted meanwhile")
        cpu = statistics.mean((now["cpu"] - then["cpu"]) / (now["at"] - then["at"]) * 1000 for then, now in both)
        size = statistics.mean(now["memory"] for _, now in both)
        anonymous = statistics.mean(now["anonymous"] for _, now in both)
        figures[part] = f"{size:.1f} MB ({anonymous:.1f} anonymous), {cpu:.2f} millicores"
        memory, millicores = memory + size, millicores + cpu
    figures["MB of pilot, citadel and injector when idle"] = round(memory, 1)
    figures["millicores of pilot, citadel and injector when idle"] = round(millicores, 2)
    if options.audit:
        figures.update(asked(options, marked, time.time()))
    return figures


def asked(options, since, end):
    """The requests of the control plane in the API server's audit log: of each kind, and those that should not be."""
    counts, prefix = {}, f"system:serviceaccount:{options.system}:ostria-"
    with open(options.audit) as log:
        for line in log:
            if prefix not in line:
                continue
            call = json.loads(line)
            account = call["user"]["username"]
            at = seconds(call["requestReceivedTimestamp"])
            if account.startswith(prefix) and since <= at <= end:
                what = call.get("objectRef", {}).get("resource", call["requestURI"])
                key = f"{account.removeprefix(prefix)} {call['verb']} {what}"
                counts[key] = counts.get(key, 0) + 1
    unwanted = {
        key: count for key, count in counts.items()
        if key.split()[1] in ("list", "create", "update", "patch", "delete") and not key.endswith(" leases")
    }
    renewals = sum(count for key, count in counts.items() if key.endswith("update leases"))
    return {
        "requests when idle": counts,
        "lists and writes when idle, other than renewals of Leases": sum(unwanted.values()),
        "renewals of Leases a second": round(renewals / (end - since), 2),
    }


def measured(options):
    api = Api()
    try:
        figures = summarized(started(api, options)) if options.pods else {}
        if options.idle:
            # The bench's own pods are changes, too.
            time.sleep(options.rest + 60 if options.pods else options.rest)
            figures.update(idle(api, options))
    finally:
        api.end()
    return figures
