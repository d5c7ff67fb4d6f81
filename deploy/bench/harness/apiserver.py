"""An API server that holds a generated cluster in memory: it lists in pages, watches, stores status and Leases, and counts
the requests. Enough for pilot, which takes it for a cluster, and small enough to cost the machine nothing that is
measured."""
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CORE = "/api/v1"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ROUTES = "/apis/networking.istio.io/v1/virtualservices"
# Collections that exist, though most are empty.
SERVED = [f"{CORE}/{plural}" for plural in ("namespaces", "services", "pods", "secrets", "nodes")]
SERVED += [SLICES, DEFINITIONS, ROUTES, f"{CORE}/namespaces/istio-system/configmaps"]
SERVED += [f"/apis/networking.k8s.io/v1/{plural}" for plural in ("ingresses", "ingressclasses")]


class Store:
    """The objects of a cluster by collection, and who watches them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.version = 1
        self.objects = {path: {} for path in SERVED}
        self.watches = {path: set() for path in SERVED}
        self.leases = {}
        self.requests = {}

    def put(self, path, item):
        """Adds an object, or a new version of it."""
        metadata = item["metadata"]
        key = f"{metadata.get('namespace', '')}/{metadata['name']}"
        with self.lock:
            self.version += 1
            known = self.objects[path].get(key)
            metadata["uid"] = known["metadata"]["uid"] if known else f"uid-{self.version}"
            metadata["resourceVersion"] = str(self.version)
            self.objects[path][key] = item
            event = json.dumps({"type": "MODIFIED" if known else "ADDED", "object": item})
            for watch in self.watches[path]:
                watch.put(event)

    def count(self, verb, path):
        with self.lock:
            self.requests[verb, path] = self.requests.get((verb, path), 0) + 1

    def counted(self):
        with self.lock:
            return dict(self.requests)


def pod(namespace, name, address, labels):
    """A ready pod, with the fields of a real one that pilot reads, and some that it does not."""
    ready = [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    container = {"name": "app", "image": "registry.example.com/app:1", "ports": [{"containerPort": 8080, "name": "http"}]}
    proxy = {"name": "istio-proxy", "args": ["proxy", "sidecar"], "env": [{"name": f"E{i}", "value": "v"} for i in range(20)]}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:{i}": {} for i in range(40)}}],
        },
        "spec": {"nodeName": "node", "serviceAccountName": "default", "containers": [container, proxy]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready},
    }


def service(name, number):
    address = f"10.96.{number // 256}.{number % 256}"
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "clusterIPs": [address], "selector": {"app": name}, "ports": ports},
    }


def endpoint_slice(name, pods):
    conditions = {"ready": True, "serving": True, "terminating": False}
    endpoints = [
        {
            "addresses": [address], "conditions": conditions, "nodeName": "node",
            "targetRef": {"kind": "Pod", "namespace": "default", "name": pod_name},
        }
        for pod_name, address in pods
    ]
    labels = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{name}-x", "namespace": "default", "labels": labels},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def fill(store, services, endpoints, sidecars):
    """A cluster of Services with this many endpoints each, and the pods of the simulated sidecars."""
    for name in ("default", "istio-system"):
        store.put(f"{CORE}/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    store.put(DEFINITIONS, {
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "virtualservices.networking.istio.io"},
    })
    for number in range(sidecars):
        address = f"10.200.{number // 250}.{number % 250 + 1}"
        store.put(f"{CORE}/pods", pod("default", f"c{number}", address, {"app": f"c{number}"}))
    for number in range(services):
        name = f"s{number}"
        members = [(f"{name}-{i}", f"10.{100 + number // 256}.{number % 256}.{i + 1}") for i in range(endpoints)]
        for pod_name, address in members:
            labels = {"app": name, "version": "v1", "security.istio.io/tlsMode": "istio"}
            store.put(f"{CORE}/pods", pod("default", pod_name, address, labels))
        store.put(f"{CORE}/services", service(name, number))
        store.put(SLICES, endpoint_slice(name, members))


def route(number):
    """One version of a VirtualService."""
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "changing", "namespace": "default", "generation": number},
        "spec": {
            "hosts": ["s0"],
            "http": [{"route": [{"destination": {"host": "s0"}}], "timeout": f"{number + 1}s"}],
        },
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store = None

    def log_message(self, *_):
        pass

    def reply(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code):
        self.reply(code, {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "", "reason": "NotFound",
        })

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path
        if path in self.store.objects:
            verb = "watch" if query.get("watch") in ("1", "true") else "list"
            self.store.count(verb, path)
            return self.watch(path, query) if verb == "watch" else self.list(path, query)
        self.store.count("get", path)
        if "/leases/" in path:
            lease = self.store.leases.get(path)
            return self.reply(200, lease) if lease else self.refuse(404)
        found = self.object(path)
        if found:
            return self.reply(200, found)
        kinds = [served[len(path) + 1:] for served in SERVED if served.startswith(path + "/")]
        if not kinds:
            return self.refuse(404)
        resources = [{"name": name, "singularName": "", "namespaced": True, "kind": "", "verbs": []} for name in kinds]
        return self.reply(200, {"kind": "APIResourceList", "groupVersion": path, "resources": resources})

    def object(self, path):
        """The object of `…/namespaces/NAMESPACE/PLURAL/NAME/status`."""
        parts = path.removesuffix("/status").split("/")
        if len(parts) < 5 or parts[-4] != "namespaces":
            return None
        return self.store.objects.get("/".join(parts[:-4] + [parts[-2]]), {}).get(f"{parts[-3]}/{parts[-1]}")

    def list(self, path, query):
        with self.store.lock:
            items = list(self.store.objects[path].values())
            version = str(self.store.version)
        # Secrets are listed twice, by type; there are none. Others have no selector that leaves something out.
        begin, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(items) or 1
        metadata = {"resourceVersion": version}
        if begin + limit < len(items):
            metadata["continue"] = str(begin + limit)
        self.reply(200, {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[begin:begin + limit]})

    def watch(self, path, query):
        events, since = queue.Queue(), int(query.get("resourceVersion", 0) or 0)
        with self.store.lock:
            for item in self.store.objects[path].values():
                if int(item["metadata"]["resourceVersion"]) > since:
                    events.put(json.dumps({"type": "ADDED", "object": item}))
            self.store.watches[path].add(events)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        timer = threading.Timer(int(query.get("timeoutSeconds", 300)), events.put, [None])
        timer.daemon = True
        timer.start()
        try:
            while (event := events.get()) is not None:
                line = event.encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            timer.cancel()
            with self.store.lock:
                self.store.watches[path].discard(events)

    def write(self, verb):
        path, body = urlsplit(self.path).path, self.body()
        self.store.count(verb, path)
        if "/leases" in path:
            name = body["metadata"]["name"]
            self.store.version += 1
            body["metadata"]["resourceVersion"] = str(self.store.version)
            self.store.leases[path if path.endswith(name) else f"{path}/{name}"] = body
            return self.reply(200, body)
        found = self.object(path)
        if not found:
            return self.refuse(404)
        found["status"] = body.get("status")
        return self.reply(200, found)

    def do_POST(self):
        self.write("create")

    def do_PUT(self):
        self.write("update")

    def do_PATCH(self):
        self.write("patch")


def serve(store):
    """Serves on a free port of 127.0.0.1. Returns the server; `shutdown` ends it."""
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """A client that goes away while it is served is no error."""

    handler = type("StoreHandler", (Handler,), {"store": store})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def kubeconfig(server):
    address = f"http://127.0.0.1:{server.server_address[1]}"
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": address}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    })
