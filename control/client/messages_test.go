// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func read(text string) (all []message, err error) {
	m := newMessages(iotest.OneByteReader(strings.NewReader(text)))
	for {
		next, err := m.next()
		if err != nil {
			return all, err
		}
		all = append(all, next)
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []message
	}{
		{"a message has an id and data", "id: 1\nevent: x\ndata: {}\n\n", []message{{"1", "{}"}}},
		{"lines of data are joined", "data: a\ndata: b\n\n", []message{{"", "a\nb"}}},
		{"one blank behind the colon does not count", "data:a\ndata:  b\n\n", []message{{"", "a\n b"}}},
		{"comments do not count", ": hello\n\ndata: a\n: x\n\n", []message{{"", "a"}}},
		{"an id holds for what follows", "id: 1\ndata: a\n\ndata: b\n\n", []message{{"1", "a"}, {"1", "b"}}},
		{"an id counts without data", "id: 1\n\ndata: b\n\n", []message{{"1", "b"}}},
		{"an id with a zero byte does not count", "id: 1\x00\ndata: b\n\n", []message{{"", "b"}}},
		{"lines end in three ways", "data: a\r\ndata: b\rdata: c\n\r\n", []message{{"", "a\nb\nc"}}},
		{"a field without colon is empty", "data\n\n", []message{{"", ""}}},
		{"what is not ended is no message", "data: a\n\ndata: b\n", []message{{"", "a"}}},
		{"a byte order mark does not count", "\uFEFFdata: a\n\n", []message{{"", "a"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.text)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !slices.Equal(got, tt.want) {
				t.Errorf("%q is %q, %v; want %q", tt.text, got, err, tt.want)
			}
		})
	}
}

func TestMessagesAreBounded(t *testing.T) {
	line := "data: " + strings.Repeat("x", maxMessageBytes/4) + "\n"
	for _, text := range []string{"data: " + strings.Repeat("x", maxMessageBytes), strings.Repeat(line, 5) + "\n"} {
		if _, err := read(text); !errors.Is(err, errLongMessage) {
			t.Errorf("%d bytes: error = %v, want that of a long message", len(text), err)
		}
	}
}

// FuzzMessages holds that messages which are written are read as they were,
// whatever stands before them.
func FuzzMessages(f *testing.F) {
	f.Add("id: 5\ndata: x\n\n", "7", "a\nb")
	f.Add(": c\r\n\r", "", " {}")
	f.Fuzz(func(t *testing.T, before, id, data string) {
		if strings.ContainsAny(id, "\r\n\x00") || strings.Contains(data, "\r") || len(before)+len(id)+len(data) > maxMessageBytes/2 {
			return
		}
		text := before + "\n\n" + fmt.Sprintf("id: %s\ndata: %s\n\n", id, strings.ReplaceAll(data, "\n", "\ndata: "))
		got, err := read(text)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) == 0 || got[len(got)-1] != (message{id, data}) {
			t.Errorf("%q is %q, %v; want %q and %q at its end", text, got, err, id, data)
		}
	})
}
