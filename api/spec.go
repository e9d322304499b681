package api

// General part of the API's description, read by swag.
//
//	@title						Longwire
//	@version					1
//	@description				Reach long-lived TCP connections of devices over HTTP: see who is online, push to one, many or all, and know what became of every message.
//	@description				To try it, run `longwire connect --id demo` in a terminal: a simulated device. Then push to the client `demo` and see `acked`.
//	@description				HEAD is answered as GET without its body, but for the stream of events, timelines and the pull of a consumer. A JSON body may be `Content-Encoding: gzip` or `zstd`.
//	@license.name				Apache-2.0
//	@license.url				https://www.apache.org/licenses/LICENSE-2.0
//	@basePath					/
//	@securityDefinitions.apikey	BearerAuth
//	@in							header
//	@name						Authorization
//	@security					BearerAuth
