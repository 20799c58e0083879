// The page of pytracer serve. What comes from a run is text: it is set by textContent alone, and the policy of
// the page lets no text become HTML or script.
"use strict";

const TOKEN = "pytracer-token";
const REDRAW = 3000; // milliseconds between two pictures of a run that goes on
const state = { run: 0, shown: null, sort: -1, descending: true, at: "", stream: null, runs: [], tracers: [],
  draws: false, over: false, commands: false };

function element(id) { return document.getElementById(id); }

function make(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) { made.textContent = text; }
  if (className) { made.className = className; }
  return made;
}

// The token comes behind the # of the address, which browsers send nowhere, and goes from there at once.
function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(TOKEN, found[1]);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN) || "";
}
let token = takeToken();

function tell(text) {
  element("trouble").textContent = text;
  element("trouble").hidden = !text;
}

async function ask(path, sent) {
  const options = { headers: { "X-Pytracer-Token": token }, cache: "no-store" };
  if (sent !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(sent);
  }
  const answer = await fetch(path, options);
  if (!answer.ok) {
    let told = { error: "error " + answer.status, hint: "" };
    try { told = await answer.json(); } catch (error) { /* no JSON: the status has to do */ }
    throw new Error(told.hint ? told.error + "\nhint: " + told.hint : told.error);
  }
  return answer;
}

async function act(path, sent) {
  try {
    const answer = await (await ask(path, sent)).json();
    tell("");
    return answer;
  } catch (error) {
    tell(error.message);
    return null;
  }
}

// ---- what runs

function showRuns(runs) {
  state.runs = runs;
  element("no-runs").hidden = runs.length > 0;
  const list = element("runs");
  while (list.children.length > runs.length) { list.lastChild.remove(); }
  runs.forEach(function (run, at) {
    if (!list.children[at]) {
      const button = make("button");
      button.type = "button";
      button.append(make("b"), make("span", "", "state"), make("small"));
      button.addEventListener("click", function () { choose(Number(button.dataset.run)); });
      const item = make("li");
      item.append(button);
      list.append(item);
    }
    const button = list.children[at].firstChild;
    const lost = run.lost ? ", " + run.lost + " lost" : "";
    button.dataset.run = run.run;
    button.setAttribute("aria-current", String(run.run === state.run));
    button.children[0].textContent = run.tracer;
    button.children[1].textContent = run.state;
    button.children[1].className = "state " + run.state;
    button.children[2].textContent = run.words.slice(1).join(" ") + (run.words.length > 1 ? " \u00b7 " : "") +
      Math.round(run.seconds) + " s, " + run.seen + " " + run.unit + lost;
  });
  const own = runs.find(function (run) { return run.run === state.run; });
  element("run").hidden = !own || !element("document").hidden;
  if (!own) { return; }
  const over = own.state === "ended" || own.state === "failed";
  element("stop").hidden = over;
  element("remove").hidden = !over;
  element("draw").hidden = !own.picture;
  element("draw").textContent = (state.draws ? "Hide the " : "Show the ") + own.picture;
  element("save").hidden = !own.picture || !state.draws;
  state.over = over;
}

function choose(run) {
  if (run === state.run && state.stream) { return; }
  state.run = run;
  state.shown = null;
  state.sort = -1;
  state.draws = false;
  state.at = "";
  element("detail").hidden = true;
  element("filter").value = "";
  element("picture").replaceChildren();
  element("picture").hidden = true;
  element("document").hidden = true;
  showRuns(state.runs);
  show();
  if (state.stream) { state.stream.abort(); }
}

// ---- pictures and the page of explain: documents of their own, in frames without an origin

function frame(path) {
  const made = make("iframe");
  made.setAttribute("sandbox", "allow-scripts");
  made.referrerPolicy = "no-referrer";
  made.src = path;
  return made;
}

