// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/bench"
)

// proxy returns what a row found of a proxy that did the same in two rounds.
func proxy(name string, rate float64, cpu bench.Micros, busy float64) bench.ProxyResult {
	m := bench.Measurement{
		Requests: 100, Status: map[string]int64{"2xx": 100}, Seconds: 1, Rate: rate, CPU: cpu, Busy: busy, Memory: 1 << 20,
		Latency: bench.Latency{P50: 10, P99: 20},
	}
	return bench.ProxyResult{Name: name, Rounds: []bench.Measurement{m, m}}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name      string
		row       bench.RowResult
		pinned    bool
		generator bool
		notes     []string // in each a word
	}{
		{
			name: "a quiet run has nothing to note",
			row: bench.RowResult{Loop: "closed loop", Direct: 300, Proxies: []bench.ProxyResult{
				proxy("sluice", 200, 8, 0.97), proxy("haproxy", 100, 10, 0.96),
			}},
			pinned: true,
		},
		{
			name: "a direct rate below 1.5 times the fastest proxy's is the generator's limit, and explains idle CPU",
			row: bench.RowResult{Loop: "closed loop", Direct: 299, Proxies: []bench.ProxyResult{
				proxy("sluice", 200, 8, 0.5), proxy("haproxy", 100, 10, 0.6),
			}},
			pinned: true, generator: true, notes: []string{"generator-bound: without a proxy 299"},
		},
		{
			name: "the fastest may be any of them",
			row: bench.RowResult{Loop: "closed loop", Direct: 299, Proxies: []bench.ProxyResult{
				proxy("sluice", 100, 8, 0.95), proxy("haproxy", 200, 10, 0.95),
			}},
			pinned: true, generator: true, notes: []string{"generator-bound"},
		},
		{
			name: "a proxy whose CPU was not busy was disturbed",
			row: bench.RowResult{Loop: "closed loop", Direct: 300, Proxies: []bench.ProxyResult{
				proxy("sluice", 200, 8, 0.91), proxy("haproxy", 100, 10, 0.89),
			}},
			pinned: true, notes: []string{"haproxy: its CPU was only 89 % busy"},
		},
		{
			name: "without CPUs of their own nothing follows from that",
			row: bench.RowResult{Loop: "closed loop", Direct: 300, Proxies: []bench.ProxyResult{
				proxy("sluice", 200, 8, 0.5), proxy("haproxy", 100, 10, 0.5),
			}},
		},
		{
			name: "a generator whose own rate is not known was the limit if a proxy had to wait",
			row: bench.RowResult{Loop: "closed loop", Proxies: []bench.ProxyResult{
				proxy("sluice", 200, 8, 0.89), proxy("haproxy", 100, 10, 0.97),
			}},
			pinned: true, generator: true, notes: []string{"generator-bound: it kept a proxy waiting"},
		},
		{
			name: "and was not if none had to",
			row: bench.RowResult{Loop: "closed loop", Proxies: []bench.ProxyResult{
				proxy("sluice", 200, 8, 0.91), proxy("haproxy", 100, 10, 0.97),
			}},
			pinned: true,
		},
		{
			name: "nor at a constant rate",
			row: bench.RowResult{Loop: "open loop", Proxies: []bench.ProxyResult{
				proxy("sluice", 100, 8, 0.5), proxy("haproxy", 100, 10, 0.5),
			}},
			pinned: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.row
			r.Judge(tt.pinned)
			if r.GeneratorBound != tt.generator {
				t.Errorf("generator-bound = %t, want %t", r.GeneratorBound, tt.generator)
			}
			if !slices.EqualFunc(r.Notes, tt.notes, strings.Contains) {
				t.Errorf("notes = %q, want %q", r.Notes, tt.notes)
			}
			if want := !tt.generator && len(tt.notes) > 0; r.Disturbed != want {
				t.Errorf("disturbed = %t, want %t", r.Disturbed, want)
			}
		})
	}
}

