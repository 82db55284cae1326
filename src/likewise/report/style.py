"""How the page looks: one palette for light, one for dark, and room to breathe. No fonts are fetched."""

from __future__ import annotations

CLASS_COLOURS = (
    "#4c78a8",
    "#e07b39",
    "#3f9a76",
    "#c4504f",
    "#8a6bb1",
    "#97694f",
    "#d678a6",
    "#b9a13a",
    "#2f9bb3",
    "#7c8c2d",
    "#5b63b7",
    "#b05fa0",
    "#8b8b86",
)
"""Of the classes on the map; the last is that of all further ones."""

STYLE = """
:root{color-scheme:light;--paper:#faf8f4;--surface:#fff;--ink:#1f1d1a;--soft:#6a655c;--faint:#a8a296;--line:#e7e2d8;
--accent:#0d6b62;--depth:60%;--wash:#0d6b6214;--warm:#b2532b;--good:#2c8a5a;--bad:#c4443a;--part0:#c9873f;--part1:#7c9ca8;--part2:#0d6b62;
--part3:#cfc8ba;--shadow:0 1px 2px #1f1d1a0d,0 6px 24px #1f1d1a0a}
:root[data-theme=dark]{color-scheme:dark;--paper:#151412;--surface:#1d1c19;--ink:#ece8df;--soft:#a39d91;--faint:#6e695f;
--line:#302e29;--accent:#6ccabb;--depth:40%;--wash:#6ccabb1a;--warm:#e8925f;--good:#55b985;--bad:#ea7568;--part0:#d59b58;--part1:#7fa3b1;
--part2:#57b3a5;--part3:#4a463e;--shadow:0 1px 2px #0006}
@media(prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;--paper:#151412;--surface:#1d1c19;
--ink:#ece8df;--soft:#a39d91;--faint:#6e695f;--line:#302e29;--accent:#6ccabb;--depth:40%;--wash:#6ccabb1a;--warm:#e8925f;--good:#55b985;
--bad:#ea7568;--part0:#d59b58;--part1:#7fa3b1;--part2:#57b3a5;--part3:#4a463e;--shadow:0 1px 2px #0006}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;-webkit-font-smoothing:antialiased}
h1,h2,.headline,.gain,.mark{font-family:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",P052,Georgia,
"Times New Roman",serif;font-weight:500;text-wrap:balance}
h1,h2,h3,p,figure,ul,ol,dl,dd{margin:0;padding:0}
ul,ol{list-style:none}
nav,main,footer{max-width:1120px;margin:0 auto;padding:0 32px}
nav{display:flex;justify-content:space-between;align-items:center;padding-top:22px}
.mark{font-size:19px;font-style:italic;letter-spacing:.01em;color:var(--accent)}
button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}
.theme{font-size:13px;color:var(--soft);padding:4px 10px;border:1px solid var(--line);border-radius:99px}
button:focus-visible,summary:focus-visible,div:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
header{padding:46px 0 8px}
.hero{display:flex;gap:56px;align-items:flex-end;justify-content:space-between}
h1{font:500 14px/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:var(--soft);margin-bottom:14px;
overflow-wrap:anywhere}
.headline{font-size:clamp(27px,3.5vw,42px);line-height:1.16;letter-spacing:-.012em;max-width:19em}
.figure{flex:none;text-align:right;max-width:330px}
.gain{font-size:27px;line-height:1;white-space:nowrap;color:var(--soft)}
.gain strong{font-weight:500;font-size:66px;letter-spacing:-.03em;color:var(--accent)}
.gain.unclear strong,.gain.unknown strong{color:var(--ink)}.gain.worse strong{color:var(--bad)}
.figure .change{font-size:14.5px;line-height:1.4;margin-top:8px;text-wrap:pretty}
.change.better{color:var(--good)}.change.worse{color:var(--bad)}.change.unclear{color:var(--soft)}
.gain .arrow{margin:0 .35em;color:var(--faint);font-family:system-ui,sans-serif}
.small{font-size:13.5px;color:var(--soft);margin-top:8px;text-wrap:pretty}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:20px 24px;margin-top:44px;
padding:20px 0;border-top:1px solid var(--line);border-bottom:1px solid var(--line)}
dt{font-size:12.5px;color:var(--soft);margin-bottom:2px}
dd{font-size:14.5px;line-height:1.4;overflow-wrap:anywhere}
section{padding:62px 0 0}
.head{margin-bottom:24px}
h2{font-size:29px;line-height:1.2;letter-spacing:-.01em}
.lead{color:var(--soft);max-width:68ch;margin-top:6px;text-wrap:pretty}
h3{font-size:15px;font-weight:600;line-height:1.4}
.lamp{display:inline-block;width:9px;height:9px;border-radius:50%;background:var(--faint);margin-right:8px}
i.healthy{background:var(--good)}i.at-risk{background:#d79a28}i.collapsed{background:var(--bad)}i.unknown{background:var(--faint)}
.note{background:var(--wash);border-radius:8px;padding:10px 14px;font-size:14.5px;margin-top:14px}
.note+.scroll{margin-top:20px}
/* neighbours */
.neighbours{display:grid;grid-template-columns:1fr 1fr;gap:26px 44px}
.neighbours li{display:grid;grid-template-columns:88px 1fr;gap:16px;align-items:start}
.neighbours img{display:block;width:100%;height:auto;aspect-ratio:1;border-radius:5px;background:var(--line)}
.query figcaption{font-size:13px;line-height:1.3;margin-top:5px;max-height:2.6em;overflow:hidden;
overflow-wrap:anywhere;hyphens:auto}
.query .file{font-size:11px;color:var(--soft);white-space:nowrap;text-overflow:ellipsis}
.others{display:grid;grid-template-columns:repeat(6,1fr);gap:7px}
.others img{border-radius:4px}
.others figure{min-width:0}
.others figcaption{font-size:11px;line-height:1.2;color:var(--soft);text-align:center;margin-top:5px}
.others figcaption b{display:block;font-weight:500;color:var(--bad);white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}
.others .same img,.others .differs img{outline:2px solid var(--good);outline-offset:-2px}
.others .differs img{outline:2px dashed var(--bad)}
/* map */
.chips{display:flex;flex-wrap:wrap;gap:6px;margin-bottom:14px}
.chips button{font-size:13px;line-height:1;padding:6px 11px 6px 9px;border-radius:99px;border:1px solid var(--line);
background:var(--surface);display:flex;align-items:center;gap:7px}
.chips button.on{border-color:var(--accent);box-shadow:inset 0 0 0 1px var(--accent)}
.chips .switch{margin-left:auto;padding-left:11px;color:var(--accent)}
.swatch{display:inline-block;width:10px;height:10px;border-radius:3px;flex:none}
.map-frame{overflow-x:auto;border-radius:12px;background:var(--surface);border:1px solid var(--line);padding:14px}
.map{position:relative;min-width:720px;aspect-ratio:calc(var(--columns)/var(--rows))}
.map i{position:absolute;width:calc(100%/var(--columns) - 1px);height:calc(100%/var(--rows) - 1px);
left:calc(100%*var(--c)/var(--columns));top:calc(100%*var(--r)/var(--rows));background-image:var(--sheet);border-radius:2px;
background-size:calc(100%*var(--across)) calc(100%*var(--down));
background-position:calc(100%*var(--x)/max(1,var(--across) - 1)) calc(100%*var(--y)/max(1,var(--down) - 1));
transition:opacity .15s;cursor:zoom-in}
.map i[data-n]::after{content:attr(data-n);position:absolute;right:0;top:0;min-width:1.5em;padding:0 2px;
text-align:center;font:600 8px/1.5 system-ui,sans-serif;color:#fff;background:#1f1d1ad9;border-radius:0 2px 0 4px}
.map[data-only] i:not(.lit){opacity:.1}
.map.classes i{background-image:none;background-color:var(--k)}
.tip{position:fixed;z-index:9;pointer-events:none;background:var(--surface);color:var(--ink);
border:1px solid var(--line);border-radius:8px;box-shadow:0 6px 24px #0003;padding:8px;
font-size:12.5px;line-height:1.35;max-width:190px;
overflow-wrap:anywhere}
.tip b{display:block;width:112px;height:112px;border-radius:5px;margin-bottom:6px;background-repeat:no-repeat}
.neighbours img,.tiles img{cursor:zoom-in}
figure:focus-visible{outline:2px solid var(--accent);outline-offset:3px;border-radius:5px}
.larger{border:0;border-radius:14px;padding:18px;background:var(--surface);color:var(--ink);max-width:min(94vw,900px);
max-height:92vh;overflow:auto;box-shadow:0 18px 70px #0008}
.larger::backdrop{background:#000a}
.larger div{display:flex;flex-wrap:wrap;gap:16px;justify-content:center}
.larger figure{max-width:min(86vw,420px)}
.larger figure.one{width:min(86vw,420px)}.larger figure.many{width:min(40vw,170px)}
.larger img,.larger b{display:block;width:100%;aspect-ratio:1;border-radius:8px;background-repeat:no-repeat}
.larger figcaption{font-size:14px;line-height:1.4;margin-top:8px;overflow-wrap:anywhere}
.larger button{display:block;margin:14px auto 0;font-size:14px;color:var(--accent);padding:6px 16px;
border:1px solid var(--line);border-radius:99px}
.apart{margin:34px 0 12px}
/* tables */
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14.5px}
th{font-weight:500;font-size:12.5px;color:var(--soft);text-align:left;padding:0 18px 8px 0;white-space:nowrap}
td{padding:9px 18px 9px 0;border-top:1px solid var(--line);vertical-align:top}
td:last-child,th:last-child{padding-right:0}
.scores td{white-space:nowrap;vertical-align:middle}
.scores td:nth-last-child(2){width:38%;min-width:150px}
.settings td:first-child,.broken td:first-child{white-space:nowrap;width:1%;padding-right:28px}
.settings td:nth-child(2){overflow-wrap:anywhere;width:34%;min-width:110px}
.settings td:nth-child(3){color:var(--soft)}
.gauge{display:block;position:relative;height:8px;border-radius:99px;background:var(--line)}
.gauge b{position:absolute;inset:0 auto 0 0;border-radius:99px;background:var(--accent)}
.gauge u{position:absolute;top:-4px;bottom:-4px;width:2px;margin-left:-1px;background:var(--ink);border-radius:1px;
box-shadow:0 0 0 2px var(--paper)}
.protocols li{padding:7px 0;font-size:14px;color:var(--soft);max-width:92ch}
.protocols b{color:var(--ink);font-weight:600}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
details{margin-top:8px}
table+details,.scroll+details{margin-top:18px}
summary{cursor:pointer;font-size:14.5px;color:var(--accent);padding:4px 0}
details[open] summary{margin-bottom:10px}
/* charts */
.verdict{display:grid;grid-template-columns:auto 1fr;gap:2px 6px;background:var(--surface);border:1px solid var(--line);
border-radius:12px;padding:18px 22px;margin-bottom:22px}
.verdict .lamp{width:11px;height:11px;margin-top:6px}
.verdict p{color:var(--soft);font-size:15px;max-width:88ch}
.timeline{grid-column:1/-1;display:flex;gap:2px;height:5px;margin-top:14px}
.verdict>.small{grid-column:1/-1;font-size:12.5px;margin-top:5px}
.timeline i{border-radius:99px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(310px,1fr));gap:18px}
.chart{background:var(--surface);border:1px solid var(--line);border-radius:12px;padding:15px 16px 13px}
.chart-head{display:flex;justify-content:space-between;align-items:baseline;gap:12px;margin-bottom:6px}
.chart .value{font-size:15px;color:var(--accent)}
.chart svg{display:block;width:100%;height:auto;overflow:visible;touch-action:pan-y}
.chart figcaption{font-size:12.5px;line-height:1.4;color:var(--soft);margin-top:8px}
.grid{stroke:var(--line);stroke-width:1}
.tick{font-size:10.5px;fill:var(--soft)}
.strong{fill:var(--warm)}
.line{fill:none;stroke:var(--accent);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.raw{fill:none;stroke:var(--accent);stroke-width:1;opacity:.28}
.area{fill:var(--wash)}
.dot,.cursor circle{fill:var(--accent)}
.reference{stroke:var(--warm);stroke-width:1.2;stroke-dasharray:4 4}
.cursor[hidden]{display:none}
.cursor line{stroke:var(--faint);stroke-width:1}
.stack{display:flex;gap:2px;height:26px;border-radius:7px;overflow:hidden}
.stack i{min-width:2px;flex-basis:0}
.part-0{background:var(--part0)}.part-1{background:var(--part1)}.part-2{background:var(--part2)}.part-3{background:var(--part3)}
.legend{display:flex;flex-wrap:wrap;gap:8px 30px;margin-top:14px;font-size:14px}
.legend li{display:flex;align-items:baseline;gap:8px}
.legend b{font-weight:600}.legend span{color:var(--soft)}
#data h3:not(:first-of-type){margin:34px 0 12px}
#data h3+.small{margin:2px 0 14px}
.bars{columns:2;column-gap:56px}
.bars li{display:grid;grid-template-columns:minmax(70px,130px) 1fr 58px;gap:12px;align-items:center;font-size:14px;
padding:3px 0;break-inside:avoid}
.bars .name{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.bars i{height:10px}
.bars i b{display:block;height:100%;border-radius:2px 5px 5px 2px;background:var(--accent);opacity:.8}
.bars .number{text-align:right;color:var(--soft)}
.profile{width:100%;height:auto;fill:var(--accent);opacity:.8}
/* mistakes */
#mistakes h3{margin:40px 0 0}#mistakes h3:first-of-type{margin-top:0}
#mistakes h3+.small{margin:2px 0 16px;max-width:88ch}
h4{font-size:13.5px;font-weight:600;margin:0 0 8px}
.by-class{columns:2;column-gap:56px}
.by-class li{display:grid;grid-template-columns:minmax(70px,130px) 1fr 44px 52px;gap:12px;align-items:center;
font-size:14px;padding:4px 0;break-inside:avoid}
.by-class .name{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.by-class i{position:relative;height:15px}
.by-class i b{display:block;height:10px;border-radius:2px 5px 5px 2px;background:var(--accent);opacity:.85}
.by-class i s{display:block;height:3px;margin-top:2px;border-radius:2px;background:var(--faint);min-width:2px}
.by-class i u{position:absolute;top:-3px;height:16px;width:2px;margin-left:-1px;background:var(--ink);opacity:.55}
.by-class .number{text-align:right}.by-class .count{text-align:right;color:var(--soft);font-size:12.5px}
.columns{width:100%;height:auto;margin-bottom:22px}.columns .up{fill:var(--accent);opacity:.85}
.columns .down{fill:var(--faint);opacity:.7}
.sides{display:grid;grid-template-columns:minmax(0,1.75fr) minmax(0,1fr);gap:26px 48px;align-items:start}
.confusion{display:grid;grid-template-columns:minmax(64px,auto) repeat(var(--classes),minmax(0,1fr));gap:2px;
font-size:12px}
.confusion .column{position:relative;height:84px}
.confusion .column b{position:absolute;left:50%;bottom:2px;font-weight:400;color:var(--soft);white-space:nowrap;
transform-origin:0 100%;transform:rotate(-52deg) translate(2px,6px)}
.confusion .row{align-self:center;text-align:right;padding-right:10px;color:var(--soft);white-space:nowrap;
overflow:hidden;text-overflow:ellipsis;max-width:130px}
.confusion i{aspect-ratio:1;display:grid;place-items:center;font-style:normal;border-radius:3px;color:var(--ink);
min-width:0;overflow:hidden;background:color-mix(in srgb,var(--h) calc(var(--depth)*var(--d)),var(--line))}
.confusion .right{--h:var(--accent)}.confusion .wrong{--h:var(--bad)}
.pairs li{display:grid;grid-template-columns:minmax(0,1.7fr) minmax(50px,1fr) 40px;gap:10px;align-items:center;
font-size:13.5px;padding:4px 0}
.pairs .name{overflow-wrap:anywhere;line-height:1.3}.pairs em{color:var(--soft);font-style:normal}
.pairs i b{display:block;height:8px;border-radius:2px 5px 5px 2px;background:var(--bad);opacity:.8}
.pairs .number{text-align:right;color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(12,minmax(0,1fr));gap:14px 9px}
.tiles img{display:block;width:100%;height:auto;aspect-ratio:1;border-radius:5px;background:var(--line)}
.tiles figcaption{font-size:11.5px;line-height:1.3;margin-top:4px;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap}
.tiles figcaption b{display:block;font-weight:500;color:var(--bad);overflow:hidden;text-overflow:ellipsis}
#mistakes .query figcaption{max-height:none}
.query .taken{display:block;color:var(--bad);font-size:12px}
/* audits */
.twins{grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:16px}.twins img{aspect-ratio:2}
.kappa{justify-content:start;grid-template-columns:minmax(64px,auto) repeat(var(--classes),minmax(0,64px))}
.kappa .column{height:110px}
/* comparisons */
.charts.wide{grid-template-columns:repeat(auto-fill,minmax(440px,1fr))}
.chart.large{padding:20px 22px 16px}
.series{fill:none;stroke:var(--k);stroke-width:1.9;stroke-linejoin:round;stroke-linecap:round}
.dashed{stroke-dasharray:5 4}.band{fill:var(--k);opacity:.14}.mark{fill:var(--k)}
.chart .name{font-size:11.5px;font-weight:600;fill:var(--k)}.large .name{font-size:13.5px}.large .tick{font-size:12px}
.compared td{white-space:nowrap;vertical-align:middle}.compared td:first-child{white-space:normal;min-width:120px}
.compared .swatch{margin-right:9px}.compared .gauge{height:5px;margin-top:5px;min-width:84px}
.compared .none{color:var(--faint)}
.tests{margin:10px 0 22px}.tests li{padding:7px 0;border-top:1px solid var(--line);font-size:14.5px;max-width:100ch}
#scores h3{margin-top:30px}
.command{display:flex;align-items:flex-start;gap:14px;background:var(--surface);border:1px solid var(--line);
border-radius:9px;padding:11px 14px;margin-top:8px}
.command code{flex:1;white-space:pre-wrap;overflow-wrap:anywhere}
.copy{font-size:12.5px;color:var(--accent);flex:none;line-height:1.6}
#next h3{margin-top:26px}#next h3:first-of-type{margin-top:0}
.next li{margin-top:14px}.next span{font-size:14px;color:var(--soft)}.next .command{margin-top:4px}
footer{padding-top:64px;padding-bottom:44px;font-size:12.5px;color:var(--soft);overflow-wrap:anywhere}
@media(max-width:980px){.neighbours,.sides{grid-template-columns:1fr}.tiles{grid-template-columns:repeat(8,1fr)}}
@media(max-width:720px){
nav,main,footer{padding-left:18px;padding-right:18px}
header{padding-top:30px}
.hero{flex-direction:column;align-items:flex-start;gap:26px}
.figure{text-align:left}
.facts{grid-template-columns:1fr 1fr;margin-top:30px}
section{padding-top:48px}
.neighbours li{grid-template-columns:70px minmax(0,1fr);gap:12px}
.others{grid-template-columns:repeat(6,64px);overflow-x:auto;padding-bottom:6px}
.bars,.by-class{columns:1}
.tiles{grid-template-columns:repeat(4,1fr)}.tiles.twins{grid-template-columns:repeat(2,1fr)}
.confusion{font-size:9.5px;gap:1px}
.charts,.charts.wide{grid-template-columns:1fr}
.chips .switch{margin-left:0}
.scores td:nth-last-child(2){min-width:90px}
}
@media print{*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
.theme,.copy,.chips .switch{display:none}body{background:none;font-size:13px}nav,main,footer{max-width:none;padding:0}
section{padding-top:34px}.head{break-after:avoid}h3{break-after:avoid}
figure,tr,.neighbours li,.verdict,.map-frame,.bars li,.command{break-inside:avoid}
.map{min-width:0}.map-frame,.scroll{overflow:visible}.others{overflow:visible;grid-template-columns:repeat(6,1fr)}
.chips{break-after:avoid}.neighbours,.sides{grid-template-columns:1fr 1fr}
.neighbours{gap:18px 28px}.neighbours li{grid-template-columns:64px 1fr;gap:10px}}
""" + "".join(
    f".k{number}{{--k:{colour}}}.swatch.k{number}{{background:var(--k)}}\n"
    for number, colour in enumerate(CLASS_COLOURS)
)
"""The content of the style element."""
