"""What verl imports in each of its processes, named by ``VERL_USE_EXTERNAL_MODULES``: importing it mends verl."""

from curate.adapters.verl.mends import mend_rows_of_equal_length

mend_rows_of_equal_length()
