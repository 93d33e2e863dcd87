"""How the cockpit looks: one page, its own CSS, no script; light and dark."""

from base64 import b64encode
from hashlib import sha256

_STYLE = """
:root{color-scheme:light dark;--ink:#17212b;--dim:#5b6875;--line:#d9dee3;--bg:#f6f7f9;--card:#fff;--accent:#0b6e4f}
@media(prefers-color-scheme:dark){:root{--ink:#e7ecf0;--dim:#9aa7b2;--line:#2c3742;--bg:#10161c;--card:#182029;--accent:#4cc38a}}
*{box-sizing:border-box}body{margin:0;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--bg)}
header,main{max-width:72rem;margin:auto;padding:1rem}header{display:flex;gap:1rem;align-items:center;flex-wrap:wrap}
h1{font-size:1.1rem;margin:0}h2{font-size:1rem;margin:0 0 .75rem}form{display:flex;gap:.5rem;flex:1 1 20rem}
input{flex:1;min-width:0;font:inherit;padding:.5rem .75rem;border:1px solid var(--line);border-radius:.5rem;
background:var(--card);color:inherit}
button,nav a{font:inherit;padding:.4rem .8rem;border:1px solid var(--line);border-radius:.5rem;background:var(--card);
color:inherit;text-decoration:none;display:inline-block;white-space:nowrap}
button:hover,nav a:hover{border-color:var(--accent)}nav{display:flex;gap:.5rem;flex-wrap:wrap;margin-top:.75rem}
article{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1rem;margin:0 0 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--dim)}
.n{text-align:right}pre{overflow-x:auto;margin:.5rem 0}dl{display:grid;grid-template-columns:max-content 1fr;
gap:.2rem 1rem;margin:0}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}p{margin:.5rem 0;color:var(--dim)}
.warning,.error{color:inherit;border-left:3px solid #c77700;padding-left:.6rem}.error{border-color:#c0392b}
.ok{border-left:3px solid var(--accent);padding-left:.6rem}small{color:var(--dim)}
form.out{flex:0}nav.top{margin:0 0 1rem}
"""

#: The source expression that allows the page's style in a content security policy.
STYLE_HASH = f" 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"

_HEAD = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
    f"<title>CasinoFlux cockpit</title><style>{_STYLE.replace('{', '{{').replace('}', '}}')}</style>"
)

#: Filled with str.format: {message}.
LOGIN = _HEAD + (
    "<main><article><h2>CasinoFlux cockpit</h2><p>Say <b>cockpit</b> to the bot, or <b>casinoflux run cockpit</b> in "
    "a shell: the answer is a link that signs you in. Or sign in with an API token.</p>"
    "<form method=post action=/cockpit/sign-in>"
    "<input type=password name=token aria-label='API token' autocomplete=current-password required>"
    "<button>Sign in</button></form><p role=alert>{message}</p></article></main>"
)

#: What a link preview sees of a link that signs in.
ENTER = _HEAD.replace("{{", "{").replace("}}", "}") + "<main><article><h2>CasinoFlux cockpit</h2></article></main>"

#: Filled with str.format: {who}, {say}, {links}, {shown}, {csrf}.
PAGE = _HEAD + (
    "<header><h1>CasinoFlux</h1><form action=/cockpit><input name=say value=\"{say}\" aria-label='Command' "
    "placeholder='stats 30d by campaign'><button>Show</button></form><form method=post action=/cockpit/sign-out "
    "class=out><input type=hidden name=csrf value={csrf}><button>Sign out</button></form><small>{who}</small></header>"
    "<main><nav class=top>{links}</nav>{shown}</main>"
)
