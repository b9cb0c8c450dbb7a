{{- define "trigon.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "trigon.fullname" -}}
{{- $name := include "trigon.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "trigon.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "trigon.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "trigon.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trigon.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "trigon.labels" -}}
{{ include "trigon.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "trigon.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end }}
{{- end }}
{{- end }}

{{/* Helm knows numbers of YAML as fractions, which TOML tells from integers. No setting is a fraction. */}}
{{- define "trigon.integers" -}}
{{- $map := . }}
{{- range $key, $value := $map }}
  {{- if kindIs "float64" $value }}
    {{- $_ := set $map $key (int64 $value) }}
  {{- else if kindIs "map" $value }}
    {{- include "trigon.integers" $value }}
  {{- else if kindIs "slice" $value }}
    {{- $list := list }}
    {{- range $value }}
      {{- if kindIs "map" . }}{{ include "trigon.integers" . }}{{ end }}
      {{- $list = append $list (ternary (int64 (kindIs "float64" . | ternary . 0)) . (kindIs "float64" .)) }}
    {{- end }}
    {{- $_ := set $map $key $list }}
  {{- end }}
{{- end }}
{{- end }}

{{/* config.toml. A null in the values leaves a key out. */}}
{{- define "trigon.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := include "trigon.integers" $config }}
{{- toToml $config | trim }}
{{- with .Values.extraConfig }}

{{ . | trim }}
{{- end }}
{{- end }}

{{/* The port of metrics.addr. */}}
{{- define "trigon.port" -}}
{{- regexFind "[0-9]+$" .Values.config.metrics.addr }}
{{- end }}

{{/* Whether the agent talks to the API server: "true" or nothing. */}}
{{- define "trigon.kubernetes" -}}
{{- if ne (dig "kubernetes" "enabled" "auto" .Values.config) "never" }}true{{ end }}
{{- end }}

{{/* A probe: `page` and what values say of its times. */}}
{{- define "trigon.probe" -}}
httpGet:
  path: {{ .page }}
  port: metrics
{{ toYaml .times }}
{{- end }}

{{/* What a scrape is, for both kinds of monitors. */}}
{{- define "trigon.scrape" -}}
- port: metrics
  honorLabels: {{ .honorLabels }}
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  relabelings:
    - sourceLabels: [__meta_kubernetes_pod_node_name]
      targetLabel: node
    {{- with .relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
