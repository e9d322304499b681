// Command crowd makes a data directory with many clients for the browser tests: the
// API creates them one by one, and this does in seconds what takes the API minutes.
//
//	crowd <data directory> <number of clients>
//
// The ids are device-0000000 and so on, so the client in row n is known.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: crowd <data directory> <number of clients>")
	}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := create(os.Args[1], n); err != nil {
		log.Fatal(err)
	}
}

// create adds n clients to the store in dir. It does not sync: a test reads the store
// at once, and needs no more.
func create(dir string, n int) error {
	store, err := engine.Open(engine.Options{Dir: dir, NoSync: true})
	if err != nil {
		return err
	}
	const workers = 512 // the store commits in batches
	failed := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < n && failed[w] == nil; i += workers {
				id := gateway.ClientID(fmt.Sprintf("device-%07d", i))
				_, failed[w] = store.CreateClient(context.Background(), id, time.Now(), "", gateway.ClientChange{})
			}
		})
	}
	group.Wait()
	return errors.Join(append(failed, store.Close())...)
}
