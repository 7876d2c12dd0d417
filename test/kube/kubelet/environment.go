// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment returns the container's variables.
func (c *container) environment(ctx context.Context) (map[string]string, error) {
	values := map[string]string{"PATH": os.Getenv("PATH"), "HOSTNAME": c.pod.spec.Name}
	host, port, err := net.SplitHostPort(c.pod.kubelet.Server)
	if err != nil {
		return nil, err
	}
	values["KUBERNETES_SERVICE_HOST"], values["KUBERNETES_SERVICE_PORT"] = host, port
	for _, from := range c.spec.EnvFrom {
		all, err := c.pod.texts(ctx, from)
		if err != nil {
			return nil, err
		}
		for name, text := range all {
			values[from.Prefix+name] = text
		}
	}
	for _, e := range c.spec.Env {
		value, ok, err := c.value(ctx, e, values)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", e.Name, err)
		}
		if ok {
			values[e.Name] = value
		}
	}
	return values, nil
}

// texts returns all that a source of several variables has.
func (p *pod) texts(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		return p.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		return p.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	return nil, fmt.Errorf("the source of variables %v is not implemented", from)
}

// value returns what a variable is, and whether it is set at all. known are the
// variables before it.
func (c *container) value(ctx context.Context, e corev1.EnvVar, known map[string]string) (string, bool, error) {
	from := e.ValueFrom
	switch {
	case from == nil:
		return expand(e.Value, known), true, nil
	case from.FieldRef != nil:
		return c.pod.field(from.FieldRef.FieldPath), true, nil
	case from.ResourceFieldRef != nil:
		value, err := c.resource(from.ResourceFieldRef)
		return value, true, err
	case from.SecretKeyRef != nil:
		all, err := c.pod.secret(ctx, from.SecretKeyRef.Name, from.SecretKeyRef.Optional)
		return pick(all, from.SecretKeyRef.Key, from.SecretKeyRef.Optional, err)
	case from.ConfigMapKeyRef != nil:
		all, err := c.pod.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		return pick(all, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional, err)
	}
	return "", false, fmt.Errorf("its source %v is not implemented", from)
}

// pick returns one of all texts.
func pick(all map[string]string, key string, optional *bool, err error) (string, bool, error) {
	text, ok := all[key]
	if err == nil && !ok && (optional == nil || !*optional) {
		err = fmt.Errorf("there is no key %s", key)
	}
	return text, ok, err
}

// resource returns how much of something the container may have, in units of
// the divisor, rounded up. What is not limited is what the node has.
func (c *container) resource(ref *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	of := map[string]corev1.ResourceList{"limits": c.spec.Resources.Limits, "requests": c.spec.Resources.Requests}[kind]
	quantity, ok := of[corev1.ResourceName(name)]
	if !ok {
		quantity = capacity()[corev1.ResourceName(name)]
	}
	if quantity.IsZero() {
		return "", fmt.Errorf("the resource %s is not implemented", ref.Resource)
	}
	divisor := ref.Divisor.MilliValue()
	if divisor == 0 {
		divisor = 1000
	}
	return strconv.FormatInt((quantity.MilliValue()+divisor-1)/divisor, 10), nil
}

// configMap returns what a ConfigMap has, by key. One that is absent has
// nothing if it is optional.
func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	object, err := p.kubelet.Client.CoreV1().ConfigMaps(p.spec.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unless(optional, err)
	}
	all := maps.Clone(object.Data)
	for key, data := range object.BinaryData {
		all[key] = string(data)
	}
	return all, nil
}

// secret is configMap for a Secret.
func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	object, err := p.kubelet.Client.CoreV1().Secrets(p.spec.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unless(optional, err)
	}
	all := make(map[string]string)
	for key, data := range object.Data {
		all[key] = string(data)
	}
	return all, nil
}

// unless returns err, or nil if it is that something optional is absent.
func unless(optional *bool, err error) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// expand puts values in the place of $(NAME). Names that nobody knows stay, as
// Kubernetes has it.
func expand(text string, values map[string]string) string {
	for name, value := range values {
		text = strings.ReplaceAll(text, "$("+name+")", value)
	}
	return text
}

// expandAll expands each of texts.
func expandAll(texts []string, values map[string]string) []string {
	var all []string
	for _, text := range texts {
		all = append(all, expand(text, values))
	}
	return all
}

// field returns what the path of a fieldRef leads to, "" for what is not there.
func (p *pod) field(path string) string {
	switch path {
	case "metadata.name":
		return p.spec.Name
	case "metadata.namespace":
		return p.spec.Namespace
	case "metadata.uid":
		return string(p.spec.UID)
	case "metadata.labels":
		return lines(p.spec.Labels)
	case "metadata.annotations":
		return lines(p.spec.Annotations)
	case "spec.nodeName":
		return p.spec.Spec.NodeName
	case "spec.serviceAccountName":
		return p.spec.Spec.ServiceAccountName
	case "status.podIP", "status.podIPs":
		return p.box.ip.String()
	case "status.hostIP", "status.hostIPs":
		return p.kubelet.Network.Gateway().String()
	}
	for prefix, values := range map[string]map[string]string{
		"metadata.labels['": p.spec.Labels, "metadata.annotations['": p.spec.Annotations,
	} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			return values[strings.TrimSuffix(key, "']")]
		}
	}
	return ""
}

// lines shows labels as a downward API volume does.
func lines(labels map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%s=%q\n", key, labels[key])
	}
	return b.String()
}
