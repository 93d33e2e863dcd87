// A list that follows the server's events; it comes back after a lost connection and catches up by the last event's id.
const LONGEST = 30000;

export function follow(list) {
  const limit = Number(list.dataset.limit || 20);
  let empty = true, last = "", pause = 1000, source;

  function show(message) {
    const event = JSON.parse(message.data);
    last = message.lastEventId || last;
    pause = 1000;
    if (document.getElementById(event.id)) return;
    if (empty) { list.replaceChildren(); empty = false; }
    list.prepend(line(event));
    while (list.children.length > limit) list.lastElementChild.remove();
  }

  // A browser gives up when the answer is an error, as while the hub is restarted: then we begin again.
  function connect() {
    source = new EventSource(`${list.dataset.live}?last=${encodeURIComponent(last)}`);
    source.addEventListener("happened", show);
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, LONGEST);
    });
  }

  connect();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}

function line(event) {
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
  return item;
}
