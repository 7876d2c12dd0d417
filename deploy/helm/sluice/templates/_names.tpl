{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* What all names begin with: that of the release. */}}
{{- define "sluice.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The labels of everything; (list . "component"). */}}
{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The labels by which pods of a component are found. */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ include "sluice.name" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The reference of an image; (list . "control"). */}}
{{- define "sluice.image" -}}
{{- $v := (index . 0).Values.image -}}
{{- with $v.registry }}{{ . }}/{{ end }}{{ get $v (index . 1) }}:{{ $v.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}

{{/* What restricted pods are: nobody, with no rights and no root. */}}
{{- define "sluice.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "sluice.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where pods may run; .Values of a component. */}}
{{- define "sluice.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "sluice.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The names under which the control plane is reached, as a JSON list. */}}
{{- define "sluice.hosts" -}}
{{- $service := printf "%s-control" (include "sluice.name" .) -}}
{{- $ns := .Release.Namespace -}}
{{- concat (list $service (printf "%s.%s" $service $ns) (printf "%s.%s.svc" $service $ns) (printf "%s.%s.svc.cluster.local" $service $ns) "localhost" "127.0.0.1") .Values.credentials.hosts | toJson -}}
{{- end -}}

{{/* Whose gateways the proxies serve, as a JSON list. */}}
{{- define "sluice.namespaces" -}}
{{- $own := list -}}
{{- range $of, $ns := .Values.watch.environments -}}
{{- if eq $ns $.Release.Namespace -}}{{- $own = append $own $of -}}{{- end -}}
{{- end -}}
{{- .Values.proxy.namespaces | default $own | default (list "default/default") | toJson -}}
{{- end -}}

{{/* Which namespaces proxies may join by the token that is made, as a JSON list. */}}
{{- define "sluice.joinable" -}}
{{- $own := list "default/default" -}}
{{- with get (.Values.credentials.proxies | default dict) .Release.Namespace }}{{ $own = append $own . }}{{ end -}}
{{- concat $own (keys .Values.watch.environments | sortAlpha) (include "sluice.namespaces" . | fromJsonArray) | uniq | toJson -}}
{{- end -}}

{{/* Other namespaces with proxies, and what these may join: a JSON object of lists. */}}
{{- define "sluice.proxies" -}}
{{- $all := dict -}}
{{- range $of, $ns := .Values.watch.environments -}}
{{- if ne $ns $.Release.Namespace -}}{{- $_ := set $all $ns (append (get $all $ns | default list) $of) -}}{{- end -}}
{{- end -}}
{{- range $ns, $of := .Values.credentials.proxies -}}
{{- $_ := set $all $ns (append (get $all $ns | default list) $of | uniq) -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* Namespaces with proxies beside applications, likewise. */}}
{{- define "sluice.sidecars" -}}
{{- $all := dict -}}
{{- range $of, $ns := .Values.watch.environments -}}
{{- $_ := set $all $ns (append (get $all $ns | default list) $of) -}}
{{- end -}}
{{- range $ns, $of := .Values.credentials.sidecars -}}
{{- $_ := set $all $ns (append (get $all $ns | default list) $of | uniq) -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* The Secrets that are kept in another namespace, as a JSON list; (list . "namespace"). */}}
{{- define "sluice.secretsIn" -}}
{{- $name := include "sluice.name" (index . 0) -}}
{{- $all := list -}}
{{- if hasKey (include "sluice.proxies" (index . 0) | fromJson) (index . 1) -}}{{- $all = append $all (printf "%s-proxy" $name) -}}{{- end -}}
{{- if hasKey (include "sluice.sidecars" (index . 0) | fromJson) (index . 1) -}}{{- $all = append $all (printf "%s-sidecar" $name) -}}{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* The other namespaces with Secrets, as a JSON list. */}}
{{- define "sluice.places" -}}
{{- without (concat (include "sluice.proxies" . | fromJson | keys) (include "sluice.sidecars" . | fromJson | keys) | uniq | sortAlpha) .Release.Namespace | toJson -}}
{{- end -}}

{{- define "sluice.internalTrafficPolicy" -}}
{{- .Values.gatewayServices.internalTrafficPolicy | default (ternary "Local" "Cluster" (eq .Values.proxy.kind "DaemonSet")) -}}
{{- end -}}

{{/* The pod that makes or renews credentials. */}}
{{- define "sluice.credentialsPod" }}
{{- $name := include "sluice.name" . }}
restartPolicy: OnFailure
enableServiceLinks: false
securityContext: {{- include "sluice.podSecurity" . | nindent 2 }}
{{- include "sluice.pullSecrets" . }}
{{- include "sluice.placement" .Values.control }}
containers:
- name: credentials
  image: {{ include "sluice.image" (list . "control") }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
  - pki
  - secrets
  - --prefix={{ $name }}
  - --name={{ include "sluice.hosts" . | fromJsonArray | join "," }}
  - --namespace={{ include "sluice.joinable" . | fromJsonArray | join "," }}
  {{- range $ns, $all := include "sluice.proxies" . | fromJson }}
  {{- range $all }}
  - --proxies={{ . }}={{ $ns }}
  {{- end }}
  {{- end }}
  {{- range $ns, $all := include "sluice.sidecars" . | fromJson }}
  {{- range $all }}
  - --sidecars={{ . }}={{ $ns }}
  {{- end }}
  {{- end }}
  - --kubernetes-home={{ .Release.Namespace }}
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 128Mi}
  securityContext: {{- include "sluice.containerSecurity" . | nindent 4 }}
{{- end }}

{{/* What the control plane may do wherever it watches. */}}
{{- define "sluice.readingRules" }}
- {apiGroups: [""], resources: [pods, services, configmaps], verbs: [list, watch]}
- {apiGroups: [apps], resources: [replicasets], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [sluice.dev], resources: [sluicegateways], verbs: [list, watch]}
- {apiGroups: [sluice.dev], resources: [sluicegateways/status], verbs: [patch]}
{{- if .Values.ingress.enabled }}
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [patch]}
{{- end }}
{{- if .Values.watch.secrets }}
- {apiGroups: [""], resources: [secrets], verbs: [list, watch]}
{{- end }}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
{{- end }}
