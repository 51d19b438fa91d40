{{- define "flotilla.selector" -}}
app.kubernetes.io/name: flotilla-manager
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flotilla.labels" -}}
{{ include "flotilla.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: flotilla
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The cluster-wide objects of two releases in two namespaces must not share a name. */}}
{{- define "flotilla.clusterName" -}}
{{ printf "%s-%s" .Release.Namespace "flotilla-manager" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* registry, repository, and tag or digest: takes a dict of root and image */}}
{{- define "flotilla.image" -}}
{{- $registry := .root.Values.image.registry | trimSuffix "/" -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* nine tenths of a memory limit in Mi or Gi, as GOMEMLIMIT wants it */}}
{{- define "flotilla.goMemLimit" -}}
{{- $limit := toString . -}}
{{- if hasSuffix "Gi" $limit }}{{ div (mul (trimSuffix "Gi" $limit | int64) 1024 9) 10 }}MiB
{{- else if hasSuffix "Mi" $limit }}{{ div (mul (trimSuffix "Mi" $limit | int64) 9) 10 }}MiB
{{- end -}}
{{- end }}
