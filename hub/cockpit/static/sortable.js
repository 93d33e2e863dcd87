// Lists put in order by dragging or with the arrow keys; the order stands in the hidden field of the form.
export function start() {
  for (const list of document.querySelectorAll("[data-sortable]")) {
    const field = document.getElementById(list.dataset.sortable);
    const store = () => { if (field) field.value = [...list.children].map((item) => item.dataset.value).join(","); };
    let dragged = null;
    for (const item of list.children) {
      item.draggable = true;
      item.tabIndex = 0;
      item.addEventListener("dragstart", () => { dragged = item; });
      item.addEventListener("dragover", (event) => {
        event.preventDefault();
        if (!dragged || dragged === item) return;
        const box = item.getBoundingClientRect();
        list.insertBefore(dragged, (event.clientY < box.top || (event.clientY < box.bottom && event.clientX < box.left + box.width / 2)) ? item : item.nextSibling);
      });
      item.addEventListener("drop", (event) => { event.preventDefault(); store(); });
      item.addEventListener("dragend", store);
      item.addEventListener("keydown", (event) => {
        if (!["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
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
}
