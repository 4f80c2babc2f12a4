// SPDX-License-Identifier: Apache-2.0
// Serves this folder to this machine alone: node serve.mjs [PORT]
// The two headers give the page threads; any other server of static files works too, with one thread.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(fileURLToPath(new URL(".", import.meta.url)));
const types = {
  ".css": "text/css",
  ".html": "text/html",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

const server = createServer(async (request, response) => {
  try {
    const path = resolve(join(root, decodeURIComponent(new URL(request.url, "http://localhost").pathname)));
    if (path !== root && !path.startsWith(root + sep)) throw new Error("outside");
    const file = path === root ? join(root, "index.html") : path;
    const { size } = await stat(file);
    response.writeHead(200, {
      "Content-Length": size,
      "Content-Type": types[extname(file)] ?? "application/octet-stream",
      "Cross-Origin-Embedder-Policy": "require-corp",
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cache-Control": "no-cache",
    });
    createReadStream(file).pipe(response);
  } catch {
    response.writeHead(404).end("not here");
  }
});
server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
