// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/kube/child"
)

// container runs one container of a pod. Its fields belong to the goroutine of
// the pod.
type container struct {
	pod  *pod
	spec *corev1.Container

	cmd      *exec.Cmd          // nil if no process runs
	ended    chan struct{}      // closed when the process has ended
	unprobe  context.CancelFunc // ends the probes of the process
	began    metav1.Time
	ready    bool
	restarts int32
	exit     *corev1.ContainerStateTerminated // how the last process ended
	waiting  string                           // why there is none; one word, as Kubernetes has them
	message  string
}

// start starts the container's process, or says why there is none.
func (c *container) start(ctx context.Context) {
	if c.pod.deadline != nil || c.cmd != nil {
		return
	}
	image, ok := c.pod.kubelet.Images.find(c.spec.Image)
	if !ok {
		c.fail(ctx, "ErrImagePull", "no program stands for "+c.spec.Image)
		return
	}
	cmd, err := c.command(image)
	if err != nil {
		c.fail(ctx, "CreateContainerConfigError", err.Error())
		return
	}
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		c.fail(ctx, "CreateContainerError", err.Error())
		return
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := c.pod.box.start(cmd.Start); err != nil {
		c.fail(ctx, "RunContainerError", err.Error())
		return
	}
	c.launched(ctx, cmd)
}

// fail notes why there is no process and tries again later.
func (c *container) fail(ctx context.Context, reason, message string) {
	c.waiting, c.message = reason, message
	time.AfterFunc(backoff, func() { c.pod.note(func() { c.start(ctx) }) })
}

// launched notes that cmd runs, and begins to watch it.
func (c *container) launched(ctx context.Context, cmd *exec.Cmd) {
	if c.exit != nil {
		c.restarts++
	}
	c.cmd, c.ended, c.began, c.waiting, c.message = cmd, make(chan struct{}), metav1.Now(), "", ""
	c.ready = c.spec.ReadinessProbe == nil
	probing, stop := context.WithCancel(ctx)
	c.unprobe = stop
	c.probe(probing)
	ended := c.ended
	c.pod.kubelet.wait.Go(func() {
		_ = cmd.Wait() // how it ended stands in ProcessState
		close(ended)
		c.pod.note(func() { c.over(ctx, cmd.ProcessState) })
	})
}

// over notes that the process has ended, and starts another one if the pod's
// policy says so.
func (c *container) over(ctx context.Context, state *os.ProcessState) {
	c.unprobe()
	code := int32(state.ExitCode())
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int32(status.Signal())
	}
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.exit = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: c.began, FinishedAt: metav1.Now()}
	c.cmd, c.ready = nil, false
	if c.again() {
		c.fail(ctx, "CrashLoopBackOff", fmt.Sprintf("ended with %d", code))
	}
}

// again reports whether a container that has ended is to be started again.
func (c *container) again() bool {
	switch c.pod.spec.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return c.exit.ExitCode != 0
	default:
		return true
	}
}

// log returns the path of the container's log.
func (c *container) log() string {
	return filepath.Join(c.pod.kubelet.Dir, string(c.pod.spec.UID), c.spec.Name+".log")
}

// command returns what image and the container say is to be run.
func (c *container) command(image Image) (*exec.Cmd, error) {
	dir := filepath.Dir(c.log())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	values, err := c.environment()
	if err != nil {
		return nil, err
	}
	args := slices.Clone(image.Args)
	if len(c.spec.Command) > 1 { // the first names the program, which image does here
		args = append(args, expandAll(c.spec.Command[1:], values)...)
	}
	args = append(args, expandAll(c.spec.Args, values)...)
	cmd := exec.Command(image.Path, args...) //nolint:noctx // it ends as pods do, by signals
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, image.Env...)
	for name, value := range values {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	child.Prepare(cmd)
	return cmd, nil
}

// environment returns the container's variables.
func (c *container) environment() (map[string]string, error) {
	values := map[string]string{"PATH": os.Getenv("PATH"), "HOSTNAME": c.pod.spec.Name}
	for _, e := range c.spec.Env {
		switch {
		case e.ValueFrom == nil:
			values[e.Name] = expand(e.Value, values)
		case e.ValueFrom.FieldRef != nil:
			values[e.Name] = c.pod.field(e.ValueFrom.FieldRef.FieldPath)
		default:
			return nil, fmt.Errorf("variable %s: its source is not implemented", e.Name)
		}
	}
	return values, nil
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
	case "spec.nodeName":
		return p.spec.Spec.NodeName
	case "spec.serviceAccountName":
		return p.spec.Spec.ServiceAccountName
	case "status.podIP":
		return p.box.ip.String()
	case "status.hostIP":
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

// signal sends s to the container's processes.
func (c *container) signal(s syscall.Signal) {
	if c.cmd != nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
	}
}

// destroy ends the process at once and waits until it has.
func (c *container) destroy() {
	if c.cmd == nil {
		return
	}
	c.signal(syscall.SIGKILL)
	<-c.ended
	c.unprobe()
}
