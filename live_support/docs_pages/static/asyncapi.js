// Shows the service's AsyncAPI document, with the address that this page came from.
const container = document.getElementById("asyncapi");
try {
  const schema = await (await fetch("asyncapi/asyncapi.json")).json();
  const here = new URL(".", location.href);
  for (const server of Object.values(schema.servers)) {
    if (server.protocol !== "ws") continue;
    server.protocol = here.protocol === "https:" ? "wss" : "ws";
    server.host = here.host;
    if (here.pathname !== "/") server.pathname = here.pathname.replace(/\/$/, "");
    delete server.variables;
  }
  // Clients have no use for the address of Redis; what goes over it is described at the end.
  delete schema.servers.redis;
  for (const channel of Object.values(schema.channels)) {
    if (channel.servers.some((server) => server.$ref === "#/servers/redis")) delete channel.servers;
  }
  const { render } = await import(new URL(container.dataset.renderer, location.href));
  await render(schema, {
    show: { sidebar: true },
    expand: { messageExamples: true },
    receiveLabel: "to the service",
    sendLabel: "from the service",
  });
} catch (error) {
  container.innerHTML = '<p class="status" role="alert">This page cannot be shown. The document itself is asyncapi.json, above.</p>';
  throw error;
}
