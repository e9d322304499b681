package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// TooManyClients returns the refusal of one more client, nil if there is room. The store
// knows so many clients, own of them are the account's, and most is the bound; 0 = no
// bound. An account may not have more clients than there are free places, so that it
// leaves room for others. The account "" is the operator's and may fill all places.
func TooManyClients(account string, own, clients, most int64) error {
	if free := most - clients; most == 0 || free > 0 && (account == "" || own < free) {
		return nil
	}
	message := fmt.Sprintf("%d clients are known, and there may be %d", clients, most)
	if clients < most {
		message = "the key or tenant has made as many clients known as are free for all"
	}
	return &Error{Code: CodeTooManyClients, Limit: most, Message: message, RetryAfter: time.Minute}
}

// TooManyBroadcasts returns the refusal of one more message to a large audience, nil if
// there is room. So many are under way, own of them are the account's, and most is the
// bound. An account may not have more than are free, so that it leaves room for others.
// The account "" is the operator's and may have all.
func TooManyBroadcasts(account string, own, underWay, most int64) error {
	if free := most - underWay; free > 0 && (account == "" || own < free) {
		return nil
	}
	message := "too many messages to large audiences are under way"
	if underWay < most {
		message = "the key or tenant has as many messages to large audiences under way as are free for all"
	}
	return &Error{Code: CodeQueueFull, Limit: most, Message: message}
}

// UplinksFull returns the refusal of an uplink of size bytes, nil if there is room. The
// stored uplinks have used bytes, own of them are the client's or its account's, and most
// is the bound; 0 = no bound. A client may not have more bytes than are free, so that
// others find room.
func UplinksFull(own, used, size, most int64) error {
	if most == 0 || own+size <= most-used {
		return nil
	}
	return &Error{Code: CodeQueueFull, Limit: most, RetryAfter: time.Minute,
		Message: "the uplinks of the client or its tenant have used up their share of the disk; the oldest go when their time is over"}
}

// The beginnings of the account of a tenant, whose clients are the members of a group, or
// those whose id has a prefix. The name of the group or the prefix follows.
const (
	GroupAccount  = "group:"
	PrefixAccount = "prefix:"
)

// IsTenant reports whether an account is that of a tenant. Others are of keys without a
// limit, and "" is the operator's.
func IsTenant(account string) bool {
	return strings.HasPrefix(account, GroupAccount) || strings.HasPrefix(account, PrefixAccount)
}

// EventsFull returns the refusal of an event whose owner has used up its share of bytes of
// this hour's part of the event log, which has rest left.
func EventsFull(share int64, rest time.Duration) error {
	return &Error{Code: CodeEventsFull, Limit: share, RetryAfter: rest,
		Message: "the client or its tenant has used up its share of the event log in this hour; nothing was stored"}
}

// AccountAfter returns the tenant that a client is counted for which was counted for the
// tenant was, "" for none, after a change that has put it into groups, and that says that
// it belongs to the tenant now, "" for none known. A client leaves a tenant for another
// one, or with the tenant's group; so it stays the tenant's while keys are replaced.
func AccountAfter(was, now string, groups []string) string {
	if name, ok := strings.CutPrefix(was, GroupAccount); now != "" || ok && !slices.Contains(groups, name) {
		return now
	}
	return was
}