async function draw() {
  const run = state.run;
  const made = await act("/api/picture", { run: run });
  if (made && run === state.run && state.draws) {
    const old = element("picture").lastChild, next = frame(made.path);
    next.title = made.name;
    next.style.aspectRatio = made.width + " / " + made.height;
    next.addEventListener("load", function () { if (old) { old.remove(); } });
    element("picture").append(next);
    element("picture").hidden = false;
  }
}

async function save() {
  const made = await act("/api/picture", { run: state.run });
  if (!made) { return; }
  const content = await (await fetch(made.path)).blob();
  const link = make("a");
  link.href = URL.createObjectURL(content);
  link.download = "pytracer.svg";
  link.click();
  setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
}

setInterval(function () {
  // A picture that somebody points at stays: its zoom and its search would be lost.
  if (state.draws && !state.over && (state.at === "" || state.at === "all") && !document.hidden && !element("picture").matches(":hover")) { draw(); }
}, REDRAW);

// ---- the stream: each answer is a line "data: JSON"

async function listen() {
  for (;;) {
    state.stream = new AbortController();
    try {
      const options = { headers: { "X-Pytracer-Token": token }, cache: "no-store", signal: state.stream.signal };
      const answer = await fetch("/api/stream?run=" + state.run + "&at=" + state.at, options);
      if (!answer.ok) { throw new Error((await answer.json()).error); }
      element("connection").textContent = location.host;
      element("connection").className = "";
      await read(answer.body.getReader());
      throw new Error("pytracer has ended");
    } catch (error) {
      if (state.stream.signal.aborted) { continue; } // another run was chosen
      element("connection").textContent = "not connected: " + error.message;
      element("connection").className = "lost";
      await new Promise(function (done) { setTimeout(done, 2000); });
    }
  }
}

async function read(reader) {
  const decoder = new TextDecoder();
  let waiting = "";
  for (;;) {
    const part = await reader.read();
    if (part.done) { return; }
    waiting += decoder.decode(part.value, { stream: true });
    const parts = waiting.split("\n\n");
    waiting = parts.pop();
    parts.forEach(function (one) {
      const told = JSON.parse(one.slice(6));
      showRuns(told.runs);
      if (state.run === 0 && told.runs.length) { choose(told.runs[0].run); }
      if (told.shown && told.shown.run === state.run) {
        state.shown = told.shown;
        show();
      }
    });
  }
}

async function begin() {
  element("tracer").addEventListener("change", showForm);
  element("form").addEventListener("submit", async function (event) {
    event.preventDefault();
    const made = await act("/api/start", sentForm());
    if (made) { choose(made.run); }
  });
  element("explain").addEventListener("click", explain);
  element("stop").addEventListener("click", function () { act("/api/stop", { run: state.run }); });
  element("remove").addEventListener("click", function () {
    act("/api/remove", { run: state.run });
    choose(0);
  });
  listenToRows();
  element("filter").addEventListener("input", show);
  element("draw").addEventListener("click", function () {
    state.draws = !state.draws;
    element("picture").hidden = !state.draws;
    element("picture").replaceChildren();
    showRuns(state.runs);
    if (state.draws) { draw(); }
  });
  element("save").addEventListener("click", save);
  element("close").addEventListener("click", function () {
    element("frame").replaceChildren();
    element("document").hidden = true;
    showRuns(state.runs);
  });
  window.addEventListener("hashchange", function () { token = takeToken(); location.reload(); });
  const told = await act("/api/tracers");
  if (told) {
    state.tracers = told.tracers;
    state.commands = told.commands;
    const groups = new Map();
    told.tracers.forEach(function (tracer) {
      if (!groups.has(tracer.group)) {
        const group = make("optgroup");
        group.label = tracer.group;
        groups.set(tracer.group, group);
        element("tracer").append(group);
      }
      groups.get(tracer.group).append(new Option(tracer.name, tracer.name));
    });
    element("tracer").value = "syscalls";
    showForm();
  }
  listen();
}
