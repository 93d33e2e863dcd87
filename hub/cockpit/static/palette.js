// The command line: every chat command, completed while it is typed, its answer shown below.
let dialog;
export function open(csrf) {
  if (!dialog) dialog = make(csrf);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("input").select();
}

function make(csrf) {
  const box = document.createElement("dialog");
  box.setAttribute("aria-label", "Command line");
  box.innerHTML = '<form class="palette" method="dialog"><input name="say" autocomplete="off" spellcheck="false" placeholder="stats 7d by campaign" aria-label="Command" role="combobox" aria-expanded="true" aria-controls="palette-choices"><ul id="palette-choices" role="listbox"></ul><output aria-live="polite"></output></form>';
  document.body.append(box);
  const input = box.querySelector("input"), list = box.querySelector("ul"), output = box.querySelector("output");
  let chosen = -1, asked = 0;
  const accept = (text) => {
    input.value = text;
    chosen = -1;  // the next Enter runs the line, whether or not its completions have come
    list.replaceChildren();
    complete();
  };
  const complete = async () => {
    const now = ++asked;
    const answer = await fetch(`/cockpit/complete?text=${encodeURIComponent(input.value)}`);
    if (!answer.ok || now !== asked) return;
    list.replaceChildren(...(await answer.json()).map((choice) => {
      const item = document.createElement("li");
      item.setAttribute("role", "option");
      item.dataset.text = choice.text;
      if (choice.page) item.dataset.page = choice.page;
      item.textContent = choice.label;
      item.addEventListener("click", () => { if (choice.page) { location.href = choice.page; return; } accept(choice.text); input.focus(); });
      return item;
    }));
    chosen = -1;
  };
  input.addEventListener("input", complete);
  input.addEventListener("keydown", (event) => {
    const items = [...list.children];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + items.length) % (items.length || 1);
      items.forEach((item, n) => item.setAttribute("aria-selected", String(n === chosen)));
    } else if ((event.key === "Tab" || event.key === "Enter") && chosen >= 0 && items[chosen]) {
      event.preventDefault();
      if (event.key === "Enter" && items[chosen].dataset.page) { location.href = items[chosen].dataset.page; return; }
      accept(items[chosen].dataset.text);
    }
  });
  box.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    output.textContent = "…";
    asked++;  // completions that are still on their way come too late
    const body = new URLSearchParams({ say: input.value, csrf });
    const answer = await fetch("/cockpit/say", { method: "POST", body });
    if (answer.redirected && answer.url.includes("sign-in")) { location.href = answer.url; return; }
    output.innerHTML = await answer.text();
    list.replaceChildren();
  });
  output.addEventListener("click", (event) => {
    const button = event.target.closest("[data-say]");
    if (!button) return;
    event.preventDefault();
    input.value = button.dataset.say;
    box.querySelector("form").requestSubmit();
  });
  complete();
  return box;
}
