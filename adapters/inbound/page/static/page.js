// What the page adds where scripts run: parts that changed are put in as the server sends them. Nothing depends on it.
"use strict";

const live = document.getElementById("live");
const RELOAD_AFTER_MS = 10_000;

function say(text, state) {
  if (live.textContent !== text) live.textContent = text;
  live.dataset.state = state;
}

// The part of this name, unless it is shown already, or somebody is in the middle of something in it.
function put(name, version, html) {
  const part = document.getElementById(name);
  if (part === null || part.dataset.version === version) return true;
  if (part.querySelector("details[open], input:focus, select:focus") !== null) return false;
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.innerHTML = html; // rendered and escaped by the server, which sends no scripts, and the policy runs none
  part.dataset.version = version;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  return true;
}

function watch(path) {
  const waiting = new Map();
  const source = new EventSource(path);

  function putAll() {
    for (const [name, [version, html]] of waiting) {
      if (put(name, version, html)) waiting.delete(name);
    }
  }

  source.addEventListener("open", () => say("live", "on"));
  source.addEventListener("regions", (event) => {
    for (const [name, part] of Object.entries(JSON.parse(event.data))) waiting.set(name, part);
    putAll();
    say("live", "on");
  });
  source.addEventListener("trouble", (event) => say(JSON.parse(event.data), "off"));
  // Not allowed any more, or gone, or a deployment: the whole page knows better.
  source.addEventListener("bye", () => {
    source.close();
    again();
  });
  source.addEventListener("error", () => {
    say("not live, trying again", "off");
    if (source.readyState === EventSource.CLOSED) again();
  });
  document.addEventListener("focusout", () => setTimeout(putAll, 200));
  document.addEventListener("toggle", putAll, true);
  window.addEventListener("pagehide", () => source.close());
}

function again() {
  say("not live, reloading soon", "off");
  setTimeout(() => location.reload(), RELOAD_AFTER_MS);
}

// A button pressed twice sends once.
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button");
  if (event.target.method === "post" && button !== null) setTimeout(() => (button.disabled = true), 0);
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // from the browser's memory: old, with a stream that is closed
});

if (live !== null) watch(live.dataset.stream);
