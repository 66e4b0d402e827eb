// Writes types/*.d.ts from the published schemas, or with --check only names the files that have drifted.

import { readFile, writeFile } from "node:fs/promises";
import { compile } from "json-schema-to-typescript";

const schemas = new URL("../../schemas/", import.meta.url);
const types = new URL("./types/", import.meta.url);
const check = process.argv.includes("--check");

const load = async (name) => JSON.parse(await readFile(new URL(name, schemas), "utf8"));

/** One schema of the bodies of a service's HTTP routes. */
function httpBodies(openapi) {
  const $defs = JSON.parse(JSON.stringify(openapi.components.schemas).replaceAll("#/components/schemas/", "#/$defs/"));
  return { description: "What HTTP requests and answers hold.", oneOf: Object.keys($defs).map((name) => ({ $ref: `#/$defs/${name}` })), $defs };
}

/** Let editors offer the known codes, without refusing one that a later version adds. */
function openCodes(schema) {
  if (schema === null || typeof schema !== "object") return schema;
  for (const [key, value] of Object.entries(schema)) {
    if (key === "code" && value.type === "string" && value.examples) {
      value.tsType = [...value.examples.map((code) => JSON.stringify(code)), "(string & {})"].join(" | ");
    } else openCodes(value);
  }
  return schema;
}

const sources = {
  "chat.client.d.ts": ["ChatClientMessage", await load("chat.client.schema.json")],
  "chat.server.d.ts": ["ChatServerMessage", await load("chat.server.schema.json")],
  "joins.d.ts": ["JoinsMessage", await load("joins.schema.json")],
  "http.d.ts": ["HttpBody", httpBodies(await load("openapi.chat-server.json"))],
};

let drifted = false;
for (const [file, [name, schema]] of Object.entries(sources)) {
  const text = await compile(openCodes(schema), name, {
    bannerComment: "// Generated from schemas/ by `task types`; do not edit.",
    // Unknown keys are allowed on the wire, but an index signature would hide a misspelt key from the compiler.
    additionalProperties: false,
    style: { printWidth: 120 },
  });
  const path = new URL(file, types);
  if ((await readFile(path, "utf8").catch(() => "")) === text) continue;
  drifted = true;
  if (check) {
    console.error(`clients/web/types/${file} is not what the schemas say: run \`task types\``);
  } else {
    await writeFile(path, text);
    console.log(`clients/web/types/${file} written`);
  }
}
process.exitCode = check && drifted ? 1 : 0;
