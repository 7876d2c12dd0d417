// SPDX-License-Identifier: Apache-2.0

package marathontest_test

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

func TestStream(t *testing.T) {
	t.Run("a deployment tells of each of its steps", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{ByHand: true, Killing: true})
		s := listen(t, c.URL()+"/v2/events?plan-format=light")
		s.want("event_stream_attached")
		d := c.Deploy(`{"id": "/a", "healthChecks": [{"protocol": "HTTP"}]}`)
		s.want("api_post_event", "group_change_success", "deployment_info")
		d.StepTo(marathontest.Staged)
		s.want("status_update_event", "instance_changed_event")
		d.StepTo(marathontest.Running)
		data := s.want("status_update_event")
		var e struct{ EventType, TaskID, TaskStatus, AppID, Host, Version, Timestamp string }
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatal(err)
		}
		if task := c.Tasks("/a")[0]; e.TaskID != task.ID || e.TaskStatus != "TASK_RUNNING" || e.AppID != "/a" || e.Version != task.Version || e.EventType != "status_update_event" || e.Timestamp == "" {
			t.Errorf("event %+v, want one of %+v", e, task)
		}
		s.want("instance_changed_event")
		d.StepTo(marathontest.Healthy)
		s.want("health_status_changed_event", "instance_health_changed_event")
		d.Finish()
		s.want("deployment_step_success", "deployment_success")
		c.Remove("/a").Finish()
		s.want("group_change_success", "deployment_info", "status_update_event", "instance_changed_event",
			"status_update_event", "instance_changed_event", "deployment_step_success", "deployment_success", "app_terminated_event")
	})
	t.Run("only the kinds that are asked for are sent", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{})
		s := listen(t, c.URL()+"/v2/events?event_type=app_terminated_event&event_type=deployment_success")
		await(t, c, 1)
		c.Deploy(`{"id": "/a"}`)
		c.Remove("/a")
		s.want("deployment_success", "deployment_success", "app_terminated_event")
	})
	t.Run("health names the task before 1.5", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{Version: "1.4"})
		s := listen(t, c.URL()+"/v2/events?event_type=health_status_changed_event")
		await(t, c, 1)
		c.Deploy(`{"id": "/a", "healthChecks": [{"protocol": "HTTP"}]}`)
		if data := s.want("health_status_changed_event"); !strings.Contains(data, `"taskId":"`+c.Tasks("/a")[0].ID) {
			t.Errorf("event %s names no task", data)
		}
	})
	t.Run("plans are heavy before 1.8 for those who do not ask for light ones", func(t *testing.T) {
		for version, want := range map[string][2]bool{"1.7": {true, false}, "1.8": {false, false}} {
			c := marathontest.Start(t, marathontest.Options{Version: version})
			c.Deploy(`{"id": "/other"}`)
			heavy := listen(t, c.URL()+"/v2/events?event_type=deployment_success")
			light := listen(t, c.URL()+"/v2/events?event_type=deployment_success&plan-format=light")
			await(t, c, 2)
			c.Deploy(`{"id": "/a"}`)
			for i, s := range []*listener{heavy, light} {
				if data := s.want("deployment_success"); strings.Contains(data, "/other") != want[i] {
					t.Errorf("%s, stream %d: %s", version, i, data)
				}
			}
		}
	})
	t.Run("heartbeats are empty lines", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{Heartbeat: time.Millisecond})
		s := listen(t, c.URL()+"/v2/events?event_type=none")
		b := make([]byte, 6)
		if _, err := io.ReadFull(s.lines, b); err != nil || string(b) != "\r\n\r\n\r\n" {
			t.Errorf("%q, %v, want three empty lines", b, err)
		}
	})
	for _, end := range []string{"\n", "\r", "\r\n"} {
		t.Run("lines may end by "+strings.NewReplacer("\r", "CR", "\n", "LF").Replace(end), func(t *testing.T) {
			c := marathontest.Start(t, marathontest.Options{LineEnd: end})
			s := listen(t, c.URL()+"/v2/events?event_type=x")
			await(t, c, 1)
			c.Emit("x", nil)
			b := make([]byte, len("event: x")+2*len(end))
			want := "event: x" + end
			if _, err := io.ReadFull(s.lines, b); err != nil || !strings.HasPrefix(string(b), want) {
				t.Errorf("%q, %v, want it to begin with %q", b, err, want)
			}
		})
	}
}

