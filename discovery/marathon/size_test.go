// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bytes"
	"fmt"
	"testing"
)

// large is an answer with so many apps of four tasks each, as Marathon 1.5 and
// later write it, fields that do not count included.
func large(apps int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"apps":[`)
	for n := range apps {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"/group-%d/service-%d","acceptedResourceRoles":["*"],"backoffFactor":1.15,"backoffSeconds":1,"cmd":"./run --port $PORT0",`+
			`"container":{"type":"DOCKER","docker":{"forcePullImage":false,"image":"registry.example/team/service-%d:1.0.%d","parameters":[],"privileged":false},"volumes":[],`+
			`"portMappings":[{"containerPort":8080,"hostPort":0,"labels":{"VIP_0":"/service-%d:80"},"name":"http","protocol":"tcp","servicePort":%d}]},`+
			`"cpus":0.1,"disk":0,"env":{"A":"b","SECRET":{"secret":"s"}},"executor":"","instances":4,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"s%d.example.com","team":"t%d"},`+
			`"maxLaunchDelaySeconds":300,"mem":128,"gpus":0,"networks":[{"mode":"container/bridge"}],"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1,"minimumHealthCapacity":1},`+
			`"version":"2026-01-02T03:04:05.678Z","versionInfo":{"lastScalingAt":"2026-01-02T03:04:05.678Z","lastConfigChangeAt":"2026-01-02T03:04:05.678Z"},`+
			`"killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},`+
			`"healthChecks":[{"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"path":"/health","portIndex":0,"protocol":"MESOS_HTTP","timeoutSeconds":20,"delaySeconds":15}],`+
			`"tasksStaged":0,"tasksRunning":4,"tasksHealthy":4,"tasksUnhealthy":0,"deployments":[],"tasks":[`, n%100, n, n%500, n%10, n, 10_000+n, n, n%50)
		for k := range 4 {
			if k > 0 {
				b.WriteByte(',')
			}
			id := fmt.Sprintf("group-%d_service-%d.instance-%08x-0bd8-11eb-adc1-%012x", n%100, n, n*4+k, n)
			fmt.Fprintf(&b, `{"ipAddresses":[{"ipAddress":"172.17.0.%d","protocol":"IPv4"}],"stagedAt":"2026-01-02T03:04:06.000Z","state":"TASK_RUNNING","ports":[%d],`+
				`"startedAt":"2026-01-02T03:04:08.%03dZ","version":"2026-01-02T03:04:05.678Z","id":"%s._app.1","appId":"/group-%d/service-%d","slaveId":"a8e7e7c1-32b1-4a0e-9b2e-S%d",`+
				`"host":"10.%d.%d.7","region":"eu","zone":"eu-1%c","role":"slave_public","servicePorts":[%d],`+
				`"healthCheckResults":[{"alive":true,"consecutiveFailures":0,"firstSuccess":"2026-01-02T03:04:20.000Z","lastFailure":null,"lastSuccess":"2026-01-02T09:04:20.000Z","lastFailureCause":null,"instanceId":"%s"}]}`,
				2+k, 31_000+n%1000, n%1000, id, n%100, n, n%300, n/100, k, 'a'+k%3, 10_000+n, id)
		}
		b.WriteString("]}")
	}
	b.WriteString("]}")
	return b.Bytes()
}

func read(tb testing.TB, answer []byte) map[string]*app {
	tb.Helper()
	apps, faults, err := readApps(bytes.NewReader(answer), defaultMaxAnswer)
	if err != nil || len(faults) > 0 {
		tb.Fatal(faults, err)
	}
	return apps
}

func BenchmarkReadApps(b *testing.B) {
	answer := large(5000)
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		read(b, answer)
	}
}

func BenchmarkInstances(b *testing.B) {
	apps := read(b, large(5000))
	c := newCluster(translateOptions{})
	b.ReportAllocs()
	for b.Loop() {
		for _, a := range apps {
			c.instances(a, noon)
		}
	}
}
