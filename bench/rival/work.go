// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// The names of the routes. Their weights, 0, 60, 30 and 10, stand in the
// configurations, where each program has its own way to say them.
var routeNames = [...]string{"canary", "r1", "r2", "r3"}

// work is what a program has to do, as its configuration is told.
type work struct {
	Dir     string
	Address string // where it answers
	Admin   string // where Sluice is administered
	Hosts   int    // port of Sluice's virtual hosts
	Files   int    // descriptors that it may have open
	User    string // "USER GROUP" that it has to stay; empty where it cannot change
	TLS     bool   // it speaks TLS to clients, by what writeCertificate writes
	H2      bool   // clients speak HTTP/2, with prior knowledge
	Routes  []route
	// StreamModule is the file of nginx's module for connections, where that
	// is one of its own.
	StreamModule string

	Conditions []string  // that never hold
	Further    []gateway // beside the measured one

	mode string
}

// route is a branch of the measured gateway.
type route struct {
	Name      string
	Instances []string // HOST:PORT
}

// instance is an address with the routes that it serves.
type instance struct {
	Host, Port string
	Routes     []string
}

// gateway is one that no request reaches.
type gateway struct {
	Name      string
	Port      int
	Addresses []string // of its routes
}

// needed returns how many ports the work takes.
func (o Options) needed() int { return 3 + o.Table.gateways() }

// newWork returns the work that options ask for, on ports of 127.0.0.1.
func newWork(o Options, ports []int) (work, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return work{}, err
	}
	w := work{
		Dir:        dir,
		Address:    loopback(ports[0]),
		Admin:      loopback(ports[1]),
		Hosts:      ports[2],
		Files:      fileLimit(),
		TLS:        o.Mode == ModeTLS,
		H2:         o.Mode == ModeH2,
		mode:       o.Mode,
		Conditions: o.Table.conditions(),
		Further:    o.Table.further(ports[3:]),
	}
	if os.Geteuid() == 0 {
		u, err := user.Current()
		if err != nil {
			return work{}, err
		}
		g, err := user.LookupGroupId(u.Gid)
		if err != nil {
			return work{}, err
		}
		w.User = u.Username + " " + g.Name
	}
	for _, name := range routeNames {
		w.Routes = append(w.Routes, route{Name: name, Instances: o.Origins})
	}
	return w, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Connections returns how many clients there may be: with one more connection
// each to an instance, and some descriptors for everything else. More than
// that would only cost memory for tables.
func (w work) Connections() int { return w.Connections2() / 2 }

// Connections2 returns how many connections there may be to both sides.
func (w work) Connections2() int { return max(64, min(w.Files, 40_000)-100) }

// Port returns the port that the program answers on.
func (w work) Port() (string, error) {
	_, port, err := net.SplitHostPort(w.Address)
	return port, err
}

// Instances returns the instances of all routes, each once.
func (w work) Instances() (all []instance, err error) {
	place := make(map[string]int)
	for _, r := range w.Routes {
		for _, address := range r.Instances {
			i, ok := place[address]
			if !ok {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				i = len(all)
				place[address] = i
				all = append(all, instance{Host: host, Port: port})
			}
			if !slices.Contains(all[i].Routes, r.Name) {
				all[i].Routes = append(all[i].Routes, r.Name)
			}
		}
	}
	return all, nil
}

// conditions returns texts of several kinds, none of which a request of a
// measurement fulfils.
func (t Table) conditions() []string {
	kinds := []string{
		"header X-Tenant == t%d",
		"path starts with /tenant-%d/",
		"cookie tenant == t%d",
		"host == t%d.example",
		"user-agent == robot-%d",
	}
	all := make([]string, t.Conditions)
	for i := range all {
		all[i] = fmt.Sprintf(kinds[i%len(kinds)], i)
	}
	return all
}

const (
	// routesEach is how many routes a further gateway has if only their number
	// is given, and the most it may have: they share its weight in whole
	// percentages.
	routesEach  = 100
	maxGateways = 5_000
)

// gateways returns how many further gateways there are.
func (t Table) gateways() int {
	if t.Gateways > 0 {
		return t.Gateways
	}
	return (t.Routes + routesEach - 1) / routesEach
}

// further returns gateways on some ports, with all routes shared out between
// them. Each route has an address of its own, which nobody connects to.
func (t Table) further(ports []int) []gateway {
	all := make([]gateway, t.gateways())
	for i := range all {
		all[i].Name, all[i].Port = fmt.Sprintf("further-%d", i), ports[i]
	}
	for i := range max(t.Routes, len(all)) {
		g := &all[i%len(all)]
		g.Addresses = append(g.Addresses, fmt.Sprintf("10.%d.%d.%d:8080", 1+i>>16, i>>8&255, i&255))
	}
	return all
}

//go:embed configs
var configFiles embed.FS

var configs = template.Must(template.New("").Funcs(template.FuncMap{
	"letter": func(i int) string { return string(rune('a' + i)) },
}).Option("missingkey=error").ParseFS(configFiles, "configs/*"))

// render returns a configuration.
func (w work) render(name string) ([]byte, error) {
	var b bytes.Buffer
	if tcp := "tcp-" + name; w.mode == ModeTCP && configs.Lookup(tcp) != nil {
		name = tcp
	}
	if err := configs.ExecuteTemplate(&b, name, w); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// write writes configurations into the directory.
func (w work) write(names []string) error {
	for _, name := range names {
		b, err := w.render(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(w.Dir, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// check tells what options lack.
func (o Options) check(k Kind) error {
	switch {
	case k.program == "":
		return errors.New("no program to start")
	case o.Dir == "":
		return errors.New("no directory for the configuration")
	case len(o.Origins) != 2:
		return fmt.Errorf("%d instances, want 2", len(o.Origins))
	case o.Mode != "" && !slices.Contains(modes, o.Mode):
		return fmt.Errorf("unknown mode %q, want one of %s", o.Mode, strings.Join(modes, ", "))
	case o.Table != (Table{}) && o.Mode == ModeTCP:
		return errors.New("there are no larger tables for connections")
	case o.Table != (Table{}) && k.Name != sluice:
		return fmt.Errorf("%s has no larger tables, only %s", k.Name, sluice)
	case min(o.Table.Gateways, o.Table.Conditions, o.Table.Routes) < 0:
		return errors.New("a table has no negative numbers")
	case o.Table.gateways() > maxGateways:
		return fmt.Errorf("%d further gateways, of which each takes a port, want at most %d", o.Table.gateways(), maxGateways)
	case o.Table.Routes > o.Table.gateways()*routesEach:
		return fmt.Errorf("%d routes for %d further gateways, want at most %d each", o.Table.Routes, o.Table.gateways(), routesEach)
	}
	return nil
}
