package app

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/timeline"
)

// openTimeline makes the book of timelines unless the settings switch it off. The
// protocol, the gateway and the device server feed it.
func (a *App) openTimeline() {
	if !a.cfg.Events.Timeline {
		return
	}
	a.timeline = timeline.New(timeline.Config{
		Memory: int(a.cfg.Events.TimelineMemory),
		Known: func(id gateway.ClientID) bool {
			_, err := a.gw.Client(id)
			return err == nil
		},
		Now: a.now,
	})
	a.opened.addQuiet("timeline", a.timeline.Close)
}
