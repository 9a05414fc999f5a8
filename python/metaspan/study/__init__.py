r"""Studies: grids of runs, their tables, and the laws and pictures that come of them."""

from .execute import process_pool
from .figures import heat, lines
from .fits import fit_laws, fit_powers
from .laws import Law, Laws, Powers
from .ranges import log_range
from .status import StudyStatus
from .study import Study

__all__ = [
    "Law",
    "Laws",
    "Powers",
    "Study",
    "StudyStatus",
    "fit_laws",
    "fit_powers",
    "heat",
    "lines",
    "log_range",
    "process_pool",
]