func await(t *testing.T, c *marathontest.Cluster, streams int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.AwaitStreams(ctx, streams); err != nil {
		t.Fatalf("%d streams, want %d", c.Streams(), streams)
	}
}

// number is the field n of an event.
func number(t *testing.T, data string) (n int) {
	t.Helper()
	var e struct{ N int }
	if err := json.NewDecoder(strings.NewReader(data)).Decode(&e); err != nil {
		t.Fatal(err)
	}
	return e.N
}

func TestTrouble(t *testing.T) {
	begin := func(t *testing.T) (*marathontest.Cluster, *listener) {
		t.Helper()
		c := marathontest.Start(t, marathontest.Options{Heartbeat: time.Hour})
		s := listen(t, c.URL()+"/v2/events?event_type=x")
		await(t, c, 1)
		return c, s
	}
	emit := func(c *marathontest.Cluster, numbers ...int) {
		for _, n := range numbers {
			c.Emit("x", map[string]any{"n": n})
		}
	}
	wantNumbers := func(t *testing.T, s *listener, numbers ...int) {
		t.Helper()
		for _, want := range numbers {
			if got := number(t, s.want("x")); got != want {
				t.Fatalf("event %d, want %d", got, want)
			}
		}
	}
	t.Run("events are lost", func(t *testing.T) {
		c, s := begin(t)
		c.DropEvents(2)
		emit(c, 1, 2, 3)
		wantNumbers(t, s, 3)
	})
	t.Run("events come twice", func(t *testing.T) {
		c, s := begin(t)
		c.DuplicateEvents(1)
		emit(c, 1, 2)
		wantNumbers(t, s, 1, 1, 2)
	})
	t.Run("events come in another order", func(t *testing.T) {
		c, s := begin(t)
		c.ReorderEvents(3)
		emit(c, 1, 2, 3, 4)
		wantNumbers(t, s, 3, 2, 1, 4)
	})
	t.Run("several come as one", func(t *testing.T) {
		c, s := begin(t)
		c.JoinEvents(2)
		emit(c, 1, 2, 3)
		if data := s.want("x"); strings.Count(data, "{") != 2 || strings.Count(data, "\n") != 2 {
			t.Errorf("event %q, want two values in two lines", data)
		}
		wantNumbers(t, s, 3)
	})
	t.Run("one breaks off, and the stream with it", func(t *testing.T) {
		c, s := begin(t)
		c.CutEvent()
		emit(c, 1)
		b, err := io.ReadAll(s.lines)
		if err == nil || !strings.HasPrefix(string(b), "event: x") || strings.Contains(string(b), "}") {
			t.Errorf("%q, %v, want half an event and an error", b, err)
		}
		await(t, c, 0)
	})
	t.Run("streams fall silent and go on", func(t *testing.T) {
		c, s := begin(t)
		resume := c.Stall()
		emit(c, 1)
		came := make(chan int, 1)
		go func() {
			b, _ := s.lines.Peek(1)
			came <- len(b)
		}()
		if a := ask(t, "GET", c.URL()+"/v2/info", ""); a.status != 200 { // everything else goes on
			t.Errorf("/v2/info = %d", a.status)
		}
		select {
		case <-came:
			t.Error("a silent stream spoke")
		default:
		}
		resume()
		resume()
		if n := <-came; n != 1 {
			t.Error("the stream ended")
		}
		wantNumbers(t, s, 1)
	})
	t.Run("anything may be sent", func(t *testing.T) {
		c, s := begin(t)
		c.SendRaw(": a remark\n\nevent: x\ndata: {\"n\": 7}\n\n")
		wantNumbers(t, s, 7)
	})
	t.Run("streams are closed, and end with the leader", func(t *testing.T) {
		c, s := begin(t)
		c.CloseStreams()
		if b, err := io.ReadAll(s.lines); err != nil {
			t.Errorf("%q, %v, want an orderly end", b, err)
		}
		s = listen(t, c.URL()+"/v2/events")
		await(t, c, 1)
		c.Elect(1)
		if _, err := io.ReadAll(s.lines); err != nil {
			t.Error(err)
		}
	})
	t.Run("a stream that lags behind loses events", func(t *testing.T) {
		c, s := begin(t)
		resume := c.Stall()
		for n := range 1100 {
			emit(c, n)
		}
		resume()
		c.CloseStreams()
		b, _ := io.ReadAll(s.lines)
		if n := strings.Count(string(b), "event: x"); n > 1026 {
			t.Errorf("%d events, want at most what may be outstanding", n)
		}
	})
}
