// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/sluice-mesh/sluice/bench"
)

// Markdown writes the results of the suite as a document. The plots are those
// of Plots; they are shown from a folder beside the document.
func Markdown(w io.Writer, r *bench.Results, folder string) error {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n")
	fmt.Fprintf(&b, "<!-- Written by `%s`; a change by hand is lost with the next run. -->\n\n", r.Command)
	b.WriteString("Sluice beside other proxies, all measured in the same run on the same machine. What counts are the ratios: absolute\n" +
		"figures belong to the machine. [benchmarking.md](benchmarking.md) says how to run this yourself.\n\n")
	machine(&b, r)
	b.WriteString("\n## Goals\n\nRatios of Sluice to the other: the median of the rounds, and in parentheses the least and the greatest of them.\n\n")
	t := goalTable(r)
	t.markdown(&b)
	if n := disturbed(r); n > 0 {
		fmt.Fprintf(&b, "\n**Something disturbed %d of %d rows**, as their notes say: take their figures with care, and run this again on a quiet\nmachine.\n", n, len(r.Rows))
	}
	for _, p := range Plots(r) {
		fmt.Fprintf(&b, "\n![%s](%s/%s)\n", p.Title, folder, p.Name)
	}
	fmt.Fprintf(&b, method, r.Settle)
	for _, row := range r.Rows {
		markdownRow(&b, &row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// disturbed returns how many rows were.
func disturbed(r *bench.Results) (n int) {
	for _, row := range r.Rows {
		if row.Disturbed {
			n++
		}
	}
	return n
}

// machine writes where and how the suite ran.
func machine(b *strings.Builder, r *bench.Results) {
	t := table{head: []string{"", ""}, words: []int{1}}
	t.add("date", r.Began.Format("2006-01-02 15:04 MST"))
	t.add("command", "`"+r.Command+"`")
	if r.Commit != "" {
		t.add("commit", "`"+r.Commit+"`")
	}
	t.add("CPU", fmt.Sprintf("%s, %s", r.Machine.CPU, things(r.Machine.Cores, "core")))
	t.add("kernel", r.Machine.Kernel)
	for _, p := range r.Proxies {
		t.add(p.Name, p.Version)
	}
	for _, p := range r.Missing {
		t.add(p.Name, "left out: "+p.Problem)
	}
	t.add("rounds", fmt.Sprintf("%d of %g s for each proxy in each row", r.Rounds, r.Seconds))
	if r.Pinned {
		t.add("pinned", "proxies to CPU 0, generator and origin to CPU 1")
	} else {
		t.add("pinned", "no: fewer than two CPUs, or no right to")
	}
	t.markdown(b)
}

// method is what a reader has to know of how it was measured.
const method = `
## Method

- All proxies do the same work: one condition on a header, else three routes by weight 60/30/10, each over two instances
  in turn; connections to instances are kept; ` + "`X-Forwarded-For` and `X-Request-Id`" + ` are added; no access log.
- Each row starts its proxies anew and warms them up. Rounds take turns, in reversed order each second time. Tables have the
  medians of all rounds. Ratios are formed of rounds that stood beside each other, so that a machine whose speed changes
  from round to round is no difference between proxies; their median may differ a little from the ratio of the medians.
- CPU is the time, of user and system, that all processes of a proxy took, by the number of requests. It is the figure to
  trust: it depends least on what else the machine does.
- A closed loop sends the next request when the answer is there. At a constant rate, latency counts from when a request
  was due, so a stall counts against who stalls, for all requests that it delays.
- A row is generator-bound if the origin without a proxy does not reach 1.5 times the fastest proxy's rate. Only ratios of
  CPU count there. In other closed loops a proxy's CPU should be at least 90 %% busy; where it is not, the row says so.
- Memory is what is resident; for idle connections by how much each of them made it larger, %g s after its only request.
- The rows on large tables are Sluice beside itself with a table of three routes.
`

func markdownRow(b *strings.Builder, row *bench.RowResult) {
	title := strings.ToUpper(row.Title[:1]) + row.Title[1:]
	fmt.Fprintf(b, "\n## %s\n\n", title)
	fmt.Fprintf(b, "Row `%s`, %s.", row.Key, row.Loop)
	if row.Direct > 0 {
		fmt.Fprintf(b, " Without a proxy: %s requests a second.", rate(row.Direct))
	}
	b.WriteString("\n\n")
	t := rowTable(row)
	t.markdown(b)
	lines := append(ratios(row), row.Notes...)
	if len(lines) > 0 {
		b.WriteByte('\n')
	}
	for _, line := range lines {
		b.WriteString("- " + line + "\n")
	}
}
