// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// variables are what the texts of a case may name.
type variables struct{ port int }

// script is a case, ready to be played at one gateway.
type script struct {
	client   []step
	requests []request // that may or must reach the origin, in order
}

// step is one block of the client.
type step struct {
	client int
	acts   []act   // what it sends
	claims []claim // over an answer; nil for none
	reads  []byte  // bytes to come; nil for none
}

// request is what the origin does with one request.
type request struct {
	optional bool
	claims   []claim
	early    bool // answers after the head
	acts     []act
}

// act is one thing that is done with a connection.
type act struct {
	verb  verb
	bytes []byte // of write and read
	name  string // of signal and await
}

type verb string

// The verbs. Those with braces are directives.
const (
	write      verb = "write"
	read       verb = "read"
	piece      verb = "piece"
	closeBoth  verb = "close"
	closeWrite verb = "close-write"
	reset      verb = "reset"
	signal     verb = "signal"
	await      verb = "await"
	body       verb = "body"
	goOn       verb = "continue"
)

// maxBytes bounds what one block may expand to.
const maxBytes = 4 << 20

// compile makes a script of the blocks.
func (c *Case) compile(v variables) (*script, error) {
	s := &script{}
	for _, b := range c.blocks {
		if err := s.add(b, v); err != nil {
			return nil, fmt.Errorf("block %q: %w", b.kind, err)
		}
	}
	return s, nil
}

func (s *script) add(b block, v variables) error {
	switch b.kind {
	case clientSends:
		acts, err := readActs(b.text, v, false)
		s.client = append(s.client, step{client: b.client, acts: acts})
		return err
	case clientSees:
		claims, err := readClaims(b.text, v, clientClaims)
		if err == nil && !decides(claims) {
			err = errors.New("no claim of status, line, cut or nothing")
		}
		s.client = append(s.client, step{client: b.client, claims: claims})
		return err
	case clientReads:
		want, err := readBytes(b.text, v)
		s.client = append(s.client, step{client: b.client, reads: want})
		return err
	case originSees, originMaySee:
		claims, err := readClaims(b.text, v, originClaims)
		if err == nil && len(claims) == 0 {
			err = errors.New("no claim")
		}
		s.requests = append(s.requests, request{optional: b.kind == originMaySee, claims: claims})
		return err
	case originSends, originAtOnce, originReads:
		return s.answer(b, v)
	case originNothing:
		if b.text != "" {
			return errors.New("text below it")
		}
	case gatewayBlock:
		if b.text == "" {
			return errors.New("no text")
		}
	}
	return nil
}

// answer adds to what the origin does with the request before.
func (s *script) answer(b block, v variables) error {
	if len(s.requests) == 0 {
		return errors.New("no request before it")
	}
	r := &s.requests[len(s.requests)-1]
	if b.kind == originReads {
		want, err := readBytes(b.text, v)
		r.acts = append(r.acts, act{verb: read, bytes: want})
		return err
	}
	if b.kind == originAtOnce {
		if len(r.acts) > 0 {
			return errors.New("comes after another")
		}
		r.early = true
	}
	acts, err := readActs(b.text, v, r.early)
	r.acts = append(r.acts, acts...)
	return err
}

// readBytes reads a block that has no directives.
func readBytes(text string, v variables) ([]byte, error) {
	acts, err := readActs(text, v, false)
	switch {
	case err != nil:
		return nil, err
	case len(acts) != 1 || acts[0].verb != write:
		return nil, errors.New("want bytes and no directive")
	}
	return acts[0].bytes, nil
}

// readActs reads a block of bytes and directives.
func readActs(text string, v variables, early bool) ([]act, error) {
	var acts []act
	var pending []byte
	flush := func() {
		if len(pending) > 0 {
			acts = append(acts, act{verb: write, bytes: pending})
			pending = nil
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if a, ok, err := readDirective(line, early); err != nil {
			return nil, err
		} else if ok {
			flush()
			acts = append(acts, a)
			continue
		}
		ended := strings.TrimRight(line, `\`)
		slashes := len(line) - len(ended)
		open := slashes%2 == 1 // the others are escaped ones
		ended = line[:len(line)-slashes%2]
		var err error
		if pending, err = expand(pending, ended, v); err != nil {
			return nil, err
		}
		if !open {
			pending = append(pending, "\r\n"...)
		}
	}
	flush()
	return acts, nil
}

// readDirective reads a line that consists of a directive.
func readDirective(line string, early bool) (a act, ok bool, err error) {
	inner, ok := strings.CutPrefix(line, "{{")
	if ok {
		inner, ok = strings.CutSuffix(inner, "}}")
	}
	if !ok || strings.Contains(inner, "{{") || strings.HasPrefix(inner, "repeat ") || inner == "port" {
		return a, false, nil
	}
	name, argument, _ := strings.Cut(inner, " ")
	a = act{verb: verb(name), name: argument}
	switch a.verb {
	case signal, await:
		ok = argument != ""
	case piece, closeBoth, closeWrite, reset:
		ok = argument == ""
	case body, goOn:
		ok = argument == "" && early
	default:
		ok = false
	}
	if !ok {
		return a, false, fmt.Errorf("no directive %q here", inner)
	}
	return a, true, nil
}

// expand appends the bytes that a text stands for.
func expand(b []byte, text string, v variables) ([]byte, error) {
	for text != "" {
		var err error
		switch {
		case len(b) > maxBytes:
			return nil, fmt.Errorf("more than %d bytes", maxBytes)
		case text[0] == '\\':
			b, text, err = unescape(b, text)
		case strings.HasPrefix(text, "{{"):
			b, text, err = substitute(b, text, v)
		default:
			n := strings.IndexAny(text[1:], `\{`) + 1
			if n == 0 {
				n = len(text)
			}
			b, text = append(b, text[:n]...), text[n:]
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func unescape(b []byte, text string) ([]byte, string, error) {
	if len(text) > 1 {
		if i := strings.IndexByte(`rnt0\`, text[1]); i >= 0 {
			return append(b, "\r\n\t\x00\\"[i]), text[2:], nil
		}
		if text[1] == 'x' && len(text) >= 4 {
			if n, err := strconv.ParseUint(text[2:4], 16, 8); err == nil {
				return append(b, byte(n)), text[4:], nil
			}
		}
	}
	return nil, "", fmt.Errorf("unknown escape at %.10q", text)
}

// substitute expands the form in braces at the start of the text.
func substitute(b []byte, text string, v variables) ([]byte, string, error) {
	inner, rest, ok := strings.Cut(text[2:], "}}")
	if !ok {
		return nil, "", fmt.Errorf("open braces at %.20q", text)
	}
	if inner == "port" {
		return strconv.AppendInt(b, int64(v.port), 10), rest, nil
	}
	argument, ok := strings.CutPrefix(inner, "repeat ")
	count, once, more := strings.Cut(argument, " ")
	n, err := strconv.Atoi(count)
	if !ok || !more || err != nil || n < 1 || strings.Contains(once, "{{") {
		return nil, "", fmt.Errorf("braces hold %q; want repeat N TEXT, or port", inner)
	}
	unit, err := expand(nil, once, v)
	if err != nil {
		return nil, "", err
	}
	if n > maxBytes || n*len(unit) > maxBytes {
		return nil, "", fmt.Errorf("more than %d bytes", maxBytes)
	}
	for range n {
		b = append(b, unit...)
	}
	return b, rest, nil
}
