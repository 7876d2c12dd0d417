// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

var update = flag.Bool("update", false, "rewrite the expected parts of text cases")

// TestInstances plays text cases: objects that are put and deleted, and after
// each "want" the updates that this came to.
func TestInstances(t *testing.T) {
	paths, err := filepath.Glob("testdata/instances/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			play(t, path)
		})
	}
}

func play(t *testing.T, path string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := kubernetes.NewCluster()
	for i := range archive.Files {
		part := &archive.Files[i]
		verb, what, _ := strings.Cut(part.Name, ": ")
		switch verb {
		case "put":
			put(t, c, part.Data)
		case "delete":
			for line := range strings.Lines(string(part.Data)) {
				f := strings.Fields(line)
				c.Delete(f[0], f[1], f[2])
			}
		case "want":
			got := show(c.Take())
			if !*update && got != string(part.Data) {
				t.Errorf("%s:\ngot\n%swant\n%s", what, got, part.Data)
			}
			part.Data = []byte(got)
		default:
			t.Fatalf("%s is neither put, delete nor want", part.Name)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// put takes note of the objects of a text.
func put(t *testing.T, c kubernetes.Cluster, data []byte) {
	t.Helper()
	for d := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		one, err := d.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var kind metav1.TypeMeta
		read(t, one, &kind)
		switch kind.Kind {
		case "Pod":
			c.PutPod(read(t, one, new(corev1.Pod)))
		case "Service":
			c.PutService(read(t, one, new(corev1.Service)))
		case "EndpointSlice":
			c.PutSlice(read(t, one, new(discoveryv1.EndpointSlice)))
		case "ReplicaSet":
			c.PutReplicaSet(read(t, one, new(metav1.PartialObjectMetadata)))
		default:
			t.Fatalf("no such kind: %q", kind.Kind)
		}
	}
}

func read[T any](t *testing.T, data []byte, into T) T {
	t.Helper()
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return into
}

// show writes updates as text, an instance a line.
func show(updates []discovery.Update) string {
	var b bytes.Buffer
	if len(updates) == 0 {
		b.WriteString("nothing\n")
	}
	for _, u := range updates {
		b.WriteString(u.Key)
		if u.Gone {
			b.WriteString(" gone")
		}
		if u.Urgent {
			b.WriteString(" urgent")
		}
		b.WriteString("\n")
		for _, i := range u.Instances {
			fmt.Fprintf(&b, "  %s %s %s/%s[%d]", i.AddrPort(), i.Kind, i.Namespace, i.Name, i.Index)
			for _, l := range i.Labels {
				fmt.Fprintf(&b, " %s=%s", l.Name, l.Value)
			}
			for _, extra := range []struct{ name, value string }{{"image", i.Image}, {"node", i.Node}, {"zone", i.Zone}} {
				if extra.value != "" {
					fmt.Fprintf(&b, ", %s %s", extra.name, extra.value)
				}
			}
			if !i.Ready {
				b.WriteString(", not ready")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
