// Lists put in order by dragging or with the arrow keys; the order stands in the hidden field of the form. A list with
// `data-handle` is dragged by its handles alone: its items hold fields of their own, and buttons that move them.
export function arrange(list) {
  const field = document.getElementById(list.dataset.sortable);
  const byHandle = "handle" in list.dataset;
  const items = () => [...list.children].filter((item) => item.dataset.value !== undefined);
  const store = () => { if (field) field.value = items().map((item) => item.dataset.value).join(","); };
  let dragged = null;
  for (const item of items()) {
    item.draggable = !byHandle;
    if (byHandle) item.querySelector(".grip")?.addEventListener("pointerdown", () => { item.draggable = true; });
    else item.tabIndex = 0;
    item.addEventListener("dragstart", () => { dragged = item; });
    item.addEventListener("dragover", (event) => {
      event.preventDefault();
      if (!dragged || dragged === item) return;
      const box = item.getBoundingClientRect();
      list.insertBefore(dragged, (event.clientY < box.top || (event.clientY < box.bottom && event.clientX < box.left + box.width / 2)) ? item : item.nextSibling);
    });
    item.addEventListener("drop", (event) => event.preventDefault());
    item.addEventListener("dragend", () => {
      dragged = null;
      if (byHandle) item.draggable = false;
      const before = field?.value;
      store();
      if (field && field.value !== before) field.dispatchEvent(new Event("change", { bubbles: true }));
    });
    item.addEventListener("keydown", (event) => {
      if (byHandle || event.target !== item || !["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
      event.preventDefault();
      const back = event.key === "ArrowUp" || event.key === "ArrowLeft";
      if (back && item.previousElementSibling) list.insertBefore(item, item.previousElementSibling);
      if (!back && item.nextElementSibling) list.insertBefore(item.nextElementSibling, item);
      item.focus();
      store();
    });
  }
  store();
}
