// Draws the page's Vega-Lite specifications, in the colours of its theme, again when the theme or the width changes.
const names = ["accent", "pending", "line", "ink", "soft", "panel", "bad", "warn", "accent-soft", "accent-ink"];

function colours() {
  const style = getComputedStyle(document.documentElement);
  const found = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ...found, line: style.getPropertyValue("--focus").trim(), pending: style.getPropertyValue("--warn").trim() };
}

// Specifications name colours by their part in the page ("accent"); the theme decides what they are.
function painted(value, palette) {
  if (typeof value === "string") return palette[value] && value in palette ? palette[value] : value;
  if (Array.isArray(value)) return value.map((part) => painted(part, palette));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, key === "range" || key === "color" || key === "fill" || key === "stroke" || key === "value" ? painted(part, palette) : walk(part, palette)]));
  }
  return value;
}
function walk(value, palette) {
  if (Array.isArray(value)) return value.map((part) => walk(part, palette));
  return value && typeof value === "object" ? painted(value, palette) : value;
}

export async function draw(places) {
  await import(places[0].dataset.chart);
  const { vegaEmbed } = window;
  const render = async () => {
    const palette = colours();
    for (const place of places) {
      const source = place.querySelector("script") || place.source;
      place.source = source;
      const spec = walk(JSON.parse(source.textContent), palette);
      spec.background = "transparent";
      spec.config = {
        font: "system-ui, sans-serif", view: { stroke: null },
        axis: { labelColor: palette.soft, titleColor: palette.soft, gridColor: getComputedStyle(document.documentElement).getPropertyValue("--line").trim(), domain: false, tickColor: "transparent", titleFontWeight: "normal" },
        legend: { labelColor: palette.ink, titleColor: palette.soft, gradientStrokeColor: "transparent", symbolType: "circle" }, range: { category: [palette.accent, palette.line, palette.warn, palette.bad, "#8b6fd6", "#2f9bb5"] },
        ...spec.config,
      };
      const target = place.querySelector(".drawn") || place.appendChild(Object.assign(document.createElement("div"), { className: "drawn" }));
      target.style.width = "100%";
      await vegaEmbed(target, spec, { actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true } });
    }
  };
  await render();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
}
