"use strict";
// Asks the page's own server for what is new, and puts it in place: opened parts, chosen axes, the place and the focus stay.
const EVERY_MS = 2000;
let known = document.getElementById("main").dataset.tag;

function opened() {
  const main = document.getElementById("main");
  return {
    details: [...main.querySelectorAll("details[open]")].map((part) => part.id),
    views: [...main.querySelectorAll(".chart")].map((box) => [box.id, box.querySelector(".views [aria-pressed=true]")?.dataset.view]),
    focus: document.activeElement?.closest("[id]")?.id,
    at: [scrollX, scrollY],
  };
}

function restore(before) {
  document.querySelectorAll("#main details").forEach((part) => { part.open = before.details.includes(part.id); });
  for (const [id, view] of before.views) {
    const buttons = document.getElementById(id)?.querySelectorAll(".views button") ?? [];
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.view === view)));
  }
  start();
  document.getElementById(before.focus)?.querySelector(".plot")?.focus({ preventScroll: true });
  scrollTo(...before.at);
}

function put(news) {
  const before = opened();
  document.querySelectorAll("#main .plot").forEach((plot) => Plotly.purge(plot));
  facts = news.data;
  document.title = news.title;
  document.getElementById("main").innerHTML = news.main;
  restore(before);
}

async function ask() {
  const state = document.getElementById("live");
  try {
    const answer = await fetch("content.json", { headers: { "If-None-Match": known }, cache: "no-store" });
    if (answer.status === 200) {
      const news = await answer.json();
      put(news);
      known = answer.headers.get("ETag");
      state.textContent = news.trouble ? `live, but: ${news.trouble}` : "live";
    } else if (answer.status !== 304) {
      state.textContent = `not live: the server answered ${answer.status}`;
    }
  } catch {
    state.textContent = "not live: edgenas report --serve has ended";
  }
  setTimeout(ask, EVERY_MS);
}

ask();
