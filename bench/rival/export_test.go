// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"context"
	"syscall"
)

// Configurations returns the configurations of a kind by their names, on some
// ports, for a program that may have 20,000 descriptors.
func Configurations(k Kind, o Options, account string, ports ...int) (map[string]string, error) {
	w, err := newWork(o, ports)
	if err != nil {
		return nil, err
	}
	w.Files, w.User = 20_000, account
	all := make(map[string]string)
	for _, name := range k.configs {
		b, err := w.render(name)
		if err != nil {
			return nil, err
		}
		all[name] = string(b)
	}
	return all, nil
}

// StartRoutes starts a program with instances of their own for each route, in
// the order canary, r1, r2, r3.
func StartRoutes(ctx context.Context, k Kind, o Options, instances [4][]string) (*Process, error) {
	ports, err := freePorts(ctx, o.needed())
	if err != nil {
		return nil, err
	}
	w, err := newWork(o, ports)
	if err != nil {
		return nil, err
	}
	for i := range w.Routes {
		w.Routes[i].Instances = instances[i]
	}
	return k.start(ctx, o, w)
}

// StartOn is Start with ports of one's own choice.
func StartOn(ctx context.Context, k Kind, o Options, ports func(context.Context, int) ([]int, error)) (*Process, error) {
	return start(ctx, k, o, ports)
}

// FreePorts returns ports that nothing listens on.
var FreePorts = freePorts

// StreamModuleOf finds nginx's module for connections.
var StreamModuleOf = streamModuleOf

// Absent is a kind that is not installed anywhere.
func Absent() Kind {
	return Kind{Name: "absent", title: "Absent", program: "no-such-program", missing: "write it", last: syscall.SIGKILL}
}

// Tree returns the numbers of a process and of all below it.
func (p *Process) Tree() ([]int, error) { return tree(p.PID()) }
