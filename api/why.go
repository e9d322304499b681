package api

import (
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/why"
)

// MessageWhy answers why a message is as it is.
type MessageWhy struct {
	Message  string       `json:"message" validate:"required" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`                                                                                                       // that was asked about
	Client   string       `json:"client,omitempty" example:"truck-17"`                                                                                                                                                  // that its delivery is for; absent for a message to many as a whole
	Code     string       `json:"code" validate:"required" example:"client_offline"`                                                                                                                                    // the reason; new codes may be added
	Sentence string       `json:"sentence" validate:"required" example:"truck-17 is offline, last seen at 2026-01-02 03:04:05 UTC (2 h 5 min ago): the connection broke (connection_lost); it expires in 21 h 54 min."` // the reason in English
	Now      string       `json:"now" validate:"required" format:"date-time"`                                                                                                                                           // the gateway's clock at the answer
	Facts    MessageFacts `json:"facts" validate:"required"`                                                                                                                                                            // that the reason rests on
	Sample   *WhySample   `json:"sample,omitempty"`                                                                                                                                                                     // of a message to many: why some of its deliveries are not final
} //@name MessageWhy

// WhySample has the reasons of some deliveries of a message to many.
type WhySample struct {
	Size  int       `json:"size" validate:"required" example:"100"` // deliveries that were judged: the first that are not final, at most 100
	Codes []WhyCode `json:"codes" validate:"required"`              // their reasons, the most frequent first
} //@name WhySample

// WhyCode is a reason and how often it was found.
type WhyCode struct {
	Code  string `json:"code" validate:"required" example:"client_offline"` // the reason
	Count int    `json:"count" validate:"required" example:"97"`            // deliveries
} //@name WhyCode

// MessageFacts are the facts about a delivery. Those that do not apply are absent.
type MessageFacts struct {
	Status           string      `json:"status,omitempty" enums:"queued,sent,acked,rejected,expired,canceled,failed,unknown"` // of the delivery
	Reason           string      `json:"reason,omitempty"`                                                                    // for the status, if it has one
	CreatedAt        string      `json:"created_at,omitempty" format:"date-time"`                                             // when the message was accepted
	ExpiresAt        string      `json:"expires_at,omitempty" format:"date-time"`                                             // it is never delivered after this
	ExpiresIn        *int64      `json:"expires_in,omitempty" example:"3600"`                                                 // seconds until then; absent once it is final
	FinalAt          string      `json:"final_at,omitempty" format:"date-time"`                                               // when its status became final
	Attempts         int         `json:"attempts,omitempty"`                                                                  // transmissions, without those that the device wanted later
	SentAt           string      `json:"sent_at,omitempty" format:"date-time"`                                                // of the last transmission
	Result           *string     `json:"result,omitempty"`                                                                    // the device's answer, as text
	ResultBase64     []byte      `json:"result_base64,omitempty" swaggertype:"string" format:"byte"`                          // the same if it is no text
	Progress         *string     `json:"progress,omitempty"`                                                                  // the device's last report of its work, as text
	ProgressBase64   []byte      `json:"progress_base64,omitempty" swaggertype:"string" format:"byte"`                        // the same if it is no text
	LateAckAt        string      `json:"late_ack_at,omitempty" format:"date-time"`                                            // when the device answered after the status was final
	LateVerdict      string      `json:"late_verdict,omitempty" enums:"ok,reject"`                                            // verdict of the late answer
	Unanswered       int         `json:"unanswered,omitempty"`                                                                // attempts_used_up: transmissions without an answer in time
	Broken           int         `json:"broken,omitempty"`                                                                    // attempts_used_up: transmissions whose connection ended before an answer
	RetryLater       int         `json:"retry_later,omitempty"`                                                               // times that the device said retry later on this connection; 6 stands for 6 or more; of attempts_used_up those on all connections
	RetrySince       string      `json:"retry_since,omitempty" format:"date-time"`                                            // the first of them
	NextAt           string      `json:"next_at,omitempty" format:"date-time"`                                                // of the next transmission
	WorkingAt        string      `json:"working_at,omitempty" format:"date-time"`                                             // when the device said last that it works on it
	MisackedAt       string      `json:"misacked_at,omitempty" format:"date-time"`                                            // when an ack came in the wrong number space
	AskedAt          string      `json:"asked_at,omitempty" format:"date-time"`                                               // when the client was asked whether it has handled it
	Window           int         `json:"window,omitempty"`                                                                    // deliveries to the client that may be unacked at once
	InFlight         int         `json:"in_flight,omitempty"`                                                                 // those that are
	Behind           string      `json:"behind,omitempty" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`                 // the message in front, which the client has not acked
	BehindAttempts   int         `json:"behind_attempts,omitempty"`                                                           // its transmissions
	BehindSentAt     string      `json:"behind_sent_at,omitempty" format:"date-time"`                                         // the last of them
	Unwritten        int         `json:"unwritten_bytes,omitempty"`                                                           // that the client's socket has not taken yet
	OnlineSince      string      `json:"online_since,omitempty" format:"date-time"`                                           // of the client
	OfflineSince     string      `json:"offline_since,omitempty" format:"date-time"`                                          // when the client was last seen
	LastClose        *LastClose  `json:"last_close,omitempty"`                                                                // how the client's last connection ended
	BlockedUntil     string      `json:"blocked_until,omitempty" format:"date-time"`                                          // the client may not register before
	Refused          *WhyRefused `json:"refused,omitempty"`                                                                   // registrations of the client that were refused since it was last seen
	Counts           *Counts     `json:"counts,omitempty"`                                                                    // of a message to many: deliveries by state
	LastSeenAt       string      `json:"last_seen_at,omitempty" format:"date-time"`                                           // last sign of life of a client that is connected and does not answer a heartbeat
	Disconnects      int         `json:"disconnects,omitempty"`                                                               // closes of the client's connections in quick succession, from 5 on
	DisconnectsSince string      `json:"disconnects_since,omitempty" format:"date-time"`                                      // the first of them
} //@name MessageFacts

