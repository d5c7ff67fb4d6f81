{{/*
One Lease, and the rights in the release's namespace: to the Lease, and to read one ConfigMap if there is "config".
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
{{- $found := lookup "coordination.k8s.io/v1" "Lease" .root.Release.Namespace .lease }}
{{- if not (include "ostria.foreign" (dict "root" .root "object" $found)) }}
---
# It goes with the release. A Lease of pods that are gone would keep the next ones from writing for 15 seconds.
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: {{ .lease }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- .labels | nindent 4 }}
{{- end }}
{{- end }}
