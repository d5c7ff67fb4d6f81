"""What a review costs the API server: real servers of the webhooks over TLS, and a client that asks at a fixed rate.

The API server speaks HTTP/2 to a webhook and this client HTTP/1.1, since Python's library has nothing else; both keep their
connections."""
import base64
import http.client
import json
import socket
import ssl
import subprocess
import threading
import time

from .plane import ClusterPlane, Server, free_ports
from .template import make_certificates

ISSUER, AUDIENCE = "https://bench", "istio-ca"
CALLER = {
    "username": "system:serviceaccount:kube-system:replicaset-controller", "uid": "0c7ba1d0",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
}
# Connections of the client.
CALLERS = 4


def container(name, port):
    """A container as a Deployment of a real application has it, with the fields that the API server adds."""
    variables = [{"name": f"SETTING_{i}", "value": f"value-{i}"} for i in range(8)]
    variables.append({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": f"{name}-secret", "key": "password"}}})

    def probe(path):
        return {
            "httpGet": {"path": path, "port": port, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1,
            "successThreshold": 1, "failureThreshold": 3,
        }

    return {
        "name": name, "image": f"registry.example.com/shop/{name}:1.2.3", "imagePullPolicy": "IfNotPresent",
        "env": variables, "ports": [{"name": f"http-{port}", "containerPort": port, "protocol": "TCP"}],
        "livenessProbe": probe("/live"), "readinessProbe": probe("/ready"),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
        ],
    }


def pod(number):
    """A pod of a Deployment with three containers, before it has a name."""
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    owner = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-7d9c5b8f6", "uid": f"owner-{number}",
        "controller": True, "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "orders-7d9c5b8f6-",
            "labels": {"app": "orders", "pod-template-hash": "7d9c5b8f6", "version": "v1"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}, "ownerReferences": [owner],
        },
        "spec": {
            "containers": [container(name, 8080 + i) for i, name in enumerate(("orders", "worker", "exporter"))],
            "volumes": [
                {"name": "data", "emptyDir": {}}, {"name": "kube-api-access-x", "projected": {"sources": sources}},
            ],
            "serviceAccountName": "orders", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "enableServiceLinks": True,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        },
    }


def route(number):
    """A VirtualService of three routes, two of them with conditions."""
    def to(service):
        return [{"destination": {"host": f"s{(number + service) % 1000}", "port": {"number": 80}}}]

    user = {"uri": {"prefix": "/v2"}, "headers": {"end-user": {"exact": "jason"}}}
    item = {"uri": {"regex": "/items/[0-9]+"}}
    return {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": f"orders-{number}", "namespace": "default", "generation": 1},
        "spec": {
            "hosts": [f"orders-{number}.example.com"],
            "http": [
                {"match": [user], "route": to(0), "timeout": "3s"},
                {"match": [item], "route": to(1), "retries": {"attempts": 3, "perTryTimeout": "2s"}},
                {"route": to(2)},
            ],
        },
    }


def review(number, item, resource):
    """The AdmissionReview of an object that is created."""
    group, _, version = item["apiVersion"].rpartition("/")
    kind = {"group": group, "version": version, "kind": item["kind"]}
    resource = {"group": group, "version": version, "resource": resource}
    request = {
        "uid": f"00000000-0000-4000-8000-{number:012}", "kind": kind, "resource": resource, "requestKind": kind,
        "requestResource": resource, "name": item["metadata"].get("name", ""), "namespace": "default",
        "operation": "CREATE", "object": item, "oldObject": None, "dryRun": False, "userInfo": CALLER,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review).encode()


class Connection(http.client.HTTPSConnection):
    """A connection to a server of 127.0.0.1 whose certificate has another name."""

    def __init__(self, port, name, roots):
        super().__init__("127.0.0.1", port, timeout=30, context=ssl.create_default_context(cafile=roots))
        self.name = name

    def connect(self):
        plain = socket.create_connection((self.host, self.port), timeout=self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.name)


