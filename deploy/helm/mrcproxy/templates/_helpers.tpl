{{- define "mrcproxy.labels" -}}
app.kubernetes.io/name: mrcproxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
