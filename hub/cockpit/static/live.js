// A list that follows the server's events; it comes back after a lost connection and catches up by the last event's id.
export function follow(list) {
  const limit = Number(list.dataset.limit || 20);
  const source = new EventSource(list.dataset.live);
  let empty = true;
  source.addEventListener("happened", (message) => {
    const event = JSON.parse(message.data);
    if (document.getElementById(event.id)) return;
    if (empty) { list.replaceChildren(); empty = false; }
    const item = document.createElement("li");
    item.id = event.id;
    const time = document.createElement("time");
    time.dateTime = event.at;
    time.textContent = new Date(event.at).toLocaleTimeString();
    const link = document.createElement("a");
    link.href = event.href;
    link.textContent = event.text;
    const kind = document.createElement("span");
    kind.className = event.kind === "click" ? "state" : "state good";
    kind.textContent = event.kind.replace("_", " ");
    item.append(time, kind, link);
    list.prepend(item);
    while (list.children.length > limit) list.lastElementChild.remove();
  });
  addEventListener("pagehide", () => source.close());
}
