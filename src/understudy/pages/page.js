"use strict";
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const darkOf = read("colours");
  const button = document.getElementById("theme");
  const asked = location.hash.replace("#", "");
  if (asked === "dark" || asked === "light") root.dataset.theme = asked;

  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";

  // Figures are built in the light colours; a copy has each replaced by its dark twin.
  const recoloured = (value) => {
    if (typeof value === "string") return darkOf[value] || value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, recoloured(one)]));
    }
    return value;
  };
  const config = (name) => ({
    responsive: true,
    displaylogo: false,
    displayModeBar: true,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: { format: "svg", filename: name },
  });
  const draw = (dark) => {
    button.textContent = dark ? "Light theme" : "Dark theme";
    figures.forEach((figure, number) => {
      const place = document.getElementById(`chart-${number + 1}`);
      const copy = dark ? recoloured(figure) : JSON.parse(JSON.stringify(figure));
      Plotly.react(place, copy.data, copy.layout, config(place.id));
    });
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    draw(isDark());
  });
  system.addEventListener("change", () => draw(isDark()));

  // Print on white, whatever is on the screen.
  let before;
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    draw(false);
  });
  window.addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    draw(isDark());
  });
  draw(isDark());
  root.dataset.drawn = String(figures.length);
})();
