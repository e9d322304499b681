package config

import "time"

const (
	ms     = Duration(time.Millisecond)
	second = Duration(time.Second)
	minute = Duration(time.Minute)
	day    = Duration(24 * time.Hour)
)

// Default returns the configuration without file, environment and flags.
func Default() *Config {
	return &Config{
		TCP: TCP{
			Addr:                 "127.0.0.1:6666",
			Driver:               "auto",
			Heartbeat:            10 * second,
			MaxHeartbeat:         10 * minute,
			Grace:                2 * second,
			RegisterTimeout:      10 * second,
			AckTimeout:           30 * second,
			V1AckTimeout:         3 * second,
			V1Gap:                30 * ms,
			Window:               16,
			MaxUnregistered:      4096,
			MaxUnregisteredPerIP: 1024,
			OutputBudget:         1 * MiB,
			OutputMemory:         256 * MiB,
			InputBudget:          64 * MiB,
			WriteTimeout:         10 * second,
			AcceptRate:           10000,
			AcceptRatePerIP:      2000,
			HandshakeRate:        2000,
			HandshakeRatePerIP:   500,
			RegisterRate:         10000,
			RegisterRatePerIP:    2000,
			ClientMessageRate:    5000,
			ClientByteRate:       8 * MiB,
			TLS:                  Off,
			TLSClientAuth:        Off,
			DuplicateID:          TakeOver,
		},
		HTTP: HTTP{
			Addr:                "127.0.0.1:8080",
			ReadHeaderTimeout:   5 * second,
			ReadTimeout:         30 * second,
			IdleTimeout:         2 * minute,
			MaxHeader:           32 * KiB,
			MaxBody:             2 * MiB,
			MaxWait:             minute,
			AuthFailures:        60,
			MaxConnections:      1280, // the event streams and 256 more
			MaxConnectionsPerIP: 320,
			MaxRequests:         8192,
			MaxBodies:           256 * MiB,
			MaxStreams:          1024,
			MaxStreamsPerKey:    128,
		},
		Data: Data{
			Dir:             "./longwire-data",
			Engine:          EnginePebble,
			StatusRetention: 7 * day,
			UplinkRetention: 7 * day,
			MinFree:         64 * MiB,
		},
		Delivery: Delivery{DefaultTTL: day, MaxAttempts: 10, MaxQueued: 10000, MaxQueuedBytes: 16 * MiB, OnlineWait: 10 * second},
		Clients:  Clients{Max: 2_000_000, ForgetAfter: 30 * day},
		Events:   Events{Retain: 7 * day, MaxBytes: 2 * GiB, Buffer: 4096, BufferBytes: 16 * MiB, Timeline: true, TimelineMemory: 64 * MiB},
		Auth: Auth{
			DeviceJWTLeeway:       30 * second,
			DeviceCertificateID:   "none",
			DeviceHookMode:        "enforce",
			DeviceHookTimeout:     3 * second,
			DeviceHookConcurrency: 32,
			DeviceHookAllowTTL:    minute,
			DeviceHookDenyTTL:     5 * second,
			DeviceRequire:         "any",
			DeviceUnknown:         "auto",
			DeviceFailures:        60,
		},
		Simulator: Simulator{Enabled: Auto},
		Drain:     Drain{Timeout: 20 * second, RetrySpread: 10 * second},
		Log:       Log{Level: "info", Format: "auto"},
	}
}
