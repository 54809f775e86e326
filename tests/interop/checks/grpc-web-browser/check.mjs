// The site of the page, the server that lets its pages call, and the browser. Ends when the page has told its outcome.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { LONGRUN_BIN, SCRATCH, CHROMIUM = "chromium" } = process.env;
const directory = await mkdtemp(join(tmpdir(), "longrun-web-"));
const children = [];

const start = (command, args, options) => {
  const child = spawn(command, args, options);
  children.push(child);
  return child;
};

const deadline = (promise, what) =>
  Promise.race([
    promise,
    new Promise((_, reject) => setTimeout(() => reject(new Error(`${what} took too long`)), 60_000).unref()),
  ]);

let told;
const outcome = new Promise((resolve) => (told = resolve));
const site = createServer(async (request, response) => {
  if (request.url === "/told") {
    let body = "";
    for await (const piece of request) body += piece;
    response.end();
    told(JSON.parse(body));
  } else if (request.url === "/page.js") {
    response.setHeader("content-type", "text/javascript").end(await readFile(join(SCRATCH, "page.js")));
  } else {
    const page = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>';
    response.setHeader("content-type", "text/html").end(page);
  }
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${site.address().port}`;

try {
  const store = `sqlite:${join(directory, "longrun.db")}`;
  const args = ["serve", "--listen", "127.0.0.1:0", "--store", store, "--cors-origin", origin];
  const server = start(LONGRUN_BIN, [...args, "--handler", "shout=tr a-z A-Z"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await deadline(once(createInterface({ input: server.stdout }), "line"), "the start");
  const url = line.replace("longrun listening on ", "");
  // Its sandbox needs rights that containers do not give; it opens nothing but the page.
  start(CHROMIUM, [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", `--user-data-dir=${join(directory, "profile")}`,
    `${origin}/?server=${encodeURIComponent(url)}`,
  ], { stdio: ["ignore", "ignore", "ignore"] });
  const { passed, error } = await deadline(outcome, "the page");
  if (!passed) throw new Error(error);
  for (const name of ["grpc-web", "@connectrpc/connect-web"]) {
    const { version } = JSON.parse(await readFile(join(SCRATCH, "node_modules", name, "package.json")));
    console.log(`client: ${name} ${version}`);
  }
  console.log("case: a page of another site in Chromium: submit, watch to the end, details of errors; text and binary");
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  for (const child of children) {
    if (child.exitCode !== null) continue;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }
  site.closeAllConnections();
  site.close();
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
}
