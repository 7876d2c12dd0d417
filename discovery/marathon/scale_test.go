// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// The cluster that is measured.
const manyApps, tasksEach = 5_000, 4

// large is one of many apps with all that apps have in life, much of which does
// not count. The host says where its tasks run.
func large(app, host int) []byte {
	var b bytes.Buffer
	id := fmt.Sprintf("/group-%d/app-%d", app%50, app)
	fmt.Fprintf(&b, `{"id":%q,"cmd":null,"args":null,"user":null,"env":{"A":"1","B":"two","SECRET":{"secret":"s0"}},"instances":%d,
		"cpus":0.5,"mem":256,"disk":0,"gpus":0,"constraints":[["hostname","UNIQUE"]],"version":"2026-01-02T03:04:05.678Z",
		"labels":{"team":"team-%d","version":"1.%d","HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"app-%d.example.com"},
		"networks":[{"mode":"container/bridge"}],"container":{"type":"MESOS","volumes":[],"docker":{"image":"example/app:%d","parameters":[]},
		"portMappings":[{"containerPort":8080,"hostPort":0,"servicePort":%d,"protocol":"tcp","name":"http","labels":{"VIP_0":"/app-%d:80"}}]},
		"healthChecks":[{"protocol":"MESOS_HTTP","path":"/health","portIndex":0,"intervalSeconds":10,"maxConsecutiveFailures":3}],
		"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"deployments":[],"tasks":[`,
		id, tasksEach, app%20, app%3, app, app%100, 10000+app, app)
	for k := range tasksEach {
		if k > 0 {
			b.WriteByte(',')
		}
		task := fmt.Sprintf("app-%d.instance-00000000-0000-11ee-8000-%012d._app.1", app, k)
		fmt.Fprintf(&b, `{"id":%q,"appId":%q,"host":"10.%d.%d.%d","ports":[%d],"servicePorts":[%d],"slaveId":"5f5cb2a4-S%d",
			"ipAddresses":[{"ipAddress":"172.17.0.%d","protocol":"IPv4"}],"state":"TASK_RUNNING","stagedAt":"2026-01-02T03:04:58.000Z",
			"startedAt":"2026-01-02T03:05:00.000Z","version":"2026-01-02T03:04:05.678Z","region":"eu","zone":"eu-%d",
			"healthCheckResults":[{"alive":true,"consecutiveFailures":0,"firstSuccess":"2026-01-02T03:05:01.000Z","lastSuccess":"2026-01-02T04:05:01.000Z","instanceId":%q}]}`,
			task, id, host, (app+k)%250, k+1, 31000+app%1000, 10000+app, k, k+2, k%3, task)
	}
	b.WriteString("]}")
	return b.Bytes()
}

// manyText is a snapshot of the whole cluster.
func manyText() []byte {
	b := bytes.NewBufferString(`{"apps":[`)
	for i := range manyApps {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(large(i, 1))
	}
	b.WriteString("]}")
	return b.Bytes()
}

func intake(b *testing.B, groups ...string) marathon.Intake {
	b.Helper()
	i, err := marathon.NewIntake(marathon.Options{URLs: []string{"http://m"}, Groups: groups})
	if err != nil {
		b.Fatal(err)
	}
	return i
}

// BenchmarkIntake measures 5,000 apps with 20,000 tasks, 22 MB of JSON or so.
func BenchmarkIntake(b *testing.B) {
	text := manyText()
	for _, groups := range [][]string{nil, {"external"}} {
		b.Run(fmt.Sprintf("the first snapshot, with gateways of labels: %t", groups != nil), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				told, err := intake(b, groups...).All(bytes.NewReader(text))
				if err != nil || len(told.Updates) < manyApps {
					b.Fatalf("told %d updates, %v", len(told.Updates), err)
				}
			}
		})
		b.Run(fmt.Sprintf("a snapshot without news, with gateways of labels: %t", groups != nil), func(b *testing.B) {
			i := intake(b, groups...)
			if _, err := i.All(bytes.NewReader(text)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if told, err := i.All(bytes.NewReader(text)); err != nil || len(told.Updates) > 0 {
					b.Fatalf("told %d updates, %v", len(told.Updates), err)
				}
			}
		})
		b.Run(fmt.Sprintf("an app that has changed, with gateways of labels: %t", groups != nil), func(b *testing.B) {
			i := intake(b, groups...)
			if _, err := i.All(bytes.NewReader(text)); err != nil {
				b.Fatal(err)
			}
			two := [][]byte{bytes.Join([][]byte{[]byte(`{"app":`), large(7, 2), []byte("}")}, nil), bytes.Join([][]byte{[]byte(`{"app":`), large(7, 1), []byte("}")}, nil)}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if told, err := i.One(bytes.NewReader(two[n%2])); err != nil || len(told.Updates) != 1 {
					b.Fatalf("told %d updates, %v", len(told.Updates), err)
				}
			}
		})
	}
	b.Run("what stays in memory", func(b *testing.B) {
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			i := intake(b)
			if _, err := i.All(io.NopCloser(bytes.NewReader(text))); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB/cluster")
			runtime.KeepAlive(i)
		}
	})
}