func TestJudgeNotesFailuresAndMissedRates(t *testing.T) {
	failing := proxy("sluice", 50, 8, 0.5)
	for i := range failing.Rounds {
		failing.Rounds[i].Failed = 3
		failing.Rounds[i].Status = map[string]int64{"2xx": 90, "5xx": 10}
		failing.Rounds[i].Asked = 60
	}
	r := bench.RowResult{Loop: "open loop", Proxies: []bench.ProxyResult{failing}}
	r.Judge(true)
	want := []string{"sluice: 6 requests failed and 20 had an error for an answer", "sluice: only 50 of the 60 requests a second"}
	if !slices.EqualFunc(r.Notes, want, strings.Contains) || !r.Disturbed {
		t.Errorf("notes = %q, disturbed %t, want %q and true", r.Notes, r.Disturbed, want)
	}
}

func TestTheGoalOfConditionsIsWhatEachCosts(t *testing.T) {
	row := bench.RowResult{Key: "conditions", Loop: "closed loop", Proxies: []bench.ProxyResult{
		proxy("sluice, 100 conditions", 100, 8, 1), proxy("sluice, 3 routes", 100, 7, 1),
	}}
	r := bench.Results{Rows: []bench.RowResult{row}}
	r.JudgeGoals()
	for _, g := range r.Goals {
		if g.Row != "conditions" {
			continue
		}
		// 1 µs for 100 of them.
		if g.Verdict != bench.Met || !g.Nanoseconds || g.Reached.Value < 9.99 || g.Reached.Value > 10.01 {
			t.Errorf("the goal is %+v, want 10 ns, met", g)
		}
		return
	}
	t.Error("there is no goal")
}

func TestJudgeComparesTheFirstWithEachOther(t *testing.T) {
	r := bench.RowResult{Loop: "closed loop", Direct: 900, Proxies: []bench.ProxyResult{
		proxy("sluice", 300, 8, 1), proxy("haproxy", 200, 10, 1), proxy("nginx", 100, 16, 1),
	}}
	r.Judge(true)
	if len(r.Ratios) != 2 {
		t.Fatalf("%d ratios, want one to each other proxy", len(r.Ratios))
	}
	for i, want := range []struct {
		other     string
		cpu, rate float64
	}{{"haproxy", 0.8, 1.5}, {"nginx", 0.5, 3}} {
		got := r.Ratios[i]
		if got.Name != "sluice" || got.Other != want.other || got.CPU.Value != want.cpu || got.Rate.Value != want.rate ||
			got.P50.Value != 1 || got.P99.Value != 1 || got.Memory.Value != 1 {
			t.Errorf("ratio %d = %+v, want CPU %g and rate %g of %s's, all else 1", i, got, want.cpu, want.rate, want.other)
		}
	}
}

func TestJudgeComparesIdleConnectionsByTheirOwnMemory(t *testing.T) {
	a := bench.ProxyResult{Name: "sluice", PerConnection: 3000, Rounds: []bench.Measurement{{Memory: 9}}}
	b := bench.ProxyResult{Name: "haproxy", PerConnection: 1500, Rounds: []bench.Measurement{{Memory: 1}}}
	r := bench.RowResult{Loop: "idle", Connections: 5, Proxies: []bench.ProxyResult{a, b}}
	r.Judge(true)
	if got := r.Ratios[0].Memory.Value; got != 2 || len(r.Notes) > 0 {
		t.Errorf("ratio of memory = %g with notes %q, want 2 without any", got, r.Notes)
	}
}

func TestJudgeTellsHowManyHandshakesACPUCanDo(t *testing.T) {
	r := bench.RowResult{Key: "handshakes", Loop: "closed loop", Proxies: []bench.ProxyResult{
		proxy("sluice", 200, 250, 1), proxy("haproxy", 100, 400, 1),
	}}
	r.Judge(true)
	want := []string{"in a second, by what each takes: sluice 4000, haproxy 2500"}
	if !slices.EqualFunc(r.Notes, want, strings.Contains) || r.Disturbed || r.GeneratorBound {
		t.Errorf("notes = %q, disturbed %t, generator-bound %t; want %q, and neither", r.Notes, r.Disturbed, r.GeneratorBound, want)
	}
}

