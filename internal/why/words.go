package why

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
)

// clock formats a time for a sentence, "" for none.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// span formats a duration for a sentence, with two units at most.
func span(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s/3600%24)
}

// sentence ends a text and begins it with a capital, unless it begins with the id.
func sentence(text string, id gateway.ClientID) string {
	if id == "" || !strings.HasPrefix(text, string(id)) {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return text + "."
}

// timesAt says how often something was done, and when last.
func timesAt(n int, at time.Time) string {
	if at.IsZero() { // it is not kept
		return times(n)
	}
	if n == 1 {
		return "once, at " + clock(at)
	}
	return times(n) + ", last at " + clock(at)
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return number(n) + " times"
}

// number formats a count with separators.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// refusedText says how often and why a registration was refused.
func refusedText(r *gateway.RefusedRegistration) string {
	text := fmt.Sprintf("refused %s because %s", times(int(r.Count)), refusedBecause(r.Reason))
	if r.Count > 1 {
		return fmt.Sprintf("%s, first at %s and last at %s", text, clock(r.FirstAt), clock(r.LastAt))
	}
	return text + ", at " + clock(r.LastAt)
}

// because has the words for the reasons of refused registrations.
var because = map[string]string{
	gateway.RefusedBlocked:        "it is blocked",
	gateway.RefusedIDInUse:        "a device with the same id is connected",
	gateway.RefusedTooManyClients: "there is no room for another client",
	gateway.RefusedEventsFull:     "it or its tenant has used up its share of the event log for this hour",
	"no_credentials":              "it showed no credential",
	"unknown_device":              "its id is not admitted",
	"wrong_token":                 "its token is wrong, maybe an old one",
	"other_client":                "its credential is that of another id",
	"expired":                     "its credential has expired",
	"revoked":                     "its certificate is revoked",
	"not_yet_valid":               "its credential is not valid yet",
	"malformed":                   "its credential is malformed",
	"unknown_key":                 "the key of its credential is unknown",
	"algorithm":                   "the algorithm of its credential is not the key's",
	"signature":                   "the signature of its credential is wrong",
	"claims":                      "the claims of its credential do not fit",
	"denied":                      "the hook denied it",
}

func refusedBecause(reason string) string {
	if text := because[reason]; text != "" {
		return text
	}
	return "of " + reason
}
