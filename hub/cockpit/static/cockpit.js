// What the cockpit does beyond plain pages: menu, charts, live lines, command line. Pages read without it.
const csrf = document.body.dataset.csrf || "";

// The menu of narrow screens.
const menu = document.querySelector("[data-menu]");
menu?.addEventListener("click", () => {
  const open = menu.closest(".side").classList.toggle("open");
  menu.setAttribute("aria-expanded", String(open));
});

// Toasts leave by themselves unless they offer something to press or are being read.
for (const toast of document.querySelectorAll(".toasts .toast")) {
  setTimeout(() => { if (!toast.matches(":hover, :focus-within")) toast.remove(); }, toast.querySelector("button") ? 15000 : 6000);
}

// A button that was pressed once is not pressed twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, 4000);
});

// Filters that take effect when chosen.
for (const control of document.querySelectorAll("form[data-auto] select, form[data-auto] input[type=checkbox]")) {
  control.addEventListener("change", () => control.form.requestSubmit());
}

// A choice that decides which other fields there are: the form is loaded again with what was typed so far.
for (const select of document.querySelectorAll("select[data-reload]")) {
  select.addEventListener("change", () => {
    const typed = [...new FormData(select.form)].filter(([name, value]) => name !== "csrf" && typeof value === "string" && value && select.form.elements[name]?.type !== "password");
    location.assign(`${select.form.getAttribute("action")}?${new URLSearchParams(typed)}`);
  });
}

// Buttons that copy what stands beside them.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  });
}

const places = [...document.querySelectorAll("[data-chart]")];
if (places.length) import("./charts.js").then((charts) => charts.draw(places));
const live = [...document.querySelectorAll("[data-live]")];
if (live.length) import("./live.js").then((lines) => live.forEach(lines.follow));
const previews = [...document.querySelectorAll(".frame.desktop")];
if (previews.length) import("./preview.js").then((preview) => previews.forEach(preview.fit));
const lists = [...document.querySelectorAll("[data-sortable]")];
if (lists.length) import("./sortable.js").then((sortable) => lists.forEach(sortable.arrange));
const rotation = document.querySelector("[data-rotation]");
if (rotation) import("./rotation.js").then((editor) => editor.start(rotation));

// Ctrl-K or Cmd-K opens the command line.
const opener = document.querySelector("[data-palette]");
async function palette() { (await import("./palette.js")).open(csrf); }
if (opener) { opener.hidden = false; opener.addEventListener("click", palette); }
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); palette(); }
});

// The slider over moments of belief writes its day into the field beside it.
for (const slider of document.querySelectorAll("input[type=range][data-days]")) {
  const days = slider.dataset.days.split(",").filter(Boolean);
  const field = document.getElementById(slider.dataset.target);
  slider.addEventListener("input", () => {
    const day = days[Number(slider.value)];
    field.value = day ? `${day}T23:59` : "";
    slider.setAttribute("aria-valuetext", field.value || "now");
  });
  slider.addEventListener("change", () => slider.form.requestSubmit());
}
