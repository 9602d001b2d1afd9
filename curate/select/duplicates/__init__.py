"""Near-duplicates: of texts (``text``), of pictures (``images``), of both; and the best of each cluster (``stage``)."""
