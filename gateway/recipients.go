package gateway

import "fmt"

// RecipientSample bounds the clients that Recipients names.
const RecipientSample = 20

// Recipients is the audience of a message that has not been accepted.
type Recipients struct {
	Total  int        // deliveries that the message would have
	Failed int        // of them, those that would fail at once: the client is unknown, or its queue has no room
	Sample []ClientID // some of the recipients, at most RecipientSample
}

// TooMany returns the refusal of a message for total clients, nil if they are not more
// than MaxRecipients.
func (a *Acceptance) TooMany(total int) error {
	if a.MaxRecipients == 0 || total <= a.MaxRecipients {
		return nil
	}
	return &Error{Code: CodeTooManyRecipients, Limit: int64(a.MaxRecipients),
		Message: fmt.Sprintf("the message would go to %d clients, and max_recipients is %d", total, a.MaxRecipients)}
}

// Recipients returns the audience that Push would fix for r now. It stores nothing and
// uses up no idempotency key. Until a push follows, clients may enter or leave the
// audience: MaxRecipients bounds it then.
//
// Errors: those of Push about r and its single recipient, and CodeTooManyRecipients.
func (g *Gateway) Recipients(r PushRequest) (Recipients, error) {
	a, s, err := g.acceptance(&r, "")
	if err != nil {
		return Recipients{}, err
	}
	if s != nil {
		return Recipients{}, tooLargeFor(s)
	}
	return g.store.Recipients(a)
}