// WhyRefused has the refused registrations of a client.
type WhyRefused struct {
	Count      uint64 `json:"count" validate:"required"`                        // times
	Reason     string `json:"reason" validate:"required" example:"wrong_token"` // why, the last time
	FirstAt    string `json:"first_at" validate:"required" format:"date-time"`  // the first time
	LastAt     string `json:"last_at" validate:"required" format:"date-time"`   // the last time
	RemoteAddr string `json:"remote_addr,omitempty" example:"192.0.2.7:40112"`  // its address the last time; only the answer about a client has it
} //@name WhyRefused

// ClientWhy answers whether a client is there, and why not.
type ClientWhy struct {
	Client   string      `json:"client" validate:"required" example:"truck-17"`                                                                                                             // that was asked about
	Code     string      `json:"code" validate:"required" example:"closed_by_network"`                                                                                                      // the reason; new codes may be added
	Sentence string      `json:"sentence" validate:"required" example:"truck-17 is offline, last seen at 2026-01-02 03:04:05 UTC (2 h 5 min ago): the connection broke (connection_lost)."` // the reason in English
	Now      string      `json:"now" validate:"required" format:"date-time"`                                                                                                                // the gateway's clock at the answer
	Facts    ClientFacts `json:"facts" validate:"required"`                                                                                                                                 // that the reason rests on
} //@name ClientWhy

// ClientFacts are the facts about a client's presence. Those that do not apply are absent.
type ClientFacts struct {
	OnlineSince      string      `json:"online_since,omitempty" format:"date-time"`      // it is connected since then
	OfflineSince     string      `json:"offline_since,omitempty" format:"date-time"`     // when it was last seen
	LastClose        *LastClose  `json:"last_close,omitempty"`                           // how its last connection ended
	BlockedUntil     string      `json:"blocked_until,omitempty" format:"date-time"`     // it may not register before
	Refused          *WhyRefused `json:"refused,omitempty"`                              // its refused registrations
	ForgottenAt      string      `json:"forgotten_at,omitempty" format:"date-time"`      // when it was forgotten, as far as this process knows
	Takeovers        int         `json:"takeovers,omitempty"`                            // connections in quick succession that have replaced each other
	Claims           []Claim     `json:"claims,omitempty"`                               // addresses from which connections have claimed its id in turn, the latest first and at most 8; a second one may be another device's
	LastSeenAt       string      `json:"last_seen_at,omitempty" format:"date-time"`      // last sign of life of a client that is connected and does not answer a heartbeat
	Disconnects      int         `json:"disconnects,omitempty"`                          // closes of the client's connections in quick succession, from 5 on
	DisconnectsSince string      `json:"disconnects_since,omitempty" format:"date-time"` // the first of them
	UplinksRefused   *WhyUplinks `json:"uplinks_refused,omitempty"`                      // its uplinks that were refused for a share of the store, until ten minutes after the last one
} //@name ClientFacts

