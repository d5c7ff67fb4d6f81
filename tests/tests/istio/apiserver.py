#!/usr/bin/env python3
"""A Kubernetes API server without any object: istiod does not start without one, though all of its configuration is in
files. Lists are empty, watches never end, and nothing can be written."""

import http.server
import json
import sys
import time
import urllib.parse

KINDS = {
    "configmaps": "ConfigMap",
    "endpointslices": "EndpointSlice",
    "ingressclasses": "IngressClass",
    "ingresses": "Ingress",
    "leases": "Lease",
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "namespaces": "Namespace",
    "nodes": "Node",
    "pods": "Pod",
    "secrets": "Secret",
    "serviceaccounts": "ServiceAccount",
    "services": "Service",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        parts = url.path.strip("/").split("/")
        if url.path == "/version":
            return self.reply(200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
        # The initial events of a watch are not served, so that clients list instead.
        if "sendInitialEvents" in query:
            return self.status(400, "BadRequest")
        if query.get("watch") in (["true"], ["1"]):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            time.sleep(3600)
            return None
        is_list = parts[0] == "api" and len(parts) in (3, 5) or parts[0] == "apis" and len(parts) in (4, 6)
        if parts[0] == "api" and len(parts) == 4 or not is_list:
            return self.status(404, "NotFound")
        partial = "PartialObjectMetadataList" in self.headers.get("accept", "")
        version = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        kind = "PartialObjectMetadataList" if partial else KINDS.get(parts[-1], "") + "List"
        return self.reply(200, {
            "kind": kind, "apiVersion": "meta.k8s.io/v1" if partial else version,
            "metadata": {"resourceVersion": "1"}, "items": [],
        })

    def refuse(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.status(403, "Forbidden")

    do_POST = do_PUT = do_PATCH = do_DELETE = refuse

    def status(self, code, reason):
        self.reply(code, {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
            "message": f"{reason}: this API server has no objects", "metadata": {},
        })

    def reply(self, code, body):
        body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
