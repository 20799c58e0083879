// The form of pytracer serve: fields as tracers declare them. Loaded behind page.js.
"use strict";

function field(name, help, input) {
  const label = make("label", name);
  if (input.type === "checkbox") {
    label.className = "flag";
    label.prepend(input);
    label.title = help;
  } else {
    label.append(make("span", help), input);
  }
  return label;
}

function text(kind, name, hint) {
  const input = make(kind);
  input.name = name;
  if (hint) { input.placeholder = hint; }
  return input;
}

function showForm() {
  const tracer = state.tracers.find(function (one) { return one.name === element("tracer").value; });
  const fields = element("fields");
  fields.replaceChildren();
  if (!tracer) { return; }
  element("about").textContent = tracer.description;
  element("about").title = tracer.notes.join("\n");
  if (tracer.arguments) {
    const area = text("textarea", "arguments", "one a line");
    area.rows = 2;
    fields.append(field(tracer.arguments, tracer.about, area));
  }
  tracer.options.forEach(function (option) {
    let input;
    if (option.kind === "choice") {
      input = text("select", "option:" + option.name);
      option.choices.forEach(function (choice) { input.append(new Option(choice, choice)); });
      input.value = option.default;
    } else {
      input = text("input", "option:" + option.name, option.default || option.names.join(","));
      if (option.kind === "flag") { input.type = "checkbox"; }
    }
    fields.append(field(option.name, option.help, input));
  });
  tracer.filters.forEach(function (name) {
    if (name !== "netns" && name !== "mntns") { fields.append(field(name, "only these; with commas", text("input", "filter:" + name))); }
  });
  if (tracer.intervals) { fields.append(field("interval", "seconds", text("input", "interval", "1"))); }
  fields.append(field("duration", "stop after so many seconds", text("input", "duration")));
  if (state.commands) { fields.append(field("command", "run it, and trace it alone", text("input", "command"))); }
}

function sentForm() {
  const sent = { tracer: element("tracer").value, options: {}, filters: {} };
  for (const input of element("form").elements) {
    const at = input.name.indexOf(":");
    const value = input.type === "checkbox" ? input.checked : input.value.trim();
    if (!input.name || value === "" || value === false) { continue; }
    if (input.name.startsWith("option:")) {
      sent.options[input.name.slice(at + 1)] = value;
    } else if (input.name.startsWith("filter:")) {
      sent.filters[input.name.slice(at + 1)] = value.split(",");
    } else {
      sent[input.name] = input.name === "arguments" ? value.split("\n").map(function (one) { return one.trim(); })
        .filter(Boolean) : value;
    }
  }
  return sent;
}

async function explain() {
  element("explain").disabled = true;
  const made = await act("/api/explain", sentForm());
  element("explain").disabled = false;
  if (!made) { return; }
  element("frame").replaceChildren(frame(made.path));
  element("document").hidden = false;
  showRuns(state.runs);
}

begin();
