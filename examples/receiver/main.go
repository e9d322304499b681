// The program receiver takes webhooks: it verifies the signature by the Standard
// Webhooks library, and takes each event once.
//
//	WEBHOOK_SECRET=whsec_... PORT=9000 go run ./examples/receiver
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	secret := os.Getenv("WEBHOOK_SECRET")
	if !strings.HasPrefix(secret, "whsec_") || len(secret) < 30 { // anyone can sign with an empty key
		log.Fatal("WEBHOOK_SECRET must be the secret of the webhook: whsec_...")
	}
	key, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		log.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{} // keep the ids in your database, in the transaction of your work
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || key.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var event struct {
			ID, Type, Subject string
			Data              json.RawMessage
		}
		if err := json.Unmarshal(body, &event); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		if !seen[event.ID] {
			seen[event.ID] = true
			fmt.Println(event.Type, event.Subject, string(event.Data))
		}
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent) // only now is the event done
	})
	l, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "9000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	log.Fatal(http.Serve(l, nil))
}
