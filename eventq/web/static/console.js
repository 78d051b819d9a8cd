// The console's one script: the slider, what happens live, times in the viewer's zone, keys.
// Every page works without it. It asks no other server, and puts no text in but as text.
(() => {
  "use strict";
  const body = () => document.body;
  const root = body().dataset.root;
  const WAIT_MS = 1000, LATE_MS = 15000;
  const $ = (id) => document.getElementById(id);

  // Times, in the viewer's zone; what they are in UTC stands in the title.
  const format = new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const localise = (within) => {
    for (const text of within.querySelectorAll("svg [data-at]")) text.textContent = clock.format(new Date(text.dataset.at));
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) time.textContent = format.format(at);
    }
  };

  const addressAt = (seq) => {
    const address = new URL(location.href);
    address.searchParams.delete("done");
    if (seq === null) address.searchParams.delete("at");
    else address.searchParams.set("at", seq);
    return address;
  };

  // One page in the place of another, without a flash.
  let asking = null, going = false, shown = location.href.split("#")[0];
  // What has the focus, to be found again among new elements: by its id, its address or its label.
  const keepFocus = () => {
    const at = document.activeElement;
    const name = ["id", "href", "aria-label"].find((each) => at && at.getAttribute(each));
    if (!name || at === body()) return () => {};
    const pick = `${at.localName}[${name}="${CSS.escape(at.getAttribute(name))}"]`;
    const place = [...document.querySelectorAll(pick)].indexOf(at);
    return () => {
      const found = [...document.querySelectorAll(pick)];
      if (document.activeElement === body() && found.length) found[Math.min(place, found.length - 1)].focus({ preventScroll: true });
    };
  };
  const show = async (address, { keeps = false, pushes = false } = {}) => {
    if (asking) asking.abort();
    // Where somebody wants to go beats what happens live.
    going = !keeps;
    const mine = asking = new AbortController();
    try {
      const answer = await fetch(address, { signal: mine.signal });
      if (answer.redirected && new URL(answer.url).pathname.endsWith("/start")) return location.assign(answer.url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Somebody may have begun to act on the page while the next one was on its way.
      if (mine !== asking || (keeps && busy())) return;
      const focusAgain = keepFocus();
      const scrolls = [...document.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
      const [told, main] = [document.querySelector("main > .told"), page.getElementById("main")];
      // What was done is told once, and its undo stays at hand while the page goes on.
      if (keeps && told && !main.querySelector(".told")) main.prepend(told);
      $("main").replaceWith(main);
      const [old, fresh] = [document.querySelector(".slider"), page.querySelector(".slider")];
      if (old && fresh && !sliding) old.replaceWith(fresh);
      document.querySelectorAll(".scroll").forEach((each, place) => { each.scrollLeft = scrolls[place] || 0; });
      const now = page.body;
      for (const name of ["at", "follows"]) {
        if (name in now.dataset) body().dataset[name] = now.dataset[name]; else delete body().dataset[name];
      }
      body().dataset.head = now.dataset.head;
      document.title = page.title;
      const nav = page.querySelector("nav"), search = document.querySelector(".search");
      if (nav) {
        const left = document.querySelector("nav ul").scrollLeft;
        document.querySelector("nav").replaceWith(nav);
        nav.firstElementChild.scrollLeft = left;
      }
      // It looks for tasks as of the moment; what is being typed there stays.
      const found = page.querySelector(".search");
      if (search && found && !search.contains(document.activeElement)) search.replaceWith(found);
      if (pushes && answer.url !== location.href) history.pushState(null, "", answer.url);
      else if (!keeps) history.replaceState(null, "", answer.url);
      shown = location.href.split("#")[0];
      ready();
      focusAgain();
      going = false;
      if (answer.status === 202) setTimeout(() => { if (mine === asking) show(address, { keeps }); }, 500);
    } catch (error) {
      if (error.name !== "AbortError") { going = false; lost(); }
    }
  };

  // What takes longer than its page: it comes later, and stays while the page is shown anew.
  let late = { address: null, parts: [], until: 0 };
  const load = async () => {
    const place = document.querySelector("[data-loads]");
    if (!place) return;
    const address = place.dataset.loads;
    if (late.address !== address) late = { address, parts: [], until: 0 };
    if (late.parts.length) place.replaceChildren(...late.parts);
    if (performance.now() < late.until) return;
    const mine = late;
    late.until = "at" in body().dataset ? Infinity : performance.now() + LATE_MS;
    try {
      const answer = await fetch(address);
      if (answer.status === 202) { mine.until = 0; setTimeout(load, WAIT_MS); return; }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const parts = page.getElementById("charts");
      if (!answer.ok || !parts || mine !== late) return;
      localise(parts);
      late.parts = [...parts.childNodes];
      const now = document.querySelector("[data-loads]");
      if (now) now.replaceChildren(...late.parts);
    } catch { mine.until = 0; }
  };

  // The slider: it asks when the hand rests for a moment. A drag is one moment of the history.
  let sliding = false, holding = false, dragged = false, resting = null, playing = null;
  const slideTo = (seq, how) => {
    const head = Number(body().dataset.head), begin = $("slider") ? Number($("slider").min) : 0;
    show(addressAt(Math.max(begin, Math.min(seq, head))), how);
  };
  const rest = () => {
    clearTimeout(resting);
    resting = setTimeout(() => {
      const pushes = !dragged;
      dragged = sliding = holding;
      slideTo(Number($("slider").value), { pushes });
    }, 150);
  };
  const here = () => Number(body().dataset.at ?? body().dataset.head);
  const stopPlaying = () => { clearInterval(playing); playing = null; if ($("play")) $("play").textContent = "Play"; };
  const play = () => {
    if (playing) return stopPlaying();
    const span = Math.max(1, Math.round(Number(body().dataset.head) / 200));
    playing = setInterval(() => {
      // A page that takes longer than a beat is waited for, or none would ever be shown.
      if (going) return;
      if (here() >= Number(body().dataset.head)) return stopPlaying();
      slideTo(here() + span);
    }, 600);
    $("play").textContent = "Stop";
  };

  // What happens live.
  let stream = null, held = false, pressed = false, due = null, lastShown = 0, restMs = WAIT_MS;
  // A click whose element is replaced between its two halves is none.
  addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(() => { pressed = false; }));
  const busy = () => {
    const at = document.activeElement;
    return held || pressed || going || sliding || "at" in body().dataset || document.hidden || document.querySelector("main details[open]:not([data-still])") !== null
      || (at && at.closest("main form") !== null) || String(getSelection()) !== "";
  };
  const refresh = () => {
    if (due || !("follows" in body().dataset) || busy()) return;
    const rest = Math.max(0, lastShown + restMs - performance.now());
    due = setTimeout(() => {
      due = null;
      if (busy()) return;
      lastShown = performance.now();
      show(addressAt(null), { keeps: true });
    }, rest);
  };
  const lost = () => {
    const pulse = $("pulse");
    if (pulse) { pulse.textContent = "Not connected"; pulse.classList.add("lost"); }
  };
  const beat = (event) => {
    const told = JSON.parse(event.data);
    if ("at" in body().dataset || held || going) return;
    if (told.problem) return lost();
    body().dataset.head = told.seq;
    restMs = told.rest_ms;
    const pulse = $("pulse");
    if (pulse) { pulse.textContent = "Live"; pulse.classList.remove("lost"); }
    if ($("position")) $("position").textContent = told.seq.toLocaleString("en");
    const slider = $("slider");
    if (slider && !sliding) { slider.max = told.seq; slider.value = told.seq; }
    for (const count of document.querySelectorAll("[data-count]")) {
      const value = told.counts[count.dataset.count];
      const text = value === undefined ? null : value.toLocaleString("en");
      if (text !== null && text !== count.textContent) { count.textContent = text; count.classList.add("new"); setTimeout(() => count.classList.remove("new"), 600); }
    }
    refresh();
  };
  const below = (path) => new URL(path, new URL(root, location.href));
  const regain = async () => {
    deafen();
    const away = new AbortController();
    try {
      // Nobody is known any more, as after a restart: there is a door.
      if ((await fetch(below("events"), { signal: away.signal })).status === 401) return location.assign(below("start"));
    } catch { /* It is asked again. */ } finally { away.abort(); }
    setTimeout(listen, 3000);
  };
  const listen = () => {
    if (stream || "at" in body().dataset || !document.querySelector(".slider")) return;
    stream = new EventSource(below("events"));
    stream.addEventListener("beat", beat);
    stream.addEventListener("bye", () => location.reload());
    stream.addEventListener("error", () => {
      lost();
      // The browser tries again by itself, unless the server said that there is no stream.
      if (stream && stream.readyState === EventSource.CLOSED) regain();
    });
  };
  const deafen = () => { if (stream) { stream.close(); stream = null; } };

  // Keys. Who speaks to the machine, or types by chance, switches off those of one letter.
  const KEYS = "eventq-keys";
  const haveKeys = () => { try { return localStorage.getItem(KEYS) !== "off"; } catch { return true; } };
  const keepKeys = (on) => { try { localStorage.setItem(KEYS, on ? "on" : "off"); } catch { /* It keeps nothing. */ } };
  let first = null, chosen = -1, chosenPath = null;
  const rows = () => [...document.querySelectorAll("main [data-row]")];
  const choose = (step) => {
    const found = rows();
    if (!found.length) return;
    mark(Math.max(0, Math.min(found.length - 1, chosen + step)));
    found[chosen].focus();
  };
  const mark = (place) => {
    const row = rows()[chosen = place];
    document.querySelectorAll("tr.chosen").forEach((each) => each.classList.remove("chosen"));
    chosenPath = row ? row.pathname : null;
    if (row) row.closest("tr").classList.add("chosen");
  };
  const hold = () => {
    held = !held;
    if ($("hold")) $("hold").textContent = held ? "Go on" : "Hold";
    if (!held) { pressed = false; refresh(); }
  };
  const keys = {
    "/": () => $("search") && $("search").focus(),
    "?": () => location.assign(below("help")),
    "[": () => slideTo(here() - 1),
    "]": () => slideTo(here() + 1),
    j: () => choose(1),
    k: () => choose(-1),
    l: () => show(addressAt(null), { pushes: true }),
    h: hold,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=range], [type=checkbox]), textarea, select");
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    if (!haveKeys()) return;
    if (first === "g") {
      first = null;
      for (const link of document.querySelectorAll("nav a[data-key]")) {
        if (link.dataset.key === event.key) { event.preventDefault(); link.click(); }
      }
      return;
    }
    if (event.key === "g") { first = "g"; setTimeout(() => { first = null; }, 1500); return; }
    if (keys[event.key] && document.querySelector(".slider")) { event.preventDefault(); keys[event.key](); }
  });

  document.addEventListener("input", (event) => {
    if (event.target.id !== "slider") return;
    sliding = true;
    stopPlaying();
    rest();
  });
  document.addEventListener("change", (event) => { if (event.target.id === "keys") keepKeys(event.target.checked); });
  document.addEventListener("pointerdown", (event) => { holding = event.target.id === "slider"; });
  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(name, () => { holding = false; if (sliding) rest(); });
  }
  // Back and on, among the moments of this page; to a place within it is no other moment.
  window.addEventListener("popstate", () => { if (location.href.split("#")[0] !== shown) { stopPlaying(); show(location.href); } });
  document.addEventListener("click", (event) => {
    const at = event.target;
    if (at.id === "play") play();
    if (at.id === "hold") hold();
    if (at.id === "earlier" || at.id === "later" || at.id === "live") { event.preventDefault(); stopPlaying(); show(at.href, { pushes: true }); }
    if (at.dataset.copies) {
      navigator.clipboard.writeText(at.previousElementSibling.textContent).then(() => { at.textContent = "Copied"; }, () => { at.textContent = "Select it, and copy"; });
    }
  });
  document.addEventListener("submit", (event) => {
    // Twice the same form is told by the server; here the second click is only spared.
    const button = event.target.querySelector("button");
    if (event.target.method === "post" && button) setTimeout(() => { button.disabled = true; }, 0);
  });
  window.addEventListener("pageshow", () => document.querySelectorAll("button:disabled").forEach((each) => { each.disabled = false; }));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

  const ready = () => {
    mark(rows().findIndex((row) => row.pathname === chosenPath));
    localise(document);
    load();
    document.querySelectorAll(".scripted").forEach((each) => { each.hidden = false; });
    if ($("keys")) $("keys").checked = haveKeys();
    if ($("hold")) $("hold").textContent = held ? "Go on" : "Hold";
    if ($("play")) $("play").textContent = playing ? "Stop" : "Play";
    for (const command of document.querySelectorAll("[data-copy]")) {
      if (command.nextElementSibling && command.nextElementSibling.dataset.copies) continue;
      const button = document.createElement("button");
      button.type = "button"; button.className = "quiet"; button.textContent = "Copy"; button.dataset.copies = "1";
      command.after(button);
    }
    if ("at" in body().dataset) deafen(); else listen();
    // What goes on beside the log tells nobody: it is asked.
    if (document.querySelector("[data-runs]")) setTimeout(refresh, WAIT_MS);
  };

  // The start code comes behind the hash, which no server and no log sees.
  const comeIn = $("come-in");
  const comeInByHash = () => {
    if (!comeIn || location.hash.length < 2) return;
    $("code").value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
    comeIn.submit();
  };
  // A new address from the terminal may be put into this very tab.
  window.addEventListener("hashchange", comeInByHash);
  comeInByHash();
  ready();
  // In a narrow window the pages are one row, which is drawn along.
  const page = document.querySelector(".top nav [aria-current]");
  if (page) page.closest("ul").scrollLeft = page.offsetLeft - 60;
})();
