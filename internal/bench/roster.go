package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// rosterName is the hidden subcommand whose process lists clients.
const rosterName = "roster"

// serveRoster serves the API of a gateway on a real store with n connected
// clients that have no connections: more than a machine's files allow. It tells
// on out where, in the words of `longwire serve`, and ends with ctx.
func serveRoster(ctx context.Context, out io.Writer, dir string, n int) (err error) {
	store, err := engine.Open(engine.Options{Dir: dir, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	g := gateway.New(gateway.Config{Store: store, NewID: func() [16]byte { return uuid.Must(uuid.NewV7()) }})
	g.Start()
	defer g.Stop()
	err = inParallel(n, func(i int) error {
		_, _, err := g.Connect(ctx, gateway.Hello{Client: gateway.ClientID(clientID(i)), Dialect: "v2"}, unconnected{})
		return err
	})
	if err != nil {
		return fmt.Errorf("register %d clients: %w", n, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := api.NewServer(api.Config{Gateway: g})
	var serving sync.WaitGroup
	serving.Go(func() { err = srv.Serve(ln) })
	fmt.Fprintf(out, "  HTTP API    http://%s\n", ln.Addr())
	<-ctx.Done()
	srv.Close()
	serving.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// unconnected is the link of a client that is connected in name only. Nothing
// is sent to it.
type unconnected struct{}

func (unconnected) Deliver(gateway.Parcel) error { return gateway.ErrLinkClosed }
func (unconnected) Flush()                       {}
func (unconnected) Forget(gateway.Seq, bool)     {}
func (unconnected) Close(gateway.Close)          {}
func (unconnected) MaxPayload() int              { return gateway.MaxPayload }
func (unconnected) Window() int                  { return 16 }
func (unconnected) Stats() gateway.LinkStats {
	return gateway.LinkStats{RemoteAddr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1), Dialect: "v2",
		Transport: "tcp", LastSeen: time.Unix(1_700_000_000, 0)}
}
