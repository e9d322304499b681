package main

import (
	"path"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/longwire/longwire/api"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/auth/deviceauth"
	"github.com/longwire/longwire/internal/webhook"
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
			[][2]string{{"Message", "reason"}, {"Delivery", "reason"}, {"BulkResult", "reason"}, {"DeliveryEventData", "reason"}}},
		{"CloseReason", "Why the connection of a client ended.", gateway.CloseReasons(),
			[][2]string{{"LastClose", "reason"}, {"ClientEventData", "reason"}}},
		{"ClosedBy", "The side that ended the connection of a client.", gateway.Closers(),
			[][2]string{{"LastClose", "by"}, {"ClientEventData", "by"}}},
		{"NoAckReason", "Of ack-timeout: why there is no ack.", gateway.NoAckReasons(),
			[][2]string{{"Problem", "reason"}}},
		{"RefusalReason", "Why a registration was refused.", deviceauth.Refusals(),
			[][2]string{{"RefusedRegistration", "reason"}}},
		{"WebhookReason", "Why a webhook was disabled.", webhook.Reasons(),
			[][2]string{{"Webhook", "reason"}, {"WebhookEventData", "reason"}}},
		{"DamageReason", "The damage that a repair of the store has mended.", gateway.DamageReasons(),
			[][2]string{{"StoreEventData", "reason"}}},
	}
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
