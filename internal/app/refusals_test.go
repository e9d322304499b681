package app

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/longwire/longwire/client"
)

// refusedBy returns the list of refused devices, as the API shows it.
func refusedBy(t *testing.T, api *client.Client) (all []string) {
	t.Helper()
	for r, err := range api.Refused(t.Context(), client.RefusedQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(r.Client, " ", r.Count, " ", r.Reason))
	}
	return all
}

// The list has the refusals for want of a credential and those of the gateway itself. A
// dismissed device is in neither, and counts anew when it asks again.
func TestRefusedDevicesAreListedAndDismissed(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Auth.DeviceToken = "token-of-the-year"
	cfg.Clients.Max = 2
	a := start(t, cfg)
	api := backend(t, a)
	wantAnswer(t, a, nil, "REGISTERED", "truck-1", "token-of-the-year")
	wantAnswer(t, a, nil, "REGISTERED", "truck-2", "token-of-the-year")
	if err := api.Disconnect(t.Context(), "truck-1", client.DisconnectOptions{Block: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantAnswer(t, a, nil, "CLOSE 3502", "truck-1", "token-of-the-year")
	}
	wantAnswer(t, a, nil, "CLOSE 3501", "truck-1", "a-wrong-token")
	wantAnswer(t, a, nil, "CLOSE 3005", "truck-3", "token-of-the-year")
	wantAnswer(t, a, nil, "CLOSE 3501", "truck-4")
	if got, want := refusedBy(t, api), []string{"truck-1 3 wrong_token", "truck-3 1 too_many_clients", "truck-4 1 no_credentials"}; !slices.Equal(got, want) {
		t.Fatalf("refused are %q, want %q", got, want)
	}

	for _, id := range []string{"truck-1", "truck-3"} {
		if err := api.DismissRefused(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	var p *client.Problem
	if err := api.DismissRefused(t.Context(), "truck-1"); !errors.As(err, &p) || p.Code() != client.CodeRefusedNotFound {
		t.Errorf("a second dismissal of truck-1 got %v, want %s", err, client.CodeRefusedNotFound)
	}
	if got, want := refusedBy(t, api), []string{"truck-4 1 no_credentials"}; !slices.Equal(got, want) {
		t.Errorf("after two were dismissed: %q, want %q", got, want)
	}
	wantAnswer(t, a, nil, "CLOSE 3502", "truck-1", "token-of-the-year")
	if got, want := refusedBy(t, api), []string{"truck-1 1 blocked", "truck-4 1 no_credentials"}; !slices.Equal(got, want) {
		t.Errorf("after a dismissed one asked again: %q, want %q", got, want)
	}
}
