"""The command line, one file per command."""

from . import benchmark as _benchmark  # noqa: F401
from . import bias as _bias  # noqa: F401
from . import calibrate as _calibrate  # noqa: F401
from . import check as _check  # noqa: F401
from . import compare as _compare  # noqa: F401
from . import convert as _convert  # noqa: F401
from . import evaluate as _evaluate  # noqa: F401
from . import neighbours as _neighbours  # noqa: F401
from . import optimize as _optimize  # noqa: F401
from . import package as _package  # noqa: F401
from . import split as _split  # noqa: F401
from . import train as _train  # noqa: F401
from . import tune as _tune  # noqa: F401
from ._app import app, main

__all__ = ["app", "main"]
