// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/store"
)

// base is where the API stands, of the default namespace or of the one in
// front of it.
const base = "/api/v1"

// route is one thing that can be asked of the API.
type route struct {
	method string // HEAD is answered as GET
	// path is what follows the base, or the whole path if root is set. {name}
	// stands for one segment, and {name...} for one or more, as few as
	// possible.
	path string
	root bool
	// need is the rank that it takes in the namespace, or everywhere if
	// everywhere is set. open takes none at all.
	need       auth.Rank
	everywhere bool
	open       bool
	// changes says that what is written can be read afterwards: it is refused
	// until the control plane is ready, and pages of other origins may not ask
	// for it.
	changes bool
	serve   func(*call) error
}

// routes returns all routes. Of those that fit a path the first counts, so
// paths with fewer parameters stand first.
func (a *API) routes() []route {
	return slices.Concat(
		a.systemRoutes(),
		a.changeRoutes(),
		a.eventRoutes(),
		a.metricRoutes(),
		a.healthRoutes(),
		a.artifactRoutes(),
	)
}

// found is what a path and method lead to.
type found struct {
	route  *route
	ns     string
	params map[string]string
	allow  []string // methods that the path has; empty if there is no such path
}

// find returns what a request is for; route is nil if it is for nothing.
func (a *API) find(r *http.Request) found {
	ns, rest, ok := splitBase(r.URL.EscapedPath())
	if !ok {
		rest = r.URL.EscapedPath()
	}
	segments, err := segmentsOf(rest)
	if err != nil {
		return found{}
	}
	f := found{ns: ns}
	for i := range a.table {
		candidate := &a.table[i]
		if candidate.root == ok {
			continue
		}
		params, fits := match(a.patterns[i], segments)
		if !fits {
			continue
		}
		if candidate.method == r.Method || candidate.method == http.MethodGet && r.Method == http.MethodHead {
			f.route, f.params = candidate, params
			return f
		}
		if !slices.Contains(f.allow, candidate.method) {
			f.allow = append(f.allow, candidate.method)
		}
	}
	return f
}

// splitBase cuts the base off an escaped path, with the namespace in front of
// it.
func splitBase(path string) (ns, rest string, ok bool) {
	if path == base {
		return store.DefaultNamespace, "", true
	}
	if rest, ok = strings.CutPrefix(path, base+"/"); ok {
		return store.DefaultNamespace, rest, true
	}
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	if len(parts) < 3 {
		return "", "", false
	}
	if rest, ok = strings.CutPrefix("/"+parts[2], base); !ok || rest != "" && rest[0] != '/' {
		return "", "", false
	}
	return parts[0] + "/" + parts[1], strings.TrimPrefix(rest, "/"), true
}

// segmentsOf splits an escaped path and unescapes each part, so that %2F is
// no border. Empty segments at the end are left out.
func segmentsOf(path string) ([]string, error) {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil, nil
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		var err error
		if segments[i], err = url.PathUnescape(s); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

// match fits segments to a pattern.
func match(pattern, segments []string) (map[string]string, bool) {
	params := make(map[string]string)
	return params, fit(pattern, segments, params)
}

func fit(pattern, segments []string, params map[string]string) bool {
	for len(pattern) > 0 {
		part := pattern[0]
		name, wide, param := parameter(part)
		switch {
		case len(segments) == 0, !param && part != segments[0]:
			return false
		case wide:
			for n := 1; n <= len(segments); n++ {
				if fit(pattern[1:], segments[n:], params) {
					params[name] = strings.Join(segments[:n], "/")
					return true
				}
			}
			return false
		case param:
			params[name] = segments[0]
		}
		pattern, segments = pattern[1:], segments[1:]
	}
	return len(segments) == 0
}

// parameter reads {name} and {name...}.
func parameter(part string) (name string, wide, ok bool) {
	if !strings.HasPrefix(part, "{") {
		return "", false, false
	}
	name, wide = strings.CutSuffix(part[1:len(part)-1], "...")
	return name, wide, true
}
