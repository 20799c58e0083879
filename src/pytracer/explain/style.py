"""The style sheet and script of a page in HTML, which are embedded in it."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2430; --soft: #667085; --line: #e3e1da; --accent: #b4480f;
  --tint: #fdf1e7; --lit: #ffe8b8; --code: #f6f4ee; --good: #1c7a4a; --bad: #b42318;
  --keyword: #8a3ffc; --type: #0f62a8; --comment: #7a8290; --number: #b4480f; --string: #1c7a4a;
  --mono: ui-monospace, "SF Mono", "JetBrains Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --card: #1b1f26; --ink: #e4e7ec; --soft: #98a2b3; --line: #2d333d; --accent: #ff9a5c;
    --tint: #2a2119; --lit: #574416; --code: #171b21; --good: #6bd39a; --bad: #ff8a80;
    --keyword: #c7a5ff; --type: #78b8ff; --comment: #7d8694; --number: #ffb27d; --string: #86d9a8;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 4.5rem; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main, header, nav > div { max-width: 84rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.2rem; padding-bottom: .6rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .7rem; letter-spacing: -.01em; }
h1 b { color: var(--accent); }
code, pre, .mono { font-family: var(--mono); font-size: .82rem; line-height: 1.5; font-variant-ligatures:
  none; }
.command { display: inline-block; padding: .35rem .8rem; background: var(--code); border: 1px solid
  var(--line);
  border-radius: .4rem; overflow-wrap: anywhere; }
.command::before { content: "$ "; color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .3rem 2.2rem; margin: 1rem 0 0; }
dl div { min-width: 5rem; }
dt { color: var(--soft); font-size: .74rem; text-transform: uppercase; letter-spacing: .06em; }
dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
nav { position: sticky; top: 0; z-index: 2; background: color-mix(in srgb, var(--paper) 92%, transparent);
  backdrop-filter: blur(6px); border-bottom: 1px solid var(--line); margin-top: 1rem; }
nav > div { display: flex; flex-wrap: wrap; gap: .25rem .4rem; padding-top: .5rem; padding-bottom: .5rem; }
nav a { color: var(--ink); text-decoration: none; padding: .2rem .7rem; border-radius: 99px; font-size:
  .88rem; }
nav a:hover { background: var(--tint); color: var(--accent); }
nav i { color: var(--soft); font-style: normal; padding-right: .35rem; font-variant-numeric: tabular-nums; }
.stage { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; margin: 1.2rem 0;
  padding: 0 1.3rem; }
.stage > summary { list-style: none; cursor: pointer; padding: 1rem 0; display: flex; align-items: baseline;
  gap: .8rem; }
.stage > summary::-webkit-details-marker { display: none; }
.stage > summary h2 { margin: 0; font-size: 1.25rem; }
.stage > summary i { color: var(--accent); font-style: normal; font-weight: 700; }
.stage > summary::after { content: "fold"; margin-left: auto; color: var(--soft); font-size: .8rem; }
.stage:not([open]) > summary::after { content: "show"; }
.stage[open] { padding-bottom: 1.2rem; }
.lead { color: var(--soft); max-width: 62rem; margin: 0 0 1rem; }
.refusal .lead { color: var(--bad); font-weight: 600; }
.fold { border: 1px solid var(--line); border-radius: .5rem; margin: .7rem 0; background: var(--card); }
.fold > summary { cursor: pointer; padding: .45rem .8rem; font-weight: 600; font-size: .92rem; }
.fold > summary:hover { color: var(--accent); }
.fold > .in { padding: 0 .8rem .8rem; }
.wide { overflow-x: auto; }
table.grid { border-collapse: collapse; font-size: .9rem; min-width: 40%; margin: .6rem 0; }
.grid th { text-align: left; color: var(--soft); font-weight: 600; font-size: .78rem; padding: .3rem 1.4rem
  .3rem 0;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
.grid td { padding: .35rem 1.4rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  font-variant-numeric: tabular-nums; }
.grid td:first-child { font-family: var(--mono); font-size: .82rem; white-space: nowrap; }
.grid tr.strong td { background: var(--tint); }
.grid tr.strong td:first-child { box-shadow: -.6rem 0 0 var(--tint), inset 3px 0 0 var(--accent);
  padding-left: .6rem; font-weight: 700; }
pre { margin: .6rem 0; padding: .8rem 1rem; background: var(--code); border-radius: .5rem; overflow: auto;
  max-height: 34rem; tab-size: 4; }
.file { font-family: var(--mono); font-size: .8rem; color: var(--soft); margin: .4rem 0 .2rem; }
.source { background: var(--code); border-radius: .5rem; overflow: auto; padding: .6rem 0; max-height:
  44rem; }
.source div { display: grid; grid-template-columns: 3.2rem 3rem 1fr; padding-right: 1rem; white-space: pre;
  tab-size: 4; }
.source .n { color: var(--soft); text-align: right; padding-right: 1rem; user-select: none; }
.source .k { text-align: right; padding-right: .7rem; color: var(--accent); user-select: none; }
.source .marked { background: var(--tint); box-shadow: inset 4px 0 0 var(--bad); }
.beside { background: var(--code); border-radius: .5rem; overflow: auto; max-height: 52rem; }
.pair { display: grid; grid-template-columns: minmax(18rem, 5fr) minmax(22rem, 6fr);
  border-bottom: 1px solid var(--line); }
.pair:last-child { border: 0; }
.pair > div { padding: .3rem .9rem; min-width: 0; }
.pair .left { border-right: 1px solid var(--line); overflow-wrap: anywhere; white-space: pre-wrap; }
.pair .left small { display: block; color: var(--soft); font-size: .72rem; }
.pair .right span { display: block; white-space: pre-wrap; padding-left: 4.2rem; text-indent: -4.2rem; }
.pair .right b { display: inline-block; width: 3.6rem; margin-right: .6rem; text-align: right; color:
  var(--soft);
  font-weight: 400; user-select: none; text-indent: 0; }
.pair .right a { color: var(--accent); text-decoration: none; padding-left: .5rem; }
.pair .right a:hover { text-decoration: underline; }
.pair .right span:target { background: var(--lit); }
.pair:hover, .lit { background: var(--lit) !important; }
.tk { color: var(--keyword); } .tt { color: var(--type); } .tc { color: var(--comment); }
.tn { color: var(--number); } .ts { color: var(--string); }
footer { color: var(--soft); font-size: .85rem; text-align: center; padding: 1.5rem; }
@media (max-width: 60rem) { .pair { grid-template-columns: 1fr; } .pair .left { border-right: 0; } }
@media print { nav { position: static; } .source, .beside, pre { max-height: none; } }
"""

# Highlights the same line of C everywhere: in the file, beside the bytecode, beside the native code.
SCRIPT = """
(function () {
  var lit = [];
  function light(event) {
    var place = event.target.closest ? event.target.closest("[data-line]") : null;
    lit.forEach(function (one) { one.classList.remove("lit"); });
    lit = [];
    if (!place) return;
    var key = place.getAttribute("data-line");
    document.querySelectorAll("[data-line]").forEach(function (one) {
      if (one.getAttribute("data-line") === key) { one.classList.add("lit"); lit.push(one); }
    });
  }
  document.addEventListener("mouseover", light);
})();
"""
