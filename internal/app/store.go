package app

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/engine"
	"github.com/longwire/longwire/internal/engine/memstore"
)

// openStore opens the store that data.engine names.
func openStore(cfg *config.Config, now func() time.Time, log *slog.Logger) (gateway.Store, error) {
	d := cfg.Data
	if d.Engine == config.EngineMemory {
		log.Warn("data.engine is memory: messages are lost when the process ends, even after a 202")
		return memstore.New(memstore.Options{
			Now:             now,
			StatusRetention: d.StatusRetention.Std(),
			UplinkRetention: d.UplinkRetention.Std(),
			ForgetAfter:     cfg.Clients.ForgetAfter.Std(),
			MaxClients:      int64(cfg.Clients.Max),
			QueueLen:        cfg.Delivery.MaxQueued,
			QueueBytes:      int64(cfg.Delivery.MaxQueuedBytes),
		}), nil
	}
	store, err := engine.Open(engine.Options{
		Now:             now,
		Dir:             d.Dir,
		Logger:          log,
		StatusRetention: d.StatusRetention.Std(),
		UplinkRetention: d.UplinkRetention.Std(),
		EventRetention:  min(cfg.Events.Retain, d.StatusRetention, d.UplinkRetention).Std(),
		MaxEventBytes:   int64(cfg.Events.MaxBytes),
		ForgetAfter:     cfg.Clients.ForgetAfter.Std(),
		MaxClients:      int64(cfg.Clients.Max),
		RejectTwins:     cfg.TCP.DuplicateID == config.RejectDuplicate,
		MaxQueued:       cfg.Delivery.MaxQueued,
		MaxQueuedBytes:  int64(cfg.Delivery.MaxQueuedBytes),
		MaxDiskBytes:    int64(d.MaxDisk),
		MinFreeBytes:    cmp.Or(int64(d.MinFree), -1),
	})
	if err != nil {
		return nil, err // names the directory; do not wrap a nil *Engine in a Store
	}
	return store, nil
}
