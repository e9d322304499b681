// Package docs embeds the API's description and the page that shows it.
//
// swagger.json, swagger.yaml and openapi.json are generated from the handlers'
// comments by go generate ./api; nothing here is edited by hand but this file
// and the page in swaggerui.
package docs

import "embed"

// OpenAPI is the description of the HTTP API in OpenAPI 3.0.3.
//
//go:embed openapi.json
var OpenAPI []byte

// SwaggerUI holds the documentation page under swaggerui/. Files that end in
// .gz are stored compressed.
//
//go:embed swaggerui
var SwaggerUI embed.FS
