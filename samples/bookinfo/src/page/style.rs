//! Pure. The style sheet and two drawings of the pages. All are inline, so that one request loads the whole page.

/// The style sheet.
pub(super) const CSS: &str = "\
:root{--ink:#1d2433;--soft:#5b6577;--line:#e3e7ee;--paper:#f5f7fa;--brand:#2f4fd8;color-scheme:light}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;flex-direction:column;background:var(--paper);color:var(--ink);\
font:16px/1.6 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}\
header{display:flex;flex-wrap:wrap;gap:12px 20px;align-items:center;padding:14px max(20px,calc(50vw - 540px));\
background:#fff;border-bottom:1px solid var(--line)}\
.brand{margin-right:auto;font-weight:700;font-size:20px;letter-spacing:-.02em;color:var(--ink);\
text-decoration:none}\
.login{display:flex;flex-wrap:wrap;gap:8px;align-items:center}\
.login label,.user{color:var(--soft);font-size:15px}.user b{color:var(--ink);overflow-wrap:anywhere}\
input{font:inherit;font-size:15px;padding:7px 12px;width:15em;border:1px solid #c5ccd8;border-radius:8px}\
.button{font:inherit;font-size:15px;font-weight:600;padding:7px 16px;border:1px solid var(--brand);\
border-radius:8px;background:var(--brand);color:#fff;text-decoration:none;cursor:pointer}\
.button:hover{filter:brightness(1.1)}.button.quiet{background:#fff;color:var(--brand)}\
:focus-visible{outline:3px solid #a9b8ff;outline-offset:1px}\
main{width:100%;max-width:1120px;margin:0 auto;padding:40px 20px;flex:1}\
.hero{display:flex;gap:36px;align-items:center;margin-bottom:36px}.hero svg{flex:none;width:150px;height:auto;\
border-radius:10px;box-shadow:0 14px 34px rgba(29,36,51,.22)}\
.kind{margin:0;color:var(--brand);font-weight:600;font-size:14px;letter-spacing:.06em;text-transform:uppercase}\
h1{margin:4px 0 10px;font-size:clamp(30px,5vw,44px);line-height:1.15;letter-spacing:-.03em}\
.summary{margin:0 0 12px;max-width:66ch;color:var(--soft)}.more{color:var(--brand);font-weight:600}\
.columns{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,2fr);gap:24px;align-items:start}\
.card{background:#fff;border:1px solid var(--line);border-radius:14px;padding:24px 28px}\
h2{margin:0 0 16px;font-size:20px;letter-spacing:-.01em}\
dl{display:grid;grid-template-columns:auto 1fr;gap:8px 20px;margin:0}dt{color:var(--soft)}\
dd{margin:0;text-align:right;font-weight:500;overflow-wrap:anywhere}\
blockquote{margin:0 0 20px;padding:0 0 20px;border-bottom:1px solid var(--line)}blockquote p{margin:0 0 8px}\
cite{font-style:normal;color:var(--soft)}cite::before{content:'\\2014\\00a0'}\
.stars{font-size:24px;line-height:1;letter-spacing:3px}.rest{color:#c5ccd8}\
.no-stars{color:#8a5a00;background:#fff6e0;border-radius:8px;padding:6px 12px;display:table}\
.served,footer{color:var(--soft);font-size:14px;overflow-wrap:anywhere}.served{margin:0}\
.error{border-color:#f1b8b4;background:#fff5f4}.error h2{color:#a3231a}.error p{margin:0}\
.error .heading{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}\
footer{padding:16px 20px;text-align:center;border-top:1px solid var(--line);background:#fff}\
@media(max-width:760px){.columns{grid-template-columns:minmax(0,1fr)}.hero{align-items:flex-start;gap:20px}\
.hero svg{width:84px}}";

/// The book cover: two mirrored masks.
pub(super) const COVER: &str = "\
<svg viewBox=\"0 0 150 210\" role=\"img\" aria-label=\"Cover: two masks, one the mirror of the other\">\
<rect width=\"150\" height=\"210\" fill=\"#2f4fd8\"/><rect width=\"12\" height=\"210\" fill=\"#2540b4\"/>\
<g fill=\"#fff\"><path d=\"M27 62h46v30a23 28 0 0 1-46 0z\"/><path d=\"M85 82h46v30a23 28 0 0 1-46 0z\" \
fill=\"#ffd166\"/></g><g fill=\"none\" stroke=\"#1d2433\" stroke-width=\"4\" stroke-linecap=\"round\">\
<path d=\"M36 76h8M56 76h8M39 97q11 12 22 0\"/><path d=\"M94 96h8M114 96h8M97 122q11-12 22 0\"/></g>\
<path d=\"M30 172h98M30 184h62\" stroke=\"#fff\" stroke-width=\"5\" stroke-linecap=\"round\"/></svg>";

/// The icon of the browser's tab.
pub const ICON: &str = "\
<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"7\" \
fill=\"#2f4fd8\"/><path d=\"M8 9h16v8a8 9 0 0 1-16 0z\" fill=\"#fff\"/>\
<path d=\"M12 14h2M18 14h2M13 19q3 3 6 0\" fill=\"none\" stroke=\"#1d2433\" stroke-width=\"2\" \
stroke-linecap=\"round\"/></svg>";
