// Starts Swagger UI on this server's own description. Nothing is fetched from
// anywhere else: no validator, no fonts, no stylesheet.
window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  presets: [SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
  validatorUrl: null,
  deepLinking: true,
  persistAuthorization: false, // a key is forgotten with the tab
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
