package app

import (
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/metrics"
	"github.com/longwire/longwire/internal/timeline"
)

// timelineStats returns the source of the metrics, nil without timelines.
func (a *App) timelineStats() func() metrics.TimelineStats {
	if a.timeline == nil {
		return nil
	}
	return func() metrics.TimelineStats { return metrics.TimelineStats(a.timeline.Stats()) }
}

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
