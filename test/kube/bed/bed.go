// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/kube/kubelet"
)

const (
	// patience bounds how long anything is waited for. It is only used up
	// where something is wrong.
	patience = 2 * time.Minute
	// glance is how long it takes until something is looked at again.
	glance = 20 * time.Millisecond
)

// controllers are those of kube-controller-manager that a bed has use for.
var controllers = []string{
	"clusterrole-aggregation-controller", "daemonset-controller", "deployment-controller", "disruption-controller",
	"endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
	"garbage-collector-controller", "job-controller", "namespace-controller",
	"persistentvolumeclaim-protection-controller", "pod-garbage-collector-controller",
	"replicaset-controller", "root-ca-certificate-publisher-controller", "serviceaccount-controller",
	"serviceaccount-token-controller", "statefulset-controller",
}

// Bed is a running Kubernetes.
type Bed struct {
	// Kubeconfig is the path of a file with which clients may do everything.
	Kubeconfig string
	// Config is the same for clients of Go, without a bound on requests.
	Config *rest.Config
	// Client may do everything.
	Client kubernetes.Interface
	// Dir holds the logs of all components, NAME.log.
	Dir string
	// Images says which local programs stand for which images.
	Images kubelet.Images
	// Gateway is the host's address in the network of the pods. The API
	// server listens on it.
	Gateway netip.Addr

	program                string
	port                   int
	network                *kubelet.Network
	etcd, server, managers *component
	kubelet                *kubelet.Kubelet
	stopKubelet            func() // returns when no pod is left
}

// prepare writes what the components of b need and names them. The API server
// will listen on b.Gateway.
func (b *Bed) prepare(ctx context.Context) error {
	ports, err := freeport.Take(ctx, 3)
	if err != nil {
		return err
	}
	b.port = ports[2]
	address := netip.AddrPortFrom(b.Gateway, uint16(b.port))
	if err := writeKeys(b.Dir, b.Gateway.AsSlice(), net.IPv4(127, 0, 0, 1)); err != nil {
		return err
	}
	if err := writeAdmin(b.Dir, "https://"+address.String()); err != nil {
		return err
	}
	if err := os.WriteFile(b.in("audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	b.Kubeconfig = b.in("kubeconfig")
	if b.Config, err = clientcmd.BuildConfigFromFlags("", b.Kubeconfig); err != nil {
		return err
	}
	b.Config.QPS = -1
	if b.Client, err = kubernetes.NewForConfig(b.Config); err != nil {
		return err
	}
	b.compose("http://127.0.0.1:"+strconv.Itoa(ports[0]), "http://127.0.0.1:"+strconv.Itoa(ports[1]))
	return nil
}

// in returns the path of a file of the bed.
func (b *Bed) in(name string) string { return filepath.Join(b.Dir, name) }

// compose says how each component is started.
func (b *Bed) compose(etcdClients, etcdPeers string) {
	b.etcd = newComponent(b.program, b.Dir, "etcd", "-dir", b.in("etcd"), "-client", etcdClients, "-peer", etcdPeers)
	b.server = newComponent(b.program, b.Dir, "kube-apiserver",
		"--etcd-servers="+etcdClients,
		"--bind-address="+b.Gateway.String(), "--advertise-address="+b.Gateway.String(),
		"--secure-port="+strconv.Itoa(b.port), "--endpoint-reconciler-type=none",
		"--tls-cert-file="+b.in("server.crt"), "--tls-private-key-file="+b.in("server.key"), "--cert-dir="+b.in("certs"),
		"--token-auth-file="+b.in("tokens.csv"), "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+b.in("accounts.pub"), "--service-account-signing-key-file="+b.in("accounts.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
		"--kubelet-preferred-address-types=InternalIP",
		"--audit-policy-file="+b.in("audit.yaml"), "--audit-log-path="+b.in("audit.log"),
		// Tests that ask a lot measure Sluice, not fairness among its clients.
		"--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--max-mutating-requests-inflight=0")
	b.managers = newComponent(b.program, b.Dir, "kube-controller-manager",
		"--kubeconfig="+b.Kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file="+b.in("accounts.key"), "--root-ca-file="+b.in("ca.crt"),
		"--controllers="+strings.Join(controllers, ","), "--kube-api-qps=1000", "--kube-api-burst=2000")
}

// rise starts the control plane and returns when pods could be made.
func (b *Bed) rise(ctx context.Context) error {
	// The API server waits for etcd by itself, which saves waiting here.
	for _, c := range []*component{b.etcd, b.server} {
		if err := c.start(); err != nil {
			return err
		}
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	if err := b.managers.start(); err != nil {
		return err
	}
	if err := b.startKubelet(ctx); err != nil {
		return err
	}
	// The account that pods need is there once the controllers work.
	return b.until(ctx, b.managers, func(ctx context.Context) error {
		_, err := b.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// startKubelet runs pods on two nodes in different zones.
func (b *Bed) startKubelet(ctx context.Context) error {
	log, err := os.Create(b.in("kubelet.log"))
	if err != nil {
		return err
	}
	b.kubelet = &kubelet.Kubelet{
		Client: b.Client, Network: b.network, Images: &b.Images, Dir: b.in("pods"),
		Server: netip.AddrPortFrom(b.Gateway, uint16(b.port)).String(),
		Log:    slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for i, zone := range []string{"zone-a", "zone-b"} {
		if err := b.kubelet.AddNode(ctx, "node-"+strconv.Itoa(i+1), zone); err != nil {
			return errors.Join(err, log.Close())
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.kubelet.Run(ctx); err != nil {
			b.kubelet.Log.ErrorContext(ctx, "the kubelet ended", "error", err)
		}
	}()
	b.stopKubelet = func() {
		cancel()
		<-ended
		_ = log.Close()
	}
	return nil
}

// ready waits until the API server is.
func (b *Bed) ready(ctx context.Context) error {
	return b.until(ctx, b.server, func(ctx context.Context) error {
		_, err := b.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// until calls try again until it succeeds, c ends or patience does.
func (b *Bed) until(ctx context.Context, c *component, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		err := attempt(ctx, try)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-c.gone():
			return fmt.Errorf("%s ended:\n%s", c.args[0], tail(c.log))
		case <-ctx.Done():
			return fmt.Errorf("%s: %w:\n%s", c.args[0], errors.Join(ctx.Err(), err), tail(c.log))
		}
	}
}

// attempt calls try, which has two seconds.
func attempt(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return try(ctx)
}

// tail returns the end of a log, to be shown.
func tail(path string) string {
	const most = 4096
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// fall ends the control plane. What it stored is thrown away, so none of it is
// asked to end in order.
func (b *Bed) fall() {
	if b.stopKubelet != nil {
		b.stopKubelet()
	}
	for _, c := range []*component{b.managers, b.server, b.etcd} {
		if c != nil {
			c.kill()
		}
	}
	_ = b.network.Close()
}
