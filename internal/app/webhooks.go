package app

import (
	"net"
	"net/netip"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/internal/config"
	"github.com/longwire/longwire/internal/consumer"
	"github.com/longwire/longwire/internal/feed"
	"github.com/longwire/longwire/internal/openfiles"
	"github.com/longwire/longwire/internal/webhook"
)

// openWebhooks reads the webhooks and consumers of the store. The listeners are bound before it, so
// that no webhook leads to them.
func (a *App) openWebhooks() (err error) {
	a.webhooks, err = webhook.New(webhook.Config{
		Gateway:       a.gw,
		Lookup:        feed.NewLookup(a.gw),
		Encode:        api.EventEncoder(a.gw, ""),
		AllowNetworks: trustedProxies(a.cfg.Webhooks.AllowNetworks),
		AllowLoopback: func() bool { return config.IsLoopback(a.cfg.HTTP.Addr) && !a.callers.keys.Required() },
		Own:           addrPorts(a.tcp.Addr(), a.ln.Addr()),
		Requests:      webhookRequests(openfiles.Limit()),
		Now:           a.now,
		Logger:        a.log,
	})
	if err != nil {
		return err
	}
	a.opened.add("webhooks", a.webhooks.Close)
	a.consumers, err = consumer.New(consumer.Config{Gateway: a.gw, Lookup: feed.NewLookup(a.gw), Now: a.now})
	return err
}

const leastWebhookRequests = 16

// webhookRequests fits the requests of webhooks that are under way to the process's limit
// of open files, 0 for none: an endpoint that does not answer must not take the files that
// devices, callers and the store need.
func webhookRequests(files int) int {
	if files == 0 {
		return webhook.MaxRequests
	}
	return min(max(files/16, leastWebhookRequests), webhook.MaxRequests)
}

func addrPorts(addrs ...net.Addr) (list []netip.AddrPort) {
	for _, addr := range addrs {
		if p, err := netip.ParseAddrPort(addr.String()); err == nil {
			list = append(list, p)
		}
	}
	return list
}
