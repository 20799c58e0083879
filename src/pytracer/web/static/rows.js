// The rows of the chosen run: their order, their place in time, and what looks closer at one. Loaded behind page.js.
"use strict";

// Show another place in time: the number of an interval or of an event, "all", or "" for the newest.
function go(at) {
  if (at === state.at) { return; }
  state.at = at;
  if (state.stream) { state.stream.abort(); }
}

function step(by) {
  const shown = state.shown;
  if (!shown || shown.newest === undefined) { return; }
  const now = shown.at === "all" ? shown.newest + (by < 0 ? 1 : 0) : shown.at;
  const next = Math.max(now + by * shown.step, shown.oldest);
  go(next >= shown.newest && by > 0 ? "" : Math.min(next, shown.newest));
}

function lines(id, texts) {
  const list = element(id);
  list.replaceChildren(...texts.map(function (text) { return make("li", text); }));
  list.hidden = texts.length === 0;
}

function ordered(shown) {
  const wanted = element("filter").value.toLowerCase();
  let rows = shown.cells.map(function (cells, at) { return { cells: cells, keys: shown.sort[at], at: at }; });
  if (wanted) {
    rows = rows.filter(function (row) {
      return row.cells.some(function (cell) { return cell.toLowerCase().includes(wanted); });
    });
  }
  const by = state.sort, sign = state.descending ? -1 : 1;
  if (by >= 0) {
    rows.sort(function (one, other) {
      const a = one.keys[by], b = other.keys[by];
      if (a !== null && b !== null) { return sign * (a - b); }
      if (a !== null || b !== null) { return sign * (a === null ? -1 : 1); }
      return sign * one.cells[by].localeCompare(other.cells[by]);
    });
  } else if (shown.events) {
    rows.reverse(); // the newest first
  }
  return rows;
}

function show() {
  const shown = state.shown;
  const head = element("rows").tHead, body = element("rows").tBodies[0];
  if (!shown) {
    ["summary", "command", "title"].forEach(function (id) { element(id).textContent = ""; });
    head.replaceChildren();
    body.replaceChildren();
    lines("messages", []);
    lines("losses", []);
    return;
  }
  element("summary").textContent = shown.summary;
  element("command").textContent = shown.command;
  lines("messages", shown.messages.concat(shown.notes || []));
  lines("losses", shown.losses);
  const rows = ordered(shown), all = shown.total;
  const of = rows.length < all ? ", " + rows.length + " of " + all + " rows" : "";
  const paused = state.at !== "" && state.at !== "all";
  const from = shown.events && paused ? ", from the " + (shown.at + 1) + ". on" : "";
  element("title").textContent = shown.title + of + from + (paused ? ", paused" : "");
  element("pause").textContent = paused ? "Go on" : "Pause";
  element("earlier").disabled = shown.at !== "all" && !(shown.at > shown.oldest);
  element("later").disabled = !paused;
  element("whole").hidden = !shown.whole;
  element("whole").setAttribute("aria-pressed", String(state.at === "all"));
  const names = make("tr");
  shown.columns.forEach(function (column, at) {
    const cell = make("th"), button = make("button", column.name);
    const order = state.sort === at ? (state.descending ? "descending" : "ascending") : "none";
    if (state.sort === at) { button.textContent += state.descending ? " \u25be" : " \u25b4"; }
    button.type = "button";
    button.title = column.help;
    button.addEventListener("click", function () { sort(at, column.text); });
    cell.setAttribute("aria-sort", order);
    cell.className = column.text ? "" : "number";
    cell.append(button);
    names.append(cell);
  });
  const focus = document.activeElement && head.contains(document.activeElement)
    ? Array.from(head.querySelectorAll("button")).indexOf(document.activeElement) : -1;
  head.replaceChildren(names);
  if (focus >= 0 && head.querySelectorAll("button")[focus]) { head.querySelectorAll("button")[focus].focus(); }
  body.replaceChildren(...rows.map(function (row) {
    const line = make("tr");
    line.tabIndex = 0;
    line.addEventListener("click", function () { look(row); });
    line.addEventListener("keydown", function (event) { if (event.key === "Enter") { look(row); } });
    row.cells.forEach(function (text, at) {
      const cell = make("td", text, shown.columns[at].text ? "" : "number");
      if (text.length > 40) { cell.title = text; }
      line.append(cell);
    });
    return line;
  }));
}

function sort(at, text) {
  state.descending = state.sort === at ? !state.descending : !text;
  state.sort = at;
  show();
}

// ---- everything about a row, and what looks closer at it

async function look(row) {
  const run = state.run, shown = state.shown;
  const keys = row.cells.filter(function (_, at) { return shown.columns[at].key; });
  const about = await act("/api/row", { run: run, at: String(shown.at), row: row.at, keys: keys });
  if (!about || run !== state.run) { return; }
  element("about-row").textContent = about.lines.join("\n");
  element("closer").replaceChildren(...["process", "stacks", "events"].map(function (purpose) {
    const choices = about.closer.filter(function (one) { return one.purpose === purpose; });
    const part = make("div");
    part.append(make("h3", "Its " + purpose), ...choices.map(function (one) {
      const button = make("button");
      button.type = "button";
      button.append(make("b", one.command), make("small", one.text));
      button.addEventListener("click", async function () {
        const made = await act("/api/start", one.sent);
        if (made) { choose(made.run); }
      });
      return button;
    }));
    part.hidden = choices.length === 0;
    return part;
  }));
  element("detail").hidden = false;
  element("leave").focus();
}

function listenToRows() {
  element("pause").addEventListener("click", function () {
    const follows = state.at === "" || state.at === "all";
    if (!follows) { go(""); } else if (state.shown && state.shown.newest >= 0) { go(state.shown.newest); }
  });
  element("earlier").addEventListener("click", function () { step(-1); });
  element("later").addEventListener("click", function () { step(1); });
  element("whole").addEventListener("click", function () { go(state.at === "all" ? "" : "all"); });
  element("leave").addEventListener("click", function () { element("detail").hidden = true; });
  document.addEventListener("keydown", function (event) {
    if (event.target.closest("input, select, textarea")) { return; }
    if (event.key === "ArrowLeft") { step(-1); }
    if (event.key === "ArrowRight") { step(1); }
    if (event.key === "Escape") { element("detail").hidden = true; }
  });
}
