"""The collector's web page: who reports, what drifted, since when and how; on the admin port, and read-only.

Every view is HTML made here, with its charts as SVG in it: no script, no font, no picture comes from anywhere, and a
content security policy holds browsers to that. So it works with a keyboard and a screen reader as any document does.

    app.py      paths and queries
    views.py    what a view shows, as values, read through `edgekit.telemetry.store`
    charts.py   lines over time and pairs of distributions, as SVG
    templates/  the HTML
"""

from edgekit.telemetry.page.app import page_of

__all__ = ["page_of"]
