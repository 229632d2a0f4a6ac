{{- define "triggerd.labels" -}}
app.kubernetes.io/name: triggerd
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "triggerd.selector" -}}
app.kubernetes.io/name: triggerd
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* What is decided by more than one value. */}}
{{- define "triggerd.check" -}}
{{- $partitions := int .Values.deployment.partitions }}
{{- if .Values.worker.keda.enabled }}
{{- if gt (int .Values.worker.keda.minReplicas) $partitions }}{{ fail "worker.keda.minReplicas is over deployment.partitions: the rest would own nothing" }}{{ end }}
{{- else if gt (int .Values.worker.replicas) $partitions }}{{ fail "worker.replicas is over deployment.partitions: the rest would own nothing" }}{{ end }}
{{- if and .Values.ingress.autoscaling.enabled (gt (int .Values.ingress.autoscaling.minReplicas) (int .Values.ingress.autoscaling.maxReplicas)) }}{{ fail "ingress.autoscaling.minReplicas is over maxReplicas" }}{{ end }}
{{- if and .Values.ingress.keys.secret .Values.ingress.keys.url }}{{ fail "ingress.keys has a secret and a url: empty one of them" }}{{ end }}
{{- if not (or .Values.ingress.keys.secret .Values.ingress.keys.url) }}{{ fail "ingress.keys has neither a secret nor a url" }}{{ end }}
{{- end }}

{{/* Environment of both: .root, .own (the component's values). */}}
{{- define "triggerd.env" -}}
- name: GOMEMLIMIT
  value: {{ .own.goMemLimit | quote }}
- name: TRIGGERD_ADMIN_ADDR
  value: ":9090"
- name: TRIGGERD_NATS_URL
  value: {{ .root.Values.nats.url | quote }}
- name: TRIGGERD_PARTITIONS
  value: {{ .root.Values.deployment.partitions | int | quote }}
- name: TRIGGERD_REPLICAS
  value: {{ .root.Values.deployment.replicas | int | quote }}
- name: TRIGGERD_WATCHDOG_AFTER
  value: {{ printf "%ds" (int .root.Values.watchdogAfterSeconds) | quote }}
{{- if .own.identity.credentials }}
- name: TRIGGERD_NATS_CREDENTIALS
  value: {{ printf "/secrets/identity/%s" .own.identity.credentials | quote }}
{{- else if .own.identity.secret }}
- name: TRIGGERD_NATS_NKEY
  value: {{ printf "/secrets/identity/%s" .own.identity.nkey | quote }}
{{- end }}
{{- if .root.Values.nats.tls.caSecret }}
- name: TRIGGERD_NATS_TLS_CA
  value: /secrets/nats-ca/ca.crt
{{- end }}
{{- if .root.Values.nats.tls.clientSecret }}
- name: TRIGGERD_NATS_TLS_CERT
  value: /secrets/nats-client/tls.crt
- name: TRIGGERD_NATS_TLS_KEY
  value: /secrets/nats-client/tls.key
{{- end }}
{{- range $name, $value := .root.Values.settings }}
{{- if not (hasKey $.own.settings $name) }}
- name: {{ printf "TRIGGERD_%s" ($name | upper | replace "-" "_") }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := .own.settings }}
- name: {{ printf "TRIGGERD_%s" ($name | upper | replace "-" "_") }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "triggerd.mounts" -}}
{{- if .own.identity.secret }}
- { name: identity, mountPath: /secrets/identity, readOnly: true }
{{- end }}
{{- if .root.Values.nats.tls.caSecret }}
- { name: nats-ca, mountPath: /secrets/nats-ca, readOnly: true }
{{- end }}
{{- if .root.Values.nats.tls.clientSecret }}
- { name: nats-client, mountPath: /secrets/nats-client, readOnly: true }
{{- end }}
{{- end }}

{{- define "triggerd.volumes" -}}
{{- if .own.identity.secret }}
- name: identity
  secret: { secretName: {{ .own.identity.secret | quote }}, defaultMode: 0440 }
{{- end }}
{{- if .root.Values.nats.tls.caSecret }}
- name: nats-ca
  secret: { secretName: {{ .root.Values.nats.tls.caSecret | quote }}, defaultMode: 0440 }
{{- end }}
{{- if .root.Values.nats.tls.clientSecret }}
- name: nats-client
  secret: { secretName: {{ .root.Values.nats.tls.clientSecret | quote }}, defaultMode: 0440 }
{{- end }}
{{- end }}

{{/* What a pod of either kind has around its container. */}}
{{- define "triggerd.pod" -}}
serviceAccountName: {{ .root.Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false # they would be variables that no process knows
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "triggerd.selector" $ | nindent 8 }}
  {{- end }}
{{- with .own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* /livez asks nobody but the process, so a broker that is away restarts nothing. /readyz says whether it can do its work. */}}
{{- define "triggerd.container" -}}
image: {{ printf "%s/%s:%s" .root.Values.image.registry .component (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
resources:
  {{- toYaml .own.resources | nindent 2 }}
{{- end }}
