"""The report: one self-contained HTML file about a sandwich, for people.

Question and answer in words, the numbers, the value for every radius, what the adversary does, what
every bound proves, and how to get all of it again.
"""

from wdaverify.report.page import report_html, write_report
from wdaverify.report.provenance import Origin

__all__ = ["Origin", "report_html", "write_report"]
