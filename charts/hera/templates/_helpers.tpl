{{/* Name of the chart, for the label app.kubernetes.io/name. */}}
{{- define "hera.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/*
Full name: at most 40 characters, so that the names of pods and of the metrics Service stay below 63. A longer one is cut
and gets a digest, so that two releases with the same beginning stay apart.
*/}}
{{- define "hera.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name = contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) -}}
{{- end -}}
{{- if gt (len $name) 40 -}}
{{- printf "%s-%s" ($name | trunc 31 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Name of objects outside namespaces: releases of the same name in two namespaces do not share them. */}}
{{- define "hera.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "hera.fullname" .) -}}
{{- end -}}

{{- define "hera.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "hera.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of this release; it must never change. */}}
{{- define "hera.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hera.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hera.labels" -}}
{{ include "hera.selectorLabels" . }}
app.kubernetes.io/component: manager
app.kubernetes.io/part-of: hera
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hera.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The rules of one scope ("cluster" or "namespaced") of the controllers that run, as a YAML list.
Takes (dict "root" $ "scope" SCOPE). The files are generated from the code.
*/}}
{{- define "hera.rules" -}}
{{- $rules := list -}}
{{- $paths := list "files/rbac/common.yaml" -}}
{{- if .root.Values.controllers -}}
{{- range .root.Values.controllers -}}
{{- $paths = append $paths (printf "files/rbac/%s.yaml" .) -}}
{{- end -}}
{{- else -}}
{{- range $path, $_ := .root.Files.Glob "files/rbac/*.yaml" -}}
{{- $paths = append $paths $path -}}
{{- end -}}
{{- end -}}
{{- range $path := uniq $paths -}}
{{- $text := $.root.Files.Get $path -}}
{{- if not $text -}}
{{- fail (printf "controllers: there is no operator of this name (%s)" (base $path | trimSuffix ".yaml")) -}}
{{- end -}}
{{- $rules = concat $rules (get (fromYaml $text) $.scope) -}}
{{- end -}}
{{- if $rules -}}
{{- toYaml $rules -}}
{{- end -}}
{{- end -}}
