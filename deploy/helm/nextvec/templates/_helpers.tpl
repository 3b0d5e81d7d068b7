{{- define "nextvec.name" -}}
{{- .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Names have room for a suffix within the 63 characters of a label. */}}
{{- define "nextvec.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "nextvec.headless" -}}
{{ include "nextvec.fullname" . }}-replicas
{{- end -}}

{{- define "nextvec.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "nextvec.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "nextvec.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: nextvec
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "nextvec.selector" -}}
app.kubernetes.io/name: {{ include "nextvec.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: replica
{{- end -}}

{{- define "nextvec.envoySelector" -}}
app.kubernetes.io/name: {{ include "nextvec.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: envoy
{{- end -}}

{{/* An image by digest if there is one, else by tag: (dict "image" … "tag" …) */}}
{{- define "nextvec.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}

{{- define "nextvec.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* How long a request may take, in whole seconds: `limits.timeout_seconds`, or its default. */}}
{{- define "nextvec.requestSeconds" -}}
{{- get .Values.settings "NEXTVEC_LIMITS__TIMEOUT_SECONDS" | default 10 | float64 | ceil | int -}}
{{- end -}}

{{/* Two releases of one name, in two namespaces, may use the same stores. */}}
{{- define "nextvec.fleetName" -}}
{{- default (printf "%s.%s" .Release.Namespace .Release.Name | trunc 64 | trimSuffix "-") .Values.fleetName -}}
{{- end -}}
