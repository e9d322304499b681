package api

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
)

// rules returns the validator of the process. It is shared because it caches the
// rules of each type.
var rules = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(jsonName)
	register := func(tag string, ok func(string) bool) {
		err := v.RegisterValidation(tag, func(f validator.FieldLevel) bool { return ok(f.Field().String()) })
		if err != nil {
			panic(err) // a misspelt tag, seen by every test
		}
	}
	register("clientid", func(s string) bool { return gateway.ClientID(s).Valid() })
	register("group", gateway.ValidGroup)
	register("anyclientid", func(s string) bool { return s == "" || gateway.ClientID(s).Valid() }) // behind a pointer, "" for any
	register("anygroup", func(s string) bool { return s == "" || gateway.ValidGroup(s) })
	register("labelkey", gateway.ValidLabelKey)
	register("idempotencykey", validIdempotencyKey)
	register("ttl", func(s string) bool {
		d, err := parseDuration(s)
		return err == nil && d >= gateway.MinTTL && d <= gateway.MaxTTL
	})
	// max is for the API's description and counts characters. The gateway counts bytes.
	err := v.RegisterValidation("bytes", func(f validator.FieldLevel) bool {
		most, err := strconv.Atoi(f.Param())
		return err == nil && len(f.Field().String()) <= most
	})
	if err != nil {
		panic(err) // seen by every test
	}
	register("scope", func(s string) bool { return slices.Contains(apikey.ScopeNames(), s) })
	register("keylife", func(s string) bool {
		d, err := parseDuration(s)
		return err == nil && d >= time.Second && d <= apikey.MaxExpiry
	})
	v.RegisterStructValidation(oneContent, Content{})
	v.RegisterStructValidation(oneAudience, Audience{})
	v.RegisterStructValidation(manyRules, PushMany{})
	return v
})

// validate checks v against its tags and returns every broken rule.
func validate(v any) error {
	err := rules().Struct(v)
	broken, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		return err
	}
	fields := make([]problem.FieldError, len(broken))
	for i, b := range broken {
		_, path := cutPart(b.Namespace()) // which begins with the type of the body
		fields[i] = problem.FieldError{Pointer: pointerOf(path), Detail: ruleText(b)}
	}
	return problem.InvalidFields(fields...)
}

// current is the struct under validation itself: bodies are decoded behind a
// pointer, so it need not be copied.
func current[T any](l validator.StructLevel) *T { return l.Current().Addr().Interface().(*T) }

// oneContent: exactly one of text, json and base64.
func oneContent(l validator.StructLevel) {
	c := current[Content](l)
	if given(c.Text != nil, c.JSON != nil, c.Base64 != nil) != 1 {
		l.ReportError(c.Text, "", "", "onecontent", "")
	}
}

// given counts the conditions that hold.
func given(conditions ...bool) (n int) {
	for _, holds := range conditions {
		if holds {
			n++
		}
	}
	return n
}

// oneAudience: exactly one of client, clients, group, labels and all.
func oneAudience(l validator.StructLevel) {
	a := current[Audience](l)
	if given(a.Client != "", a.Clients != nil, a.Group != "", a.Labels != nil, a.All) != 1 {
		l.ReportError(a.Client, "", "", "oneaudience", "")
	}
}

// manyRules: members that only some audiences can have.
func manyRules(l validator.StructLevel) {
	p := current[PushMany](l)
	if p.To == nil {
		return // required says so
	}
	if p.OnlineOnly && (p.To.Client != "" || p.To.Clients != nil) {
		l.ReportError(p.OnlineOnly, "online_only", "OnlineOnly", "wideaudience", "")
	}
	if p.Rate != nil && (*p.Rate < 1 || *p.Rate > gateway.MaxRate) {
		l.ReportError(p.Rate, "rate", "Rate", "rate", "")
	}
	if p.Rate != nil && p.To.Client != "" {
		l.ReportError(p.Rate, "rate", "Rate", "manyclients", "")
	}
	if p.MaxRecipients != nil && *p.MaxRecipients < 1 {
		l.ReportError(p.MaxRecipients, "max_recipients", "MaxRecipients", "maxrecipients", "")
	}
	if p.DryRun && p.Mode == modeOnline {
		l.ReportError(p.DryRun, "dry_run", "DryRun", "dryrun", "")
	}
	if p.Mode == modeOnline && p.To.Client == "" {
		l.ReportError(p.Mode, "mode", "Mode", "oneclient", "")
	}
}

