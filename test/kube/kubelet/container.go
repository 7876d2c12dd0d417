// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	role role

	up       bool               // it runs, be it without a process
	cmd      *exec.Cmd          // nil if no process runs
	ended    chan struct{}      // closed when the process has ended
	unprobe  context.CancelFunc // ends the probes of the process
	began    metav1.Time
	started  bool // its startup probe has succeeded, if it has one
	ready    bool
	restarts int32
	exit     *corev1.ContainerStateTerminated // how the last process ended
	waiting  string                           // why there is none; one word, as Kubernetes has them
	message  string
}

// role is what a container is to its pod.
type role int

const (
	application role = iota
	initial          // runs to its end before those behind it
	sidecar          // runs before those behind it, and as long as applications
)

// start starts the container's process, or says why there is none.
func (c *container) start(ctx context.Context) {
	if c.pod.deadline != nil || c.up {
		return
	}
	image, ok := c.pod.kubelet.Images.find(c.spec.Image)
	if !ok {
		c.fail(ctx, "ErrImagePull", "no program stands for "+c.spec.Image)
		return
	}
	if image.Path == "" {
		c.up, c.started, c.ready, c.began, c.waiting, c.message = true, true, true, metav1.Now(), "", ""
		return
	}
	cmd, err := c.command(ctx, image)
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
	c.up, c.cmd, c.ended, c.began, c.waiting, c.message = true, cmd, make(chan struct{}), metav1.Now(), "", ""
	probing, stop := context.WithCancel(ctx)
	c.unprobe = stop
	c.probe(ctx, probing)
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
	c.up, c.cmd, c.started, c.ready = false, nil, false, false
	if c.again() {
		c.fail(ctx, "CrashLoopBackOff", fmt.Sprintf("ended with %d", code))
	}
	c.pod.advance(ctx)
}

// again reports whether a container that has ended is to be started again.
func (c *container) again() bool {
	policy := c.pod.spec.Spec.RestartPolicy
	switch {
	case c.role == sidecar:
		return !c.pod.served()
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyOnFailure || c.role == initial:
		return c.exit.ExitCode != 0
	default:
		return true
	}
}

// done reports whether the container has ended for good.
func (c *container) done() bool { return !c.up && c.exit != nil && !c.again() }

// passed reports whether the containers behind this one, which is initial or a
// sidecar, may start.
func (c *container) passed() bool {
	if c.role == sidecar {
		return c.started
	}
	return c.done() && c.exit.ExitCode == 0
}

// log returns the path of the container's log.
func (c *container) log() string {
	return filepath.Join(c.pod.kubelet.Dir, string(c.pod.spec.UID), c.spec.Name+".log")
}

// command returns what image and the container say is to be run.
func (c *container) command(ctx context.Context, image Image) (*exec.Cmd, error) {
	dir := filepath.Dir(c.log())
	values, err := c.environment(ctx)
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
	if image.Sealed {
		if err := c.seal(cmd, image.User); err != nil {
			return nil, err
		}
	} else {
		cmd.Env = append(cmd.Env, "BED_ROOT="+c.pod.volumes.root)
	}
	for name, value := range values {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	child.Prepare(cmd)
	return cmd, nil
}

// seal has cmd run in the root of the pod, as the user whom the pod names.
func (c *container) seal(cmd *exec.Cmd, user int) error {
	program := filepath.Join("/", ".programs", c.spec.Name, filepath.Base(cmd.Path))
	if err := provide(cmd.Path, c.pod.volumes.in(program)); err != nil {
		return err
	}
	who := &syscall.Credential{Uid: uint32(user), Gid: uint32(user)} //nolint:gosec // tests say who
	nonRoot := false
	if s := c.pod.spec.Spec.SecurityContext; s != nil {
		set(&who.Uid, s.RunAsUser)
		set(&who.Gid, s.RunAsGroup)
		if s.FSGroup != nil {
			who.Groups = append(who.Groups, uint32(*s.FSGroup)) //nolint:gosec // as above
		}
		nonRoot = s.RunAsNonRoot != nil && *s.RunAsNonRoot
	}
	if s := c.spec.SecurityContext; s != nil {
		set(&who.Uid, s.RunAsUser)
		set(&who.Gid, s.RunAsGroup)
		if s.RunAsNonRoot != nil {
			nonRoot = *s.RunAsNonRoot
		}
	}
	if nonRoot && who.Uid == 0 {
		return errors.New("it is not to run as root, and neither the image nor the pod names another user")
	}
	cmd.Path, cmd.Dir = program, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.pod.volumes.root, Credential: who}
	return nil
}

// set sets an id that is said.
func set(id *uint32, said *int64) {
	if said != nil {
		*id = uint32(*said) //nolint:gosec // the API server bounds it
	}
}

// provide has a program at another path, too.
func provide(program, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Link(program, path); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	// Another file system: it has to be copied.
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o755) //nolint:gosec // everybody may run it
}

// signal sends s to the container's processes.
func (c *container) signal(s syscall.Signal) {
	if c.cmd != nil {
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
		return
	}
	c.up, c.ready = false, false // nobody is there who could linger
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
