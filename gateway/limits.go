package gateway

import "time"

// Limits of a request.
const (
	MaxPayload      = 256 << 10 // bytes
	MaxMetadata     = 16        // entries
	MaxMetadataKey  = 64        // bytes
	MaxMetadataVal  = 512       // bytes
	MaxOwner        = 160       // bytes
	MaxRate         = 100_000   // deliveries a second
	MinTTL          = time.Second
	MaxTTL          = 30 * 24 * time.Hour
	MaxClientsInTo  = 1000
	MaxWait         = 60 * time.Second
	MaxIdempotency  = 255 // bytes of an idempotency key
	MaxListLimit    = 1000
	DefaultListSize = 100

	DefaultMaxQueued      = 10_000   // messages queued for one client
	DefaultMaxQueuedBytes = 16 << 20 // their payloads
)

// Bounds of a client record.
const (
	MaxLabels     = 32
	MaxLabelKey   = 64  // bytes, [A-Za-z0-9._-]
	MaxLabelValue = 256 // bytes of UTF-8
	MaxGroups     = 32
	MaxGroupName  = 64 // bytes, as a client id
)

// Bounds of the proposals that Store.Settle may leave unwritten.
const (
	MaxUndurable      = 256       // proposals for one client
	MaxUndurableBytes = 128 << 10 // bytes of results for one client
	MaxLazyResult     = 4 << 10   // bytes of one result
)
