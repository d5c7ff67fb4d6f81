{{/* PodDisruptionBudget and HorizontalPodAutoscaler of a part. Takes (dict "root" $ "app" NAME "values" VALUES). */}}
{{- define "ostria.availability" -}}
{{- if include "ostria.spare" .values }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .app }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "ostria.labels" (dict "root" .root "app" .app) | nindent 4 }}
spec:
  maxUnavailable: 1
  # Pods that are not ready serve nobody: they must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "ostria.selector" (dict "root" .root "app" .app) | nindent 6 }}
{{- end }}
{{- include "ostria.scaler" . }}
{{- end }}

{{/* The HorizontalPodAutoscaler of a part. Takes the same. */}}
{{- define "ostria.scaler" -}}
{{- if .values.autoscale.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .app }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "ostria.labels" (dict "root" .root "app" .app) | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ .app }}
  minReplicas: {{ .values.autoscale.minReplicas }}
  maxReplicas: {{ .values.autoscale.maxReplicas }}
  metrics:
  - type: Resource
    resource:
      name: cpu
      target:
        type: Utilization
        averageUtilization: {{ .values.autoscale.cpuUtilization }}
{{- end }}
{{- end }}

{{/* The replicas and the update of a Deployment. Takes the part's values. */}}
{{- define "ostria.replicas" -}}
{{- if not .autoscale.enabled }}
replicas: {{ .replicas }}
{{- end }}
strategy:
  type: RollingUpdate
  rollingUpdate:
    # The old pod goes when the one that replaces it is ready.
    maxSurge: 1
    maxUnavailable: 0
{{- end }}
