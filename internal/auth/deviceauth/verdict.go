package deviceauth

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Method is the kind of credential that a verdict is about. Methods and reasons
// are short fixed lists, fit for labels of metrics.
type Method string

const (
	MethodNone        Method = "none" // no credential was asked for, or none was presented
	MethodShared      Method = "shared"
	MethodToken       Method = "token"
	MethodJWT         Method = "jwt"
	MethodCertificate Method = "certificate"
	MethodHook        Method = "hook"
)

var methods = []Method{MethodNone, MethodShared, MethodToken, MethodJWT, MethodCertificate, MethodHook}

// Reason says why a device was let in or was not.
type Reason string

const (
	ReasonAccepted      Reason = "accepted"
	ReasonNoCredentials Reason = "no_credentials"
	ReasonUnknownDevice Reason = "unknown_device" // the policy for unknown devices does not admit it
	ReasonWrongToken    Reason = "wrong_token"
	ReasonOtherClient   Reason = "other_client" // the credential is good and names somebody else
	ReasonExpired       Reason = "expired"
	ReasonRevoked       Reason = "revoked" // the certificate's authority has taken it back
	ReasonNotYetValid   Reason = "not_yet_valid"
	ReasonMalformed     Reason = "malformed"
	ReasonUnknownKey    Reason = "unknown_key"
	ReasonAlgorithm     Reason = "algorithm" // not the one that the key is for
	ReasonSignature     Reason = "signature"
	ReasonClaims        Reason = "claims"    // iss or aud is another, or exp is missing
	ReasonDenied        Reason = "denied"    // the hook has said no
	ReasonThrottled     Reason = "throttled" // nothing was looked at: too many refusals from there

	// Nobody could tell; the device comes back.
	ReasonHookFailed Reason = "hook_failed" // no answer in time, or none that can be read
	ReasonHookBusy   Reason = "hook_busy"   // too many calls under way
	ReasonHookOpen   Reason = "hook_open"   // it has failed often and is not asked for a while
	ReasonStore      Reason = "store"       // the store could not say whether it knows the id
)

var reasons = []Reason{ReasonAccepted, ReasonNoCredentials, ReasonUnknownDevice, ReasonWrongToken, ReasonOtherClient,
	ReasonExpired, ReasonRevoked, ReasonNotYetValid, ReasonMalformed, ReasonUnknownKey, ReasonAlgorithm, ReasonSignature, ReasonClaims,
	ReasonDenied, ReasonThrottled, ReasonHookFailed, ReasonHookBusy, ReasonHookOpen, ReasonStore}

// Refusals returns the reasons that the list of refused registrations has.
func Refusals() []string {
	var list []string
	for _, r := range reasons {
		if v := (verdict{reason: r}); !v.accepted() && !v.unknown() && r != ReasonThrottled {
			list = append(list, string(r))
		}
	}
	return list
}

// verdict is what was decided, by what, and until when it holds.
type verdict struct {
	method  Method
	reason  Reason
	bound   bool      // the credential names the id
	expires time.Time // zero = never

	groups     []string           // that the device may enter
	credential gateway.Credential // of an accepted one, where it can be taken back
}

func refused(m Method, r Reason) verdict { return verdict{method: m, reason: r} }

func (v verdict) accepted() bool { return v.reason == ReasonAccepted }

// unknown reports whether nobody could tell.
func (v verdict) unknown() bool {
	switch v.reason {
	case ReasonHookFailed, ReasonHookBusy, ReasonHookOpen, ReasonStore:
		return true
	}
	return false
}

// and adds the next credential of several that are all required.
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
