SwaggerUIBundle({
  url: "docs.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // A badge that another server would draw.
  validatorUrl: null,
});
