// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Artifact is a stored document, as the control plane shows it: with its
// defaults, and with what the control plane adds.
type Artifact struct {
	Kind string // plural, such as gateways
	Name string
	// Revision is that of the change that made this version; 0 in lists and
	// of what is not stored.
	Revision uint64
	Body     json.RawMessage // an object; routes in their order
}

// Condition says of what is to be written which version has to be there. The
// zero Condition takes any, and none.
type Condition struct {
	Revision uint64 // the present one; 0 asks for none
	Absent   bool   // nothing may be there
}

// Write says how something is to be written. The zero Write writes whatever is
// there, and does not wait.
type Write struct {
	If Condition
	// DryRun has everything checked and nothing written.
	DryRun bool
	// Wait is how long the control plane holds back its answer until all
	// proxies serve what was written. Zero means not at all.
	Wait time.Duration
}

// Written is what a write has done.
type Written struct {
	// Change names the change, to ask what became of it; 0 if nothing
	// changed.
	Change uint64
	// Converged reports that all connected proxies serve it; it is set only if
	// Write asked to wait.
	Converged bool
	// Items are what was written, in the order of the documents. What was
	// deleted alone has none.
	Items []Item
	// Warnings are of what takes effect, but not as its author may think; the
	// first few.
	Warnings []string
}

// Item is what a write has done to one artifact.
type Item struct {
	Artifact
	Result string // Created, Configured, Unchanged or Deleted; empty if that is not known
}

// The results of writing an artifact.
const (
	Created    = "created"
	Configured = "configured"
	Unchanged  = "unchanged"
	Deleted    = "deleted"
)

// listPage is how many artifacts a page has, at most.
const listPage = 30

// List returns all artifacts of a kind, sorted by name.
func (c *Client) List(ctx context.Context, kind string) ([]Artifact, error) {
	var all []Artifact
	seen := make(map[string]bool)
	for page := 1; ; page++ {
		query := url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(listPage)}}
		a, err := c.do(ctx, call{method: http.MethodGet, path: "/" + escape(kind), query: query})
		if err != nil {
			return nil, err
		}
		var items []json.RawMessage
		if err := a.decode(&items); err != nil {
			return nil, err
		}
		for _, item := range items {
			// What is made or deleted meanwhile moves others to another page.
			if artifact := artifactOf(kind, "", item); !seen[artifact.Name] {
				seen[artifact.Name] = true
				all = append(all, artifact)
			}
		}
		// A page may lack what was deleted while it was made.
		total, err := strconv.Atoi(a.header.Get("X-Total-Count"))
		if len(items) == 0 || err != nil && len(items) < listPage || err == nil && page*listPage >= total {
			return all, nil
		}
	}
}

// Get returns an artifact. If there is none the error is an *Error of status
// 404.
func (c *Client) Get(ctx context.Context, kind, name string) (Artifact, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: artifactPath(kind, name)})
	if err != nil {
		return Artifact{}, err
	}
	if !json.Valid(a.body) {
		return Artifact{}, notJSON(a.body)
	}
	artifact := artifactOf(kind, name, a.body)
	artifact.Revision = revisionOf(a.header.Get("ETag"))
	return artifact, nil
}

// Put writes one artifact: text is YAML or JSON, and has its name.
func (c *Client) Put(ctx context.Context, kind, name string, text []byte, w Write) (Written, error) {
	call := w.call(http.MethodPut, artifactPath(kind, name))
	call.body = text
	call.header.Set("Content-Type", "application/x-yaml")
	return c.write(ctx, kind, name, call)
}

// Apply writes all artifacts of a text, by one change or not at all: YAML
// documents or lists of such, each with kind and name. Write.If does not
// count.
func (c *Client) Apply(ctx context.Context, text []byte, w Write) (Written, error) {
	w.If = Condition{}
	call := w.call(http.MethodPut, "/")
	call.body = text
	call.header.Set("Content-Type", "application/x-yaml")
	a, err := c.do(ctx, call)
	if err != nil {
		return Written{}, err
	}
	written := a.written()
	var items []struct {
		Kind     string          `json:"kind"`
		Name     string          `json:"name"`
		Result   string          `json:"result"`
		Revision uint64          `json:"revision"`
		Artifact json.RawMessage `json:"artifact"`
	}
	if err := a.decode(&items); err != nil {
		return written, err
	}
	for _, i := range items {
		written.Items = append(written.Items, Item{Artifact{i.Kind, i.Name, i.Revision, i.Artifact}, i.Result})
	}
	return written, nil
}

