{{/* Names have at most 63 characters, since labels need that. */}}
{{- define "s3ftpd.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "s3ftpd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "s3ftpd.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "s3ftpd.metricsName" -}}
{{- printf "%s-metrics" (include "s3ftpd.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}

{{- define "s3ftpd.dashboardName" -}}
{{- printf "%s-dashboard" (include "s3ftpd.fullname" . | trunc 53 | trimSuffix "-") }}
{{- end }}

{{- define "s3ftpd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "s3ftpd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "s3ftpd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "s3ftpd.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "s3ftpd.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "s3ftpd.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "s3ftpd.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* An address with a port; IPv6 addresses get brackets. */}}
{{- define "s3ftpd.socket" -}}
{{- if contains ":" .address }}{{ printf "[%s]:%d" .address .port }}{{ else }}{{ printf "%s:%d" .address .port }}{{ end }}
{{- end }}

{{/* The configuration file: the user's keys and those that the chart owns. */}}
{{- define "s3ftpd.config" -}}
{{- $listen := list }}
{{- range .Values.bindAddresses }}
{{- $listen = append $listen (include "s3ftpd.socket" (dict "address" . "port" 2121)) }}
{{- end }}
{{- if .Values.service.implicitPort }}
{{- range .Values.bindAddresses }}
{{- $listen = append $listen (dict "address" (include "s3ftpd.socket" (dict "address" . "port" 2990)) "tls" "implicit") }}
{{- end }}
{{- end }}
{{- $passive := dict "ports" (printf "%d-%d" (int .Values.passive.firstPort) (int .Values.passive.lastPort)) }}
{{- with .Values.passive.address }}{{ $_ := set $passive "address" . }}{{ end }}
{{- with .Values.passive.networks }}{{ $_ := set $passive "networks" . }}{{ end }}
{{- $admin := dict "listen" (include "s3ftpd.socket" (dict "address" (first .Values.bindAddresses) "port" 8080)) }}
{{- if .Values.admin.tokenSecret.name }}{{ $_ := set $admin "token" (dict "file" "/run/secrets/s3ftpd/admin-token") }}{{ end }}
{{- $timeouts := merge (dict "shutdown_grace" (printf "%ds" (int .Values.shutdownGraceSeconds))) (.Values.config.timeouts | default dict) }}
{{- $config := deepCopy .Values.config }}
{{- /* Helm reads YAML 1.1, in which a plain on is true. */}}
{{- range $hook := $config.events }}
{{- if hasKey $hook "true" }}
{{- $_ := set $hook "on" (index $hook "true") }}
{{- $_ := unset $hook "true" }}
{{- end }}
{{- end }}
{{- $own := dict "listen" $listen "passive" $passive "admin" $admin "timeouts" $timeouts }}
{{- merge $own $config | toYaml }}
{{- end }}

{{/* Rules that the schema can't express. All problems are reported at once. */}}
{{- define "s3ftpd.validate" -}}
{{- $problems := list }}
{{- range $kind := list "stores" "mounts" "users" }}
{{- if not (index $.Values.config $kind) }}
{{- $problems = append $problems (printf "config.%s is empty: s3ftpd needs a store, a mount and a user (values.yaml shows one of each)" $kind) }}
{{- end }}
{{- end }}
{{- range $name, $store := .Values.config.stores }}
{{- range $key := list "secret_access_key" "session_token" }}
{{- if kindIs "string" (index $store $key) }}
{{- $problems = append $problems (printf "config.stores.%s.%s is plain text and would stand in a ConfigMap: put it into secrets.data and refer to it as { file: /run/secrets/s3ftpd/… }" $name $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if kindIs "string" (dig "before_publish" "secret" "" .Values.config | default dict) }}
{{- $problems = append $problems "config.before_publish.secret is plain text and would stand in a ConfigMap: put it into secrets.data and refer to it as { file: /run/secrets/s3ftpd/… }" }}
{{- end }}
{{- range $name, $hook := .Values.config.events }}
{{- if kindIs "string" (index $hook "secret") }}
{{- $problems = append $problems (printf "config.events.%s.secret is plain text and would stand in a ConfigMap: put it into secrets.data and refer to it as { file: /run/secrets/s3ftpd/… }" $name) }}
{{- end }}
{{- if and (hasKey $hook "true") (hasKey $hook "on") }}
{{- $problems = append $problems (printf "config.events.%s has the key on twice, with quotes and without: write it once" $name) }}
{{- end }}
{{- end }}
{{- $first := int .Values.passive.firstPort }}
{{- $last := int .Values.passive.lastPort }}
{{- $count := add 1 (sub $last $first) | int }}
{{- if lt $count 1 }}
{{- $problems = append $problems (printf "passive.lastPort (%d) is below passive.firstPort (%d)" $last $first) }}
{{- end }}
{{- if gt $count 200 }}
{{- $problems = append $problems (printf "the passive range has %d ports: most load balancers accept at most 200 ports of a Service; use fewer, since sessions share ports" $count) }}
{{- end }}
{{- if and .Values.service.implicitPort (not .Values.config.tls) }}
{{- $problems = append $problems "service.implicitPort needs config.tls with a certificate" }}
{{- end }}
{{- if eq (int .Values.service.implicitPort) (int .Values.service.port) }}
{{- $problems = append $problems "service.implicitPort and service.port are the same" }}
{{- end }}
{{- range $own := list 2121 2990 8080 (int .Values.service.port) (int .Values.service.implicitPort) }}
{{- if and (ge $own $first) (le $own $last) }}
{{- $problems = append $problems (printf "the passive range holds port %d, which has another use" $own) }}
{{- end }}
{{- end }}
{{- if and (ne .Values.service.type "ClusterIP") (not .Values.passive.address) }}
{{- $problems = append $problems (printf "passive.address is empty: with a Service of type %s PASV must report the address or name at which clients reach it, not the pod's own address" .Values.service.type) }}
{{- end }}
{{- if and (ne .Values.service.type "ClusterIP") (eq .Values.service.externalTrafficPolicy "Cluster") (not .Values.service.clientAddressKept) }}
{{- $problems = append $problems "service.externalTrafficPolicy Cluster hides the clients' addresses, and data connections may come from another address than their control connection: use Local, or set service.clientAddressKept if your network keeps the address in another way" }}
{{- end }}
{{- if and .Values.service.nodePort (ne .Values.service.type "NodePort") }}
{{- $problems = append $problems "service.nodePort is for service.type NodePort" }}
{{- end }}
{{- if and .Values.service.implicitNodePort (or (ne .Values.service.type "NodePort") (not .Values.service.implicitPort)) }}
{{- $problems = append $problems "service.implicitNodePort is for service.type NodePort, with service.implicitPort" }}
{{- end }}
{{- if eq .Values.service.type "NodePort" }}
{{- $nodePorts := dict "service.nodePort" .Values.service.nodePort "service.implicitNodePort" .Values.service.implicitNodePort }}
{{- range $key, $port := $nodePorts }}
{{- if and $port (ge (int $port) $first) (le (int $port) $last) }}
{{- $problems = append $problems (printf "%s (%d) is one of the passive range, whose ports are the nodes' too" $key (int $port)) }}
{{- end }}
{{- end }}
{{- if and .Values.service.nodePort (eq (int .Values.service.nodePort) (int .Values.service.implicitNodePort)) }}
{{- $problems = append $problems "service.implicitNodePort and service.nodePort are the same" }}
{{- end }}
{{- end }}
{{- if $problems }}
{{- fail (printf "\n  - %s\n" (join "\n  - " $problems)) }}
{{- end }}
{{- end }}
