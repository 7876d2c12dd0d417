// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
	"github.com/sluice-mesh/sluice/bench/rival"
)

// Options shape a run of the suite.
type Options struct {
	// Sluice is the path of the sluice program. It is measured, and is the
	// origin too.
	Sluice string
	// Version is that of Sluice, for the report.
	Version string
	// Rows are the keys of those to run; none means all.
	Rows []string
	// Rounds of each proxy in each row; zero: 11. Many short rounds tell more
	// than a few long ones, as each is compared with those beside it.
	Rounds int
	// Round is how long each lasts; zero: 2 s.
	Round time.Duration
	// Settle is how long idle connections are left alone before memory is
	// looked at; zero: 30 s.
	Settle time.Duration
	// Commit and Command are for the report.
	Commit, Command string
	// Progress, if not nil, is called before each thing that takes time.
	Progress func(SuiteProgress)
}

func (o Options) withDefaults() Options {
	if o.Rounds == 0 {
		o.Rounds = 11
	}
	if o.Round == 0 {
		o.Round = 2 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 30 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(SuiteProgress) {}
	}
	return o
}

// SuiteProgress is what the suite is about to do.
type SuiteProgress struct {
	Row       string // title
	Doing     string
	Done, All int // rows
}

// The CPUs that the suite gives away, where there are two.
const (
	proxyCPU     = 0
	generatorCPU = 1
)

// smallTable is Sluice with three routes, in the rows where another Sluice
// with a large table stands beside it.
const smallTable = "sluice, 3 routes"

// Run runs the suite. Rows that were finished are in the results even if
// there is an error. This process is pinned to a CPU from then on, where there
// are two of them: it is the generator.
func Run(ctx context.Context, o Options) (*Results, error) {
	o = o.withDefaults()
	rows, err := chosen(o.Rows)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	results := &Results{
		Machine: ThisMachine(), Commit: o.Commit, Command: o.Command, Began: time.Now().UTC().Truncate(time.Second),
		Rounds: o.Rounds, Seconds: o.Round.Seconds(), Settle: o.Settle.Seconds(),
	}
	s := suite{o: o, dir: dir, results: results}
	rows = s.offered(rows) //nolint:contextcheck // to ask a program for its version has a bound of its own
	s.findProxies()        //nolint:contextcheck // to ask a program for its version has a bound of its own
	s.pin()
	ctx, end := context.WithCancel(ctx)
	defer end()
	origin, err := startOrigin(ctx, o.Sluice, s.cpu(generatorCPU))
	if err != nil {
		return nil, err
	}
	defer origin.stop()
	s.origins = origin.addresses
	err = s.run(ctx, rows)
	results.JudgeGoals()
	return results, err
}

// suite is a run.
type suite struct {
	o       Options
	dir     string
	origins []string
	kinds   []rival.Kind // those that are installed, Sluice first
	results *Results
	most    float64 // HAProxy's rate in the row small; zero if it is not known
	h2load  string  // its version, if a row needs it
	started int     // processes, to give each a directory
}

// findProxies notes which proxies are installed, Sluice first: it is the one
// that is compared with the others.
func (s *suite) findProxies() {
	for _, k := range rival.Kinds() {
		version, err := s.available(k)
		if err != nil {
			s.results.Missing = append(s.results.Missing, Program{Name: k.Name, Problem: err.Error()})
			continue
		}
		at := len(s.kinds)
		if k.Name == sluice {
			at = 0
		}
		s.kinds = slices.Insert(s.kinds, at, k)
		s.results.Proxies = slices.Insert(s.results.Proxies, at, Program{Name: k.Name, Version: version})
	}
}

// offered returns the rows without those for which a generator is missing,
// and notes it.
func (s *suite) offered(rows []Row) []Row {
	if !slices.ContainsFunc(rows, Row.byH2Load) {
		return rows
	}
	_, version, err := load.H2Load(context.Background())
	if err != nil {
		s.results.Missing = append(s.results.Missing, Program{Name: "h2load", Problem: err.Error()})
		return slices.DeleteFunc(rows, Row.byH2Load)
	}
	s.h2load = version
	return rows
}

