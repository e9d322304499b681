package main

import (
	"path"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/findings"
	"github.com/longwire/longwire/internal/timeline"
	"github.com/longwire/longwire/internal/webhook"
	"github.com/longwire/longwire/internal/why"
	"github.com/longwire/longwire/protocol"
)

// enum is a list from the Go code. It becomes a schema, and each of members, a
// schema and its member, refers to that.
type enum struct {
	schema  string
	text    string
	values  []string
	members [][2]string
}

func enums() []enum {
	return []enum{
		{"ProblemType", "The stable type of a problem. A GET of it explains the problem.", api.ProblemTypes(),
			[][2]string{{"Problem", "type"}}},
		{"DeliveryReason", "Why a delivery was rejected, has failed, was canceled or waits, or that it was acked without a verdict.", gateway.DeliveryReasons(),
			[][2]string{{"Message", "reason"}, {"Delivery", "reason"}, {"BulkResult", "reason"}, {"DeliveryEventData", "reason"}, {"MessageFacts", "reason"}, {"DeliveryDetail", "reason"}}},
		{"CloseReason", "Why the connection of a client ended.", gateway.CloseReasons(),
			[][2]string{{"LastClose", "reason"}, {"ClientEventData", "reason"}, {"UnnamedRegistration", "reason"}}},
		{"ClosedBy", "The side that ended the connection of a client.", gateway.Closers(),
			[][2]string{{"LastClose", "by"}, {"ClientEventData", "by"}, {"TimelineEntry", "by"}}},
		{"NoAckReason", "Of ack-timeout: why there is no ack.", gateway.NoAckReasons(),
			[][2]string{{"Problem", "reason"}}},
		{"RefusalReason", "Why a registration was refused.", slices.Concat(deviceauth.Refusals(), gateway.RefusalReasons()),
			[][2]string{{"RefusedRegistration", "reason"}, {"WhyRefused", "reason"}}},
		{"UplinkRefusalReason", "The share that is used up: uplinks_full is that of the disk for uplinks, events_full that of the event log in this hour.", gateway.UplinkRefusalReasons(),
			[][2]string{{"WhyUplinks", "reason"}}},
		{"FindingCode", "What needs attention. The page docs/guide/findings.md says what to do.", texts(findings.Codes()),
			[][2]string{{"Finding", "code"}}},
		{"MessageWhyCode", "Why a message, or its delivery to one client, is as it is.", texts(why.MessageCodes()),
			[][2]string{{"MessageWhy", "code"}, {"WhyCode", "code"}}},
		{"ClientWhyCode", "Why a client is there or not.", texts(why.ClientCodes()),
			[][2]string{{"ClientWhy", "code"}}},
		{"HistoryCode", "What happened to a delivery.", why.LineCodes(),
			[][2]string{{"HistoryLine", "code"}}},
		{"WebhookReason", "Why a webhook was disabled.", webhook.Reasons(),
			[][2]string{{"Webhook", "reason"}, {"WebhookEventData", "reason"}}},
		{"TimelineKind", "The kind of an entry of a timeline.", api.TimelineKinds(),
			[][2]string{{"TimelineEntry", "what"}}},
		{"TimelineReason", "Why: of a refusal, of a close, of a step of a delivery, or of malformed input.", timelineReasons(),
			[][2]string{{"TimelineEntry", "reason"}}},
		{"FrameType", "The type of a frame.", protocol.FrameTypes(),
			[][2]string{{"TimelineEntry", "frame"}}},
		{"DeliveryStep", "A step of a delivery. acked, rejected, expired, canceled, failed and unknown are final.", gateway.StepKinds(),
			[][2]string{{"TimelineEntry", "state"}}},
		{"DamageReason", "The damage that a repair of the store has mended.", gateway.DamageReasons(),
			[][2]string{{"StoreEventData", "reason"}}},
	}
}

// texts converts a list of codes.
func texts[S ~string](list []S) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

// timelineReasons has the reasons of timelines and of refused devices.
func timelineReasons() []string {
	all := slices.Concat(timeline.Reasons(), deviceauth.Refusals(), gateway.RefusalReasons())
	slices.Sort(all)
	return slices.Compact(all)
}

// addEnums adds the schemas of the lists and the references to them. Swagger 2.0
// would repeat each list at every member.
func addEnums(schemas openapi3.Schemas) {
	for _, e := range enums() {
		s := openapi3.NewStringSchema()
		s.Description = e.text
		for _, v := range e.values {
			s.Enum = append(s.Enum, v)
		}
		if strings.Contains(e.values[0], "/") { // generators make poor names of paths
			s.Extensions = map[string]any{"x-enum-varnames": problemNames(e.values)}
		}
		used := false
		for _, m := range e.members {
			owner := schemas[m[0]]
			if owner == nil || owner.Value.Properties[m[1]] == nil {
				continue
			}
			owner.Value.Properties[m[1]] = openapi3.NewSchemaRef("#/components/schemas/"+e.schema, nil)
			used = true
		}
		if used {
			schemas[e.schema] = openapi3.NewSchemaRef("", s)
		}
	}
}

// problemNames makes ProblemQueueFull of /docs/problems/queue-full.
func problemNames(types []string) (names []string) {
	for _, t := range types {
		name := "Problem"
		for word := range strings.SplitSeq(path.Base(t), "-") {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
		names = append(names, name)
	}
	return names
}
