"""The style and the script of flame graphs: constant text, in which nothing of a run is inserted."""

STYLE = """
svg { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 11px; }
text { fill: #111; pointer-events: none; }
.back { fill: #fdfdfb; }
.head { font-size: 15px; text-anchor: middle; }
.end { text-anchor: end; }
.note { fill: #a01010; }
.button { fill: #1a56b0; cursor: pointer; pointer-events: all; visibility: hidden; }
#frames g { cursor: pointer; }
#frames g:hover rect { stroke: #111; stroke-width: 1; }
#frames g.waker text { fill: #fff; }
#frames g.waker rect { fill: #444; }
.compared #frames rect { stroke: #ccc; stroke-width: 0.5; }
#frames g.outer { opacity: 0.5; }
#frames g.found rect { fill: #d63ad6; }
#search { font: inherit; box-sizing: border-box; width: 100%; }
"""

SCRIPT = """
"use strict";
(function () {
  var svg = document.querySelector("svg");
  var frames = Array.prototype.slice.call(document.querySelectorAll("#frames > g"));
  var reset = document.getElementById("reset");
  var search = document.getElementById("search");
  var details = document.getElementById("details");
  var matched = document.getElementById("matched");
  var side = 10, whole = svg.viewBox.baseVal.width - 2 * side, character = 11 * 0.62;
  var all = { x: 0, n: Number(svg.dataset.total), d: 0 };
  var zoomed = all;

  var boxes = frames.map(function (g) {
    return {
      g: g, x: Number(g.dataset.x), n: Number(g.dataset.n), d: Number(g.dataset.d), name: g.dataset.name,
      rect: g.querySelector("rect"), title: g.querySelector("title").textContent
    };
  });

  function label(box, x, width) {
    var text = box.g.querySelector("text"), room = Math.floor((width - 6) / character);
    if (!text) {
      if (room < 5 && box.name.length > room) { return; }
      text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("y", String(Number(box.rect.getAttribute("y")) + 11.5));
      box.g.appendChild(text);
    }
    text.setAttribute("x", String(x + 3));
    var cut = room > 4 ? box.name.slice(0, room - 2) + ".." : "";
    text.textContent = box.name.length <= room ? box.name : cut;
  }

  function zoom(to) {
    zoomed = to;
    boxes.forEach(function (box) {
      var outer = box.d <= to.d && box.x <= to.x && box.x + box.n >= to.x + to.n;
      var inner = box.d > to.d && box.x >= to.x && box.x + box.n <= to.x + to.n;
      box.g.style.display = outer || inner ? "" : "none";
      if (!outer && !inner) { return; }
      var x = outer ? side : side + (box.x - to.x) * whole / to.n;
      var width = outer ? whole : box.n * whole / to.n;
      box.rect.setAttribute("x", String(x));
      box.rect.setAttribute("width", String(width));
      box.g.classList.toggle("outer", outer && box.d < to.d);
      label(box, x, width);
    });
    reset.style.visibility = to.d ? "visible" : "hidden";
    find();
  }

  function expression(text) {
    try { return new RegExp(text, "i"); } catch (error) {
      return new RegExp(text.replace(/[.*+?^${}()|[\\]\\\\]/g, "\\\\$&"), "i");
    }
  }

  function find() {
    var wanted = search && search.value ? expression(search.value) : null, end = -1, sum = 0, count = 0;
    boxes.forEach(function (box) { box.hit = wanted !== null && box.d > 0 && wanted.test(box.name); });
    boxes.forEach(function (box) { box.g.classList.toggle("found", box.hit); });
    // What a found frame calls is in it already: count the outermost, from left to right.
    boxes.filter(function (box) { return box.hit && box.g.style.display !== "none" && box.d >= zoomed.d; })
      .sort(function (a, b) { return a.x - b.x || a.d - b.d; })
      .forEach(function (box) {
        count += 1;
        if (box.x < end) { return; }
        sum += box.n;
        end = box.x + box.n;
      });
    matched.textContent = wanted
      ? count + " frames match, " + (100 * sum / zoomed.n).toFixed(2) + "% of what is shown" : " ";
  }

  boxes.forEach(function (box) {
    box.g.addEventListener("click", function () { zoom(box); });
    box.g.addEventListener("mouseover", function () { details.textContent = box.title; });
    box.g.addEventListener("mouseout", function () { details.textContent = " "; });
  });
  reset.addEventListener("click", function () { zoom(all); });
  if (search) { search.addEventListener("input", find); }
  window.addEventListener("keydown", function (event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "f" && search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape") {
      if (search) { search.value = ""; }
      zoom(all);
    }
  });
})();
"""
