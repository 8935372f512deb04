"""DataFrame <-> Arrow arrays and a Schema: the one place that knows pandas' corners.

Each column's dtype has a description in JSON, from which the same dtype is made again:

=====================================  ==============================================================
``"int64"``, ``"Int64"``, ...          what `pandas.api.types.pandas_dtype` reads
``["string", storage, missing]``       `pandas.StringDtype`; missing is ``"nan"`` or ``"NA"``
``["object", missing]``                Python objects of one kind; missing is ``"None"``, ``"nan"`` or ``"NA"``
``["category", {...}]``                categories as text, their own dtype and Arrow type, and whether they are ordered
``["arrow"]``                          `pandas.ArrowDtype` of the column's Arrow type
``None``                               pandas' default for the Arrow type, in a dtype that has nulls
=====================================  ==============================================================
"""

from walrus_ts.pandas_io.labels import full_label
from walrus_ts.pandas_io.restore import Backend
from walrus_ts.pandas_io.table import Table, declared, to_frame, to_table

__all__ = ["Backend", "Table", "declared", "full_label", "to_frame", "to_table"]
