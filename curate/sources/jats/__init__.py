"""Articles in JATS, the XML of PubMed Central: a document in reading order, and its figures with their captions.

Source: ANSI/NISO Z39.96, JATS Archiving and Interchange; https://jats.nlm.nih.gov/archiving/tag-library/1.3/.
"""

from curate.sources.jats.read import article_rows, package_rows

__all__ = ["article_rows", "package_rows"]