// sluice is the name of the kind that the suite is about.
const sluice = "sluice"

// available returns the version of a kind that can be measured.
func (s *suite) available(k rival.Kind) (string, error) {
	if k.Name == sluice {
		return "Sluice " + s.o.Version, nil
	}
	return k.Available()
}

// pin gives the generator a CPU of its own, if there are two.
func (s *suite) pin() {
	if rival.CPUs() >= 2 {
		s.results.Pinned = rival.Pin(os.Getpid(), generatorCPU) == nil
	}
}

// cpu returns the CPU to pin a process to, negative for none.
func (s *suite) cpu(n int) int {
	if !s.results.Pinned {
		return -1
	}
	return n
}

func (s *suite) run(ctx context.Context, rows []Row) error {
	for i, row := range rows {
		tell := func(format string, args ...any) {
			s.o.Progress(SuiteProgress{Row: row.Title, Doing: fmt.Sprintf(format, args...), Done: i, All: len(rows)})
		}
		result, err := s.row(ctx, row, tell)
		if err != nil {
			return fmt.Errorf("row %s: %w", row.Key, err)
		}
		s.results.Rows = append(s.results.Rows, *result)
	}
	return nil
}

// teller tells what is about to be done.
type teller func(format string, args ...any)

// contender is a proxy that stands in a row.
type contender struct {
	name    string
	process *rival.Process
	plan    load.Plan
}

func (s *suite) row(ctx context.Context, row Row, tell teller) (*RowResult, error) {
	tell("starting the proxies")
	contenders, err := s.start(ctx, row)
	defer func() {
		for _, c := range contenders {
			_ = c.process.Stop() // it ends with ctx at the latest
		}
	}()
	if err != nil {
		return nil, err
	}
	result := &RowResult{Key: row.Key, Title: row.Title, Unit: row.Unit, Loop: row.kind.String()}
	for _, c := range contenders {
		result.Proxies = append(result.Proxies, ProxyResult{Name: c.name})
	}
	result.Notes = s.absent(row) //nolint:contextcheck // to ask a program has a bound of its own
	if row.byH2Load() {
		result.Notes = append(result.Notes, "the generator is "+s.h2load)
	}
	if row.kind == idle {
		err = s.hold(ctx, contenders, result, tell)
	} else {
		err = s.rounds(ctx, row, contenders, result, tell)
	}
	if err != nil {
		return nil, err
	}
	result.Judge(s.results.Pinned)
	if row.Key == "small" {
		s.most = reference(result.Proxies).Median.Rate
	}
	return result, nil
}

// start starts the proxies of a row anew, so that no row depends on those
// before it.
func (s *suite) start(ctx context.Context, row Row) (all []contender, err error) {
	add := func(name string, k rival.Kind, t rival.Table) error {
		s.started++
		dir := filepath.Join(s.dir, strconv.Itoa(s.started))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		p, err := rival.Start(ctx, k, rival.Options{
			Dir: dir, Origins: s.origins, CPU: s.cpu(proxyCPU), Sluice: s.o.Sluice, Mode: row.mode, Table: t,
		})
		if err != nil {
			return err // it names the program
		}
		plan, err := row.plan(p.Address, p.TLS)
		all = append(all, contender{name, p, plan})
		return err
	}
	if row.kind == scale {
		if err := add(sluice+", "+strings.TrimSuffix(row.Title, " in the table"), s.kinds[0], row.table); err != nil {
			return all, err
		}
		return all, add(smallTable, s.kinds[0], rival.Table{})
	}
	for _, k := range s.kinds {
		if k.Name != sluice && k.Can(row.mode) != nil { //nolint:contextcheck // to ask a program has a bound of its own
			continue // noted by absent
		}
		if err := add(k.Name, k, rival.Table{}); err != nil {
			return all, err
		}
	}
	return all, nil
}

// absent notes which proxies cannot do what a row asks for.
func (s *suite) absent(row Row) (notes []string) {
	for _, k := range s.kinds {
		if k.Name == sluice {
			continue
		}
		if err := k.Can(row.mode); err != nil {
			notes = append(notes, k.Name+" is left out: "+err.Error())
		}
	}
	return notes
}

