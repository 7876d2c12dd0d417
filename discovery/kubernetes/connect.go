// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Access says how the API server is reached. The zero Access is that of the
// pod that the process runs in, or else what the kubeconfig file of its user
// says ($KUBECONFIG, ~/.kube/config).
type Access struct {
	// File is a kubeconfig file; empty means as above.
	File string
	// Context is one of its contexts; empty means its current one.
	Context string
	// Agent is what the process calls itself, such as sluice/1.2.3; empty
	// means what the libraries say.
	Agent string
}

// Client is a way to the API server, to be shared by all who talk to it. It is
// safe for concurrent use.
type Client struct {
	// Config is how it is reached; it is not to be changed.
	Config *rest.Config
	// API is for the kinds that every cluster has, Dynamic for all others.
	API     kubernetes.Interface
	Dynamic dynamic.Interface
	// Metadata is for what all objects have in common, and asks for no more.
	Metadata metadata.Interface
	// Home is the Kubernetes namespace of the pod that the process runs in,
	// or that of the context, or default.
	Home string
}

// podNamespaceFile is where a pod finds its namespace.
const podNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Queries a second that are sent at most, and how many at once. Watching takes
// few; Services and statuses of many gateways may come together.
const (
	queriesPerSecond = 50
	queriesAtOnce    = 100
)

// Connect finds the way to the API server. It sends nothing: a server that
// does not answer is no error.
func Connect(a Access) (*Client, error) {
	config, home, err := a.config()
	if err != nil {
		return nil, err
	}
	config.UserAgent = cmp.Or(a.Agent, config.UserAgent)
	return NewClient(config, home)
}

// NewClient returns the way that a configuration describes, for a process
// that is at home in a Kubernetes namespace.
func NewClient(config *rest.Config, home string) (*Client, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = queriesPerSecond, queriesAtOnce
	// What is wrong with a request is told by its error.
	config.WarningHandlerWithContext = rest.NoWarnings{}
	c := &Client{Config: config, Home: home}
	packed := rest.CopyConfig(config)
	packed.ContentType = "application/vnd.kubernetes.protobuf"
	packed.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	var err error
	if c.API, err = kubernetes.NewForConfig(packed); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if c.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if c.Metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return c, nil
}

// config returns how the API server is reached, and the namespace of whoever
// asks.
func (a Access) config() (config *rest.Config, home string, err error) {
	if a.File == "" && a.Context == "" {
		config, err = rest.InClusterConfig()
		if err == nil {
			return config, podNamespace(), nil
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, "", fmt.Errorf("kubernetes: the account of the pod: %w", err)
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.File
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.Context})
	config, err = loader.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, "", errors.New("kubernetes: this is no pod, and no kubeconfig file says where the API server is: name one by --kubeconfig")
	case err != nil:
		return nil, "", fmt.Errorf("kubernetes: %w", err)
	}
	home, _, err = loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubernetes: %w", err)
	}
	return config, home, nil
}

func podNamespace() string {
	text, err := os.ReadFile(podNamespaceFile)
	if err != nil {
		return "default"
	}
	return cmp.Or(strings.TrimSpace(string(text)), "default")
}