// Delete takes an artifact away.
func (c *Client) Delete(ctx context.Context, kind, name string, w Write) (Written, error) {
	a, err := c.do(ctx, w.call(http.MethodDelete, artifactPath(kind, name)))
	if err != nil {
		return Written{}, err
	}
	return a.written(), nil
}

// Weights writes the weights of some routes of a gateway, by their paths, and
// leaves all else of it alone. Weights are percentages, such as "12.5%".
func (c *Client) Weights(ctx context.Context, gateway string, weights map[string]string, w Write) (Written, error) {
	body, err := json.Marshal(map[string]any{"routes": weights})
	if err != nil {
		return Written{}, err
	}
	call := w.call(http.MethodPatch, artifactPath("gateways", gateway)+"/weights")
	call.body = body
	call.header.Set("Content-Type", "application/json")
	return c.write(ctx, "gateways", gateway, call)
}

// Version is a version that an artifact has or had.
type Version struct {
	Revision uint64    `json:"revision"`
	Author   string    `json:"author"`
	Time     time.Time `json:"time"`
	Deleted  bool      `json:"deleted"` // it is the artifact's absence
	Text     string    `json:"text"`    // as it was written; empty if Deleted
}

// History returns the versions of an artifact that are kept, the newest first.
func (c *Client) History(ctx context.Context, kind, name string) ([]Version, error) {
	var all []Version
	err := c.get(ctx, artifactPath(kind, name)+"/history", nil, &all)
	return all, err
}

// Rollback writes a former version of a gateway again; 0 means the one before
// the present one.
func (c *Client) Rollback(ctx context.Context, gateway string, to uint64, w Write) (Written, error) {
	call := w.call(http.MethodPost, artifactPath("gateways", gateway)+"/rollback")
	if to != 0 {
		call.query.Set("to", strconv.FormatUint(to, 10))
	}
	return c.write(ctx, "gateways", gateway, call)
}

// call returns the call of a write.
func (w Write) call(method, path string) call {
	c := call{method: method, path: path, query: make(url.Values), header: make(http.Header), waits: w.Wait}
	if w.If.Revision != 0 {
		c.header.Set("If-Match", strconv.Quote(strconv.FormatUint(w.If.Revision, 10)))
	}
	if w.If.Absent {
		c.header.Set("If-None-Match", "*")
	}
	if w.DryRun {
		c.query.Set("validate_only", "true")
	}
	if w.Wait > 0 {
		c.query.Set("wait", w.Wait.String())
	}
	return c
}

// write makes a call that is answered with one artifact.
func (c *Client) write(ctx context.Context, kind, name string, call call) (Written, error) {
	a, err := c.do(ctx, call)
	if err != nil {
		return Written{}, err
	}
	if !json.Valid(a.body) {
		return Written{}, notJSON(a.body)
	}
	written := a.written()
	artifact := artifactOf(kind, name, a.body)
	artifact.Revision = revisionOf(a.header.Get("ETag"))
	result := ""
	if written.Change == 0 {
		result = Unchanged
	}
	written.Items = []Item{{artifact, result}}
	return written, nil
}

// written reads what the header of an answer says of a write.
func (a *answer) written() Written {
	change, _ := strconv.ParseUint(a.header.Get("Sluice-Change"), 10, 64)
	return Written{
		Change: change, Converged: a.header.Get("Sluice-Converged") == "true", Warnings: a.header.Values("Sluice-Warning"),
	}
}

// get asks for JSON and decodes it.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	a, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return err
	}
	return a.decode(v)
}

func (a *answer) decode(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("%w: %w", notJSON(a.body), err)
	}
	return nil
}

// notJSON reports an answer that a control plane does not give.
func notJSON(body []byte) error {
	return fmt.Errorf("the answer %.80q is not that of a control plane", body)
}

func artifactPath(kind, name string) string { return "/" + escape(kind) + "/" + escape(name) }

// artifactOf makes an artifact of its JSON, whose kind and name count if it
// has them.
func artifactOf(kind, name string, body json.RawMessage) Artifact {
	var head struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	}
	_ = json.Unmarshal(body, &head) // what is no object has neither
	return Artifact{Kind: cmp.Or(head.Kind, kind), Name: cmp.Or(head.Name, name), Body: body}
}
