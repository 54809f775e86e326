// Follows the event stream of the page and swaps the parts that have changed. Everything works without it, by loading the
// page again.

const LONGEST_PAUSE = 15_000;

const body = document.body;
const indicator = document.getElementById("live");
const trouble = document.getElementById("trouble");

// Times count on.

const UNITS = [[86_400, "d"], [3_600, "h"], [60, "m"], [1, "s"]];

function length(seconds) {
  const at = Math.max(UNITS.findIndex(([size]) => seconds >= size), 0);
  const [size, unit] = seconds < 1 ? UNITS[3] : UNITS[at];
  const [part, smaller] = (seconds < 60 ? null : UNITS[at + 1]) ?? [0, ""];
  const rest = part ? Math.floor((seconds % size) / part) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
}

function showTime(element) {
  const past = (Date.now() - Date.parse(element.dateTime)) / 1_000;
  const whole = length(Math.abs(past));
  if ("since" in element.dataset) {
    element.textContent = length(Math.max(past, 0));
  } else if (Math.abs(past) < 1) {
    element.textContent = "now";
  } else {
    element.textContent = past > 0 ? `${whole} ago` : `in ${whole}`;
  }
}

function showTimes(root = document) {
  root.querySelectorAll("time[data-age], time[data-since]").forEach(showTime);
}

// Parts are swapped, once a frame.

function made(key, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const element = template.content.firstElementChild;
  if (!element) return null;
  element.dataset.key = key;
  showTimes(element);
  return element;
}

// What the reader has opened stays open, and what is being filled in stays as it is.
function replace(old, element) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  if (focused?.matches("input, textarea, select")) return old;
  const opened = [...old.querySelectorAll("details")].map((it) => it.open);
  element.querySelectorAll("details").forEach((it, at) => (it.open = opened[at] ?? it.open));
  const at = focused ? [...old.querySelectorAll("a, button, summary")].indexOf(focused) : -1;
  if (old.classList.contains("chosen")) element.classList.add("chosen");
  element.classList.add("fresh");
  old.replaceWith(element);
  if (at >= 0) element.querySelectorAll("a, button, summary")[at]?.focus();
  return element;
}

// What an element shows, without the ages that count on by themselves and the marks that only this page makes.
function bare(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("time[data-age], time[data-since]").forEach((it) => (it.textContent = ""));
  copy.classList.remove("fresh", "chosen");
  if (!copy.classList.length) copy.removeAttribute("class");
  return copy.outerHTML;
}

function swap({ id, order, parts, more }) {
  const place = document.getElementById(id);
  if (!place) return;
  const known = new Map([...place.children].map((it) => [it.dataset.key, it]));
  if (more) {
    const isAtEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    for (const [key, html] of more) {
      if (!known.has(key)) place.append(made(key, html));
    }
    if (isAtEnd) place.scrollTop = place.scrollHeight;
    return;
  }
  let behind = null;
  for (const key of order) {
    let element = known.get(key);
    known.delete(key);
    if (key in parts) {
      const fresh = made(key, parts[key]);
      if (!element) fresh?.classList.add("fresh");
      const isSame = element && fresh && bare(element) === bare(fresh);
      if (!isSame) element = element && fresh ? replace(element, fresh) : fresh;
    }
    if (!element) continue;
    const next = behind ? behind.nextElementSibling : place.firstElementChild;
    if (next !== element) place.insertBefore(element, next);
    behind = element;
  }
  known.forEach((it) => it.remove());
}

const waiting = [];

function take(event) {
  if (waiting.push(...JSON.parse(event.data)) > 0) {
    requestAnimationFrame(() => waiting.splice(0).forEach(swap));
  }
}

// The stream is there while the page is looked at: a browser has few connections for one site.

let source = null;
let pause = 500;
let timer = 0;

function say(state, text) {
  if (!indicator) return;
  indicator.hidden = false;
  indicator.dataset.state = state;
  indicator.textContent = text;
}

function end() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function follow() {
  end();
  if (document.hidden) return;
  source = new EventSource(body.dataset.live);
  source.addEventListener("open", () => {
    pause = 500;
    say("live", "live");
  });
  source.addEventListener("news", take);
  source.addEventListener("last", (event) => {
    take(event);
    end();
    body.removeAttribute("data-live");
    say("over", "done");
  });
  source.addEventListener("problem", (event) => {
    const { title, detail } = JSON.parse(event.data);
    trouble.textContent = `${title}: ${detail}`;
    trouble.hidden = false;
  });
  source.addEventListener("error", () => {
    say("lost", "reconnecting");
    if (source?.readyState !== EventSource.CLOSED) return;
    // The browser has given up: the server refused, or it is away.
    end();
    fetch(body.dataset.live, { method: "HEAD" }).then(
      (answer) => answer.status === 401 && location.reload(),
      () => {},
    );
    timer = setTimeout(follow, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  });
}

if (body.dataset.live) {
  follow();
  document.addEventListener("visibilitychange", () => {
    if (!body.dataset.live) return;
    if (document.hidden) end();
    else if (!source) follow();
  });
  addEventListener("pagehide", end);
  addEventListener("pageshow", (event) => event.persisted && body.dataset.live && follow());
}

// The filter completes its words: fields, states, and the kinds that are on the page.

const filter = document.querySelector("input[data-words]");

function complete() {
  const [, before, word] = filter.value.match(/^(.*?)([^\s()]*)$/s);
  const kinds = [...document.querySelectorAll("td.kind bdi")].map((it) => `kind="${it.textContent}"`);
  const words = new Set([...filter.dataset.words.split(" "), ...kinds]);
  const fitting = [...words].filter((it) => word && it.startsWith(word) && it !== word);
  filter.list.replaceChildren(...fitting.map((it) => new Option("", before + it)));
}

if (filter) {
  const examples = [...filter.list.options];
  filter.addEventListener("input", () =>
    filter.value ? complete() : filter.list.replaceChildren(...examples),
  );
}

// Commands can be copied.

for (const command of document.querySelectorAll("figure.command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command.querySelector("pre").textContent);
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(command.querySelector("pre"));
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1_500);
  });
  command.querySelector("figcaption").append(button);
}

// Keys: / for the filter, j and k from row to row, Enter to open, n for the next page.

function choose(step) {
  const rows = [...document.querySelectorAll("tbody tr[data-key]")];
  const at = rows.findIndex((it) => it.classList.contains("chosen"));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rows[at]?.classList.remove("chosen");
  next?.classList.add("chosen");
  next?.querySelector("a")?.focus();
}

addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches?.("input, textarea, select")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.key === "/" && filter) {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === "j" || event.key === "k") {
    choose(event.key === "j" ? 1 : -1);
  } else if (event.key === "n") {
    document.querySelector("a[rel=next]")?.click();
  }
});

showTimes();
setInterval(() => showTimes(), 1_000);
