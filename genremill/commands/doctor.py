"""`genremill doctor`: whether everything that a run needs is here."""

import settings
from genremill import console
from genremill.commands.options import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Check that everything is here that a run needs.

    Prints what a run would use, and exits with code 1 when something is missing. Nothing is made or changed.
    """
    from genremill.doctor import check_requirements

    findings = check_requirements(settings.load())
    if as_json:
        console.print_json(findings)
    else:
        rows = [("ok" if finding.ok else "MISSING", finding.what, finding.detail) for finding in findings]
        console.print_table("", ("", "what", "found"), rows)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)
