"use strict";
const root = document.documentElement;
let facts = JSON.parse(document.getElementById("data").textContent);
const wantsDark = matchMedia("(prefers-color-scheme: dark)");

// "$accent" in a figure is the page's --accent of the moment.
function coloured(value, style) {
  if (typeof value === "string") return value.startsWith("$") ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
  if (Array.isArray(value)) return value.map((item) => coloured(item, style));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
  return value;
}

function layoutOf(view, style) {
  const layout = coloured(view.layout, style);
  const ink = style.getPropertyValue("--muted").trim();
  const grid = style.getPropertyValue("--grid").trim();
  for (const name of Object.keys(layout)) {
    if (!/^[xy]axis/.test(name)) continue;
    const axis = layout[name];
    layout[name] = { gridcolor: grid, zeroline: false, linecolor: grid, automargin: true, ticks: "", ...axis };
    if (axis.title) layout[name].title = { standoff: 12, font: { size: 12 }, ...axis.title };
  }
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 12, t: 34, b: 48 },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 12 } },
    hoverlabel: { align: "left" }, hovermode: "closest", dragmode: false,
    ...layout,
  };
}

function draw(box) {
  const figure = facts.figures[box.dataset.figure];
  const pressed = box.querySelector(".views [aria-pressed=true]");
  const view = figure.views[pressed ? Number(pressed.dataset.view) : 0];
  const style = getComputedStyle(root);
  const plot = box.querySelector(".plot");
  Plotly.react(plot, coloured(view.data, style), layoutOf(view, style), { displayModeBar: false, responsive: true });
  if (!plot.dataset.listens) {
    plot.dataset.listens = "yes";
    plot.on("plotly_click", (event) => show(box, event.points[0].customdata));
    plot.addEventListener("keydown", (event) => walk(box, plot, event));
    plot.addEventListener("blur", () => { if (plot.data) Plotly.Fx.unhover(plot); });  // none: live.js is replacing it
  }
}

function show(box, number) {
  const article = box.closest("article");
  const trial = article && facts.trials[article.dataset.study][number];
  if (!trial) return;
  const list = document.createElement("dl");
  for (const [name, value] of trial) {
    const row = list.appendChild(document.createElement("div"));
    row.appendChild(document.createElement("dt")).textContent = name;
    row.appendChild(document.createElement("dd")).textContent = value;
  }
  const output = article.querySelector(".trial");
  output.replaceChildren(list);
  output.dataset.trial = number;
}

// ---- the keyboard: arrow keys go from point to point as they stand from left to right, Enter shows the trial

function pointsOf(plot) {
  const points = [];
  plot.data.forEach((trace, curveNumber) => {
    if (trace.hoverinfo === "skip") return;
    (trace.x || []).forEach((x, pointNumber) => {
      if (trace.y[pointNumber] != null) points.push({ curveNumber, pointNumber, x, y: trace.y[pointNumber] });
    });
  });
  return points.sort((a, b) => a.x - b.x || a.curveNumber - b.curveNumber);
}

function walk(box, plot, event) {
  const points = pointsOf(plot);
  const last = points.length - 1;
  const at = Number(plot.dataset.at ?? -1);
  const to = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
  if (event.key === "Enter" && points[at]) return show(box, plot.data[points[at].curveNumber].customdata?.[points[at].pointNumber]);
  if (to === undefined || last < 0) return;
  event.preventDefault();
  go(box, plot, to);
}

function go(box, plot, to) {
  const points = pointsOf(plot);
  const point = points[to];
  plot.dataset.at = to;
  const axis = (plot.data[point.curveNumber].yaxis || "y") === "y" ? "xy" : "x" + plot.data[point.curveNumber].yaxis;
  if (document.activeElement === plot) Plotly.Fx.hover(plot, [{ curveNumber: point.curveNumber, pointNumber: point.pointNumber }], axis);
  box.querySelector(".told-point").textContent = `${to + 1} of ${points.length}: ${wordsOf(plot.data[point.curveNumber], point, plot.layout)}`;
}

// The point that the keyboard has gone to, as one of a trial or of a place in its line: drawn anew, a chart has it elsewhere.
function goneTo(box) {
  const plot = box.querySelector(".plot");
  const point = pointsOf(plot)[plot.dataset.at];
  return point && markOf(plot, point);
}

function markOf(plot, { curveNumber, pointNumber }) {
  const { name, customdata } = plot.data[curveNumber];
  return { line: name, number: customdata?.[pointNumber], nth: pointNumber };
}

function goBack(box, mark) {
  if (!mark) return;
  const plot = box.querySelector(".plot");
  const marks = pointsOf(plot).map((point) => markOf(plot, point));
  const same = ({ number, nth }) => (mark.number == null ? number == null && nth === mark.nth : number === mark.number);
  const inLine = marks.findIndex((other) => other.line === mark.line && same(other));
  const place = inLine < 0 && mark.number != null ? marks.findIndex(same) : inLine;  // a trial may have left the front
  if (place >= 0) return go(box, plot, place);
  delete plot.dataset.at;
  box.querySelector(".told-point").textContent = "";
}

function wordsOf(trace, point, layout) {
  const number = trace.customdata?.[point.pointNumber];
  const vertical = layout["yaxis" + (trace.yaxis || "y").slice(1)]?.title?.text;
  const parts = [trace.name, number != null && `trial ${number}`, `${layout.xaxis?.title?.text ?? "x"} ${short(point.x)}`];
  if (vertical) parts.push(`${vertical} ${short(point.y)}`);
  const text = Array.isArray(trace.text) ? trace.text[point.pointNumber] : "";
  return [...parts, text && text.replace(/<br>/g, ", ").trim()].filter(Boolean).join(", ");
}

function short(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(5))) : value;
}

// ---- theme, buttons, print

function theme(name) {
  root.dataset.theme = name;
  document.querySelectorAll(".chart").forEach(draw);
}

function start() {
  document.querySelectorAll(".chart").forEach(draw);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.parentElement.matches(".views")) {
    button.parentElement.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    const box = button.closest(".chart");
    const mark = goneTo(box);
    draw(box);
    goBack(box, mark);
  }
  if (button?.matches(".copy")) {
    const code = button.parentElement.querySelector("code");
    navigator.clipboard.writeText(code.textContent).then(
      () => { button.textContent = "copied"; },
      () => { getSelection().selectAllChildren(code); button.textContent = "selected"; },
    );
  }
});
document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
wantsDark.addEventListener("change", () => theme(wantsDark.matches ? "dark" : "light"));
let before = root.dataset.theme;
addEventListener("beforeprint", () => { before = root.dataset.theme; theme("light"); });
addEventListener("afterprint", () => theme(before));
start();