// goal returns a result by what it is about.
func goal(t *testing.T, r *bench.Results, row, text string) bench.GoalResult {
	t.Helper()
	for _, g := range r.Goals {
		if g.Row == row && strings.HasPrefix(g.Text, text) {
			return g
		}
	}
	t.Fatalf("no goal for %q of row %s", text, row)
	return bench.GoalResult{}
}

func TestJudgeGoals(t *testing.T) {
	row := func(key string, direct, sluiceRate float64, sluiceCPU bench.Micros) bench.RowResult {
		r := bench.RowResult{Key: key, Loop: "closed loop", Direct: direct, Proxies: []bench.ProxyResult{
			proxy("sluice", sluiceRate, sluiceCPU, 1), proxy("haproxy", 100, 10, 1),
		}}
		r.Judge(true)
		return r
	}
	t.Run("a figure that rounds to its bound meets the goal", func(t *testing.T) {
		r := bench.Results{Rows: []bench.RowResult{row("small", 900, 114.6, 8.54)}}
		r.JudgeGoals()
		for _, text := range []string{"CPU", "requests"} {
			if g := goal(t, &r, "small", text); g.Verdict != bench.Met || g.Reached.Value == 0 {
				t.Errorf("%s = %+v, want it met", text, g)
			}
		}
	})
	t.Run("a figure beyond its bound misses it", func(t *testing.T) {
		r := bench.Results{Rows: []bench.RowResult{row("small", 900, 114, 8.6)}}
		r.JudgeGoals()
		for _, text := range []string{"CPU", "requests"} {
			if g := goal(t, &r, "small", text); g.Verdict != bench.Missed {
				t.Errorf("%s = %+v, want it missed", text, g)
			}
		}
	})
	t.Run("where the generator was the limit only CPU is judged", func(t *testing.T) {
		r := bench.Results{Rows: []bench.RowResult{row("small", 101, 100, 8)}}
		r.JudgeGoals()
		if g := goal(t, &r, "small", "CPU"); g.Verdict != bench.Met {
			t.Errorf("CPU = %+v, want it met", g)
		}
		if g := goal(t, &r, "small", "requests"); g.Verdict != bench.NotJudged || g.Why != "generator-bound" {
			t.Errorf("requests a second = %+v, want it not judged", g)
		}
	})
	t.Run("where the row was disturbed only CPU is judged", func(t *testing.T) {
		disturbed := bench.RowResult{Key: "small", Loop: "closed loop", Direct: 900, Proxies: []bench.ProxyResult{
			proxy("sluice", 200, 8, 1), proxy("haproxy", 100, 10, 0.7),
		}}
		disturbed.Judge(true)
		r := bench.Results{Rows: []bench.RowResult{disturbed}}
		r.JudgeGoals()
		if g := goal(t, &r, "small", "CPU"); g.Verdict != bench.Met {
			t.Errorf("CPU = %+v, want it met", g)
		}
		if g := goal(t, &r, "small", "requests"); g.Verdict != bench.NotJudged || g.Why != "the row was disturbed" {
			t.Errorf("requests a second = %+v, want it not judged", g)
		}
	})
	t.Run("where rounds of a disturbed row disagree nothing is judged", func(t *testing.T) {
		torn := proxy("sluice", 200, 8, 0.7)
		torn.Rounds[1].CPU = 9
		disturbed := bench.RowResult{Key: "small", Loop: "closed loop", Direct: 900, Proxies: []bench.ProxyResult{torn, proxy("haproxy", 100, 10, 1)}}
		quiet := disturbed
		disturbed.Judge(true)
		quiet.Judge(false)
		r := bench.Results{Rows: []bench.RowResult{disturbed}}
		r.JudgeGoals()
		if g := goal(t, &r, "small", "CPU"); g.Verdict != bench.NotJudged || g.Why != "the row was disturbed" {
			t.Errorf("CPU = %+v, want it not judged", g)
		}
		r = bench.Results{Rows: []bench.RowResult{quiet}}
		r.JudgeGoals()
		if g := goal(t, &r, "small", "CPU"); g.Verdict != bench.Met {
			t.Errorf("CPU in a quiet row = %+v, want it met by the median", g)
		}
	})
	t.Run("rows that were not run are not judged", func(t *testing.T) {
		r := bench.Results{}
		r.JudgeGoals()
		if len(r.Goals) != len(bench.Goals()) {
			t.Fatalf("%d results, want one for each of %d goals", len(r.Goals), len(bench.Goals()))
		}
		for _, g := range r.Goals {
			if g.Verdict != bench.NotJudged || g.Why == "" {
				t.Errorf("%s of row %s = %+v, want it not judged for a reason", g.Text, g.Row, g)
			}
		}
	})
	t.Run("without HAProxy there is nothing to compare with", func(t *testing.T) {
		alone := bench.RowResult{Key: "10k", Proxies: []bench.ProxyResult{proxy("sluice", 1, 1, 1)}}
		alone.Judge(true)
		r := bench.Results{Rows: []bench.RowResult{alone}, Missing: []bench.Program{{Name: "haproxy"}}}
		r.JudgeGoals()
		if g := goal(t, &r, "10k", "CPU"); g.Verdict != bench.NotJudged || g.Why != "HAProxy is not installed" {
			t.Errorf("CPU = %+v, want it not judged for want of HAProxy", g)
		}
	})
	t.Run("idle connections are judged by their own size", func(t *testing.T) {
		idle := bench.RowResult{Key: "idle", Loop: "idle", Connections: 5, Proxies: []bench.ProxyResult{{Name: "sluice", PerConnection: 8193}}}
		idle.Judge(true)
		r := bench.Results{Rows: []bench.RowResult{idle}}
		r.JudgeGoals()
		if g := goal(t, &r, "idle", "memory"); g.Verdict != bench.Missed || g.Reached.Value != 8193 || !g.Bytes {
			t.Errorf("memory = %+v, want it missed with 8193 bytes", g)
		}
	})
	t.Run("large tables are judged against a small one", func(t *testing.T) {
		scale := bench.RowResult{Key: "routes", Loop: "closed loop", Direct: 900, Proxies: []bench.ProxyResult{
			proxy("sluice, 10,000 further routes", 100, 10.4, 1), proxy("sluice, 3 routes", 100, 10, 1),
		}}
		scale.Judge(true)
		r := bench.Results{Rows: []bench.RowResult{scale}}
		r.JudgeGoals()
		if g := goal(t, &r, "routes", "CPU"); g.Verdict != bench.Met {
			t.Errorf("CPU = %+v, want it met", g)
		}
	})
}

func TestEachGoalIsOfARow(t *testing.T) {
	var keys []string
	for _, row := range bench.Rows() {
		if slices.Contains(keys, row.Key) {
			t.Errorf("two rows are called %s", row.Key)
		}
		keys = append(keys, row.Key)
	}
	for _, g := range bench.Goals() {
		if !slices.Contains(keys, g.Row) {
			t.Errorf("a goal is of the row %q, which there is not", g.Row)
		}
	}
}

func TestRunRefusesRowsThatItDoesNotHave(t *testing.T) {
	_, err := bench.Run(t.Context(), bench.Options{Rows: []string{"smal"}})
	if err == nil || !strings.Contains(err.Error(), `unknown row "smal"; one of small, 10k,`) {
		t.Errorf("Run error = %v, want one that names the rows", err)
	}
}
