"""A report as one HTML file that needs nothing else: pictures, styles and bars are in it."""

from __future__ import annotations

import base64
import io
from html import escape as _escape

from PIL import Image

from rotacube.errors import printable
from rotacube.handout.content import Content, scale_bar
from rotacube.handout.figures import ClassFigures, area_text, share_text, unit_of

HIGHEST = 34
"""Heights of letters that the picture is high at most."""
_STYLE = """
@page { size: A4; margin: 12mm }
body { font: 14px/1.4 system-ui, "DejaVu Sans", sans-serif; color: #1d1d1b; background: #fff; max-width: 60em;
  margin: 1.5em auto; padding: 0 1em; word-break: break-word }
h1 { margin: 0; font-size: 1.7em; overflow-wrap: anywhere } h2 { font-size: 1em; margin: 1.4em 0 .3em }
.pale { color: #6f6f6b } .map { margin: .8em auto 0 } img { width: 100%; display: block;
  outline: 1px solid #bbb; margin-bottom: .4em } .north { float: right; margin: -1.6em 0 0 1em }
.legend span { display: inline-block; margin-right: 1.4em; overflow-wrap: anywhere }
i { display: inline-block; width: .9em; height: .9em; border: 1px solid #6f6f6b; margin-right: .4em;
  vertical-align: -.1em }
table { border-collapse: collapse; width: 100%; margin-top: .8em } th, td { padding: .15em .4em; text-align: right }
th { border-bottom: 1px solid #1d1d1b; font-size: .85em } th:first-child, td:first-child { text-align: left;
  overflow-wrap: anywhere } td { font-variant-numeric: tabular-nums; white-space: nowrap }
td:first-child { white-space: normal } .bars { width: 22%; min-width: 7em } .legend { clear: both }
.how { margin: 0 } .how th, .how td { text-align: left; border: 0; white-space: normal; padding: 0 1em 0 0;
  overflow-wrap: anywhere; vertical-align: top } .how th { font-weight: normal; color: #6f6f6b; width: 10em }
p { margin: .2em 0; overflow-wrap: anywhere }
svg { display: block; overflow: visible }
"""


def html_of(content: Content) -> str:
    """The file's text."""
    area = content.figures.area
    whole = f"{area / 1e4:,.2f} ha" if area >= 1e4 else f"{area:,.1f} m²"
    settings = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in content.settings)
    texts = [("How sure the figures are", content.figures.said), *content.terms]
    said = "".join(f"<h2>{escape(name)}</h2>\n<p>{escape(text)}</p>\n" for name, text in texts if text)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width"><title>{escape(content.title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(content.title)}</h1>\n"
        f'<p class="pale">{escape(whole)} mapped · {escape(content.date)}</p>\n'
        f"{_map(content)}{_legend(content)}{_table(content)}"
        f'<h2>How the map came about</h2>\n<table class="how">{settings}</table>\n{said}</body>\n</html>\n'
    )


def escape(text: str) -> str:
    """A text as HTML takes it."""
    return _escape(printable(text))


def _map(content: Content) -> str:
    """The picture, then scale bar and north arrow."""
    picture = content.picture
    stream = io.BytesIO()
    image = Image.fromarray(picture.pixels)
    wide, high = picture.ground
    if abs(picture.metres[0] / picture.metres[1] - 1) > 0.005:  # a viewer's pixels are square
        least = min(picture.metres)
        image = image.resize((max(1, round(wide / least)), max(1, round(high / least))), Image.Resampling.NEAREST)
    if content.over_photo:
        image.save(stream, "JPEG", quality=88)
    else:
        image.save(stream, "PNG", optimize=True)
    kind = "jpeg" if content.over_photo else "png"
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    length, label = scale_bar(0.3 * wide)
    arrow = (
        f'<svg width="40" height="40" viewBox="-20 -20 40 40" role="img" aria-label="north"><g transform="rotate('
        f'{picture.north:.1f})"><path d="M0 -18 L6 10 L0 5 L-6 10 Z"/><text y="20" text-anchor="middle" '
        'font-size="11">N</text></g></svg>'
    )
    # The scale bar is as wide as its part of the picture, however large that is shown.
    end = f"{100 * length / wide:.3f}%"
    bar = (
        f'<svg width="100%" height="24"><rect x="0" y="2" width="{end}" height="6" fill="#1d1d1b"/><text x="0" y="21" '
        f'font-size="12">0</text><text x="{end}" y="21" font-size="12" text-anchor="middle">{label}</text></svg>'
    )
    return (
        f'<div class="map" style="max-width: {HIGHEST * wide / high:.3f}em">\n<img alt="The map" '
        f'src="data:image/{kind};base64,{data}">\n{bar}</div>\n<div class="north">{arrow}</div>\n'
    )


def _legend(content: Content) -> str:
    parts = (
        f'<span><i style="background: {content.colour(row)}"></i>{escape(row.name)} {100 * row.share.best:.1f} %</span>'
        for row in content.rows
    )
    return f'<div class="legend">{"".join(parts)}</div>\n'


def _table(content: Content) -> str:
    whole, most = content.figures.area, content.longest_bar
    unit = unit_of(whole)
    heads = ("Class", f"mapped, {unit}", f"estimate, {unit}", "95 % interval", "share, %", "95 % interval")
    head = "".join(f"<th>{text}</th>" for text in heads) + f'<th class="bars">0 to {100 * most:g} %</th>'
    rows = ""
    for row in content.rows:
        cells = "".join(f"<td>{text}</td>" for text in (*area_text(row.area, whole), *share_text(row.share)))
        name = f'<td><i style="background: {content.colour(row)}"></i>{escape(row.name)}</td>'
        rows += f'<tr>{name}{cells}<td class="bars">{_bar(row, content.colour(row), most)}</td></tr>\n'
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>\n"


def _bar(row: ClassFigures, colour: str, most: float) -> str:
    """A bar as long as the best estimate, and a line as long as its interval."""
    marks = (
        f'<rect x="0" y="3" width="{100 * row.share.best / most:.2f}%" height="10" fill="{colour}" '
        'stroke="#6f6f6b" stroke-width=".5"/>'
    )
    if row.share.low is not None and row.share.high is not None:
        low, high = (f"{100 * end / most:.2f}%" for end in (row.share.low, row.share.high))
        lines = ((low, 8, high, 8), (low, 5, low, 11), (high, 5, high, 11))
        marks += "".join(
            f'<line x1="{a}" y1="{b}" x2="{c}" y2="{d}" stroke="#1d1d1b" stroke-width="1.4"/>' for a, b, c, d in lines
        )
    return f'<svg width="100%" height="16">{marks}</svg>'
