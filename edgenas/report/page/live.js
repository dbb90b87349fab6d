"use strict";
// Asks the page's own server for what is new, and puts it in place: opened parts, chosen axes, the trial shown, the points that
// were gone to, the place and the focus stay.
const EVERY_MS = 2000;
const STANDING = "a[href], button, summary, pre, .plot, .scroll";  // what has the focus, or is scrolled sideways
const state = document.getElementById("live");
let known = document.getElementById("main").dataset.tag;
let told = state.textContent;  // what the server said last

// Where an element stands: the nearest part with an id, and which one it is of those in it that are called alike.
function standing(element) {
  const part = element.closest("[id]");
  const called = calledAs(element);
  return { part: part.id, called, nth: alike(part, called).indexOf(element) };
}

function alike(part, called) {
  return [...part.querySelectorAll(STANDING)].filter((other) => calledAs(other) === called);
}

// What its reader knows it by. "copy" is of the command before it; the words of a chart and of a summary count what is in them.
function calledAs(element) {
  const of = element.matches(".copy") ? element.previousElementSibling : element;
  const words = element.matches("button") ? element.textContent : "";
  const name = of.getAttribute("aria-label") ?? of.getAttribute("href") ?? words;
  return [element.tagName, element.classList[0], element.matches(".plot") ? "" : name].join(" ");
}

function sameOf({ part, called, nth }) {
  const there = document.getElementById(part);
  return there && alike(there, called)[nth];
}

function focusOn(where) {
  const same = sameOf(where);
  if (same) return same.focus({ preventScroll: true });
  const part = document.getElementById(where.part) ?? document.getElementById("main");
  part.tabIndex = -1;  // it is not there any more: Tab goes on from where it was
  part.focus({ preventScroll: true });
}

function opened() {
  const main = document.getElementById("main");
  const all = (selector) => [...main.querySelectorAll(selector)];
  const focused = document.activeElement;
  return {
    details: all("details[open]").map((part) => part.id),
    views: all(".views [aria-pressed=true]").map((button) => [button.closest(".chart").id, button.textContent]),
    trials: all(".trial[data-trial]").map((output) => [output.closest("article").id, output.dataset.trial]),
    points: all(".chart").map((box) => [box.id, goneTo(box)]),
    aside: all(".scroll").filter((box) => box.scrollLeft).map((box) => [standing(box), box.scrollLeft]),
    focus: focused !== main && main.contains(focused) ? standing(focused) : null,  // main itself is not replaced
    at: [scrollX, scrollY],
  };
}

function restore(before) {
  document.querySelectorAll("#main details").forEach((part) => { part.open = before.details.includes(part.id); });
  for (const [id, label] of before.views) {
    const buttons = [...(document.getElementById(id)?.querySelectorAll(".views button") ?? [])];
    if (!buttons.some((button) => button.textContent === label)) continue;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === label)));
  }
  start();
  for (const [id, number] of before.trials) show(document.getElementById(id), number);
  for (const [where, left] of before.aside) sameOf(where)?.scrollTo(left, 0);
  if (before.focus) focusOn(before.focus);
  for (const [id, mark] of before.points) if (document.getElementById(id)) goBack(document.getElementById(id), mark);
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

// What the server says now, put in place, and in words.
async function asked() {
  let answer, news;
  try {
    answer = await fetch("content.json", { headers: { "If-None-Match": known }, cache: "no-store" });
    if (answer.status === 200) news = await answer.json();
  } catch {
    return "not live: edgenas report --serve does not answer";
  }
  if (news) {
    put(news);
    known = answer.headers.get("ETag");
    told = news.trouble ? `live, but: ${news.trouble}` : "live";
  }
  return news || answer.status === 304 ? told : `not live: the server answered ${answer.status}`;
}

async function ask() {
  try {
    const words = await asked();
    if (state.textContent !== words) state.textContent = words;  // what is set is read out, be it the same
  } finally {
    setTimeout(ask, EVERY_MS);
  }
}

ask();