def latencies(address, path, bodies, rate):
    """Sends a review each 1/rate seconds, whether or not earlier ones are answered. Returns the milliseconds that each
    took, from when it was due if its connection was still busy then."""
    port, name, roots = address
    begin, taken, wrong = time.perf_counter() + 0.2, [], []

    def call(first):
        connection = Connection(port, name, roots)
        connection.connect()
        for number in range(first, len(bodies), CALLERS):
            due, now = begin + number / rate, time.perf_counter()
            if now < due:
                time.sleep(due - now)
                due = time.perf_counter()
            connection.request("POST", path, bodies[number], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            taken.append((time.perf_counter() - due) * 1000)
            if answer.status != 200 or not json.loads(body)["response"]["allowed"]:
                wrong.append(body[:300])
        connection.close()

    threads = [threading.Thread(target=call, args=(first,)) for first in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong or len(taken) != len(bodies):
        raise SystemExit(f"{path}: {len(taken)} of {len(bodies)} reviews answered, {len(wrong)} wrong: {wrong[:1]}")
    return sorted(taken)


def quantiles(name, taken):
    def at(percent):
        return round(taken[min(len(taken) - 1, len(taken) * percent // 100)], 2)

    return {f"{name}: ms, median": at(50), f"{name}: ms, p99": at(99), f"{name}: ms, longest": round(taken[-1], 2)}


def measured(options, work):
    """The figures of both webhooks, one after the other."""
    count = int(options.rate * options.seconds)
    found = {"reviews": count, "reviews a second": options.rate}

    def measure(name, path, bodies):
        def of(server, address):
            cpu = server.cpu()
            taken = latencies(address, path, bodies, options.rate)
            found.update(quantiles(name, taken))
            found[f"{name}: CPU ms each"] = round((server.cpu() - cpu) * 1000 / count, 2)
            found[f"{name}: MiB"] = round(server.memory(), 1)
        return of

    pods = [review(number, pod(number), "pods") for number in range(count)]
    with_injector(options, work, measure("injection", "/inject", pods))
    routes = [review(number, route(number), "virtualservices") for number in range(count)]
    with_pilot(options, work, measure("validation", "/validate", routes))
    return found


def with_injector(options, work, measure):
    """Runs an injector whose certificate is in files. `measure` gets the server, and where it is: its port, the name in its
    certificate, and the roots that verify it."""
    certificates = work / "certificates"
    make_certificates(certificates)
    port, http_port = free_ports(2)
    flags = ["--address", "127.0.0.1", "--port", port, "--http-port", http_port]
    flags += ["--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key"]
    injector = Server(options.injector, flags, http_port, work)
    try:
        measure(injector, (port, "server.default.svc", certificates / "ca.pem"))
    finally:
        injector.end()


def with_pilot(options, work, measure):
    """Runs a pilot that reads the generated cluster, and the citadel that issues its certificate."""
    token, keys = sign_token(work)
    port, citadel_port, citadel_http = free_ports(3)
    name, roots = "pilot.bench", work / "root.pem"
    citadel = Server(options.citadel, [
        "--address", "127.0.0.1", "--port", citadel_port, "--http-port", citadel_http, "--root-dir", work / "citadel",
        "--publish-root", roots, "--token-issuer", ISSUER, "--token-jwks", keys, "--token-audience", AUDIENCE,
        "--service-account-dns", f"istio-system/istiod={name}",
    ], citadel_http, work)
    try:
        pilot = ClusterPlane(options.pilot, options.services, 0, work, [
            "--webhook-port", port, "--ca-address", f"127.0.0.1:{citadel_port}", "--ca-root", roots,
            "--token-file", token,
        ])
        try:
            measure(pilot, (port, name, roots))
        finally:
            pilot.end()
    finally:
        citadel.end()


def encoded(value):
    value = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def sign_token(work):
    """A service account's token for pilot, and the key that verifies it as an issuer publishes it. Returns the files."""
    key, token, keys = work / "issuer.pem", work / "token", work / "jwks.json"

    def openssl(*arguments, **more):
        return subprocess.run(("openssl", *map(str, arguments)), check=True, capture_output=True, **more).stdout

    openssl("genrsa", "-out", key, "2048")
    modulus = openssl("rsa", "-in", key, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
    public = {"kty": "RSA", "alg": "RS256", "kid": "bench", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}
    keys.write_text(json.dumps({"keys": [public]}))
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": [AUDIENCE], "sub": "system:serviceaccount:istio-system:istiod",
        "iat": now, "exp": now + 3600,
        "kubernetes.io": {"namespace": "istio-system", "serviceaccount": {"name": "istiod", "uid": "1"}},
    }
    signed = f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': 'bench'})}.{encoded(claims)}"
    signature = openssl("dgst", "-sha256", "-sign", key, input=signed.encode())
    token.write_text(f"{signed}.{encoded(signature)}")
    return token, keys
