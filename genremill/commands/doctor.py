"""`genremill doctor`: what a run needs, and whether it is here."""

import settings
from genremill import console
from genremill.commands.options import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Is everything here that a run needs? What would it use?"""
    from genremill import doctor as examination

    findings = examination.examine(settings.load())
    if as_json:
        console.print_json(findings)
    else:
        rows = [("ok" if f.ok else "MISSING", f.what, f.detail) for f in findings]
        console.print_table("", ("", "what", "found"), rows)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)
