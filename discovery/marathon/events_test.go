// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sluice-mesh/sluice/discovery/marathon"
)

func TestEventsAreReadByTheRulesOfTheirFormat(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", marathon.MaxEvent)
	for _, tt := range []struct {
		name, text string
		want       []marathon.Event
		beats      int
	}{
		{"an event ends with an empty line", "event: a\ndata: 1\n\n", []marathon.Event{{Name: "a", Data: "1"}}, 0},
		{"one that does not end is none", "event: a\ndata: 1\n\nevent: b\ndata: 2\n", []marathon.Event{{Name: "a", Data: "1"}}, 0},
		{"half a line is none", "event: a\ndata: 1\n\nda", []marathon.Event{{Name: "a", Data: "1"}}, 0},
		{"CRLF and CR end lines", "event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\r", []marathon.Event{{Name: "a", Data: "1"}, {Name: "b", Data: "2"}}, 0},
		{"lines of data are joined", "data: 1\ndata: 2\n\n", []marathon.Event{{Data: "1\n2"}}, 0},
		{"one space after the colon is left out", "data:  1\n\ndata:2\n\n", []marathon.Event{{Data: " 1"}, {Data: "2"}}, 0},
		{"data may be empty", "event: a\ndata\n\n", []marathon.Event{{Name: "a"}}, 0},
		{"without data there is no event", "event: a\n\ndata: 1\n\n", []marathon.Event{{Data: "1"}}, 1},
		{"other fields say nothing", "id: 7\nretry: 1\ndata: 1\n\n", []marathon.Event{{Data: "1"}}, 0},
		{"an empty line and a comment say that the stream lives", "\r\n: ping\r\n\r\ndata: 1\n\n\r\n", []marathon.Event{{Data: "1"}}, 4},
		{"a byte order mark is passed over", "\ufeffdata: 1\n\n", []marathon.Event{{Data: "1"}}, 0},
		{"only at the beginning", "data: 1\n\n\ufeffdata: 2\n\n", []marathon.Event{{Data: "1"}}, 1},
		{"a long line is cut and said to be", "event: a\ndata: " + long + "\n\ndata: 2\n\n", []marathon.Event{{Name: "a", Data: long[:marathon.MaxEvent-len("data: ")], Cut: true}, {Data: "2"}}, 0},
		{"as are many", "data: " + long[:marathon.MaxEvent-6] + "\ndata: 12345\ndata: 3\n\ndata: 2\n\n", []marathon.Event{{Data: long[:marathon.MaxEvent-6] + "\n12345", Cut: true}, {Data: "2"}}, 0},
		{"nothing is nothing", "", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, beats, err := marathon.ReadEvents(strings.NewReader(tt.text))
			if err != nil || beats != tt.beats || !slices.Equal(got, tt.want) {
				t.Errorf("got %.200s, %d beats, %v; want %.200s, %d beats", fmt.Sprint(got), beats, err, fmt.Sprint(tt.want), tt.beats)
			}
		})
	}
}