// WhyUplinks has the uplinks of a client that were answered retry later because a share of
// the store is used up.
type WhyUplinks struct {
	Count   uint64 `json:"count" validate:"required"`                         // times, repeats included
	Reason  string `json:"reason" validate:"required" example:"uplinks_full"` // why, the last time
	FirstAt string `json:"first_at" validate:"required" format:"date-time"`   // the first time
	LastAt  string `json:"last_at" validate:"required" format:"date-time"`    // the last time
} //@name WhyUplinks

// Claim is an address from which connections have claimed the id of a client.
type Claim struct {
	RemoteAddr string `json:"remote_addr" validate:"required" example:"192.0.2.7:40112"` // of the last connection from this address
	Dialect    string `json:"dialect,omitempty" enums:"v1,v2,text"`                      // that it spoke
	Count      int    `json:"count" validate:"required"`                                 // connections from this address, also refused ones
	LastAt     string `json:"last_at" validate:"required" format:"date-time"`            // the last of them
} //@name Claim

func claimsView(list []gateway.Claim) (out []Claim) {
	for _, c := range list {
		out = append(out, Claim{RemoteAddr: c.Remote.String(), Dialect: c.Dialect, Count: c.Count, LastAt: stamp(c.At)})
	}
	return out
}

// DeliveryDetail is one delivery with its history.
type DeliveryDetail struct {
	Message   string `json:"message" validate:"required" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"` // that it is of
	CreatedAt string `json:"created_at,omitempty" format:"date-time"`                                        // when the message was accepted
	ExpiresAt string `json:"expires_at,omitempty" format:"date-time"`                                        // it is never delivered after this
	Delivery
	History []HistoryLine `json:"history" validate:"required"` // the oldest line first
} //@name DeliveryDetail

// HistoryLine is one line of a delivery's history.
type HistoryLine struct {
	At   string `json:"at,omitempty" format:"date-time"`                       // when; absent if the time is not kept
	Code string `json:"code" validate:"required" example:"sent"`               // what; new codes may be added
	What string `json:"what" validate:"required" example:"sent to the device"` // the same in English
} //@name HistoryLine

// QueueCanceled is the result of canceling a client's queue.
type QueueCanceled struct {
	Canceled int `json:"canceled" validate:"required" example:"12"` // deliveries
	UnderWay int `json:"under_way" validate:"required" example:"1"` // those of them that were sent and not answered: the device may handle them, and a late answer is kept
} //@name QueueCanceled

// whySample bounds the deliveries of a message to many that one answer judges.
const whySample = 100

// whyMessage says why a message is as it is.
//
//	@ID				whyMessage
//	@Summary		Why is a message not there
//	@Description	One reason as a code, with its facts, and as an English sentence. `client` names the recipient; it may be left out for a message to one client. Without it a message to many is summed up by its counts, with the reasons of the first 100 deliveries that are not final.
//	@Description	The codes and what to do about each are in docs/guide/why.md.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"message id"
//	@Param			client	query		string	false	"recipient"
//	@Success		200		{object}	MessageWhy
//	@x-scope		"messages:read"
//	@Router			/v1/messages/{id}/why [get]
func (s *server) whyMessage(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	client := q.clientID("client")
	if err := q.done(); err != nil {
		return err
	}
	st, err := viewOf(w).Standing(messageInPath(r), client)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	out := MessageWhy{Message: string(st.Message.ID), Client: string(st.Delivery.Client), Now: stamp(now)}
	var verdict why.Verdict
	if st.Delivery.Client == "" {
		verdict = why.OfMany(&st.Message)
		if out.Sample, err = s.sample(viewOf(w), &st.Message, now); err != nil {
			return err
		}
	} else {
		verdict = why.OfDelivery(s.question(viewOf(w), &st, now))
	}
	out.Code, out.Sentence, out.Facts = string(verdict.Code), verdict.Sentence, messageFacts(&verdict.Facts, now)
	return writeJSON(w, http.StatusOK, out)
}

// question is the question why about a delivery.
func (s *server) question(v *tenant.View, st *tenant.Standing, now time.Time) *why.Delivery {
	q := &why.Delivery{Now: now, Delivery: st.Delivery, Sent: st.Sent, Client: st.Client, Standing: st.At}
	if !st.Delivery.State.Final() && !st.At.Live {
		q.Refused = s.refusal(st.Delivery.Client)
	}
	if !st.Delivery.State.Final() {
		q.Unstable = v.Unstable(st.Delivery.Client)
	}
	return q
}

