// Starts Swagger UI on the document of this server.

// Where a proxy serves this page under a prefix, requests go there too.
const prefix = new URL(".", document.baseURI).pathname.replace(/\/$/, "");
const servedUnderPrefix = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (openapi) => update(prefix ? { ...openapi, servers: [{ url: prefix }] } : openapi),
      },
    },
  },
});

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  plugins: [servedUnderPrefix],
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
