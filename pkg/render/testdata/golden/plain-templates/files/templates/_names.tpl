{{ define "name" }}{{ .Release.Name }}-settings{{ end }}