func TestEventsSayWhereToLook(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, event, data string
		want              marathon.News
	}{
		{"a task has changed", "status_update_event", `{"eventType":"status_update_event","appId":"/shop/web","taskStatus":"TASK_RUNNING"}`, marathon.News{Apps: []string{"/shop/web"}}},
		{"health has changed", "health_status_changed_event", `{"eventType":"health_status_changed_event","appId":"/web","alive":true}`, marathon.News{Apps: []string{"/web"}}},
		{"an instance is of what it runs", "", `{"eventType":"instance_changed_event","runSpecId":"/web"}`, marathon.News{Apps: []string{"/web"}}},
		{"so is its health", "", `{"eventType":"instance_health_changed_event","runSpecId":"/web","healthy":null}`, marathon.News{Apps: []string{"/web"}}},
		{"an app was written", "", `{"eventType":"api_post_event","appDefinition":{"id":"/web"}}`, marathon.News{Apps: []string{"/web"}, Born: []string{"/web"}}},
		{"the slash in front may be missing", "", `{"eventType":"app_terminated_event","appId":"web"}`, marathon.News{Apps: []string{"/web"}}},
		{"what the data say counts before the name", "status_update_event", `{"eventType":"framework_message_event","appId":"/web"}`, marathon.News{}},
		{"the name counts where the data say none", "status_update_event", `{"appId":"/web"}`, marathon.News{Apps: []string{"/web"}}},
		{"other events say nothing", "", `{"eventType":"pod_created_event","id":"/pod"}`, marathon.News{}},
		{"a deployment says which apps", "", `{"eventType":"deployment_step_success","plan":{"id":"p"},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/a"},{"type":"StartApplication","app":"/b"},{"pod":"/c"}]}}`, marathon.News{Plans: map[string][]string{"p": {"/a", "/b"}}}},
		{"or does not", "", `{"eventType":"deployment_success","id":"p"}`, marathon.News{Unsaid: []string{"p"}, Over: []string{"p"}}},
		{"several documents are as many events", "", "{\"eventType\":\"status_update_event\",\"appId\":\"/a\"}\r\n{\"eventType\":\"status_update_event\",\"appId\":\"/b\"}", marathon.News{Apps: []string{"/a", "/b"}}},
		{"what cannot be read may say anything", "status_update_event", `{"appId":`, marathon.News{All: true}},
		{"as may another kind of value", "status_update_event", `{"appId":7}`, marathon.News{All: true}},
		{"an event without an app may be about any", "status_update_event", `{"appId":null}`, marathon.News{All: true}},
		{"an id that is none is not asked for", "status_update_event", `{"appId":"/../../secrets"}`, marathon.News{All: true}},
		{"nor one that asks for something else", "status_update_event", `{"appId":"/web?embed=x"}`, marathon.News{All: true}},
		{"nor one that Marathon takes for a question about another app", "status_update_event", `{"appId":"/shop/tasks"}`, marathon.News{All: true}},
		{"no data say nothing", "status_update_event", ``, marathon.News{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := marathon.ReadNews(marathon.Event{Name: tt.event, Data: tt.data})
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s %s: got %+v, want %+v", tt.event, tt.data, got, tt.want)
			}
		})
	}
	if got := marathon.ReadNews(marathon.Event{Name: "status_update_event", Data: `{"appId":"/a"}`, Cut: true}); !got.All {
		t.Errorf("an event that was cut says %+v, want that anything may have changed", got)
	}
}

// FuzzEvents checks that events are the same however their bytes come in and
// whichever ends their lines have, and that what they say can be read.
func FuzzEvents(f *testing.F) {
	for _, text := range []string{
		"event: status_update_event\ndata: {\"appId\":\"/a\"}\n\n", "data: 1\ndata: 2\n\n\n: c\n\ndata\n\n", "\ufeffdata: 1\n\n", ":\n\ndata: x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole, beats, err := marathon.ReadEvents(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		same := func(how, text string, got []marathon.Event, gotBeats int, err error) {
			t.Helper()
			if err != nil || gotBeats != beats || !slices.Equal(got, whole) {
				t.Errorf("%s, %q: got %v, %d beats, %v; want %v, %d", how, text, got, gotBeats, err, whole, beats)
			}
		}
		got, n, err := marathon.ReadEvents(iotest.OneByteReader(strings.NewReader(text)))
		same("byte by byte", text, got, n, err)
		got, n, err = marathon.ReadEvents(iotest.HalfReader(strings.NewReader(text)))
		same("in halves", text, got, n, err)
		lines := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
		for _, end := range []string{"\n", "\r", "\r\n"} {
			as := strings.ReplaceAll(lines, "\n", end)
			got, n, err = marathon.ReadEvents(strings.NewReader(as))
			same("with other ends of lines", as, got, n, err)
		}
		for _, e := range whole {
			news := marathon.ReadNews(e)
			for _, id := range news.Apps {
				if id[0] != '/' || strings.ContainsAny(id, "?#% \r\n") || strings.Contains(id, "/../") {
					t.Errorf("%q is asked for", id)
				}
			}
		}
	})
}
