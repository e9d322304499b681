package memstore_test

import (
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/enginetest"
	"github.com/longwire/longwire/internal/engine/memstore"
)

func open(_ *testing.T, o enginetest.Options) gateway.Store {
	return memstore.New(memstore.Options{
		Now:             o.Now,
		StatusRetention: o.StatusRetention,
		ForgetAfter:     o.ForgetAfter,
		QueueLen:        o.QueueLen,
		QueueBytes:      o.QueueBytes,
		MaxClients:      o.MaxClients,
	})
}

func TestStore(t *testing.T) { enginetest.Run(t, open) }

// The model against itself shows that the comparison leaves out all that may
// differ: random numbers, map order, goroutines.
func TestModel(t *testing.T) { enginetest.RunModel(t, open, open) }