// sample judges some deliveries of a message to many, nil if all are final.
func (s *server) sample(v *tenant.View, m *gateway.Message, now time.Time) (*WhySample, error) {
	if m.Completed() {
		return nil, nil
	}
	list, err := v.NotFinal(m, whySample)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	counts := map[why.Code]int{}
	for i := range list {
		counts[why.OfDelivery(s.question(v, &list[i], now)).Code]++
	}
	out := &WhySample{Size: len(list)}
	for _, code := range why.MessageCodes() {
		if n := counts[code]; n > 0 {
			out.Codes = append(out.Codes, WhyCode{Code: string(code), Count: n})
		}
	}
	slices.SortStableFunc(out.Codes, func(a, b WhyCode) int { return b.Count - a.Count })
	return out, nil
}

func messageFacts(f *why.Facts, now time.Time) MessageFacts {
	v := MessageFacts{Status: f.State.String(), Reason: f.Reason, CreatedAt: stamp(f.CreatedAt), ExpiresAt: stamp(f.ExpiresAt),
		FinalAt: stamp(f.FinalAt), Attempts: f.Attempts, SentAt: stamp(f.SentAt), LateAckAt: stamp(f.LateAckAt),
		Unanswered: f.Unanswered, Broken: f.Broken, RetryLater: f.RetryLater, RetrySince: stamp(f.RetrySince), NextAt: stamp(f.NextAt), WorkingAt: stamp(f.WorkingAt),
		MisackedAt: stamp(f.MisackedAt), AskedAt: stamp(f.AskedAt), Window: f.Window, InFlight: f.InFlight, Behind: string(f.Behind),
		BehindAttempts: f.BehindAttempts, BehindSentAt: stamp(f.BehindSentAt), Unwritten: f.Unwritten,
		OnlineSince: stamp(f.OnlineSince), OfflineSince: stamp(f.OfflineSince), LastClose: lastClose(f),
		BlockedUntil: stamp(f.BlockedUntil), Refused: refusedFacts(f.Refused)}
	v.LastSeenAt, v.Disconnects, v.DisconnectsSince = stamp(f.LastSeenAt), f.Disconnects, stamp(f.DisconnectsSince)
	if v.Refused != nil {
		v.Refused.RemoteAddr = "" // takes clients:read
	}
	v.Result, v.ResultBase64 = result(f.Result)
	v.Progress, v.ProgressBase64 = result(f.Progress)
	v.LateVerdict = lateVerdict(f.LateAckAt, f.LateReject)
	if f.Counts != nil {
		v.Counts = new(countsView(f.Counts))
	}
	if f.FinalAt.IsZero() && !f.ExpiresAt.IsZero() {
		v.ExpiresIn = new(int64(math.Ceil(max(0, f.ExpiresAt.Sub(now)).Seconds())))
	}
	return v
}

func lastClose(f *why.Facts) *LastClose {
	if f.CloseReason == "" {
		return nil
	}
	return &LastClose{Reason: f.CloseReason, By: string(f.ClosedBy)}
}

func refusedFacts(r *gateway.RefusedRegistration) *WhyRefused {
	if r == nil {
		return nil
	}
	v := &WhyRefused{Count: r.Count, Reason: r.Reason, FirstAt: stamp(r.FirstAt), LastAt: stamp(r.LastAt)}
	if r.Remote.IsValid() {
		v.RemoteAddr = r.Remote.String()
	}
	return v
}

func uplinksFacts(u *gateway.UplinksRefused) *WhyUplinks {
	if u == nil {
		return nil
	}
	return &WhyUplinks{Count: u.Count, Reason: u.Reason, FirstAt: stamp(u.FirstAt), LastAt: stamp(u.LastAt)}
}