// rounds measures a row in rounds that take turns.
func (s *suite) rounds(ctx context.Context, row Row, contenders []contender, result *RowResult, tell teller) error {
	if row.kind == halfRate {
		rate, err := s.rate(ctx, contenders, tell)
		if err != nil {
			return err
		}
		for i := range contenders {
			contenders[i].plan.Rate = rate
		}
	} else if err := s.direct(ctx, row, result, tell); err != nil {
		return err
	}
	for _, c := range contenders {
		tell("%s warms up", c.name)
		if _, err := s.offer(ctx, c.plan, s.o.Round/2); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	err := interleave(len(contenders), s.o.Rounds, func(round, i int) error {
		tell("%s, round %d of %d", contenders[i].name, round+1, s.o.Rounds)
		m, err := s.measure(ctx, contenders[i])
		result.Proxies[i].Rounds = append(result.Proxies[i].Rounds, m)
		if err == nil {
			err = pause(ctx, aftermath)
		}
		return err
	})
	if err == nil && row.kind != halfRate {
		err = s.direct(ctx, row, result, tell)
	}
	return err
}

// aftermath is how long a round is left to end in the proxy, which closes
// its connections: the next proxy must not pay for that.
const aftermath = 150 * time.Millisecond

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// direct measures the origin without a proxy. A row does it before and after
// its rounds; the better one counts, as a disturbance makes none better.
func (s *suite) direct(ctx context.Context, row Row, result *RowResult, tell teller) error {
	if row.mode == rival.ModeTLS || row.byH2Load() {
		return nil // the origin speaks neither, so that it would say nothing of the generator
	}
	tell("the origin alone")
	p, err := row.plan(s.origins[0], nil)
	if err != nil {
		return err
	}
	r, err := s.offer(ctx, p, s.o.Round/2)
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	result.Direct = max(result.Direct, r.Rate())
	return nil
}

// offer offers a plan for some time.
func (s *suite) offer(ctx context.Context, p load.Plan, d time.Duration) (*load.Result, error) {
	p.Duration = d
	return load.Run(ctx, p, nil)
}

// measure measures one round of one proxy, with the CPU time that it took.
func (s *suite) measure(ctx context.Context, c contender) (Measurement, error) {
	before, err := c.process.CPUTime()
	if err != nil {
		return Measurement{}, fmt.Errorf("%s: %w", c.name, err)
	}
	began := time.Now()
	r, err := s.offer(ctx, c.plan, s.o.Round)
	if err != nil {
		return Measurement{}, fmt.Errorf("%s: %w", c.name, err)
	}
	took := time.Since(began)
	after, err := c.process.CPUTime()
	if err != nil {
		return Measurement{}, fmt.Errorf("%s: %w", c.name, err)
	}
	m := measured(c.plan, r)
	m.CPU = micros(after-before) / Micros(max(1, m.Requests+m.Failed))
	m.Busy = float64(after-before) / float64(took)
	m.Memory, err = c.process.Memory()
	return m, err
}

// rate returns the rate of the row half: half of HAProxy's maximum, or of
// Sluice's where HAProxy is missing, which is measured now if the row small
// was not run.
func (s *suite) rate(ctx context.Context, contenders []contender, tell teller) (float64, error) {
	if s.most == 0 {
		c := contenders[0]
		for _, other := range contenders {
			if other.name == haproxy {
				c = other
			}
		}
		tell("the maximum of %s", c.name)
		if _, err := s.offer(ctx, c.plan, s.o.Round/2); err != nil {
			return 0, fmt.Errorf("%s: %w", c.name, err)
		}
		r, err := s.offer(ctx, c.plan, s.o.Round)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.name, err)
		}
		s.most = r.Rate()
	}
	return max(1, math.Round(s.most/2)), nil
}

// reference returns HAProxy's result of a row, or Sluice's where HAProxy is
// missing.
func reference(all []ProxyResult) ProxyResult {
	for _, p := range all {
		if p.Name == haproxy {
			return p
		}
	}
	return all[0]
}
