package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// BenchmarkWhyOfAMillion asks why a message to a million clients is not through. The answer
// reads the counts of bitmaps and judges a hundred deliveries.
func BenchmarkWhyOfAMillion(b *testing.B) {
	a, err := New(testConfig(b.TempDir()), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	a.Start()
	defer a.Stop(context.Background())
	ctx, now := context.Background(), time.Now()
	done := make(chan error, 1000)
	for i := range 1000 {
		acc := gateway.Acceptance{ID: gateway.MessageIDOf(newID()), QueueUnknown: true, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
		for k := range 1000 {
			acc.To.Clients = append(acc.To.Clients, gateway.ClientID(fmt.Sprintf("meter-%07d", i*1000+k)))
		}
		a.store.StartAccept(acc, func(_ gateway.Receipt, err error) { done <- err })
	}
	for range 1000 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	r, err := a.store.Accept(ctx, gateway.Acceptance{ID: gateway.MessageIDOf(newID()), To: gateway.Audience{All: true}, Payload: []byte("x"),
		CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		b.Fatal(err)
	}
	if r.Message.Counts.Total != 1_000_000 {
		b.Fatalf("%d recipients", r.Message.Counts.Total)
	}
	b.ReportAllocs()
	for b.Loop() {
		res, err := http.Get(a.url() + "/v1/messages/" + string(r.Message.ID) + "/why")
		if err != nil {
			b.Fatal(err)
		}
		var v struct{ Code string }
		err = json.NewDecoder(res.Body).Decode(&v)
		res.Body.Close()
		if err != nil || v.Code != "many_pending" {
			b.Fatal(v, err)
		}
	}
}
