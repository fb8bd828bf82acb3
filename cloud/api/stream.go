package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"telltale.dev/cloud/backbone"
)

// Times of a stream of events.
const (
	// streamWrite is how long one write may take: a client that takes nothing for so long is cut off.
	streamWrite = time.Minute
	// streamRetry is after how long a client that was cut off shall come back.
	streamRetry = 3 * time.Second
)

// eventStream writes Server-Sent Events.
type eventStream struct {
	to      http.ResponseWriter
	control *http.ResponseController
	text    bytes.Buffer
}

func newEventStream(w http.ResponseWriter) *eventStream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	e := &eventStream{to: w, control: http.NewResponseController(w)}
	e.text.WriteString("retry: " + strconv.FormatInt(streamRetry.Milliseconds(), 10) + "\n\n")
	return e
}

// add puts an event behind those that wait for flush; an empty id is none.
func (e *eventStream) add(id, kind string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id != "" {
		e.text.WriteString("id: " + id + "\n")
	}
	e.text.WriteString("event: " + kind + "\ndata: ")
	e.text.Write(text)
	e.text.WriteString("\n\n")
	return nil
}

// flush writes what waits.
func (e *eventStream) flush() error {
	_ = e.control.SetWriteDeadline(time.Now().Add(streamWrite))
	_, err := e.to.Write(e.text.Bytes())
	e.text.Reset()
	if err != nil {
		return err
	}
	return e.control.Flush()
}

// run sends what a watcher gets until ctx ends or the client is gone.
func (e *eventStream) run(ctx context.Context, l *Live, w *watcher) error {
	beat := time.NewTicker(l.heartbeat)
	defer beat.Stop()
	for {
		if err := e.flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			e.text.WriteString(": heartbeat\n\n")
		case <-w.wake:
			t := l.take(w)
			if err := e.addTaken(t, w); err != nil || t.ended {
				return err
			}
			beat.Reset(l.heartbeat)
		}
	}
}

// addTaken adds messages as events, and before them how much was lost.
func (e *eventStream) addTaken(t taken, w *watcher) error {
	if t.lost > 0 {
		if err := e.add(w.window.id(t.first-1), "lost", LostEvent{t.lost}); err != nil {
			return err
		}
	}
	for i := range t.messages {
		m := &t.messages[i]
		id := w.window.id(t.first + uint64(i))
		var err error
		if m.kind != "" {
			err = e.add(id, m.kind, m.other)
		} else if events := m.events(w.filter); len(events) > 0 {
			err = e.add(id, "state", events)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events gives the samples that pass the filter.
func (m *message) events(f *backbone.Globs) Events {
	var list Events
	for i := range m.samples {
		s := &m.samples[i]
		if f.Match(s.Signal.Name) {
			list = append(list, Event{
				Time: time.UnixMicro(s.Time).UTC(), Device: m.device, Bus: s.Signal.Bus, Message: s.Signal.Message, Signal: s.Signal.Name,
				Value: backbone.Number(s.Value), Quality: s.Quality, Text: s.Text, Unit: s.Signal.Unit,
			})
		}
	}
	return list
}
