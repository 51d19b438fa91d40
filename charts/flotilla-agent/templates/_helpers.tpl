{{/* That of the agent of an imported cluster, too. */}}
{{- define "flotilla-agent.selector" -}}
app: fleet-agent
{{- end }}

{{- define "flotilla-agent.labels" -}}
{{ include "flotilla-agent.selector" . }}
app.kubernetes.io/name: fleet-agent
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: flotilla
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The cluster-wide objects of agents in two namespaces must not share a name. */}}
{{- define "flotilla-agent.clusterName" -}}
{{ printf "%s-fleet-agent" .Release.Namespace | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* registry, repository, and tag or digest: takes a dict of root and image */}}
{{- define "flotilla-agent.image" -}}
{{- $registry := .root.Values.image.registry | trimSuffix "/" -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* nine tenths of a memory limit in Mi or Gi, as GOMEMLIMIT wants it */}}
{{- define "flotilla-agent.goMemLimit" -}}
{{- $limit := toString . -}}
{{- if hasSuffix "Gi" $limit }}{{ div (mul (trimSuffix "Gi" $limit | int64) 1024 9) 10 }}MiB
{{- else if hasSuffix "Mi" $limit }}{{ div (mul (trimSuffix "Mi" $limit | int64) 9) 10 }}MiB
{{- end -}}
{{- end }}

{{/* what is to be said to the agent, as environment variables: what differs from its defaults */}}
{{- define "flotilla-agent.settings" -}}
{{- $settings := dict -}}
{{- if ne .Values.logLevel "info" }}{{ $_ := set $settings "FLOTILLA_LOG_LEVEL" .Values.logLevel }}{{ end -}}
{{- if ne (int .Values.concurrency) 16 }}{{ $_ := set $settings "FLOTILLA_CONCURRENCY" (toString .Values.concurrency) }}{{ end -}}
{{- if .Values.requireServiceAccount }}{{ $_ := set $settings "FLOTILLA_REQUIRE_SERVICE_ACCOUNT" "true" }}{{ end -}}
{{- range .Values.extraEnv }}{{ if hasKey . "value" }}{{ $_ := set $settings .name (toString .value) }}{{ end }}{{ end -}}
{{- if $settings }}{{ toYaml $settings }}{{ end -}}
{{- end }}
