package deviceauth

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Method is the kind of credential that a verdict is about. Methods and reasons are
// short fixed lists, so that metrics can use them as labels.
type Method string

const (
	MethodNone        Method = "none" // no credential was required or presented
	MethodShared      Method = "shared"
	MethodToken       Method = "token"
	MethodJWT         Method = "jwt"
	MethodCertificate Method = "certificate"
	MethodHook        Method = "hook"
)

var methods = []Method{MethodNone, MethodShared, MethodToken, MethodJWT, MethodCertificate, MethodHook}

// Reason is the reason for a verdict.
type Reason string

const (
	ReasonAccepted      Reason = "accepted"
	ReasonNoCredentials Reason = "no_credentials"
	ReasonUnknownDevice Reason = "unknown_device" // the policy for unknown devices does not admit the id
	ReasonWrongToken    Reason = "wrong_token"
	ReasonOtherClient   Reason = "other_client" // the credential is valid and names another id
	ReasonExpired       Reason = "expired"
	ReasonRevoked       Reason = "revoked" // the certificate's authority has revoked it
	ReasonNotYetValid   Reason = "not_yet_valid"
	ReasonMalformed     Reason = "malformed"
	ReasonUnknownKey    Reason = "unknown_key"
	ReasonAlgorithm     Reason = "algorithm" // not the algorithm of the key
	ReasonSignature     Reason = "signature"
	ReasonClaims        Reason = "claims"    // iss or aud is wrong, or exp is missing
	ReasonDenied        Reason = "denied"    // the hook said no
	ReasonThrottled     Reason = "throttled" // no credential was checked: too many refusals of that source

	// The gateway could not decide; the device comes back later.
	ReasonHookFailed Reason = "hook_failed" // no answer in time, or an invalid one
	ReasonHookBusy   Reason = "hook_busy"   // too many calls under way
	ReasonHookOpen   Reason = "hook_open"   // it failed often, and the breaker allows no calls
	ReasonStore      Reason = "store"       // the store did not answer whether it knows the id
)

var reasons = []Reason{ReasonAccepted, ReasonNoCredentials, ReasonUnknownDevice, ReasonWrongToken, ReasonOtherClient,
	ReasonExpired, ReasonRevoked, ReasonNotYetValid, ReasonMalformed, ReasonUnknownKey, ReasonAlgorithm, ReasonSignature, ReasonClaims,
	ReasonDenied, ReasonThrottled, ReasonHookFailed, ReasonHookBusy, ReasonHookOpen, ReasonStore}

// Refusals returns the reasons in the list of refused registrations.
func Refusals() []string {
	var list []string
	for _, r := range reasons {
		if v := (verdict{reason: r}); !v.accepted() && !v.undecided() && r != ReasonThrottled {
			list = append(list, string(r))
		}
	}
	return list
}

// verdict is a decision: the credential, the reason, and the time until which it
// holds.
type verdict struct {
	method  Method
	reason  Reason
	bound   bool      // the credential names the id
	expires time.Time // zero = never

	groups     []string           // groups that the device may enter
	credential gateway.Credential // of an accepted device, if it can be revoked; else nil
}

func refused(m Method, r Reason) verdict { return verdict{method: m, reason: r} }

func (v verdict) accepted() bool { return v.reason == ReasonAccepted }

// undecided reports whether the gateway could not decide.
func (v verdict) undecided() bool {
	switch v.reason {
	case ReasonHookFailed, ReasonHookBusy, ReasonHookOpen, ReasonStore:
		return true
	}
	return false
}

// and adds the next of several required credentials.
func (v verdict) and(next verdict) verdict {
	if !next.accepted() {
		return next
	}
	next.bound = next.bound || v.bound
	next.groups = slices.Concat(v.groups, next.groups)
	next.credential = together(v.credential, next.credential)
	if next.expires.IsZero() || !v.expires.IsZero() && v.expires.Before(next.expires) {
		next.expires = v.expires
	}
	return next
}
