// SPDX-License-Identifier: Apache-2.0

package metrics

// InstanceStates are the states of instances, in the order of Instances.States.
var InstanceStates = [...]string{"healthy", "unhealthy", "unknown", "ejected"}

// EjectionCauses are the causes of ejections, in the order of
// Instances.Ejections.
var EjectionCauses = [...]string{"failures", "connects", "errors"}

// CheckResults are the results of health checks, in the order of
// Instances.Checks.
var CheckResults = [...]string{"passed", "failed"}

// Instances is how those of a route stand at one moment.
type Instances struct {
	Watched   bool // somebody looks after them; nothing else is known if not
	States    [len(InstanceStates)]int
	Ejections [len(EjectionCauses)]uint64
	Panic     bool   // too few are usable, so all are used
	Panics    uint64 // how often it came to that
	// Checked reports that they are checked, or were; Checks counts by result.
	Checked bool
	Checks  [len(CheckResults)]uint64
}

// SetInstances says who tells how the instances of the route stand; nil if
// nobody does. The last one counts, and only while the route is in the table.
func (t *Route) SetInstances(read func() Instances) {
	if read == nil {
		t.instances.Store(nil)
		return
	}
	t.instances.Store(&read)
}

// ReadInstances returns how the instances of the route stand, nothing if
// nobody tells.
func (t *Route) ReadInstances() Instances {
	if read := t.instances.Load(); read != nil {
		return (*read)()
	}
	return Instances{}
}
