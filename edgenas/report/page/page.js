"use strict";
const root = document.documentElement;
const facts = JSON.parse(document.getElementById("data").textContent);
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
  article.querySelector(".trial").replaceChildren(list);
}

function theme(name) {
  root.dataset.theme = name;
  document.querySelectorAll(".chart").forEach(draw);
}

document.querySelectorAll(".views button").forEach((button) => button.addEventListener("click", () => {
  button.parentElement.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
  draw(button.closest(".chart"));
}));
document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
wantsDark.addEventListener("change", () => theme(wantsDark.matches ? "dark" : "light"));
document.querySelectorAll(".chart").forEach(draw);
