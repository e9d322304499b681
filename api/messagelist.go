package api

import (
	"net/http"
	"time"

	"github.com/longwire/longwire/gateway"
)

// messageMembers are the members of Message, for ?fields=.
var messageMembers = membersOf[Message]()

// maxDigests bounds a page whose digests need the payload of each message.
const maxDigests = 100

// listFields takes the members of a message that a list is to show; nil = those that it
// shows without ?fields=.
func (q *query) listFields() []member {
	fields := q.fields(messageMembers)
	for _, name := range []string{"text", "json", "base64"} {
		if shows(fields, name) {
			q.fail("fields", "cannot name %s: no list has payloads; name preview, and get the payload of one message", name)
		}
	}
	return fields
}

// writeMessages answers with a page of messages.
func writeMessages(w http.ResponseWriter, r *http.Request, page *MessagePage, fields []member) error {
	linkPages(w, r, page.NextCursor, "")
	if fields == nil {
		return writeJSON(w, http.StatusOK, page)
	}
	return writeJSON(w, http.StatusOK, struct {
		Items []narrowed[Message] `json:"items"` // hides that of the page
		*MessagePage
	}{narrowAll(page.Items, fields), page})
}

// messageID takes the id of a message, known or not; "" when absent.
func (q *query) messageID(name string) gateway.MessageID {
	v := q.one(name)
	if v != "" && !validMessage(v) {
		q.fail(name, "is not the id of a message")
		return ""
	}
	return gateway.MessageID(v)
}

// messageBefore takes the id of a message, or a time.
func (q *query) messageBefore(name string, now time.Time) (gateway.MessageID, time.Time) {
	if validMessage(q.values.Get(name)) {
		return q.messageID(name), time.Time{}
	}
	return "", q.since(name, now)
}
