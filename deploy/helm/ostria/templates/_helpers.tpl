{{/* The end of names that differ between revisions: "-canary", or nothing without a revision. */}}
{{- define "ostria.suffix" -}}
{{- if .Values.revision }}-{{ .Values.revision }}{{ end -}}
{{- end }}

{{/* What labels `istio.io/rev` say for this control plane. */}}
{{- define "ostria.revision" -}}
{{- .Values.revision | default "default" -}}
{{- end }}

{{- define "ostria.pilot" -}}ostria-pilot{{ include "ostria.suffix" . }}{{- end }}
{{/* The citadel of this release, or the one without revision if another release runs it. */}}
{{- define "ostria.citadel" -}}ostria-citadel{{ if .Values.citadel.enabled }}{{ include "ostria.suffix" . }}{{ end }}{{- end }}
{{- define "ostria.injector" -}}ostria-injector{{ include "ostria.suffix" . }}{{- end }}

{{/* Labels of every object. Takes (dict "root" $ "app" NAME). */}}
{{- define "ostria.labels" -}}
app: {{ .app }}
app.kubernetes.io/name: {{ .app }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ostria
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
istio.io/rev: {{ include "ostria.revision" .root }}
{{- end }}

{{/* Labels that select the pods of one part: they never change, since a Deployment's selector can't. */}}
{{- define "ostria.selector" -}}
app: {{ .app }}
istio.io/rev: {{ include "ostria.revision" .root }}
{{- end }}

{{/* An image. Takes (dict "root" $ "name" IMAGE). */}}
{{- define "ostria.image" -}}
{{- $global := .root.Values.global -}}
{{ $global.hub }}/{{ .name }}:{{ $global.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* The SPIFFE identity of a service account of the release's namespace. Takes (dict "root" $ "account" NAME). */}}
{{- define "ostria.identity" -}}
spiffe://{{ .root.Values.mesh.trustDomain }}/ns/{{ .root.Release.Namespace }}/sa/{{ .account }}
{{- end }}

{{/* The address of a Service of the release's namespace. Takes (dict "root" $ "name" SERVICE). */}}
{{- define "ostria.host" -}}
{{ .name }}.{{ .root.Release.Namespace }}.svc
{{- end }}

{{/*
"true" if an object of the cluster belongs to somebody else: another release, Istio's installer, or kubectl. Helm would
refuse to adopt it, and to change it would harm its owner. Takes (dict "root" $ "object" OBJECT).
*/}}
{{- define "ostria.foreign" -}}
{{- if .object -}}
{{- $annotations := .object.metadata.annotations | default dict -}}
{{- $name := index $annotations "meta.helm.sh/release-name" | default "" -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default "" -}}
{{- if or (ne $name .root.Release.Name) (ne $namespace .root.Release.Namespace) -}}true{{- end -}}
{{- end -}}
{{- end }}

{{/* The fields of a pod that every part of the control plane has. Takes (dict "root" $ "app" NAME "values" VALUES). */}}
{{- define "ostria.pod" -}}
serviceAccountName: {{ .app }}
# They talk to the API server.
automountServiceAccountToken: true
# Variables such as OSTRIA_PILOT_PORT, made for each Service, would be taken for settings.
enableServiceLinks: false
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
{{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .values.affinity }}
affinity:
{{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "ostria.selector" (dict "root" $.root "app" $.app) | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1337
  runAsGroup: 1337
  fsGroup: 1337
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* Labels and annotations of a pod of the control plane. Takes (dict "root" $ "app" NAME "values" VALUES). */}}
{{- define "ostria.podMetadata" -}}
labels:
  {{- include "ostria.labels" (dict "root" .root "app" .app) | nindent 2 }}
  # The control plane has no sidecar: it would need itself to start.
  sidecar.istio.io/inject: "false"
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: "15014"
  prometheus.io/path: /metrics
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The fields of a container that every part of the control plane has. Takes (dict "root" $ "values" VALUES). */}}
{{- define "ostria.container" -}}
{{- with .root.Values.global.imagePullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources:
  {{- toYaml .values.resources | nindent 2 }}
startupProbe:
  httpGet:
    path: /readyz
    port: http-monitoring
  periodSeconds: 1
  failureThreshold: 120
  timeoutSeconds: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: http-monitoring
  periodSeconds: 3
  failureThreshold: 2
  timeoutSeconds: 3
livenessProbe:
  httpGet:
    path: /healthz
    port: http-monitoring
  periodSeconds: 10
  failureThreshold: 3
  timeoutSeconds: 3
{{- end }}

{{/* Variables that every part of the control plane has. */}}
{{- define "ostria.environment" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: OSTRIA_REVISION
  value: {{ .Values.revision | quote }}
- name: OSTRIA_LOG_LEVEL
  value: {{ .Values.global.logLevel | quote }}
{{- if .Values.global.logAsJson }}
- name: OSTRIA_LOG_AS_JSON
  value: "true"
{{- end }}
{{- end }}

{{/* What a client of citadel needs: the mesh's roots, and a token that only citadel accepts. */}}
{{- define "ostria.identityVolumes" -}}
- name: istio-token
  projected:
    sources:
    - serviceAccountToken:
        audience: istio-ca
        expirationSeconds: 43200
        path: istio-token
- name: istiod-ca-cert
  configMap:
    # Citadel writes it. Until then the pod waits.
    name: istio-ca-root-cert
{{- end }}

{{- define "ostria.identityMounts" -}}
- name: istio-token
  mountPath: /var/run/secrets/tokens
  readOnly: true
- name: istiod-ca-cert
  mountPath: /var/run/secrets/istio
  readOnly: true
{{- end }}

{{/* "true" if a part has two replicas at all times, so that one can be taken away. Takes the part's values. */}}
{{- define "ostria.spare" -}}
{{- if .autoscale.enabled -}}
{{- if ge (int .autoscale.minReplicas) 2 }}true{{ end -}}
{{- else if ge (int .replicas) 2 }}true{{ end -}}
{{- end }}

{{/* The definitions of the mesh's kinds, as JSON: {"list": [DEFINITION…]}. */}}
{{- define "ostria.definitions" -}}
{{- $list := list -}}
{{- range $text := splitList "\n---\n" (.Files.Get "files/crds.yaml") -}}
{{- $definition := fromYaml $text -}}
{{- if $definition.kind -}}
{{- $list = append $list $definition -}}
{{- end -}}
{{- end -}}
{{- dict "list" $list | toJson -}}
{{- end }}

{{/* Istio's kinds that this version does not support, by group, as YAML. */}}
{{- define "ostria.unsupported" -}}
extensions.istio.io: [wasmplugins, extensionfilters, trafficextensions]
networking.istio.io: [workloadentries, workloadgroups, envoyfilters, proxyconfigs]
security.istio.io: [authorizationpolicies, requestauthentications]
telemetry.istio.io: [telemetries]
{{- end }}
