// Runs ahead of the page: tells the test what the page shows, and what becomes of its streams.
"use strict";
let last = Promise.resolve();
const send = (path, body) => (last = last.then(() => fetch(path, { method: "POST", body })));
const tell = (what) => send("told", JSON.stringify(what));

addEventListener("error", ({ message }) => tell({ error: message }));
addEventListener("unhandledrejection", ({ reason }) => tell({ error: String(reason) }));

let source;
const Native = EventSource;
window.EventSource = class extends Native {
  constructor(url) {
    super(url);
    source = url;
    let times = 0;
    this.addEventListener("open", () => tell({ opened: (times += 1) }));
    // One that is not closed at the end, as a careless page would have it.
    const careless = new Native(url);
    careless.onerror = () => careless.readyState === Native.CLOSED && tell({ careless: "closed" });
  }
};

addEventListener("DOMContentLoaded", () => {
  const line = document.querySelector("#progress");
  new MutationObserver(() => tell({ progress: line.textContent })).observe(line, { childList: true });
  const whenDone = async () => {
    tell({ status: document.body.dataset.status, shown: document.querySelector("#result").textContent });
    const answer = await fetch(source.replace(/events$/, "result"));
    send("result", await answer.arrayBuffer());
  };
  new MutationObserver(whenDone).observe(document.body, { attributes: true });
});
