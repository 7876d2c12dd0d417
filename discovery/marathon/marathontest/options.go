// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"cmp"
	"crypto/rsa"
	"crypto/tls"
	"log/slog"
	"time"
)

// Options shape a Cluster. The zero Options are ready to use.
type Options struct {
	// Version is the Marathon whose shapes are served, 1.4 to 1.11. Empty
	// means 1.11.
	Version string
	// Instances is how many Marathons there are. The first one leads. Zero
	// means 2.
	Instances int
	// Addresses are where they listen, host:port, the first one's first. Those
	// that have none listen on a free port of 127.0.0.1.
	Addresses []string
	// Prefix stands before the path of every call, such as /service/marathon.
	Prefix string
	// TLS has the Marathons speak TLS; nil means plain HTTP.
	TLS *tls.Config
	// Users are those whom HTTP's basic authentication lets in, with their
	// passwords.
	Users map[string]string
	// Accounts are the service accounts that may log in as DC/OS has it, by
	// uid, with their keys. Without Users and Accounts all calls are let in.
	Accounts map[string]*rsa.PublicKey
	// TokenLife is how long a token of a login holds. Zero means an hour.
	TokenLife time.Duration
	// Agents are the machines that tasks run on, in turn. None means one,
	// 127.0.0.1.
	Agents []Agent
	// Runner starts what tasks are. Nil means that they are nothing: their
	// addresses are made up, and nobody answers there.
	Runner Runner
	// Probe has the health checks of apps really made, by HTTP, HTTPS and TCP.
	// Otherwise a deployment makes new tasks healthy in its phase Healthy, and
	// SetHealth changes that.
	Probe bool
	// ProbeEvery bounds the time between two checks; zero leaves it to the apps,
	// and to Marathon's 60 s for those that say nothing.
	ProbeEvery time.Duration
	// ByHand leaves each phase of a deployment to Deployment.Step. Otherwise it
	// runs to its end: at once, or as the checks allow with Probe.
	ByHand bool
	// MaxTasks bounds the tasks of all apps. Zero means 200,000.
	MaxTasks int
	// Nulls has fields that have no value served as null, where they would be
	// left out.
	Nulls bool
	// Killing is the feature task_killing: a task that is being killed is shown
	// as TASK_KILLING until it has ended.
	Killing bool
	// LineEnd ends the lines of event streams: "\n", "\r" or "\r\n". Empty
	// means "\n".
	LineEnd string
	// Heartbeat is how often an event stream sends empty bytes. Zero means
	// 10 s.
	Heartbeat time.Duration
	// ElectionWait is how long a call waits for a leader before it is refused
	// with 502. Zero means 100 ms.
	ElectionWait time.Duration
	// Log takes what happens. Nil discards it.
	Log *slog.Logger
}

// Agent is a machine that tasks run on.
type Agent struct {
	// Host is its name or address, as tasks tell it.
	Host string
	// Region and Zone say where it stands; they may be empty.
	Region, Zone string
}

func (o Options) withDefaults() Options {
	o.Version = cmp.Or(o.Version, "1.11")
	o.Instances = max(cmp.Or(o.Instances, 2), len(o.Addresses))
	o.TokenLife = cmp.Or(o.TokenLife, time.Hour)
	if len(o.Agents) == 0 {
		o.Agents = []Agent{{Host: "127.0.0.1"}}
	}
	o.MaxTasks = cmp.Or(o.MaxTasks, 200_000)
	o.LineEnd = cmp.Or(o.LineEnd, "\n")
	o.Heartbeat = cmp.Or(o.Heartbeat, 10*time.Second)
	o.ElectionWait = cmp.Or(o.ElectionWait, 100*time.Millisecond)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}
