{{/*
The rights in the release's namespace: to one Lease, and to read one ConfigMap if there is "config".
Takes (dict "root" $ "app" NAME "lease" LEASE "config" CONFIGMAP "labels" LABELS).
*/}}
{{- define "ostria.leaseRole" }}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .app }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- .labels | nindent 4 }}
rules:
# The Lease that makes one replica the writer. `create` can't be restricted to a name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ .lease }}]
  verbs: [get, update]
{{- with .config }}
# The mesh's configuration.
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ . }}]
  verbs: [list, watch]
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .app }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- .labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .app }}
subjects:
- kind: ServiceAccount
  name: {{ .app }}
  namespace: {{ .root.Release.Namespace }}
{{- end }}
