// A list that follows the server's events; it comes back after a lost connection and catches up by the last event's id.
// Its lines stand still: the server reserves their places, and events move from one place to the next.
const LONGEST = 30000;

export function follow(list) {
  const places = [...list.children];
  const ids = new Set();
  let events = [], waiting = false, last = "", pause = 1000, source;

  function receive(message) {
    const event = JSON.parse(message.data);
    last = message.lastEventId || last;
    pause = 1000;
    if (ids.has(event.id)) return;
    events.unshift(event);
    events = events.slice(0, places.length);
    ids.add(event.id);
    if (ids.size > 1000) { ids.clear(); events.forEach((known) => ids.add(known.id)); }
    if (!waiting) { waiting = true; setTimeout(show, 50); } // several that come at once are shown at once
  }

  // A line that is focused keeps its event until the focus leaves.
  function show() {
    waiting = false;
    if (list.contains(document.activeElement)) return;
    events.forEach((event, n) => fill(places[n], event));
  }
  list.addEventListener("focusout", () => setTimeout(show));

  // A browser gives up when the answer is an error, as while the hub is restarted: then we begin again.
  function connect() {
    const address = new URL(list.dataset.live, location);
    address.searchParams.set("last", last);
    source = new EventSource(address);
    source.addEventListener("happened", receive);
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

function fill(place, event) {
  if (place.id === event.id) return;
  const time = document.createElement("time");
  time.dateTime = event.at;
  time.textContent = new Date(event.at).toLocaleTimeString();
  const link = document.createElement("a");
  link.href = event.href;
  link.textContent = link.title = event.text;
  const kind = document.createElement("span");
  kind.className = event.kind === "click" ? "state" : "state good";
  kind.textContent = event.kind === "first_deposit" ? "FTD" : event.kind.replace("_", " ");
  place.id = event.id;
  place.className = "";
  place.removeAttribute("aria-hidden");
  place.replaceChildren(time, kind, link);
}
