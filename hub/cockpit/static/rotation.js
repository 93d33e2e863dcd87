// The rotation's draft: whatever is changed in the form is sent, and what the server makes of it put in its place.
import { arrange } from "./sortable.js";

export function start(form) {
  let asked = 0;
  let saved = true;
  const state = () => String(new URLSearchParams(new FormData(form)));

  async function refresh(button) {
    const number = ++asked;
    const data = new FormData(form, button);
    if (!button) data.set("do", "draft");
    const before = state();
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(data) });
    if (!answer.ok) { form.dataset.plain = "yes"; form.requestSubmit(button); return; } // the page says why
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (number !== asked) return;
    if (state() !== before) { refresh(); return; } // typed on meanwhile
    const focused = document.activeElement;
    const place = [focused?.id, focused?.selectionStart, focused?.selectionEnd, focused?.value, focused?.name];
    const open = [...form.querySelectorAll("details")].map((part) => part.open);
    form.replaceChildren(...page.getElementById("rotation").childNodes);
    [...form.querySelectorAll("details")].forEach((part, n) => { part.open = part.open || open[n]; });
    saved = false;
    restore(place);
    form.querySelectorAll("[data-sortable]").forEach(arrange);
  }

  // The focus stays where it was, with what is selected: on the field, or on the button that was pressed.
  function restore([id, from, to, value, name]) {
    const target = (id && document.getElementById(id))
      || (name === "do" && form.querySelector(`button[value="${CSS.escape(value)}"]:not(.unseen)`))
      || (name === "do" && form.querySelector("button[value=add]"));
    if (!target) return;
    target.focus({ preventScroll: true });
    if (typeof from === "number" && target.setSelectionRange) target.setSelectionRange(from, to);
  }

  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (form.dataset.plain || button?.value === "save") { saved = true; return; }
    event.preventDefault();
    event.stopPropagation();
    refresh(button);
  });
  form.addEventListener("change", () => refresh());
  form.addEventListener("input", () => { saved = false; });
  addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
}
