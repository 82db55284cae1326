"""The page of the server: search by an image or words, and continue from any result."""

from __future__ import annotations

from likewise.report.style import STYLE

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>likewise</title><link rel="icon" href="data:,"><style>{STYLE}
#found{{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:18px 14px;margin:26px 0 60px}}
#found figure{{cursor:pointer}}#found img{{display:block;width:100%;aspect-ratio:1;object-fit:cover;border-radius:6px;
background:var(--line)}}#found figcaption{{font-size:12.5px;line-height:1.35;margin-top:6px;overflow-wrap:anywhere}}
form{{display:flex;flex-wrap:wrap;gap:12px;align-items:center;margin-top:20px}}
input{{font:inherit;color:inherit;background:var(--surface);
border:1px solid var(--line);border-radius:8px;padding:7px 10px}}
#where,#words{{flex:1;min-width:220px}}#k{{width:5em}}
.go{{border:1px solid var(--accent);color:var(--accent);border-radius:8px;padding:7px 16px}}
#said{{margin-top:18px;min-height:1.5em;color:var(--soft)}}
</style></head><body><nav><span class="mark">likewise</span></nav><main><header><h1 id="about">index</h1>
<p class="headline">Find similar images</p></header>
<form id="ask"><input type="file" id="file" accept="image/*" aria-label="image">
<input id="words" placeholder="words, such as a red car" maxlength="1000" aria-label="words" hidden>
<input id="where" placeholder="label = 'cat'" aria-label="condition on columns">
<input id="k" type="number" value="10" min="1" max="100" aria-label="how many"><button class="go">search</button></form>
<p id="said" role="status"></p><div id="found"></div></main><script>
const $=id=>document.getElementById(id),token=new URLSearchParams(location.search).get('token');
const headers=token?{{authorization:'Bearer '+token}}:{{}};
const query=more=>new URLSearchParams({{k:$('k').value,...($('where').value?{{where:$('where').value}}:{{}}),...more}});
async function show(promise){{
  $('said').textContent='searching';
  let answer,found;
  try{{answer=await promise;found=await answer.json()}}catch(error){{$('said').textContent='no answer';return}}
  if(!answer.ok){{$('said').textContent=found.error;return}}
  $('said').textContent=found.exact?'every row was compared':'recall '+found.recall.toFixed(4);
  $('found').replaceChildren(...found.results.map(hit=>{{
    const [figure,image,words]=['figure','img','figcaption'].map(name=>document.createElement(name));
    fetch('image?'+new URLSearchParams({{id:hit.id}}),{{headers}}).then(a=>a.ok?a.blob():null)
      .then(b=>{{if(b)image.src=URL.createObjectURL(b)}});
    image.alt=hit.id;words.textContent=hit.similarity.toFixed(3)+'  '+hit.id;
    figure.tabIndex=0;figure.title='search with this image';
    figure.onclick=()=>show(fetch('search?'+query({{id:hit.id}}),{{headers}}));
    figure.append(image,words);return figure}}));
}}
$('file').onchange=()=>{{$('words').value=''}};$('words').oninput=()=>{{$('file').value=''}};
$('ask').onsubmit=event=>{{event.preventDefault();const file=$('file').files[0],words=$('words').value.trim();
  if(words){{show(fetch('search?'+query({{text:words}}),{{headers}}));return}}
  if(!file){{$('said').textContent='choose an image '+($('words').hidden?'':'or write words ')+'first';return}}
  show(fetch('search?'+query({{}}),{{method:'POST',body:file,headers}}))}};
fetch('health',{{headers}}).then(a=>a.json()).then(found=>{{$('words').hidden=!found.words;
  $('about').textContent=found.error||found.rows.toLocaleString()+' images, space '+found.fingerprint}});
</script></body></html>
"""
