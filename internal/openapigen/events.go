package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// eventData lists the schemas of event data with their members from EventData and
// the types that have them. The required members come first, up to the empty name.
var eventData = []struct {
	schema  string
	text    string
	members []string
	types   []string
}{
	{"ClientEventData", "A client has connected or disconnected, or was forgotten. Connections and disconnections of a client alternate, and epoch rises with each registration.",
		[]string{"client", "", "session", "epoch", "reason", "by", "dialect", "remote_addr"},
		[]string{"client.connected", "client.disconnected", "client.replaced", "client.forgotten"}},
	{"QueuedEventData", "A message was accepted for a client that is offline.", []string{"client", "message_id", ""},
		[]string{"message.queued_for_absent"}},
	{"UplinkEventData", "A device has sent a payload, which is stored.", []string{"client", "uplink", "", "session", "payload_gone"},
		[]string{"message.received"}},
	{"DeliveryEventData", "A delivery has become final, or was answered later.",
		[]string{"client", "message_id", "", "status", "attempts", "reason", "result", "result_base64", "payload_gone"},
		[]string{"message.acked", "message.rejected", "message.expired", "message.canceled", "message.failed", "message.late_ack"}},
	{"CompletedEventData", "The last delivery of a message to many has become final.", []string{"message_id", "", "counts", "payload_gone"},
		[]string{"message.completed"}},
	{"GroupEventData", "A client has entered or left groups.", []string{"client", "", "groups"},
		[]string{"group.changed"}},
	{"WebhookEventData", "A webhook was disabled.", []string{"detail", "", "reason"},
		[]string{"webhook.disabled"}},
	{"StoreEventData", "The store was repaired: events from before may be missing.", []string{"reason", "detail", "lost_after", "", "lost_since"},
		[]string{"store.repaired"}},
	{"StreamEventData", "The stream itself: events are lost, or the reader was too slow.", []string{"detail", ""},
		[]string{"gap", "overflow"}},
}

// unionOfEvents replaces Event by a union of one schema for each type, and
// EventData by the data of each type.
func unionOfEvents(schemas openapi3.Schemas) {
	event, data := schemas["Event"], schemas["EventData"]
	if event == nil || data == nil {
		return
	}
	union := &openapi3.Schema{Description: "A CloudEvents 1.0 event, by its type.",
		Discriminator: &openapi3.Discriminator{PropertyName: "type", Mapping: map[string]openapi3.MappingRef{}}}
	for _, d := range eventData {
		schemas[d.schema] = openapi3.NewSchemaRef("", pick(data.Value, d.members, d.text))
		for _, kind := range d.types {
			s := *event.Value
			s.Properties = maps.Clone(s.Properties)
			only := *s.Properties["type"].Value
			only.Enum = []any{kind}
			s.Properties["type"] = openapi3.NewSchemaRef("", &only)
			s.Properties["data"] = openapi3.NewSchemaRef("#/components/schemas/"+d.schema, nil)
			name := eventName(kind)
			schemas[name] = openapi3.NewSchemaRef("", &s)
			ref := "#/components/schemas/" + name
			union.OneOf = append(union.OneOf, openapi3.NewSchemaRef(ref, nil))
			union.Discriminator.Mapping[kind] = openapi3.MappingRef{Ref: ref}
		}
	}
	schemas["Event"] = openapi3.NewSchemaRef("", union)
	delete(schemas, "EventData")
}

// pick returns an object with some members of s.
func pick(s *openapi3.Schema, members []string, text string) *openapi3.Schema {
	part := openapi3.NewObjectSchema()
	part.Description = text
	part.Required = members[:slices.Index(members, "")]
	for _, name := range members {
		if name != "" {
			part.Properties[name] = s.Properties[name]
		}
	}
	return part
}

// eventName makes ClientConnectedEvent of client.connected.
func eventName(kind string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(kind, func(r rune) bool { return r == '.' || r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String() + "Event"
}