// ruleText explains a rule to people.
func ruleText(b validator.FieldError) string {
	switch b.Tag() {
	case "required":
		if b.Kind() == reflect.Int {
			return "is required, and not 0"
		}
		return "is required"
	case "oneof":
		return "must be one of " + strings.Join(strings.Fields(b.Param()), ", ")
	case "min":
		return boundText("at least ", b)
	case "max":
		return boundText("at most ", b)
	case "bytes":
		return "must have at most " + b.Param() + " bytes of UTF-8"
	case "unique":
		return "must not repeat"
	case "clientid", "anyclientid":
		return "is " + gateway.NotClientID
	case "group", "anygroup":
		return fmt.Sprintf("must be 1 to %d of A-Z a-z 0-9 . _ : @ -, and neither . nor ..", gateway.MaxGroupName)
	case "labelkey":
		return fmt.Sprintf("has a label name that is not 1 to %d bytes of A-Z a-z 0-9 . _ -, or is . or ..", gateway.MaxLabelKey)
	case "idempotencykey":
		return "must be " + idempotencyRule
	case "ttl":
		return `must be a duration from "1s" to "30d"`
	case "scope":
		return "must be one of " + strings.Join(apikey.ScopeNames(), ", ")
	case "keylife":
		return `must be a duration from "1s" to ten years, such as "90d"`
	case "onecontent":
		return "needs exactly one of text, json, base64"
	case "oneaudience":
		return "needs exactly one of client, clients, group, labels, all"
	case "wideaudience":
		return "narrows a group, labels or all; leave it out for named clients"
	case "rate":
		return fmt.Sprintf("must be 1 to %d deliveries a second; leave it out for no limit", gateway.MaxRate)
	case "maxrecipients":
		return "must be at least 1; leave it out for no bound"
	case "dryrun":
		return "needs mode=durable: mode=online goes to one client"
	case "manyclients":
		return "paces a message to many; leave it out for a single client"
	case "oneclient":
		return "can be online only for a single client (to.client)"
	}
	return "breaks the rule " + b.Tag()
}

func boundText(side string, b validator.FieldError) string {
	switch b.Kind() {
	case reflect.Int:
		return "must be " + side + b.Param()
	case reflect.String:
		return "must have " + side + b.Param() + " characters"
	}
	return "must have " + side + b.Param() + " entries"
}

// pointerOf turns a path through Go values ("Options.metadata[k]") into a JSON
// pointer. It drops the leading names of embedded structs, which JSON does not have.
func pointerOf(path string) string {
	var b strings.Builder
	for path != "" {
		var part string
		part, path = cutPart(path)
		if b.Len() > 0 || !embedded[part] {
			b.WriteString("/" + escapePointer(part))
		}
	}
	return b.String()
}

// embedded are the structs whose members are members of the body.
var embedded = map[string]bool{"PushMany": true, "Content": true, "Options": true}

// cutPart takes the first name, or the key in brackets, off a path. A key may have any
// characters and is always the last part: the elements of lists and maps are texts.
func cutPart(path string) (part, rest string) {
	if path[0] == '[' {
		return path[1 : len(path)-1], ""
	}
	i := strings.IndexAny(path, ".[")
	if i < 0 {
		return path, ""
	}
	return path[:i], strings.TrimPrefix(path[i:], ".")
}

// parseDuration reads Go's durations ("90s", "1h30m"), days ("7d") and bare
// seconds ("5").
func parseDuration(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 15)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}
