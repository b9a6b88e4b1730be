#include "report/html.hpp"

namespace quern {

// Series colours: Okabe and Ito's palette, told apart with every common colour blindness; lighter on dark.
const char* const kReportStyle = R"css(
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1e21; --soft: #5c6470; --line: #dfe3e8; --panel: #f6f7f9;
  --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b0568c; --s4: #8a6d00; --s5: #56708c;
  --good: 0 114 178; --bad: 213 94 0; --on-strong: #fff; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e7e9ec; --soft: #9aa4b0; --line: #2c323a;
  --panel: #1b2026; --s0: #5ab4f0; --s1: #ff8b4d; --s2: #3fcf9f; --s3: #e294c4; --s4: #d9b740; --s5: #9fb6cd;
  --good: 90 180 240; --bad: 255 139 77; --on-strong: #10141a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.2; font-weight: 650; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; font-weight: 650; margin: 48px 0 4px; }
h3 { font-size: 14px; font-weight: 600; margin: 20px 0 6px; }
p { margin: 4px 0 12px; max-width: 70ch; }
.soft, figcaption, .note { color: var(--soft); }
.note { font-size: 13.5px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); gap: 1px; margin: 24px 0 0;
  background: var(--line); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; padding: 0; }
.facts div { background: var(--paper); padding: 12px 16px; }
.facts dt { font-size: 13px; color: var(--soft); }
.facts dd { margin: 0; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.35; }
.facts dd small { font-size: 13px; font-weight: 400; color: var(--soft); display: inline-block; white-space: nowrap; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 8px 32px; }
.pair > * { min-width: 0; }
figure { margin: 0; }
figcaption { font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.c0 { stroke: var(--s0); } .c1 { stroke: var(--s1); } .c2 { stroke: var(--s2); }
.c3 { stroke: var(--s3); } .c4 { stroke: var(--s4); } .c5 { stroke: var(--s5); }
.dashed { stroke-dasharray: 5 4; } .faint { stroke-width: 1; opacity: .6; }
.dot { stroke: none; } .dot.c0 { fill: var(--s0); } .dot.c1 { fill: var(--s1); } .dot.c2 { fill: var(--s2); }
.dot.c3 { fill: var(--s3); } .dot.c4 { fill: var(--s4); } .dot.c5 { fill: var(--s5); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; padding: 0; margin: 4px 0 0; list-style: none; }
.legend svg { display: inline-block; width: 24px; height: 8px; margin-right: 6px; vertical-align: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } thead th { color: var(--soft); font-weight: 500; }
th:first-child, td.text, th.text { text-align: left; }
.matrix { table-layout: fixed; }
.matrix td { padding: 0; min-width: 38px; height: 30px; text-align: center; border: 1px solid var(--paper);
  background: var(--panel); }
.matrix th { border: 0; padding: 2px 8px; max-width: 9em; overflow: hidden; text-overflow: ellipsis; }
.matrix thead th { text-align: center; } .matrix td.strong { color: var(--on-strong); }
.matrix td.none { color: transparent; }
.digits { display: grid; grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); gap: 14px 16px; margin-top: 12px; }
.digits figure { display: flex; gap: 10px; align-items: center; }
.digits img { width: 60px; height: 60px; flex: none; image-rendering: pixelated; border-radius: 3px; background: #000; }
.digits figcaption { font-variant-numeric: tabular-nums; line-height: 1.35; min-width: 0; }
.digits b { color: var(--ink); font-size: 14px; overflow-wrap: anywhere; }
.filters { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }
.filters img { width: 44px; height: 44px; image-rendering: pixelated; border: 1px solid var(--line); border-radius: 3px; }
.network svg { margin: 0 auto; }
.network rect { fill: var(--panel); stroke: var(--line); } .network .heavy rect { stroke: var(--s0); }
.network path { fill: none; stroke: var(--soft); stroke-width: 1.2; } .network marker path { fill: var(--soft); stroke: none; }
.network text.name { fill: var(--ink); font-weight: 600; font-size: 12px; }
.bar { fill: var(--s0); } .bars text { font-size: 12px; } .bars .label { fill: var(--ink); }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; font-size: 13px;
  line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere; margin: 8px 0; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); font-size: 13.5px; }
@media (max-width: 560px) { main { padding: 20px 16px 40px; } h2 { margin-top: 36px; } .facts dd { font-size: 18px; }
  .facts { grid-template-columns: 1fr 1fr; } .matrix td { min-width: 30px; height: 26px; font-size: 12px; }
  .matrix th { padding: 2px 5px; } .digits { grid-template-columns: 1fr 1fr; } th, td { padding: 4px 7px; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #ccc; --panel: #f4f4f4;
  --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #b0568c; --s4: #8a6d00; --s5: #56708c; --good: 0 114 178;
  --bad: 213 94 0; --on-strong: #fff; }
  body { font-size: 11pt; } main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  figure, table, .facts, .digits figure, pre { break-inside: avoid; } details { display: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

}  // namespace quern
