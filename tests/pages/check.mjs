// Drives Chromium through the pages: node check.mjs SCENE URL KEY. Says what it has seen as lines of JSON.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { existsSync, mkdirSync, readFileSync } from "node:fs";

const require = createRequire(`${process.env.LONGRUN_PAGES_MODULES}/`);
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");

// The third word is a key to sign in with, or the URL of a receiver of webhooks.
const [scene, url, key] = process.argv.slice(2);
const shots = process.env.LONGRUN_PAGES_SHOTS;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (said) => console.log(JSON.stringify({ said }));
const goOn = () => lines.next();

/// The file of a program that may be named without its folder.
function found(program) {
  const folders = program.includes("/") ? [""] : process.env.PATH.split(":").map((it) => `${it}/`);
  return folders.map((folder) => folder + program).find((file) => existsSync(file)) ?? program;
}

// Its sandbox needs rights that containers do not give; it opens nothing but the pages here.
const browser = await chromium.launch({
  executablePath: found(process.env.CHROMIUM),
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});

/// A page whose every request and message is looked at.
async function open({ isRestarting = false, ...options } = {}) {
  // A row that has just come fades in: while it does, its colours are not those that are measured.
  const viewport = { width: 1280, height: 800 };
  const context = await browser.newContext({ viewport, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const troubles = [];
  page.on("console", (message) => {
    // What is wrong with a form is no trouble of the page's.
    if (/status of 400/.test(message.text())) return;
    const isLost = isRestarting && /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|net::/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isLost) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) troubles.push(`a request to ${request.url()}`);
  });
  page.setDefaultTimeout(15_000);
  const settle = () => assert.deepEqual(troubles, []);
  return { page, context, settle, troubles };
}