// whyClient says whether a client is there, and why not.
//
//	@ID				whyClient
//	@Summary		Why is a client not there
//	@Description	One reason as a code, with its facts, and as an English sentence. For an id that is not known it answers only to keys that may see such ids, and only if the id was refused, or forgotten while this process ran; else it is 404.
//	@Description	The codes and what to do about each are in docs/guide/why.md.
//	@Tags			clients
//	@Produce		json
//	@Param			id		path		string	true	"client id"
//	@Success		200		{object}	ClientWhy
//	@x-scope		"clients:read"
//	@Router			/v1/clients/{id}/why [get]
func (s *server) whyClient(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	view := viewOf(w)
	p, err := view.Presence(id)
	if err != nil && gateway.CodeOf(err) != gateway.CodeClientNotFound {
		return err
	}
	now := s.cfg.Now()
	q := &why.Client{Now: now, ID: id, Client: p.Client, Flaps: p.Flaps, Claims: p.Claims, Unstable: p.Unstable, NoUplinks: p.NoUplinks, ForgottenAt: p.ForgottenAt}
	if p.Client != nil || view.MaySee(id) {
		q.Refused = s.refusal(id)
	}
	verdict, ok := why.OfClient(q)
	if !ok {
		return err
	}
	f := &verdict.Facts
	return writeJSON(w, http.StatusOK, ClientWhy{Client: string(id), Code: string(verdict.Code), Sentence: verdict.Sentence, Now: stamp(now),
		Facts: ClientFacts{OnlineSince: stamp(f.OnlineSince), OfflineSince: stamp(f.OfflineSince), LastClose: lastClose(f),
			BlockedUntil: stamp(f.BlockedUntil), Refused: refusedFacts(f.Refused), ForgottenAt: stamp(f.ForgottenAt), Takeovers: f.Takeovers, Claims: claimsView(f.Claims),
			LastSeenAt: stamp(f.LastSeenAt), Disconnects: f.Disconnects, DisconnectsSince: stamp(f.DisconnectsSince), UplinksRefused: uplinksFacts(f.UplinksRefused)}})
}

// getDelivery shows one delivery with its history.
//
//	@ID				getDelivery
//	@Summary		Get one delivery with its history
//	@Description	The history has the acceptance, transmissions, the device's answers and the final state, as far as they are known. The store keeps the acceptance, the last transmission of an answered delivery and the final state; the gateway remembers the last transmission of the 16,384 last expired and canceled ones until it restarts, and says `sends_unknown` of others, and of one that only the last output of a connection may have carried. The connection keeps the last 16 lines of an unanswered delivery that was sent more than once, or answered without a verdict; they end with the connection or with the final state.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"message id"
//	@Param			client	path		string	true	"client id"
//	@Success		200		{object}	DeliveryDetail
//	@x-scope		"messages:read"
//	@Router			/v1/messages/{id}/deliveries/{client} [get]
func (s *server) getDelivery(w http.ResponseWriter, r *http.Request) error {
	client, err := clientParam(r, "client")
	if err != nil {
		return err
	}
	st, err := viewOf(w).Standing(messageInPath(r), client)
	if err != nil {
		return err
	}
	q := s.question(viewOf(w), &st, s.cfg.Now())
	verdict := why.OfDelivery(q)
	d := &q.Delivery
	out := DeliveryDetail{Message: string(st.Message.ID), CreatedAt: stamp(d.CreatedAt), ExpiresAt: stamp(d.ExpiresAt),
		Delivery: Delivery{Client: string(d.Client), Status: d.State.String(), Outcome: outcomeView(d)}, History: []HistoryLine{}}
	out.Attempts, out.SentAt = verdict.Facts.Attempts, stamp(verdict.Facts.SentAt)
	for _, line := range why.History(q, &verdict) {
		out.History = append(out.History, HistoryLine{At: stamp(line.At), Code: line.Code, What: line.What})
	}
	return writeJSON(w, http.StatusOK, out)
}

// cancelQueue cancels a client's queue.
//
//	@ID				cancelQueue
//	@Summary		Cancel a client's queue
//	@Description	Everything that is queued for the client becomes canceled with the reason `purged`; with `through` only up to and including this message, in the order in which messages were accepted. The connection stays. A message to many is canceled for this client alone.
//	@Description	`under_way` counts the canceled deliveries that had been sent and not answered. The device may have them; if it answers, the delivery has late_ack_at.
//	@Tags			messages
//	@Produce		json
//	@Param			id		path		string	true	"client id"
//	@Param			through	query		string	false	"the last message to cancel, such as the newest one that the caller has seen"
//	@Success		200		{object}	QueueCanceled
//	@x-scope		"messages:write"
//	@Router			/v1/clients/{id}/messages [delete]
func (s *server) cancelQueue(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	through := q.one("through")
	if through != "" && !validMessage(through) {
		q.fail("through", "is not a message id")
	}
	if err := q.done(); err != nil {
		return err
	}
	done, err := viewOf(w).CancelQueue(id, gateway.MessageID(through))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, QueueCanceled{Canceled: done.Canceled, UnderWay: done.UnderWay})
}
