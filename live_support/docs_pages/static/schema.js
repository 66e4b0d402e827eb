// Shows the service's OpenAPI document, and tries its routes at the address that this page came from.
const container = document.getElementById("swagger-container");
try {
  const spec = await (await fetch("schema/openapi.json")).json();
  spec.servers = [{ url: new URL(".", location.href).href.replace(/\/$/, ""), description: spec.info.title }];
  const { presets } = SwaggerUIBundle;
  SwaggerUIBundle({
    spec,
    domNode: container,
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    presets: [presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  });
} catch (error) {
  container.innerHTML = '<p class="status" role="alert">This page cannot be shown. The document itself is openapi.json, above.</p>';
  throw error;
}