/// What a machine sees of barriers: nothing serious.
async function barriers(page) {
  // The page's policy keeps out scripts, and this one comes from outside of it.
  await page.evaluate(readFileSync(axe, "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter((it) => ["serious", "critical"].includes(it.impact));
  const told = serious.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" | ")}`);
  assert.deepEqual(told, [], `${page.url()}`);
}

async function shot(page, name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

async function api(method, path, body) {
  const answer = await fetch(url + path, {
    method,
    headers: { "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

const submit = async (kind, more = {}) =>
  (await api("POST", "/v1/operations", { kind, input: { text: "one" }, ...more })).name.split("/")[1];

/// How long what has happened took to be shown, in milliseconds.
const delays = [];

/// Waits until it is shown that something has happened just now.
async function soon(locator, options = {}) {
  const begun = performance.now();
  await locator.waitFor(options);
  delays.push(performance.now() - begun);
}

/// A busy machine may be late now and then, and not as a rule.
function inTime() {
  delays.sort((a, b) => a - b);
  assert.ok(delays[delays.length >> 1] < 1_000, `shown after ${delays.map(Math.round)} ms`);
}

/// Waits until it has ended.
async function ended(id) {
  for (;;) {
    const answer = await fetch(`${url}/v1/operations/${id}?wait=5s`, { redirect: "manual" });
    if ((await answer.json()).done) return;
  }
}

const scenes = {
  async everything() {
    const { page, settle } = await open();
    await page.goto(url, { waitUntil: "load" });
    assert.equal(page.url(), `${url}/ui/operations`);
    await page.getByText("There are no operations yet").waitFor();
    await page.locator("#live[data-state=live]").waitFor();

    // What is submitted is there within a second, and so is what becomes of it.
    const queued = await submit("nobody", { labels: { team: "maps", customer: "7" } });
    await soon(page.locator(`tr[data-key="${queued}"]`, { hasText: "no worker serves nobody" }));
    const failed = await submit("bad");
    await ended(failed);
    await soon(page.locator(`tr[data-key="${failed}"]`, { hasText: "Failed" }));
    const done = await submit("ok", { input: { json: { a: [1, 2, { b: "c" }] } } });
    await ended(done);
    await soon(page.locator(`tr[data-key="${done}"]`, { hasText: "Succeeded" }));
    const running = await submit("slow");
    await page.locator(`tr[data-key="${running}"]`, { hasText: "copying" }).waitFor();
    assert.equal(await page.locator("tbody tr").first().getAttribute("data-key"), running);
    for (let at = 0; at < 12; at++) await submit(["ok", "nobody", "report.build"][at % 3], { labels: { team: "maps" } });
    await submit("nobody", { startIn: "3600s" });
    await soon(page.locator("tbody tr", { hasText: "scheduled" }));
    await barriers(page);
    await shot(page, "operations-light");

    // Filters, by keys and by clicks.
    await page.keyboard.press("/");
    await page.keyboard.type("kind=nobody AND sta");
    const offered = await page.locator("#filters option").evaluateAll((all) => all.map((it) => it.value));
    assert.ok(offered.includes("kind=nobody AND state=FAILED"), offered.join());
    await page.locator("input[name=filter]").fill("state=FAILED");
    await page.keyboard.press("Enter");
    await page.waitForURL(/filter=state%3DFAILED/);
    assert.equal(await page.locator("tbody tr").count(), 1);
    await page.getByRole("link", { name: "Running", exact: true }).click();
    await page.locator(`tr[data-key="${running}"]`).waitFor();
    await page.locator("#live[data-state=live]").waitFor();
    assert.equal(await page.locator("tbody tr").count(), 1);

    // One of them: by keys, its log and its progress live.
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(`${url}/ui/operations/${running}`);
    await page.locator("#log", { hasText: "the first line" }).waitFor();
    await page.locator("#live[data-state=live]").waitFor();
    await barriers(page);
    await shot(page, "operation-running-light");
    say("running");
    await page.locator("#head", { hasText: "sorting" }).waitFor();
    await page.locator("#timeline .curve polyline").waitFor();
    say("progress");
    await page.locator("#head", { hasText: "Succeeded" }).waitFor();
    await page.locator("#contents pre", { hasText: "one" }).first().waitFor();
    await page.locator("#live[data-state=over]").waitFor();
    await page.getByRole("button", { name: "Copy" }).first().click();

    // A list leaves out what no longer matches.
    await page.goto(`${url}/ui/operations?filter=state%3DQUEUED`);
    await page.locator("#live[data-state=live]").waitFor();
    await page.locator(`tr[data-key="${queued}"]`).waitFor();
    await api("POST", `/v1/operations/${queued}:cancel`);
    await soon(page.locator(`tr[data-key="${queued}"]`), { state: "detached" });

    // A stream that begins again marks nothing as new but what is new, however the ages of rows are written.
    await page.evaluate(() => {
      document.querySelectorAll("tr.fresh").forEach((it) => it.classList.remove("fresh"));
      document.querySelectorAll("tr time").forEach((it) => (it.textContent = "long ago"));
      dispatchEvent(new Event("pagehide"));
      document.dispatchEvent(new Event("visibilitychange"));
    });
    const another = await submit("nobody");
    await page.locator(`tr[data-key="${another}"]`).waitFor();
    const fresh = await page.locator("tr.fresh").evaluateAll((all) => all.map((it) => it.dataset.key));
    assert.deepEqual(fresh, [another]);

    // What can be done to one.
    await page.goto(`${url}/ui/operations/${failed}`);
    await page.getByText("no disk").first().waitFor();
    await barriers(page);
    await shot(page, "operation-failed-light");
    await page.getByRole("button", { name: "Retry", exact: true }).click();
    await page.waitForURL((it) => !it.href.endsWith(failed));
    await page.getByText("Retry of").waitFor();
    await page.locator("#head", { hasText: "Failed" }).waitFor();
    await page.getByText("Delete…").click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.waitForURL(`${url}/ui/operations`);
    const cancelled = await submit("nobody");
    await page.goto(`${url}/ui/operations/${cancelled}`);
    await page.locator("#live[data-state=live]").waitFor();
    await page.getByText("Cancel…").click();
    await page.getByLabel("Why, for people").fill("wrong input");
    await page.getByRole("button", { name: "Cancel the operation" }).click();
    await page.getByText("cancel requested: wrong input").or(page.getByText("wrong input")).first().waitFor();
    await page.goto(`${url}/ui/operations/${done}`);
    await page.locator("pre.text", { hasText: "\"b\": \"c\"" }).first().waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download" }).first().click(),
    ]);
    assert.match(download.suggestedFilename(), /\.json$|\.result$/);

    // Many.
    await page.goto(`${url}/ui/operations?filter=kind%3Dreport.build`);
    await page.getByRole("link", { name: "cancel…" }).click();
    await page.getByText("Cancel 4 operations?").waitFor();
    await barriers(page);
    await shot(page, "bulk-light");
    await page.getByRole("button", { name: "Cancel 4" }).click();
    await page.getByText("4 operations told to stop").waitFor();

    // Start one, with what is wrong first.
    await page.getByRole("link", { name: "Start one" }).click();
    await page.locator("input[name=kind]").fill("ok");
    await page.getByLabel("Input", { exact: true }).fill("{");
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText("must be JSON").waitFor();
    await barriers(page);
    await shot(page, "start-light");
    await page.getByLabel("Input", { exact: true }).fill("{\"x\": 1}");
    await page.getByRole("button", { name: "Start" }).click();
    await page.waitForURL(/\/ui\/operations\/[0-9a-f-]{36}$/);
    await page.locator("#head", { hasText: "Succeeded" }).waitFor();

    // By the form of its kind.
    await page.getByRole("link", { name: "Start one", exact: true }).click();
    await page.getByRole("link", { name: "ok", exact: true }).click();
    await barriers(page);
    await shot(page, "form-light");
    await page.getByLabel("Sheet").fill("n12");
    await page.getByRole("button", { name: "Start" }).click();
    assert.ok(await page.getByLabel("Sheet").evaluate((it) => it.validity.patternMismatch));
    await page.getByLabel("Sheet").fill("N12");
    await page.getByLabel("Shade").check();
    await page.getByRole("button", { name: "Start" }).click();
    await page.locator("#head", { hasText: "Succeeded" }).waitFor();
    await page.getByText("\"shade\": true").first().waitFor();

    for (const section of ["Kinds", "Workers", "System"]) {
      await page.getByRole("link", { name: section, exact: true }).click();
      await page.locator("#live[data-state=live]").waitFor();
      await barriers(page);
      await shot(page, `${section.toLowerCase()}-light`);
    }
    await page.goto(`${url}/ui/kinds`);
    await page.locator("#live[data-state=live]").waitFor();
    await submit("another");
    await soon(page.locator("tr", { hasText: "another" }));
    inTime();
    // What one presses is in sight on a small screen as well.
    await page.setViewportSize({ width: 1024, height: 800 });
    const cut = await page.locator(".table").evaluate((it) => it.scrollWidth - it.clientWidth);
    assert.ok(cut <= 0, `the table of kinds is ${cut} pixels too wide`);
    await page.setViewportSize({ width: 1280, height: 800 });
    settle();

    // Dark, narrow, and without script.
    for (const [name, options] of [
      ["dark", { colorScheme: "dark" }],
      ["narrow", { viewport: { width: 390, height: 844 } }],
      ["bare", { javaScriptEnabled: false }],
    ]) {
      const other = await open(options);
      for (const path of ["operations", `operations/${failed}`, `operations/${running}`, "kinds", "workers", "start", "start?kind=ok", "system", "bulk?action=delete"]) {
        await other.page.goto(`${url}/ui/${path}`);
        await other.page.locator("h1").waitFor();
        if (name === "narrow") {
          const wide = await other.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 1, `${path} is ${wide} pixels too wide`);
        }
        if (name !== "bare" && path.startsWith("operations")) await barriers(other.page);
        await shot(other.page, `${path.replace(/\/.*(.{4})$/, "-$1").replace(/\?.*/, "")}-${name}`);
      }
      if (name === "bare") {
        await other.page.goto(`${url}/ui/operations`);
        await other.page.getByRole("link", { name: "Failed", exact: true }).click();
        await other.page.locator("tbody a").first().click();
        await other.page.getByRole("button", { name: "Retry", exact: true }).click();
        await other.page.getByText("Retry of").waitFor();
      }
      other.settle();
    }
  },

  async restart() {
    const { page, settle } = await open({ isRestarting: true });
    await page.goto(`${url}/ui/operations`);
    await page.locator("#live[data-state=live]").waitFor();
    const before = await submit("nobody");
    await soon(page.locator(`tr[data-key="${before}"]`));
    say("live");
    await goOn();
    // It was missed while nothing was there to tell it.
    const after = await submit("ok");
    await page.locator(`tr[data-key="${after}"]`, { hasText: "Succeeded" }).waitFor();
    await page.locator("#live[data-state=live]").waitFor();
    await page.locator(`tr[data-key="${before}"]`).waitFor();
    settle();
  },

  async webhooks() {
    const { page, settle } = await open();
    await page.goto(`${url}/ui/operations`);
    await page.getByRole("link", { name: "Webhooks", exact: true }).click();
    await page.getByText("Make a webhook…").click();
    await page.getByLabel("Receiver").fill("ftp://wrong");
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByText("must be").first().waitFor();
    await barriers(page);
    await page.getByLabel("Receiver").fill(`${key}/hook`);
    await page.getByLabel("Filter").fill('kind = "ok"');
    await page.getByLabel("cancelled").uncheck();
    await shot(page, "webhook-form-light");
    await page.getByRole("button", { name: "Make it" }).click();
    await page.waitForURL(/\/ui\/webhooks\/[a-z2-7]{16}$/);
    const one = page.url();
    await page.locator("#live[data-state=live]").waitFor();

    // A delivery is there within a second, and so is what becomes of it.
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("It is paused").waitFor();
    await page.locator("#live[data-state=live]").waitFor();
    const done = await submit("ok");
    await ended(done);
    await soon(page.locator("#rows tr", { hasText: "Waiting" }));
    await barriers(page);
    await shot(page, "webhook-paused-light");
    await page.getByRole("button", { name: "Resume" }).click();
    await page.locator("#live[data-state=live]").waitFor();
    await page.locator("#rows tr", { hasText: "Given up" }).waitFor();
    say("refused");
    await goOn();
    await page.getByRole("button", { name: "Send again" }).click();
    await page.waitForURL(one);
    await soon(page.locator("#rows tr", { hasText: "Delivered" }));
    await page.getByRole("link", { name: "Dead letters" }).click();
    await page.getByText("No delivery matches").waitFor();
    await page.goto(`${url}/ui/operations/${done}`);
    await page.getByRole("heading", { name: "Webhooks" }).waitFor();
    await barriers(page);
    await shot(page, "operation-webhooks-light");
    await page.getByRole("link", { name: "deliveries", exact: true }).click();
    await page.getByRole("heading", { name: "Deliveries" }).waitFor();
    await page.locator("#live[data-state=live]").waitFor();
    await barriers(page);
    await shot(page, "deliveries-light");
    await page.goto(one);
    await page.getByRole("button", { name: "Show the secret" }).click();
    await page.getByText("whsec_").waitFor();
    await barriers(page);
    await shot(page, "webhook-secret-light");
    await page.getByRole("link", { name: "Back" }).click();
    inTime();
    settle();
    for (const [name, options] of [
      ["dark", { colorScheme: "dark" }],
      ["narrow", { viewport: { width: 390, height: 844 } }],
      ["bare", { javaScriptEnabled: false }],
    ]) {
      const other = await open(options);
      for (const [path, title] of [["webhooks", "webhooks"], [one.slice(url.length + 4), "webhook"], ["deliveries", "deliveries"]]) {
        await other.page.goto(`${url}/ui/${path}`);
        await other.page.locator("h1").waitFor();
        if (name === "narrow") {
          const wide = await other.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 1, `${path} is ${wide} pixels too wide`);
        }
        if (name !== "bare") await barriers(other.page);
        await shot(other.page, `${title}-${name}`);
      }
      other.settle();
    }
    await page.getByText("Delete…").click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.waitForURL(`${url}/ui/webhooks`);
    settle();
  },

  async batch() {
    const { page, settle } = await open();
    const settings = { retryPolicy: { maxAttempts: 1 } };
    const stored = await api("POST", "/v1/batches", {
      batch: { rule: "RULE_MAX_FAILURES", maxFailures: 5, expectedChildren: 4 },
      requests: ["ok", "bad", "nobody"].map((kind) => ({ kind, settings })),
    });
    const id = (operation) => operation.name.split("/")[1];
    const [batch, waiting] = [id(stored.batch), id(stored.results[2].operation)];
    await page.goto(`${url}/ui/operations/${batch}`);
    await page.locator("#live[data-state=live]").waitFor();
    await page.getByText("2 of 3 have ended").waitFor();
    await barriers(page);
    await shot(page, "batch-light");
    const last = await submit("ok", { parent: `operations/${batch}` });
    await page.getByText("3 of 4 have ended").waitFor();
    await page.locator(`a[href$="${last}"]`).waitFor();
    // The last to end ends the batch.
    await api("POST", `/v1/operations/${waiting}:cancel`);
    await page.getByText("4 of 4 have ended").waitFor();
    await page.getByText("Partly succeeded").first().waitFor();
    await page.locator(`a[href$="${waiting}"]`).click();
    await page.getByText("Child of").waitFor();
    await barriers(page);
    await page.getByRole("link", { name: batch }).click();
    await page.waitForURL(`${url}/ui/operations/${batch}`);
    settle();
    for (const [name, options] of [
      ["dark", { colorScheme: "dark" }],
      ["narrow", { viewport: { width: 390, height: 844 } }],
      ["bare", { javaScriptEnabled: false }],
    ]) {
      const other = await open(options);
      await other.page.goto(page.url());
      await other.page.getByText("4 of 4 have ended").waitFor();
      const wide = await other.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 1, `it is ${wide} pixels too wide`);
      if (name !== "bare") await barriers(other.page);
      await shot(other.page, `batch-${name}`);
      other.settle();
    }
  },

  async "signing-in"() {
    const { page, context, settle } = await open();
    await page.goto(`${url}/ui/kinds`);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await barriers(page);
    await shot(page, "sign-in-light");
    await page.getByLabel("Key or token").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL(`${url}/ui/kinds`);
    await page.locator("#live[data-state=live]").waitFor();
    const [cookie] = await context.cookies();
    assert.ok(cookie.httpOnly && cookie.sameSite === "Strict" && cookie.path === "/ui", JSON.stringify(cookie));
    await page.getByRole("link", { name: "Operations", exact: true }).click();
    await page.locator("tbody a").first().click();
    await page.getByText("It is not running").waitFor();
    assert.equal(await page.getByText("Cancel…").count(), 0);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    assert.deepEqual(await context.cookies(), []);
    settle();
  },
};

try {
  await scenes[scene]();
  say("done");
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
  process.exit();
}
